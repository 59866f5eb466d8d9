#!/usr/bin/env bash
# An exec participant that switches an HAProxy backend by its runtime API (HAProxy management guide 9.3).
#
#   - name: haproxy
#     kind: exec
#     prepare: [docs/examples/haproxy.sh, oauth]
#     commit:  [docs/examples/haproxy.sh, oauth]
#     abort:   [docs/examples/haproxy.sh, oauth]
#     status:  [docs/examples/haproxy.sh, oauth]
#
# The backend has two servers, blue and green; one is ready and the other in maintenance. haproxy.cfg needs
# "stats socket ipv4@127.0.0.1:9999 level admin"; HAPROXY names another address, SEEN another place for the newest call.
set -euo pipefail
backend=$1
api=${HAPROXY:-127.0.0.1:9999}
seen=${SEEN:-/var/tmp/tideover-haproxy-$backend}

run() { # all commands of a line are carried out together
	exec 3<>"/dev/tcp/${api%:*}/${api##*:}"
	printf '%s\n' "$1" >&3
	cat <&3
	exec 3>&-
}
side() {
	run "show stat $backend -1 -1" | awk -F, -v b="$backend" '
		$1 == b && ($2 == "blue" || $2 == "green") { ready[$2] = $18 !~ /^MAINT/ }
		END { if (ready["blue"] && !ready["green"]) print "blue"; else if (ready["green"] && !ready["blue"]) print "green"; else print "neither" }'
}
# A call with an older term, or a lower number in the same term, comes late: it must change nothing.
newest() {
	exec 4>"$seen.lock"
	flock 4
	local now=$((TIDEOVER_TERM * 1000000 + TIDEOVER_CALL)) last
	last=$(cat "$seen" 2>/dev/null || echo 0)
	[ "$now" -ge "$last" ] || { echo "call $now is older than $last" >&2; exit 1; }
	echo "$now" >"$seen"
}
become() {
	said=$(run "set server $backend/$2 state maint; set server $backend/$1 state ready")
	[ "$(side)" = "$1" ] || { echo "HAProxy says: $said" >&2; exit 1; }
}

case $TIDEOVER_ACTION in
status) side ;;
prepare) newest; [ "$(side)" = blue ] || { echo "backend $backend is not on blue" >&2; exit 1; } ;;
commit) newest; become green blue ;;
abort) newest; become blue green ;;
esac
