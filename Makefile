# Two commands do all: `make run` and `make test`. Everything lives in .venv, target/ and .hotshelf/.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
NATIVE := Cargo.toml Cargo.lock native/Cargo.toml $(wildcard native/src/*.rs)
READY  := $(VENV)/.ready
PYTEST := $(BIN)/pytest

.PHONY: setup run test check format lint types layers unit contract model fuzz docs clean \
  bench bench-parts bench-http bench-writes bench-lists bench-lists-skew bench-scale bench-codings \
  bench-report flame soak soak-writes

setup: $(READY)

# Rebuilt when Rust, the dependencies or their pins change.
$(READY): pyproject.toml constraints.txt $(NATIVE)
	@PYTHON=$(PYTHON) deploy/prerequisites.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,dev,bench,loadtest,docs]'
	@touch $@

run: setup
	$(BIN)/hotshelf run $(ARGS)

check: format lint types layers unit contract

format: setup
	$(BIN)/ruff format --check .
	cargo fmt --check

lint: setup
	$(BIN)/ruff check .
	cargo clippy --quiet --all-targets -- -D warnings

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

unit: setup
	cargo test --quiet
	$(PYTEST) -q tests/house tests/unit

contract: setup
	$(PYTEST) -q tests/contract

# The whole suite: one pytest run, so that its closing line speaks for all of it.
test: setup
	cargo test --quiet
	$(PYTEST) tests

# The cache protocol with more actors than `test` has, and a trace for every rule left out.
model: setup
	$(BIN)/python -m tests.model all --states $(or $(STATES),500000)

# Minutes to hours, by coverage; what runs in `test` needs neither it nor its tools.
fuzz: setup
	tests/fuzz/coverage_guided.sh $(BIN)/python $(or $(FUZZ_SECONDS),60)

# The parts, then the service beside its peers, then the tables of docs/performance.md.
bench: bench-parts bench-http bench-writes bench-report

bench-parts: setup
	$(PYTEST) bench --benchmark-only

# ARGS as `python -m bench.end_to_end --help` tells; peers that are not installed are left out.
bench-http: setup
	$(BIN)/python -m bench.end_to_end $(ARGS)

# Writes and replays beside pgbench running the same SQL; ARGS="--rounds 9 --seconds 10".
bench-writes: setup
	$(BIN)/python -m bench.bench_writes $(ARGS)

# A page of a list at depth 1 and 100,000, of a million items; plans go to the result file.
bench-lists: setup
	$(BIN)/python -m bench.bench_lists $(ARGS)

# Every kind of allowed list over a million skewed items: an answer, or `query-too-expensive` in time.
bench-lists-skew: setup
	$(BIN)/python -m bench.bench_lists_skew $(ARGS)

# Pages at 100,000 and at 10 million items; needs half an hour and about 30 GB.
bench-scale: setup
	$(BIN)/python -m bench.bench_lists --sizes 100000 10000000 $(ARGS)

bench-codings: setup
	$(BIN)/python -m bench.bench_codings

bench-report: setup
	$(BIN)/python -m bench.report

# Where the time of a read goes: ARGS="--read near" for the near cache.
flame: setup
	$(BIN)/python -m bench.flame $(ARGS)

# Mixed load for so long; what grows in a worker is printed.
soak: setup
	$(BIN)/python -m loadtest.soak --minutes $(or $(MINUTES),60) $(ARGS)

# Blind retries through a broken network while workers die, for hours: about 100 creates a second.
soak-writes: setup
	HOTSHELF_TEST_CREATES=$(or $(CREATES),1000000) $(PYTEST) -s tests/faults/test_writes.py

# Regenerate the pages made from code, then build the site into target/site: every link is checked,
# and no page may load anything from elsewhere.
docs: setup
	sed -i '/^| /d;/^|--/d' docs/settings.md
	$(BIN)/hotshelf settings --markdown >> docs/settings.md
	env -u HOTSHELF_DATA_DIR $(BIN)/python -m service.cli.reference > docs/cli.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@! grep -rlE '<(script|img|iframe)[^>]+src="?(https?:)?//|<link[^>]+href="?(https?:)?//' target/site

clean:
	rm -rf $(VENV) target .hotshelf service/*.so
