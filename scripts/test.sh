#!/usr/bin/env bash
# The whole test: set-up, format, lint, and the tests on real Postgres, real Hydra and a Docker engine, at last with a green
# of another version. What is missing is installed, or fails. Proofs that take long play a core and one slice of ten (internal/lab/slice): ten commits in a row
# play all of them. At the end it says where the minutes went, and what was left to other slices.
#   TIDEOVER_SLICE=0..9 plays another slice, TIDEOVER_SLICE=all everything; TIDEOVER_SEED=number sets what is left to chance
set -euo pipefail
cd "$(dirname "$0")/.."

# The number of commits gives each slice in turn; a commit's hash would only make it likely that ten of them meet all. A
# shallow clone can't count: there it is the hash.
hash=$(git rev-parse HEAD)
if [ -z "${TIDEOVER_SLICE:-}" ]; then
	if [ "$(git rev-parse --is-shallow-repository)" = true ]; then
		TIDEOVER_SLICE=$((16#${hash:0:7} % 10))
	else
		TIDEOVER_SLICE=$(($(git rev-list --count HEAD) % 10))
	fi
fi
: "${TIDEOVER_SEED:=$((16#${hash:0:12}))}"
work=$(mktemp -d)
TIDEOVER_LEFT_OUT=$work/left-out
TIDEOVER_REQUIRE_CONTAINER=1
TIDEOVER_HYDRA_V1=$PWD/bin/hydra-v1 TIDEOVER_HYDRA_V2=$PWD/bin/hydra-v2
export TIDEOVER_SLICE TIDEOVER_SEED TIDEOVER_LEFT_OUT TIDEOVER_REQUIRE_CONTAINER TIDEOVER_HYDRA_V1 TIDEOVER_HYDRA_V2
again="TIDEOVER_SLICE=$TIDEOVER_SLICE TIDEOVER_SEED=$TIDEOVER_SEED make test"
export GOFLAGS="${GOFLAGS:-} -ldflags=-s" # nobody debugs these binaries, and linking them is half as much
echo "slice $TIDEOVER_SLICE of commit ${hash:0:12}, seed $TIDEOVER_SEED; once more: $again"

# Packages with goroutines run under the race detector, and not once more without it.
race=$(printf './%s ' cutover cutover/router steps internal/journal internal/tui internal/report internal/metrics internal/traces internal/postgres \
	internal/authserver internal/console internal/look internal/migrate internal/lab/traffic internal/lab/telemetry)

times=$work/times
now=
finish() {
	code=$?
	[ -z "$now" ] || printf '%s\t%s\tnot finished\n' $((SECONDS - began)) "$now" >>"$times"
	if [ -s "$TIDEOVER_LEFT_OUT" ]; then
		printf '\nLeft to other slices (%s plays them all):\n' 'TIDEOVER_SLICE=all'
		sort -u "$TIDEOVER_LEFT_OUT" | sed 's/^/  /'
	fi
	printf '\nWhere the minutes went:\n'
	[ ! -s "$times" ] || awk -F'\t' '{printf "  %3d:%02d  %s %s\n", $1 / 60, $1 % 60, $2, $3; all += $1} END {printf "  %3d:%02d  in all\n", all / 60, all % 60}' "$times"
	[ "$code" = 0 ] || printf '\nfailed in: %s; the whole once more: %s\n' "${now:-$failed}" "$again"
	rm -rf "$work"
}
trap finish EXIT

# tests <name> <command…>: a part that does not stop those behind it when it fails: what else fails is to be seen in the same run.
failed=
tests() {
	began=$SECONDS
	printf '\n== %s\n' "$1"
	"${@:2}" || failed="$failed${failed:+, }$1"
	printf '%s\t%s\t\n' $((SECONDS - began)) "$1" >>"$times"
}

# phase <name> <command…>: runs a part and takes its time.
phase() {
	now=$1 began=$SECONDS
	shift
	printf '\n== %s\n' "$now"
	"$@"
	printf '%s\t%s\t\n' $((SECONDS - began)) "$now" >>"$times"
	now=
}

# Downloads wait for the network, and go on beside the set-up.
download() {
	go mod download
	(cd testdata/hydra/v1 && go mod download)
	(cd testdata/hydra/v2 && go mod download)
}

setup() {
	download &
	local downloads=$!
	scripts/setup.sh --tests --containers
	wait "$downloads"
}

format() {
	local unformatted
	unformatted=$(gofmt -l $(git ls-files '*.go'))
	[ -z "$unformatted" ] || { printf 'gofmt would change:\n%s\n' "$unformatted" >&2; return 1; }
}

build() { make --no-print-directory build hydra hydra-migrations; }

others() {
	local excluded
	excluded=$(go list $race; go list -tags "container hydra" ./cmd/... ./e2e)
	go test -p "$(nproc)" -timeout 60m -tags "container hydra" $(go list -tags "container hydra" ./... | grep -vxF "$excluded")
}

phase set-up setup
eval "$(scripts/docker/start-engine.sh)"
phase format format
phase build build
phase lint make --no-print-directory lint
# The commands early and alone: each of their tests is a whole upgrade under load, and the machines have two cores. Then a
# package at a time for each of them; each has Postgres servers of its own.
tests "the linter" go -C tools test ./lint
tests "commands and whole upgrades" go test -timeout 40m -tags "container hydra" ./cmd/... ./e2e
tests "under the race detector" go test -race -p "$(nproc)" -timeout 40m -tags "container hydra" $race
tests "the other packages" others
tests "another Postgres" scripts/test-postgres.sh
[ -z "$failed" ]
