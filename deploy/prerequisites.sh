#!/bin/sh
# What pip and cargo cannot install: one clear line for each thing that is missing.
PYTHON=${PYTHON:-python3}
missing=0
need() {
    echo "hotshelf: $1 is missing: install $2" >&2
    missing=1
}
"$PYTHON" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null ||
    need "Python 3.11 or newer" "python3 (Debian: apt-get install python3; or set PYTHON=)"
"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
    need "Python's venv module" "python3-venv (Debian: apt-get install python3-venv)"
command -v cargo >/dev/null 2>&1 ||
    need "cargo, Rust's build tool" "Rust 1.85 or newer (https://rustup.rs; Debian 13: apt-get install cargo)"
command -v cc >/dev/null 2>&1 ||
    need "a C compiler" "gcc (Debian: apt-get install build-essential)"
"$PYTHON" -c 'import os, sysconfig; raise SystemExit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null ||
    need "Python.h" "Python's headers (Debian: apt-get install python3-dev)"
command -v pg_config >/dev/null 2>&1 && [ -e "$(pg_config --includedir)/libpq-fe.h" ] ||
    need "libpq with its headers" "libpq-dev (Debian: apt-get install libpq-dev)"
exit $missing
