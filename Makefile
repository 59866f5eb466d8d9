# Everything that this repository can do for you. make help lists it.
SHELL := /bin/bash
BIN := bin/tideover
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
DEMO_FLAGS ?=

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what is missing: a C compiler and Postgres (Debian)
	@scripts/setup.sh

.PHONY: setup-tests
setup-tests: ## install also what tests and benchmarks meet: PgBouncer, HAProxy, Prometheus and nginx
	@scripts/setup.sh --tests

.PHONY: build
build: ## build bin/tideover
	@mkdir -p bin
	go build -trimpath -ldflags "-X github.com/tideover/tideover/cmd.version=$(VERSION)" -o $(BIN) ./cmd/tideover

.PHONY: demo
demo: setup build ## upgrade a live OAuth server on throw-away Postgres, and prove that nothing was lost
	$(BIN) demo $(DEMO_FLAGS)

.PHONY: check
check: setup-tests lint ## the quick loop: format, lint and the tests that take seconds
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt would change: $$out"; exit 1; }
	go test -short -ldflags=-s ./...

.PHONY: lint
lint: ## go vet, staticcheck and more (tools/lint), over all build tags at once
	go -C tools build -o $(CURDIR)/bin/lint ./lint
	go vet -vettool=$(CURDIR)/bin/lint -tags container,hydra ./...

.PHONY: test
test: ## everything that CI runs: lint, all tests with a slice of the long proofs, containers, Hydra
	@scripts/test.sh

HYDRAS = bin/hydra-v1 bin/hydra-v2

.PHONY: hydra
hydra: $(HYDRAS) ## build the real Ory Hydra, 1.11.10 and 2.3.0, from their released modules

bin/hydra-%: testdata/hydra/%/main.go testdata/hydra/%/go.mod testdata/hydra/%/go.sum
	@mkdir -p bin
	cd testdata/hydra/$* && CGO_ENABLED=0 go build -trimpath -o ../../../$@ .

.PHONY: test-hydra
test-hydra: setup hydra hydra-migrations ## upgrade the real Ory Hydra, there and back, under traffic (a part of make test)
	TIDEOVER_HYDRA_V1=$(CURDIR)/bin/hydra-v1 TIDEOVER_HYDRA_V2=$(CURDIR)/bin/hydra-v2 go test -timeout 20m -p 1 -tags hydra -run 'TestHydra' ./e2e ./internal/migrate

.PHONY: test-postgres
test-postgres: setup build ## the demo onto another Postgres, and replay on it: 16, 17 or 18, by TIDEOVER_SLICE
	@scripts/test-postgres.sh

.PHONY: mutants
mutants: setup ## have the demo upgrade with each of some sixty mistakes in it; prints who sees it. An hour (a slice is in make test)
	TIDEOVER_SLICE=all go test -count 1 -timeout 6h -run '^TestMutants$$' -v ./e2e | tee /dev/stderr | grep -o '| .* |' | (echo "| mutant | seen by | time | what |"; echo "|---|---|---|---|"; cat)

.PHONY: hydra-migrations
hydra-migrations: ## put the migration files of Ory Hydra 2.3.0 into bin/hydra-migrations, for a runbook's source
	@dir=$$(cd testdata/hydra/v2 && go mod download github.com/ory/hydra/v2 && go list -m -f '{{.Dir}}' github.com/ory/hydra/v2) && \
	rm -rf bin/hydra-migrations && mkdir -p bin/hydra-migrations && \
	cp "$$dir"/persistence/sql/migrations/*.sql bin/hydra-migrations/ && chmod u+w bin/hydra-migrations/* && \
	echo "bin/hydra-migrations: $$(ls bin/hydra-migrations | wc -l) files"

.PHONY: bench
bench: setup-tests build hydra hydra-migrations ## measure against peers, side by side; prints ratios. An hour and more
	@scripts/setup.sh --peers
	go test -run '^$$' -tags hydra -bench . -benchtime 1x -timeout 6h ./...

.PHONY: soak
soak: ## all slices of make test, 5,000 random worlds, 10,000 histories, 20,000 random migrations and a queue of a million changes: hours
	TIDEOVER_SLICE=all scripts/test.sh
	TIDEOVER_SLICE=all TIDEOVER_HISTORIES=10000 go test -timeout 24h -run 'TestHistories|TestLongQueue' -v ./replay
	TIDEOVER_MIGRATIONS=20000 TIDEOVER_SLICE=all go test -timeout 24h -run TestRandomMigrations -v ./internal/migrate
	TIDEOVER_WORLDS=5000 TIDEOVER_SLICE=all go test -timeout 24h -run TestWorlds ./internal/lab/world

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
