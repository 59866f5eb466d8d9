#!/usr/bin/env bash
# The whole test: set-up, format, lint, every test on real Postgres, and the container tests on a Docker engine.
# Nothing is skipped: what is missing is installed, or fails.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh --tests --containers
eval "$(scripts/docker/start-engine.sh)"

unformatted=$(gofmt -l $(git ls-files '*.go'))
[ -z "$unformatted" ] || { printf 'gofmt would change:\n%s\n' "$unformatted"; exit 1; }
make --no-print-directory build
make --no-print-directory lint

# The commands first and alone: each of their tests is a whole upgrade under load, and the machines have two cores. Then
# two packages at a time; each has Postgres servers of its own.
export TIDEOVER_REQUIRE_CONTAINER=1
go test -timeout 30m -tags container ./cmd/... ./e2e
make --no-print-directory test-hydra
go test -p 2 -timeout 60m -tags container $(go list -tags container ./... | grep -vE "^github.com/tideover/tideover/(cmd|e2e)")
