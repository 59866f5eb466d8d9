#!/usr/bin/env bash
# Sees to what make demo and make test need: a C compiler for the SQL parser and a Postgres server. What is there is
# left alone. Usage: scripts/setup.sh [--tests] [--peers] [--npm] [--containers]
#   --tests       also what tests and benchmarks meet: PgBouncer, HAProxy, Prometheus, and nginx to be measured against
#   --peers       also pgcopydb, which the copy is measured against
#   --npm         also npm, which has the servers of other Postgres versions (scripts/postgres.sh)
#   --containers  also a Docker engine and the image postgres:15
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

say() { printf 'setup: %s\n' "$*" >&2; }

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n "$@"; else return 1; fi
}

install() {
	command -v apt-get >/dev/null || { say "needs $*; install them with this system's package tool and run again"; exit 1; }
	say "installing $* from Debian's packages"
	# Debian starts a service when its package comes; here only the program is wanted (policy-rc.d(8)).
	as_root env DEBIAN_FRONTEND=noninteractive sh -c '
		policy=/usr/sbin/policy-rc.d
		[ -e $policy ] || { trap "rm -f $policy" EXIT; printf "#!/bin/sh\nexit 101\n" >$policy; chmod 755 $policy; }
		apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null' sh "$@" ||
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

for wanted in "$@"; do
	case $wanted in
	--tests)
		[ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null || install pgbouncer
		[ -x /usr/sbin/haproxy ] || command -v haproxy >/dev/null || install haproxy
		[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || install nginx-light
		command -v prometheus >/dev/null || install prometheus
		;;
	--npm) command -v npm >/dev/null || install npm ;;
	--peers) command -v pgcopydb >/dev/null || install pgcopydb ;;
	--containers)
		"$here/docker/start-engine.sh" >"${TIDEOVER_DOCKER_ENV:-/dev/null}"
		eval "$("$here/docker/start-engine.sh")"
		"$here/docker/build-postgres-image.sh" >&2
		;;
	*)
		say "unknown argument $wanted"
		exit 2
		;;
	esac
done
