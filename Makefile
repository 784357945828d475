# Everything a user or a CI needs: nothing is installed by hand, no step comes in between.

THEATER := target/debug/theater
GUESTS  := actors tests/guests

.PHONY: help run actors test-guests build test chaos lint bench clean

help:
	@echo "make run     build everything and start the demo in the foreground"
	@echo "make actors  build the example actors"
	@echo "make test    build everything and run all tests"
	@echo "make chaos   kill a runtime under load, again and again, and see that nothing is lost"
	@echo "make lint    rustfmt and clippy, warnings denied"
	@echo "make bench   the benchmarks"
	@echo "make clean   remove everything that was built"

build:
	cargo build --locked

actors:
	scripts/build-guests.sh actors

test-guests: actors
	scripts/build-guests.sh tests/guests

run: build actors
	@scripts/demo.sh $(THEATER)

test: test-guests
	cargo test --locked
	cargo test --locked --features fail-points --test recovery --test chaos
	cd actors && cargo test --locked --quiet
	cd tests/guests && cargo test --locked --quiet

# ROUNDS=n and SEED=n choose how long and which way.
chaos: test-guests
	THEATER_CHAOS_ROUNDS=$(or $(ROUNDS),300) THEATER_CHAOS_SEED=$(or $(SEED),24301) \
	  cargo test --locked --features fail-points --test chaos -- --nocapture

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	for workspace in $(GUESTS); do \
	  (cd $$workspace && cargo fmt --check && cargo clippy --locked --all-targets -- -D warnings) || exit 1; \
	done

bench:
	cd benches/http-servers && cargo run --release --locked

clean:
	cargo clean
	rm -rf $(foreach workspace,$(GUESTS),$(workspace)/target $(workspace)/dist) benches/*/target
