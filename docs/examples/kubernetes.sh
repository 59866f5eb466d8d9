#!/usr/bin/env bash
# An exec participant that points a Kubernetes Service at the pods of a side, by its selector's label "side".
#
#   - name: service
#     kind: exec
#     prepare: [docs/examples/kubernetes.sh, oauth]
#     commit:  [docs/examples/kubernetes.sh, oauth]
#     abort:   [docs/examples/kubernetes.sh, oauth]
#     status:  [docs/examples/kubernetes.sh, oauth]
#
# The newest call is kept in an annotation of the Service. The patch names the version that was read, so that the API
# server refuses it where somebody has changed the Service in between; tideover then calls again.
set -euo pipefail
service=$1

read_service() {
	IFS='|' read -r version side last < <(kubectl get service "$service" -o \
		jsonpath='{.metadata.resourceVersion}|{.spec.selector.side}|{.metadata.annotations.tideover\.call}')
}
become() {
	local now=$((TIDEOVER_TERM * 1000000 + TIDEOVER_CALL))
	read_service
	[ "$now" -ge "${last:-0}" ] || { echo "call $now is older than $last" >&2; exit 1; }
	kubectl patch service "$service" --type merge -p \
		'{"metadata":{"resourceVersion":"'"$version"'","annotations":{"tideover.call":"'"$now"'"}},"spec":{"selector":{"side":"'"$1"'"}}}' >/dev/null
}

case $TIDEOVER_ACTION in
status) read_service; echo "$side" ;;
prepare) read_service; [ "$side" = blue ] && kubectl auth can-i patch service >/dev/null && become blue ;;
commit) become green ;;
abort) become blue ;;
esac
