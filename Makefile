# Two commands do all: `make run` and `make test`. Everything lives in .venv, target/ and .hotshelf/.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
NATIVE := Cargo.toml Cargo.lock native/Cargo.toml $(wildcard native/src/*.rs)
READY  := $(VENV)/.ready
PYTEST := $(BIN)/pytest

.PHONY: setup run test check format lint types layers unit contract fuzz bench docs clean

setup: $(READY)

# Rebuilt when Rust, the dependencies or their pins change.
$(READY): pyproject.toml constraints.txt $(NATIVE)
	@PYTHON=$(PYTHON) deploy/prerequisites.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,dev]'
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

# Minutes to hours, by coverage; what runs in `test` needs neither it nor its tools.
fuzz: setup
	tests/fuzz/coverage_guided.sh $(BIN)/python $(or $(FUZZ_SECONDS),60)

bench: setup
	$(PYTEST) bench --benchmark-only

# Write the generated table of docs/settings.md anew.
docs: setup
	sed -i '/^| /d;/^|--/d' docs/settings.md
	$(BIN)/hotshelf settings --markdown >> docs/settings.md

clean:
	rm -rf $(VENV) target .hotshelf service/*.so
