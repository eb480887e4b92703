#!/bin/sh
# Coverage-guided fuzzing of the scanner with a stable compiler: `make fuzz FUZZ_SECONDS=600`.
# Texts that reach new code land in target/fuzz/corpus, contradictions in target/fuzz/found: copy
# those worth keeping to tests/fuzz/corpus. Linux only.
set -eu
python=${1:?the Python to run}
seconds=${2:-60}
cd "$(dirname "$0")/../.."
"$python" -m pip install --quiet --disable-pip-version-check 'atheris>=3,<4'

# What cargo-fuzz passes, without the sanitizers that need a nightly compiler. With --target,
# build scripts and macros stay as they are.
target=$(rustc -vV | sed -n 's/^host: //p')
sancov="-Cllvm-args=-sanitizer-coverage"
RUSTFLAGS="-Cpasses=sancov-module $sancov-level=3 $sancov-inline-8bit-counters $sancov-pc-table \
$sancov-trace-compares" cargo build --quiet --release --target "$target" \
    --target-dir target/fuzz --features pyo3/extension-module
mkdir -p target/fuzz/module target/fuzz/corpus target/fuzz/found
cp "target/fuzz/$target/release/libnative.so" target/fuzz/module/native.so

site=$("$python" -c 'import atheris; print(atheris.path())')
PYTHONPATH=. LD_PRELOAD="$site/ubsan_with_fuzzer.so" "$python" tests/fuzz/coverage_guided.py \
    target/fuzz/module target/fuzz/corpus tests/fuzz/corpus -dict=tests/fuzz/json.dict \
    -max_len=400 -max_total_time="$seconds" -artifact_prefix=target/fuzz/found/
