# `make help` lists the targets. All can be repeated, and need no network once they have run.
.PHONY: help setup setup-test demo serve-demo api-test test faults soak conformance conformance-clean fuzz audit sbom bench bench-prepare

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 26

setup: ## system packages (SKIP_APT=1: none) and ONNX Runtime
	@scripts/setup.sh

setup-test: ## the same, with the packages of the tests
	@scripts/setup.sh --test

demo: setup ## build, then watch the sample recording with the embedded cue index
	cargo build --release --locked
	./target/release/ahwatch watch --plain --judge cues examples/media/interview.mp4

serve-demo: setup ## build, then the service with the embedded cue index: a browser joins, the dashboard shows it
	cargo build --release --locked
	@scripts/serve-demo.sh

api-test: setup-test ## the HTTP API before schemathesis, which asks it what its description allows and what not
	cargo build --locked
	@scripts/api-test.sh

# Without features it is checked, not tested: the one test that is only there then has a unit test beside it that always runs.
test: setup-test ## format, clippy with and without features, all tests, docs
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked --all-features -- --test-threads=4
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	@echo "make test: all of it passed"

faults: setup-test ## the fault laboratory: real faults on real components, and a scorecard (half an hour; RECORD=1 keeps it)
	@scripts/faults.sh

soak: setup-test ## case 23 of it: the service with eight cameras and a fault every half a minute, for an hour (AHWATCH_SOAK_MINUTES=60)
	cargo build --release --locked
	AHWATCH_BIN="$(CURDIR)/target/release/ahwatch" RUST_BACKTRACE=0 cargo test --locked --all-features --test it faults::soak::case_23_soak -- --exact --ignored --nocapture

conformance: ## the client before the real vLLM and ms-swift, on CPU (7.6 GB on disk once, then some 40 minutes; ONLY=TOPIC,...)
	@scripts/setup.sh --test --conformance
	@tests/conformance/setup.sh
	@RUST_BACKTRACE=0 cargo test --locked --test it conformance:: -- --ignored --test-threads=1 --nocapture

conformance-clean: ## remove what it built
	@tests/conformance/setup.sh --clean

fuzz: ## the fuzz targets, two at a time, each for FOR seconds (600); needs a nightly compiler (ONLY=NAME,...)
	@scripts/fuzz.sh

audit: ## licences, bans and sources of all dependencies; advisories where they can be reached
	@scripts/audit.sh

sbom: ## what the program is made of, as CycloneDX: target/sbom/ahwatch.cdx.json
	@scripts/sbom.sh

bench: setup-test ## every bench: decoding, many sources, load, gate, BAH (an hour)
	cargo bench --locked

bench-prepare: setup-test ## `bah prepare` beside the published procedure, and the annotations beside PyYAML
	cargo bench --locked --bench bah
