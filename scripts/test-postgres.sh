#!/usr/bin/env bash
# Tests with a server of another version, one of 16, 17 and 18 in a run: the demo from blue 15 to it, and capture and fence
# on it, which a way back has there. TIDEOVER_SLICE says which: in ten slices each version has its turn.
#   scripts/test-postgres.sh [16|17|18]
set -euo pipefail
cd "$(dirname "$0")/.."

slice=${TIDEOVER_SLICE:-0}
if [ $# -gt 0 ]; then
	versions=$*
elif [ "$slice" = all ]; then
	versions="16 17 18"
else
	versions=$((16 + slice % 3))
fi
[ -x bin/tideover ] || make --no-print-directory build
for version in $versions; do
	programs=$(scripts/postgres.sh "$version")
	echo "Postgres $version: the demo"
	TIDEOVER_POSTGRES_BIN_GREEN=$programs bin/tideover demo --size tiny
	echo "Postgres $version: capture and fence"
	TIDEOVER_POSTGRES_BIN_TEST=$programs go test -timeout 20m -run '^(TestCapture|TestFence|TestLastDrain)' ./replay
done
