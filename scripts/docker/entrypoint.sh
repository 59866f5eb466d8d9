#!/bin/bash
# Entrypoint of the image that build-postgres-image.sh makes. It keeps the contract of the official image: the
# POSTGRES_* and PGDATA variables, the _FILE variants, /docker-entrypoint-initdb.d, and a first start that listens
# on a socket only, so that nobody connects over TCP before the cluster is set up.
set -Eeuo pipefail

# from_file VAR [DEFAULT]: VAR's value, or the content of the file that VAR_FILE names.
from_file() {
	local file=$1_FILE
	if [ -n "${!file:-}" ]; then
		export "$1=$(<"${!file}")"
		unset "$file"
	else
		export "$1=${!1:-${2:-}}"
	fi
}

if [ "${1:0:1}" = - ]; then set -- postgres "$@"; fi
if [ "$1" != postgres ]; then exec "$@"; fi

socket=/var/run/postgresql
export PGDATA=${PGDATA:-/var/lib/postgresql/data}

if [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA" "$socket"
	chown -R postgres:postgres "$PGDATA" "$socket"
	chmod 700 "$PGDATA"
	chmod 2777 "$socket"
	exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

client() { psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc "$@"; }

set_up() {
	from_file POSTGRES_PASSWORD
	from_file POSTGRES_USER postgres
	from_file POSTGRES_DB "$POSTGRES_USER"
	local auth=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
	if [ -z "$POSTGRES_PASSWORD" ] && [ "$auth" != trust ]; then
		echo 'entrypoint: POSTGRES_PASSWORD is not set' >&2
		exit 1
	fi
	# eval, because POSTGRES_INITDB_ARGS is a piece of a command line with its own quotes
	eval 'initdb -U "$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") -E UTF8 --locale=C.UTF-8 '"${POSTGRES_INITDB_ARGS:-}"
	printf '\nhost all all all %s\n' "$auth" >>"$PGDATA/pg_hba.conf"
	printf "listen_addresses = '*'\nunix_socket_directories = '%s'\n" "$socket" >>"$PGDATA/postgresql.conf"

	export PGUSER=$POSTGRES_USER PGPASSWORD=$POSTGRES_PASSWORD PGHOST=$socket PGPORT=5432
	# Our -c settings come last: the caller's must neither open TCP nor move the port yet.
	pg_ctl -D "$PGDATA" -w -o "${*@Q} -c listen_addresses='' -c port=5432" start
	if [ "$POSTGRES_DB" != postgres ] &&
		[ -z "$(client -d postgres -tAv db="$POSTGRES_DB" <<<"SELECT 1 FROM pg_catalog.pg_database WHERE datname = :'db'")" ]; then
		client -d postgres -v db="$POSTGRES_DB" <<<'CREATE DATABASE :"db"'
	fi
	export PGDATABASE=$POSTGRES_DB
	local file
	for file in /docker-entrypoint-initdb.d/*; do
		case $file in
		*.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
		*.sql) client -f "$file" ;;
		*.sql.gz) gunzip -c "$file" | client ;;
		esac
	done
	pg_ctl -D "$PGDATA" -m fast -w stop
	unset PGUSER PGPASSWORD PGHOST PGPORT PGDATABASE
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then set_up "${@:2}"; fi
exec "$@"
