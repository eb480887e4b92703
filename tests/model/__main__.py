"""`make model`: the large scopes, then every rule left out; `table`: the rows for the docs."""

import argparse
import sys
import time

from tests.model.rules import RULES
from tests.model.scopes import LARGE, SCOPES
from tests.model.search import Found, search
from tests.model.switches import Rules


def row(name: str, found: Found) -> str:
    """The rule's line in docs/cache-protocol.md."""
    promise = found.promise.partition(":")[0]
    rule = RULES[name]
    return f"| `{name}` | {rule.text} | {rule.without} | {promise} | {found.steps} |"


def without(name: str) -> Found:
    """The shortest way to a broken promise with this rule left out."""
    return search(Rules().without(name), SCOPES[RULES[name].scope])


def _large(limit: int) -> bool:
    total, sound = 0, True
    for name, scope in LARGE.items():
        began = time.process_time()
        found = search(Rules(), scope, limit)
        total += found.states
        sound = sound and not found.promise
        seconds = time.process_time() - began
        bound = "all of them" if found.whole else "no further"
        sys.stdout.write(f"{name:12} {found.states:9,} states, {bound}, {seconds:.0f} s CPU\n")
        if found.promise:
            sys.stdout.write(f"{found}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{total:,} states, {'no' if sound else 'A'} promise broken\n")
    return sound


def main() -> int:
    """Exit status 1 if a promise breaks with all rules on, or none breaks without a rule."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument(
        "what", nargs="?", default="all", choices=["all", "large", "rules", "table"]
    )
    parser.add_argument("--states", type=int, default=500_000, help="bound of each large scope")
    args = parser.parse_args()
    sound = True
    if args.what in ("all", "large"):
        sound = _large(args.states)
    if args.what == "large":
        return 0 if sound else 1
    for name in RULES:
        found = without(name)
        sound = sound and bool(found.promise)
        text = row(name, found) if args.what == "table" else f"\nwithout {name}: {found}"
        sys.stdout.write(f"{text}\n")
    return 0 if sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
