#!/bin/sh
# What pip and cargo cannot install: one clear line for each thing that is missing.
PYTHON=${PYTHON:-python3}
RUST=1.88 # of jiter, see docs/decisions/0001-json-scanner.md
missing=0
need() {
    echo "hotshelf: $1 is missing: install $2" >&2
    missing=1
}
rust_is_new_enough() {
    found=$(cargo --version 2>/dev/null | cut -s -d ' ' -f 2)
    [ -n "$found" ] && [ "$(printf '%s\n' "$RUST" "$found" | sort -V | head -n 1)" = "$RUST" ]
}
"$PYTHON" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null ||
    need "Python 3.11 or newer" "python3 (Debian: apt-get install python3; or set PYTHON=)"
"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
    need "Python's venv module" "python3-venv (Debian: apt-get install python3-venv)"
rust_is_new_enough ||
    need "cargo of Rust $RUST or newer" "Rust by rustup, https://rustup.rs (Debian's own cargo is too old)"
command -v cc >/dev/null 2>&1 ||
    need "a C compiler" "gcc (Debian: apt-get install build-essential)"
"$PYTHON" -c 'import os, sysconfig; raise SystemExit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null ||
    need "Python.h" "Python's headers (Debian: apt-get install python3-dev)"
command -v pg_config >/dev/null 2>&1 && [ -e "$(pg_config --includedir)/libpq-fe.h" ] ||
    need "libpq with its headers" "libpq-dev (Debian: apt-get install libpq-dev)"
exit $missing
