# The two commands of the README are `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
GO ?= go
BIN := bin
N ?= 200
export CGO_ENABLED := 1

.DEFAULT_GOAL := help

## help: list the targets
help:
	@grep -hE '^## ' $(MAKEFILE_LIST) | sed 's/^## /  /'

## build: the two programs, in bin/
build:
	@mkdir -p $(BIN)
	$(GO) build -trimpath -o $(BIN)/ ./cmd/expunge ./cmd/vendorsim

## demo: the whole job on the built-in simulator; leaves report and store in demo/
demo: build
	@bash testdata/demo/demo.sh

## test: everything, with the race detector where goroutines meet
test:
	$(GO) vet ./...
	$(GO) test -count=1 ./...
	$(GO) test -count=1 -race -short ./store/... ./vendors/transport/... ./batch

## crash: kill -9 campaign (N=200): nothing lost, nothing stuck, nothing done twice
crash:
	$(GO) test -count=1 -timeout 60m -run '^TestCrash$$' -v ./batch/campaign -kills $(N) | grep -v '^=== '

## faults: every external write fails in both ways, at every step of every vendor
faults:
	$(GO) test -count=1 -timeout 30m -run '^TestFaults$$' -v ./batch/campaign -whole | grep -v '^=== '

## mutants: every word of every shipped recipe misspelt, dropped or put in another's place: 0 silent
mutants:
	$(GO) test -count=1 -timeout 60m -run '^TestMutants$$' -v ./vendors/rest/trial -mutants | grep -v '^=== '

## wrong: nights in which an account, an address, a vendor or a clock is wrong, and the next, right one
wrong:
	$(GO) test -count=1 -timeout 30m -run '^TestWrong$$' -v ./batch/campaign -whole | grep -v '^=== '

## rate: the limits 5/s, 50/s and 500/s as the simulator sees requests arrive, over kills and restarts
rate:
	$(GO) test -count=1 -timeout 30m -run '^TestRate$$' -v ./batch/campaign -rate-for 20s | grep -v '^=== '

## leaks: canary identifiers searched for in every file, stream and environment
leaks:
	$(GO) test -count=1 -timeout 30m -run '^TestLeaks$$' -v ./batch/campaign -leaks-full | grep -v '^=== '

## proof: certificates and stores that are forged in every way, put back, and looked at by other verifiers
proof:
	$(GO) test -count=1 -timeout 60m -run '^TestProof$$' -v ./batch/campaign -whole | grep -v '^=== '

## litestream: the disk is lost in the middle of a run, and a replica that Litestream keeps goes on
litestream:
	GOBIN=$(CURDIR)/bin $(GO) install github.com/benbjohnson/litestream/cmd/litestream@v0.5.18
	$(GO) test -count=1 -timeout 30m -run '^TestReplica$$' -v ./batch/campaign -litestream $(CURDIR)/bin/litestream | grep -v '^=== '

## bench: the figures of speed and memory, as ratios to baselines of the same run
bench: build
	$(GO) run ./cmd/bench

## fuzz: each fuzz target for FUZZTIME (10s)
FUZZTIME ?= 10s
fuzz:
	@for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg 2>/dev/null | grep '^Fuzz' || true); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg | tail -1; \
	  done; done

## lint: gofmt, vet, staticcheck, govulncheck, a tidy go.mod
lint:
	@bash .ci/lint

## man: the man pages, in bin/man/
man: build
	@mkdir -p $(BIN)/man
	$(BIN)/expunge man $(BIN)/man

## manual: every command and every topic on one HTML page, bin/manual.html
manual: build
	$(BIN)/expunge man --html $(BIN)

## package: a .deb, an .rpm and an OCI image of the static program, in bin/package/
package:
	@bash cmd/expunge/packaging/package.sh

## package-try: installed, upgraded with an old store, run and removed in clean roots (as root)
package-try:
	@bash cmd/expunge/packaging/try.sh

## clean: remove what was built
clean:
	rm -rf $(BIN) demo

.PHONY: help build demo test crash faults mutants wrong rate leaks litestream proof bench fuzz lint man manual package package-try clean
