# The commands for users and for continuous integration. Each one does all its steps and needs no manual installation.

THEATER := target/debug/theater
GUESTS  := actors tests/guests
# Files of ours, compiled once more with loom's types.
MODELS  := tests/interleavings
# What gives interpreters WASI; it is part of the program.
SHIM    := sdk/wasi-shim
# What npm has installed of the systems that Theater is measured beside.
PEERS   := benches/services/node_modules/.package-lock.json

.PHONY: bench-incremental-cache help run actors test-guests shims build test chaos fuzz lint guard package dist bench bench-peers bench-http bench-services bench-console bench-realms chaos-cluster clean

help:
	@echo "make run     build everything and start the demo in the foreground"
	@echo "make actors  build the example actors"
	@echo "make test    build everything and run all tests"
	@echo "make chaos   kill a runtime under load many times, and check that nothing is lost"
	@echo "make chaos-cluster  the same for three nodes and three database servers, with a bank"
	@echo "make fuzz    search for input that breaks a parser, one minute for each target"
	@echo "make lint    run rustfmt and clippy, and fail on warnings"
	@echo "make guard   count the instructions of the message path, and compare them with the recorded ones"
	@echo "make package see that both crates can be published: packed, built as they are packed, and not uploaded"
	@echo "make dist    make an archive of the program with manual pages, completions, and files for systemd"
	@echo "make bench   measure Theater against the bare parts it is made of"
	@echo "make bench-peers  measure OTP, ractor and kameo at the same work"
	@echo "make bench-http   measure the HTTP servers that were compared"
	@echo "make bench-services  measure a durable counter for each key beside workerd and Restate"
	@echo "make bench-console   measure what a browser that looks on costs a runtime of 5,000 actors"
	@echo "make bench-realms    measure a realm beside a local log, takeovers and moves"
	@echo "make bench-incremental-cache BEFORE=a.wasm AFTER=b.wasm  measure two builds that share compiled functions"
	@echo "make clean   remove everything that was built"

build:
	cargo build --locked

actors:
	scripts/build-guests.sh actors

# The shims lie in the repository: this is for those who change them.
shims:
	scripts/build-shims.sh

test-guests: actors
	scripts/build-guests.sh tests/guests

run: build actors
	@scripts/demo.sh $(THEATER)

# The guests' own tests run first, because a test of the documents builds an actor in the same workspace. Many tests wait for
# something most of the time, so there are more of them at once than a small machine has cores.
test: export RUST_TEST_THREADS := $(or $(RUST_TEST_THREADS),4)
test: build test-guests
	@scripts/test-tools.sh
	cd actors && cargo test --locked --quiet
	cd tests/guests && cargo test --locked --quiet
	cd $(MODELS) && cargo test --locked --quiet
	cd $(SHIM) && cargo test --locked --quiet
	cargo test --locked --no-fail-fast
	cargo test --locked --features fail-points,fuzzing --test recovery --test pause_kills --test upgrade_kills --test chaos --test hostile

# ROUNDS=n sets the number of rounds, SEED=n the random choices.
chaos: test-guests
	THEATER_CHAOS_ROUNDS=$(or $(ROUNDS),300) THEATER_CHAOS_SEED=$(or $(SEED),24301) \
	  cargo test --locked --features fail-points --test chaos -- --nocapture

# Needs PostgreSQL. ROUNDS=n sets the number of faults, SEED=n the random choices.
chaos-cluster: test-guests
	@scripts/test-tools.sh
	THEATER_CHAOS_ROUNDS=$(or $(ROUNDS),1000) THEATER_CHAOS_SEED=$(or $(SEED),24301) \
	  cargo test --locked --test cluster_chaos -- --nocapture

