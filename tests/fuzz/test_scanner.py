"""The scanner under a seeded storm of near-JSON, against Python's json and PostgreSQL's jsonb.

`make fuzz` searches by coverage, with tools of its own; this runs anywhere and takes seconds.
HOTSHELF_FUZZ_SEED and HOTSHELF_FUZZ_ROUNDS repeat a run or make it longer.
"""

import os
import random
from collections import Counter
from pathlib import Path

import psycopg

from service.embedded import Stack
from tests.fixtures.json_texts import CLEAN, SYNTAX
from tests.fuzz import oracle

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
SEED = int(os.environ.get("HOTSHELF_FUZZ_SEED", "8259"))
ROUNDS = int(os.environ.get("HOTSHELF_FUZZ_ROUNDS", "200000"))
# Longer texts would only repeat themselves, at the price of fewer of them.
MAX_BYTES = 400

TOKENS = [bytes([byte]) for byte in b'[]{},:"\\/-+.eE0123456789untf \t\r\n\x00\x1f\x7f\xff'] + [
    *(b"null", b"true", b"false", b"NaN", b"Infinity", b'"a":', b"{}", b"[]", b'""', b"[[[[[[[["),
    *(b"\\u0000", b"\\ud83d", b"\\ude00", b"\\ud83d\\ude00", b"\\u", b"\\\\", b'\\"', b"\\u00e9"),
    *(b"e999", b"e-1001", b"e131072", b"0" * 40, b"9" * 70, b"-0", b"1.10", b"n" * 90),
    *(letter.encode() for letter in "é\U0001f600\u2028\ufeff"),
    *(b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"),
]


def _mutate(chance: random.Random, text: bytes, other: bytes) -> bytes:
    """One small change, of a kind that a parser's author may have overlooked."""
    start = chance.randrange(len(text) + 1)
    end = min(len(text), start + chance.choice((0, 1, 1, 2, 6, 20)))
    match chance.randrange(6):
        case 0:
            middle = b""
        case 1:
            middle = text[start:end] * chance.choice((2, 2, 3, 40))
        case 2:
            middle = bytes([chance.randrange(256)])
        case 3:
            cut = chance.randrange(len(other) + 1)
            middle = other[cut : cut + 30]
        case 4:
            opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'"', b'"')))
            middle = opening + text[start:end] + closing
        case _:
            middle = chance.choice(TOKENS)
    return text[:start] + middle + text[end:]


def test_the_corpus_gets_python_s_verdict() -> None:
    verdicts = Counter(oracle.check(path.read_bytes()) for path in CORPUS)
    assert verdicts["clean"]
    assert verdicts["content"]
    assert verdicts["syntax"]


def test_mutations_get_python_s_verdict_and_clean_ones_are_jsonb(stack: Stack) -> None:
    chance = random.Random(SEED)
    texts = [path.read_bytes() for path in CORPUS] + CLEAN + SYNTAX
    pool = [text for text in texts if len(text) <= MAX_BYTES]
    verdicts: Counter[str | None] = Counter()
    clean: list[str] = []
    for _ in range(ROUNDS):
        text = chance.choice(pool)
        for _ in range(chance.choice((1, 1, 2, 4))):
            text = _mutate(chance, text, chance.choice(pool))
        verdict = oracle.check(text)
        verdicts[verdict] += 1
        if verdict == "clean":
            clean.append(text.decode())
        if verdict != "syntax" and len(text) <= MAX_BYTES:
            # What still parses is the better starting point.
            pool[chance.randrange(len(pool))] = text
    assert min(verdicts["clean"], verdicts["content"], verdicts["syntax"]) > ROUNDS / 100, verdicts
    assert _refused_by_jsonb(stack, clean) == []


def _refused_by_jsonb(stack: Stack, texts: list[str]) -> list[str]:
    with psycopg.connect(stack.shards[0][0]) as connection:
        rows = connection.execute(
            "SELECT text FROM unnest(%s::text[]) text WHERE NOT pg_input_is_valid(text, 'jsonb')",
            [texts],
        )
        return [text for (text,) in rows]
