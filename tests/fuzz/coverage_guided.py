"""Search for texts on which the scanner and the oracle part, guided by the scanner's coverage.

Started by coverage_guided.sh with the folder of the instrumented extension, then libFuzzer's own
arguments, the corpus folder first.
"""

import importlib
import sys

# Found by name: installed by the script alone, since it has no wheels for some platforms.
atheris = importlib.import_module("atheris")


def main() -> None:
    sys.path.insert(0, sys.argv.pop(1))
    # Before anything imports the ordinary build.
    sys.modules["service.native"] = importlib.import_module("native")
    oracle = importlib.import_module("tests.fuzz.oracle")
    atheris.Setup(sys.argv, oracle.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
