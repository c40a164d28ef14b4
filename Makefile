# The short list of verbs. `make demo` and `make test` install what is missing, build, and run; what tests leave lies in a folder that goes.
SWIFT ?= swift
# No index: only editors read it, and it is half of the work on each module of tests (Tests/XCTMain.swift). No debug information: what runs has no use for it.
BUILD := $(SWIFT) build -c release --disable-index-store -debug-info-format none
.PHONY: demo test build packages bench format clean

build:
	@scripts/bootstrap
	@$(BUILD) --product keel

# A release: from a build of its own, in which nothing tells the folder that it was made in, so that another folder makes the same bytes (Packaging/README.md).
packages:
	@scripts/bootstrap
	@$(BUILD) --product keel --scratch-path .build-packages -Xcc "-ffile-prefix-map=$(CURDIR)=."
	@scripts/package all --build .build-packages/release

demo: build
	@.build/release/keel demo --home .keel/demo

# Four Swift tests at a time: a thousand at once wait for each other for longer than the deadlines that some of them set. The clients of the tests are
# installed while the tests are built, and parsers are fuzzed beside the Swift tests, one at a time.
test:
	@scripts/bootstrap
	@scripts/bootstrap --tests & clients=$$!; $(BUILD) --build-tests && wait $$clients
	@set -e; TMPDIR=$$(mktemp -d); export TMPDIR; programs=$$($(BUILD) --show-bin-path); \
	  "$$programs/keel-fuzz" all --jobs 1 & fuzz=$$!; trap 'kill $$fuzz 2>/dev/null || true; rm -rf "$$TMPDIR"' EXIT; \
	  KEEL_SQL_RECORD="$$TMPDIR/sql-texts" $(SWIFT) test -c release --skip-build --disable-xctest --enable-swift-testing --experimental-maximum-parallelization-width 4; \
	  SWIFT="$(SWIFT)" scripts/check-sql "$$TMPDIR/sql-texts"; \
	  wait $$fuzz; \
	  Conformance/run

bench: build
	@Benchmarks/run

format:
	@$(SWIFT) format --in-place --recursive Sources Tests Examples Benchmarks Package.swift

clean:
	@rm -rf .build .build-packages .keel/demo
