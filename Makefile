# The short list of verbs. `make demo` and `make test` install what is missing, build, and run; what tests leave lies in a folder that goes.
SWIFT ?= swift
# No index: only editors read it, and it is half of the work on each module of tests.
BUILD := $(SWIFT) build -c release --disable-index-store
.PHONY: demo test build bench format clean

build:
	@scripts/bootstrap
	@$(BUILD) --product keel

demo: build
	@.build/release/keel demo --home .keel/demo

# Four Swift tests at a time: a thousand at once wait for each other for longer than the deadlines that some of them set.
test:
	@scripts/bootstrap --tests
	@$(BUILD) --build-tests
	@TMPDIR=$$(mktemp -d) && export TMPDIR && trap 'rm -rf "$$TMPDIR"' EXIT && \
	  KEEL_SQL_RECORD="$$TMPDIR/sql-texts" $(SWIFT) test -c release --skip-build --experimental-maximum-parallelization-width 4 && \
	  SWIFT="$(SWIFT)" scripts/check-sql "$$TMPDIR/sql-texts" && \
	  "$$($(BUILD) --show-bin-path)/keel-fuzz" all && \
	  Conformance/run

bench: build
	@Benchmarks/run

format:
	@$(SWIFT) format --in-place --recursive Sources Tests Examples Benchmarks Package.swift

clean:
	@rm -rf .build .keel/demo
