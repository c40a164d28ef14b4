# The short list of verbs. `make demo` and `make test` install what is missing, build, and run.
SWIFT ?= swift
BUILD := $(SWIFT) build -c release
.PHONY: demo test build bench format clean

build:
	@scripts/bootstrap
	@$(BUILD) --product keel
	@$(BUILD) --product flights-replay

demo: build
	@Examples/flights/demo

test:
	@scripts/bootstrap --tests
	@$(BUILD) --build-tests
	@$(SWIFT) test -c release --skip-build
	@Conformance/run

bench: build
	@Benchmarks/run

format:
	@$(SWIFT) format --in-place --recursive Sources Tests Examples Benchmarks Package.swift

clean:
	@rm -rf .build .keel/demo
