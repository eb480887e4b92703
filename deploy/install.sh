#!/bin/sh
# One step of the installation in .venv, for the Makefile, which knows when each is due:
#   install.sh environment PYTHON | packages GROUP... | native PROFILE
# A line says what begins and one how long it took; what the tools print is shown if they fail.
set -eu
cd "$(dirname "$0")/.."
unset MAKEFLAGS MAKELEVEL # cargo would look for a job server that its recipe was not given
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_CONSTRAINT="$PWD/constraints.txt"
python=.venv/bin/python
output=$(mktemp)
trap 'rm -f "$output" "$output.wanted"' EXIT

step() {
    what=$1 began=$(date +%s)
    shift
    echo "hotshelf: $what ..."
    "$@" >"$output" 2>&1 || {
        cat "$output" >&2
        echo "hotshelf: $what: failed" >&2
        exit 1
    }
    echo "hotshelf: $what: done in $(($(date +%s) - began)) s"
}

case $1 in
environment)
    PYTHON=$2 deploy/prerequisites.sh
    step "making .venv" "$2" -m venv .venv
    ;;
packages)
    shift
    $python - "$@" >"$output.wanted" <<'END'
import sys, tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
groups = {"dependencies": project["dependencies"]} | project["optional-dependencies"]
print(*(requirement for group in sys.argv[1:] for requirement in groups[group]), sep="\n")
END
    step "installing packages ($*)" $python -m pip install -r "$output.wanted"
    ;;
native)
    # --no-deps: `packages` installs them meanwhile, and takes longer where psycopg is compiled:
    # that uses one core only, which cargo leaves to it.
    MATURIN_PEP517_ARGS="--profile $2" step "compiling the native extension ($2)" \
        nice -n 5 $python -m pip install --no-deps -e .
    ;;
esac
