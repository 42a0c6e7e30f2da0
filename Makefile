# `make run` and `make test` are each enough on a fresh machine.

SHELL := /bin/sh
# A shell that has not read ~/.cargo/env still finds what rustup put there.
export PATH := $(PATH):$(HOME)/.cargo/bin

# What `make run` hands to the gateway: make run ARGS="--config gateway.toml"
ARGS ?=
# What `make load` measures: make load LOAD="incoming --rate 50 --rtp"
LOAD ?= --short
# What `make test` hands to nextest: make test TESTS="--test peers hold"
TESTS ?=

.PHONY: help run test check fmt load ci

help:
	@echo 'make run    build and start the gateway (ARGS="--config FILE")'
	@echo 'make test   every test, those with real SIP peers too (TESTS="-E FILTER")'
	@echo 'make check  formatting and lints, as CI asks for them'
	@echo 'make load   calls under load (LOAD="incoming --rate 50 --calls 1000 --rtp")'
	@echo 'make fmt    format the sources'
	@echo 'make ci     what CI does, on a clean clone of HEAD'

run:
	@scripts/install-dependencies run
	cargo run --release -- $(ARGS)

test:
	@scripts/install-dependencies test
	cargo nextest run $(TESTS)

check:
	@scripts/install-dependencies run
	cargo fmt --check
	cargo clippy --all-targets --quiet -- -D warnings

fmt:
	cargo fmt

load:
	@scripts/install-dependencies load
	load-tests/run $(LOAD)

ci:
	.ci/run