# Needs a nightly compiler and a C++ compiler. Builds cargo-fuzz if it is not installed. SECONDS=n sets the time for each target.
fuzz:
	@command -v cargo-fuzz >/dev/null || PATH="$(CURDIR)/fuzz/target/tools/bin:$$PATH" command -v cargo-fuzz >/dev/null || \
	  cargo install --locked --root fuzz/target/tools cargo-fuzz
	@for target in frames manifest chain-file cbor parts http-head guest-texts proofs; do \
	  mkdir -p fuzz/corpus/$$target fuzz/seeds/$$target && \
	  PATH="$(CURDIR)/fuzz/target/tools/bin:$$PATH" cargo +nightly fuzz run --sanitizer none $$target \
	    fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(or $(SECONDS),60) -timeout=10 || exit 1; \
	done

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --lib --no-default-features -- -D warnings
	for workspace in $(GUESTS) $(MODELS) $(SHIM); do \
	  (cd $$workspace && cargo fmt --check && cargo clippy --locked --all-targets -- -D warnings) || exit 1; \
	done

# RECORD=1 records the current counts as the baseline.
guard:
	cargo run --quiet --locked --example guard -- $(if $(RECORD),--record)

# What `cargo publish --dry-run` does; but the library is built in target/, so that wasmtime is not compiled once more. It
# is a member of a workspace there: as a root of its own, cargo would take what it builds for this checkout's.
package:
	cargo publish --quiet --dry-run --locked --no-verify
	cargo package --quiet --locked --no-verify
	cd target/package && rm -rf packed && mkdir packed && tar -xzf theater-runtime-*.crate -C packed
	cd target/package/packed && cp theater-runtime-*/Cargo.lock . && \
	  { printf '[workspace]\nresolver = "3"\nmembers = ["theater-runtime-*"]\n\n'; sed -n '/^\[profile/,$$p' ../../../Cargo.toml; } > Cargo.toml
	cargo build --locked --lib --manifest-path target/package/packed/Cargo.toml --target-dir target
	cd actors/theater-actor && cargo publish --quiet --dry-run --locked

# PROFILE=dev takes the program that `make build` makes, which is larger and slower.
dist:
	scripts/dist.sh

# QUICK=1 takes about 3 minutes; ONLY=name measures one group.
bench: actors
	cd benches/system && cargo build --release --locked && \
	  target/release/system $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

bench-peers:
	cd benches/system && cargo build --release --locked
	cd benches/peers && cargo run --release --locked -- $(if $(QUICK),--quick)

bench-http:
	cd benches/http-servers && cargo run --release --locked

# Needs chromium and chromedriver.
bench-console: test-guests
	cargo test --locked --profile dev --test console -- --ignored --nocapture

# Needs PostgreSQL. EVENTS=n sets the length of the longest log, SECONDS=n the time of each rate.
bench-realms: test-guests
	@scripts/test-tools.sh
	cargo test --locked --profile dev --test realm_figures -- --ignored --nocapture --test-threads 1

bench-incremental-cache:
	cd benches/incremental-cache && cargo build --release --locked
	benches/incremental-cache/target/release/incremental-cache $(BEFORE) $(AFTER)

# Prints Markdown. KEYS="64 100000" sets the numbers of keys, QUICK=1 takes about a minute, ONLY=name measures one system.
bench-services: actors $(PEERS)
	cd benches/system && cargo build --release --locked --bin theater
	cd benches/services && cargo run --release --locked --quiet -- $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) \
	  $(foreach keys,$(or $(KEYS),$(if $(QUICK),64,64 100000)),--keys $(keys))

# Where npm or the registry is missing, the benchmark says what it leaves out. No package's own scripts are run.
$(PEERS): benches/services/package-lock.json
	@command -v npm >/dev/null || echo "npm is not installed (Debian's package of that name): workerd and Restate are left out"
	@! command -v npm >/dev/null || (cd benches/services && npm ci --ignore-scripts --no-audit --no-fund) || \
	  echo "npm did not install the packages of benches/services/package.json: what is missing is left out"

clean:
	cargo clean
	rm -rf $(foreach workspace,$(GUESTS) $(MODELS) $(SHIM),$(workspace)/target $(workspace)/dist) benches/*/target benches/*/node_modules
