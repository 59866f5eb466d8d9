#!/usr/bin/env bash
# Sees to what make demo and make test need: a C compiler for the SQL parser and a Postgres server. What is there is
# left alone. Usage: scripts/setup.sh [--containers]   (also a Docker engine and the image postgres:15, for the tests)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

say() { printf 'setup: %s\n' "$*" >&2; }

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n "$@"; else return 1; fi
}

install() {
	command -v apt-get >/dev/null || { say "needs $*; install them with this system's package tool and run again"; exit 1; }
	say "installing $* from Debian's packages"
	as_root env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null' sh "$@" ||
		{ say "could not install $*: run as root: apt-get install $*"; return 1; }
}

postgres_found() { command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres /usr/local/pgsql/bin/postgres >/dev/null 2>&1; }

command -v go >/dev/null || { say "needs Go 1.26 or later on the PATH: see https://go.dev/doc/install"; exit 1; }
command -v gcc >/dev/null || command -v cc >/dev/null || install gcc libc6-dev
if [ -z "${TIDEOVER_TEST_DSN_BLUE:-}" ] && ! postgres_found; then
	# Debian's package would start a cluster of its own; throw-away clusters are all that is wanted here.
	as_root mkdir -p /etc/postgresql-common && as_root sh -c 'grep -qs create_main_cluster /etc/postgresql-common/createcluster.conf || echo "create_main_cluster = false" >>/etc/postgresql-common/createcluster.conf' || true
	install postgresql
fi

if [ "${1:-}" = --containers ]; then
	"$here/docker/start-engine.sh" >"${TIDEOVER_DOCKER_ENV:-/dev/null}"
	eval "$("$here/docker/start-engine.sh")"
	"$here/docker/build-postgres-image.sh" >&2
fi
