# `make run` and `make test` are each enough on a fresh machine.

SHELL := /bin/sh
# A shell that has not read ~/.cargo/env still finds what rustup put there.
export PATH := $(PATH):$(HOME)/.cargo/bin

# What `make run` hands to the gateway: make run ARGS="--config gateway.toml"
ARGS ?=
# What `make load` measures: make load LOAD="incoming --rate 50 --rtp"
LOAD ?= --short
# Which timed benches `make bench-save` and `make bench-compare` run.
BENCHES ?= pipeline mixing
# What `make test` hands to nextest: make test TESTS="--test peers hold"
TESTS ?=

# What `make relay` measures: sudo make relay RELAY="--quick --device ringwire"
RELAY ?=

.PHONY: help run test check fmt load instructions bench-save bench-compare relay ci

help:
	@echo 'make run    build and start the gateway (ARGS="--config FILE")'
	@echo 'make test   every test, those with real SIP peers too (TESTS="-E FILTER")'
	@echo 'make check  formatting and lints, as CI asks for them'
	@echo 'make load   calls under load (LOAD="incoming --rate 50 --calls 1000 --rtp")'
	@echo 'make instructions   instructions of a packet, a message, a call, beside the saved counts'
	@echo 'make bench-save     times before a change (BENCHES="mixing srtp")'
	@echo 'make bench-compare  times after it, with ratios'
	@echo 'make relay  the relay beside rtpengine, as root (RELAY="--quick")'
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
	cargo fmt --check --manifest-path benches/instructions/Cargo.toml
	cargo clippy --all-targets --quiet -- -D warnings

fmt:
	cargo fmt
	cargo fmt --manifest-path benches/instructions/Cargo.toml

load:
	@scripts/install-dependencies load
	load-tests/run $(LOAD)

instructions:
	@scripts/install-dependencies run
	benches/instructions/run

bench-save:
	benches/compare save $(BENCHES)

bench-compare:
	benches/compare $(BENCHES)

relay:
	@scripts/install-dependencies relay
	load-tests/relay $(RELAY)

ci:
	.ci/run
