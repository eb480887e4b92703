# `make run` and `make test` do all; `make help` lists the rest. What they need is installed first.
# Everything lives in .venv, target/ and .hotshelf/.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PYTEST := $(BIN)/pytest
SOURCES := Cargo.toml Cargo.lock pyproject.toml native/Cargo.toml $(wildcard native/src/*.rs)

.DEFAULT_GOAL := help
.PHONY: help run setup test check static format lint types layers unit contract native-tests release \
  model fuzz docs wheel clean bench bench-parts bench-http bench-writes bench-lists bench-lists-skew \
  bench-scale bench-codings bench-collections bench-observe bench-compare bench-report report flame load soak soak-writes need-run need-tests need-docs need-bench \
  need-soak

help: ## What there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: need-run ## Start PostgreSQL, Redis and the service at http://127.0.0.1:8080; ARGS="--port 9000"
	@$(BIN)/hotshelf run $(ARGS)

# Each worker has servers of its own: PostgreSQL four times, and Redis.
test: need-tests native-tests ## The whole suite on all cores, or WORKERS=1; SEED=n repeats an order; COVERAGE=1
	$(PYTEST) -n $(or $(WORKERS),logical) --maxprocesses 4 --dist worksteal \
	  $(if $(SEED),--randomly-seed=$(SEED)) $(if $(COVERAGE),--cov --cov-report=) tests

check: static unit contract ## Format, lint, types, layers, house rules, unit and contract tests

static: format lint types layers ## Whatever is found without running anything

format: need-tests
	$(BIN)/ruff format --check .
	cargo fmt --check

lint: need-tests
	$(BIN)/ruff check .
	cargo clippy --quiet --all-targets -- -D warnings

types: need-tests
	$(BIN)/mypy
	$(BIN)/stubtest service.native

layers: need-tests
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

native-tests: need-tests
	cargo test --quiet

unit: native-tests ## Rust, house rules and unit tests: no servers
	$(PYTEST) -q tests/house tests/unit

contract: need-tests ## What the modules promise each other, on real servers
	$(PYTEST) -q tests/contract

model: need-tests ## The cache protocol with more actors, and a trace for every rule left out
	$(BIN)/python -m tests.model all --states $(or $(STATES),500000)

fuzz: need-tests ## The JSON scanner, by coverage, for FUZZ_SECONDS=60; needs a nightly Rust
	tests/fuzz/coverage_guided.sh $(BIN)/python $(or $(FUZZ_SECONDS),60)

bench: bench-parts bench-http bench-writes bench-report ## Parts, the service beside its peers, docs/performance.md

# The order matters, since samples that run at once would disturb each other.
report: need-bench ## Measure and write docs/performance.md and bench/results; refuses a tree with changes
	$(BIN)/python -m bench.machine
	$(BIN)/python -m bench.end_to_end $(ARGS)
	$(BIN)/python -m bench.bench_writes
	$(BIN)/python -m bench.report

bench-parts: need-bench
	$(PYTEST) bench --benchmark-only

bench-http: need-bench ## ARGS as `python -m bench.end_to_end --help` tells; absent peers are left out
	$(BIN)/python -m bench.end_to_end $(ARGS)

bench-writes: need-bench ## Writes beside pgbench running the same SQL; ARGS="--rounds 9 --seconds 10"
	$(BIN)/python -m bench.bench_writes $(ARGS)

bench-lists: need-bench ## Pages of a list at depth 1 and 100,000, of a million items
	$(BIN)/python -m bench.bench_lists $(ARGS)

bench-lists-skew: need-bench ## Every kind of allowed list over a million skewed items
	$(BIN)/python -m bench.bench_lists_skew $(ARGS)

bench-scale: need-bench ## Pages at 100,000 and at 10 million items: half an hour, about 30 GB
	$(BIN)/python -m bench.bench_lists --sizes 100000 10000000 $(ARGS)

bench-observe: need-bench ## What histograms, access log and traces cost a read
	$(BIN)/python -m bench.bench_observe $(ARGS)

bench-collections: need-bench ## What a thousand collections cost, and changes of definitions under load
	$(BIN)/python -m bench.bench_many_collections
	$(BIN)/python -m bench.bench_definitions

bench-codings: need-bench ## Every level of zstd, gzip and br: ratio and time
	$(BIN)/python -m bench.bench_codings

bench-compare: need-bench ## This tree ÷ BASE=rev, paired: near hit, Redis hit, list; status 1 below 0.95
	$(BIN)/python -m bench.compare $(or $(BASE),$(error BASE=rev is missing)) $(ARGS)

bench-report: need-bench
	$(BIN)/python -m bench.report

flame: need-bench ## Where the time of a read goes; ARGS="--read near" for the near cache
	$(BIN)/python -m bench.flame $(ARGS)

load: need-soak ## SHAPE=step, spike or soak against HOST=url with TOKENS=file; pages and a PNG in target/load
	$(BIN)/python -m loadtest.load --shape $(or $(SHAPE),step) $(if $(HOST),--host $(HOST)) \
	  $(if $(TOKENS),--tokens $(TOKENS)) $(ARGS)

soak: need-soak ## Mixed load for MINUTES=60 with fsync, a quota and checked histories; fails on growth
	$(BIN)/python -m loadtest.soak --minutes $(or $(MINUTES),60) $(ARGS)

soak-writes: need-soak ## Retries through a broken network while workers die, CREATES=1000000
	HOTSHELF_TEST_CREATES=$(or $(CREATES),1000000) $(PYTEST) -s --timeout 0 tests/faults/test_writes.py

# Nothing on a page of the site may be loaded from elsewhere.
docs: need-docs ## Write the pages that are made from code; build the site in target/site, links checked
	sed -i '/^| /d;/^|--/d' docs/settings.md
	$(BIN)/hotshelf settings --markdown >> docs/settings.md
	env -u HOTSHELF_DATA_DIR $(BIN)/python -m service.cli.reference > docs/cli.md
	$(BIN)/python -m service.observe.metrics > docs/metrics.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@! grep -rlE '<(script|img|iframe)[^>]+src="?(https?:)?//|<link[^>]+href="?(https?:)?//' target/site

wheel: need-tests ## Build target/wheels/hotshelf-*.whl, which holds everything but its dependencies
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir target/wheels .
	@ls target/wheels/hotshelf-*.whl

counts: need-tests ## Sizes, docstrings and imports of service/, as the house tests bound them
	$(BIN)/python -m tests.house.counts

clean: ## Remove all that was built or stored here
	rm -rf $(VENV) target .hotshelf service/*.so

# What a target needs first. Packages and the native extension are installed at the same time, a
# core for each, since both compile. The extension is compiled quickly unless its speed matters:
# benchmarks, soaks and CI take the release build.
STAMP := $(VENV)/.installed
define installed
@began=$$(date +%s); $(MAKE) -s -j2 $(1:%=$(STAMP)-%) && took=$$(($$(date +%s) - began)) && \
  { [ $$took -lt 2 ] || echo "hotshelf: installed in $$took s"; }
endef

PACKAGES_run   := dependencies embedded
PACKAGES_tests := $(PACKAGES_run) dev otel bench loadtest
PACKAGES_bench := $(PACKAGES_run) dev otel bench
PACKAGES_soak  := $(PACKAGES_run) dev loadtest
PACKAGES_docs  := $(PACKAGES_run) docs

need-run need-tests need-docs: need-%:
	$(call installed,$* native)

need-bench need-soak: need-%:
	$(call installed,$* release)

setup: need-tests ## Install what the tests need, and start nothing

release: ## Build the native extension as it is shipped; `test` and `run` take it then
	$(call installed,tests release)

$(BIN)/python:
	@deploy/install.sh environment $(PYTHON)

$(patsubst %,$(STAMP)-%,run tests bench soak docs): $(STAMP)-%: pyproject.toml constraints.txt | $(BIN)/python
	@deploy/install.sh packages $(PACKAGES_$*) && touch $@

$(STAMP)-native: $(SOURCES) | $(BIN)/python
	@rm -f $(STAMP)-release
	@deploy/install.sh native fast && touch $@
$(STAMP)-release: $(SOURCES) | $(BIN)/python
	@deploy/install.sh native release && touch $(STAMP)-native $@
