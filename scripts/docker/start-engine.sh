#!/bin/bash
# Starts a Docker engine where none answers (a machine without systemd, a CI runner without Docker), and prints
# the environment that the container tests and the demo need. What it does itself goes to stderr.
#
#   eval "$(scripts/docker/start-engine.sh)"        start, or find the one that runs
#   scripts/docker/start-engine.sh stop             stop the engine that an earlier call started
#
# TIDEOVER_DOCKER_STATE names the engine's folder (default: $TMPDIR/tideover-docker). Needs root to start one;
# on Debian and Ubuntu it installs docker.io when dockerd is missing.
set -euo pipefail

state=${TIDEOVER_DOCKER_STATE:-${TMPDIR:-/tmp}/tideover-docker}
socket=unix://$state/docker.sock
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH # the system's client and engine fit each other

say() { echo "start-engine: $*" >&2; }
answers() { DOCKER_HOST=$1 docker version >/dev/null 2>&1; }

if [ "${1:-}" = stop ]; then
	pid=$(cat "$state/dockerd.pid" 2>/dev/null) || { say "no engine of ours in $state"; exit 0; }
	kill "$pid" 2>/dev/null || true
	for _ in $(seq 1 300); do [ -e "$state/dockerd.pid" ] || break; sleep 0.1; done
	exit 0
fi

install_engine() {
	command -v dockerd >/dev/null && return
	command -v apt-get >/dev/null || { say "no dockerd, and no apt-get to install it: install Docker and run this again"; exit 1; }
	say "installing docker.io"
	apt-get update -qq >&2
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io iptables cpio >&2
	hash -r
}

launch() {
	[ "$(id -u)" = 0 ] || { say "no engine answers and starting one needs root: start Docker, or run this as root"; exit 1; }
	install_engine
	mkdir -p "$state/data" "$state/run"
	say "starting dockerd in $state"
	# Nothing of ours may stay open in it: eval waits for the end of our stdout.
	setsid nohup dockerd --data-root "$state/data" --exec-root "$state/run" --pidfile "$state/dockerd.pid" \
		-H "$socket" >"$state/dockerd.log" 2>&1 </dev/null &
	for _ in $(seq 1 300); do answers "$socket" && return; sleep 0.1; done
	tail -n 20 "$state/dockerd.log" >&2
	say "the engine did not come up; its log is $state/dockerd.log"
	exit 1
}

host=${DOCKER_HOST:-unix:///var/run/docker.sock}
if ! answers "$host"; then
	host=$socket
	answers "$host" || launch
fi

echo "export DOCKER_HOST='$host'"
# The reaper's image would have to be pulled. Our own watchdog and sweep do its work.
echo "export TESTCONTAINERS_RYUK_DISABLED=true"
# Containers are published on loopback; without this a client in a container dials its gateway.
echo "export TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1"
