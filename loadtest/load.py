"""Load of a shape against a running service: ``make load SHAPE=step``.

Leaves locust's HTML and CSV, and a PNG of rates and percentiles over time, in target/load. Exit
status 1: an answer was wrong, or an error other than the limiter's 429.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from loadtest.picture import draw
from loadtest.shapes import SHAPES

ROOT = Path(__file__).parents[1]
LOCUSTFILE = Path(__file__).with_name("locustfile.py")
TOKENS = ".hotshelf/dev-token"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="step")
    parser.add_argument("--host", default="http://127.0.0.1:8080", help="where the service is")
    parser.add_argument("--tokens", default=TOKENS, help="file of tokens or API keys, one a line")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--rate", type=float, default=20, help="requests a second of a reader")
    parser.add_argument("--output", type=Path, default=ROOT / "target" / "load")
    args = parser.parse_args()
    folder: Path = args.output / args.shape
    folder.mkdir(parents=True, exist_ok=True)
    env = settings(args.shape, args.users, args.minutes, Path(args.tokens), folder)
    env["HOTSHELF_LOAD_RATE"] = str(args.rate)
    files = ["--html", str(folder / "report.html"), "--csv", str(folder / "load")]
    more = ["--csv-full-history", "--loglevel", "WARNING", *files]
    done = subprocess.run(command(args.host, *more), env=env, check=False)
    draw(folder / "load_stats_history.csv", folder / "load.png")
    print(f"in {folder}: report.html, load_*.csv, load.png")
    return done.returncode


def settings(shape: str, users: int, minutes: float, tokens: Path, folder: Path) -> dict[str, str]:
    """The environment of locust, which leaves its facts in ``folder``."""
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "HOTSHELF_LOAD_SHAPE": shape,
        "HOTSHELF_LOAD_USERS": str(users),
        "HOTSHELF_LOAD_MINUTES": str(minutes),
        "HOTSHELF_LOAD_TOKENS": str(tokens),
        "HOTSHELF_LOAD_FACTS": str(folder / "facts.json"),
    }


def command(url: str, *more: str) -> list[str]:
    """Locust without its page, against ``url``."""
    words = ["--locustfile", str(LOCUSTFILE), "--headless", "--host", url]
    return [sys.executable, "-m", "locust", *words, "--stop-timeout", "10", "--only-summary", *more]


if __name__ == "__main__":
    sys.exit(main())
