"""A synthetic catalog of realistic shape and any size, reproducible from its seed.

Items are made in chunks, each with its own random generator, so that any part of the catalog can be
made on its own. Ids and times grow by one millisecond per item.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import orjson

from service.store.copy import row_head

CHUNK_ITEMS = 500
_BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
_BEGIN_MS = int(_BEGIN.timestamp() * 1000)
_RANDOM_BITS = 80
_FILLER_BYTES = 1 << 20
# A third more than this is still available after any position in the filler.
_MAX_ITEM_BYTES = 750_000
_OWNERS = 1_000
_SECTIONS = b"kitchen outdoor books audio garden toys office cycling textiles lighting".split()
_CURRENCIES = [b"EUR", b"EUR", b"EUR", b"USD", b"GBP", b"JPY"]
_FIRMS = [text.encode() for text in (" & Söhne", " Frères", "工房", " Ltd", "", "", "")]
_MEMBERS = ["name", "sku", "section", "brand", "price", "stock", "rating", "tags", "description"]


class SeedInvalid(Exception):
    """A catalog that cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``item_bytes`` is the mean size of an item's data. ``attributes`` are pairs of name and kind.

    Raises SeedInvalid.
    """

    items: int
    item_bytes: int
    seed: int = 0
    attributes: tuple[tuple[str, str], ...] = ()
    collection: int = 0

    def __post_init__(self) -> None:
        if self.items < 1 or not 1 <= self.item_bytes <= _MAX_ITEM_BYTES:
            raise SeedInvalid(f"items must be at least 1, and bytes from 1 to {_MAX_ITEM_BYTES:,}")
        names = [name for name, _ in self.attributes]
        for name, kind in self.attributes:
            if kind not in KINDS:
                raise SeedInvalid(f"{name}: no kind {kind!r}; there are {', '.join(KINDS)}")
            if not name or len(name.encode()) > 256 or name in _MEMBERS or names.count(name) > 1:
                raise SeedInvalid(f"{name!r} is empty, too long, or taken")

    @property
    def identity(self) -> str:
        """Plans with the same identity make the same catalog."""
        identity = f"seed {self.seed} {self.items} {self.item_bytes} {self.attributes}"
        return f"{identity} {self.collection}" if self.collection else identity


def _number(rng: random.Random) -> bytes:
    # Formatted as integers, because some floats would print more digits.
    cents = int(10 ** (2 + 4 * rng.random()))
    return b"%d.%02d" % divmod(cents, 100)


def _text(rng: random.Random) -> bytes:
    return b'"%b"' % b" ".join(rng.choices(_words(), k=5))


# For each kind of declared attribute, how a value is made.
KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "int": lambda rng: b"%d" % int(rng.random() * 1_000_000),
    "number": _number,
    "word": lambda rng: b'"w%03d"' % int(1000 * rng.random() ** 2),
    "text": _text,
    "bool": lambda rng: b"true" if rng.random() < 0.5 else b"false",
    "time": lambda rng: orjson.dumps(_BEGIN + timedelta(seconds=int(rng.random() * 31_536_000))),
    "tags": lambda rng: orjson.dumps([f"t{int(50 * rng.random() ** 2)}" for _ in range(3)]),
}


class Catalog:
    """Makes the items of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._words = _words()
        self._extra = [(orjson.dumps(name), KINDS[kind]) for name, kind in plan.attributes]
        rng = random.Random("filler")
        # A few words are frequent and many are rare, as in natural language.
        weights = [1 / rank for rank in range(1, len(self._words) + 1)]
        words = rng.choices(self._words, weights, k=_FILLER_BYTES // 4)
        self._filler = b" ".join(words)[:_FILLER_BYTES] * 2

    def chunk(self, first: int) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Id, encoded row head and data of the items of the chunk that begins at ``first``."""
        plan = self._plan
        # Ids are of all collections together.
        other = f" {plan.collection}" if plan.collection else ""
        rng = random.Random(f"{plan.seed} {first} {plan.item_bytes}{other}")
        for n in range(first, min(first + CHUNK_ITEMS, plan.items)):
            id_bits = _BEGIN_MS + n << _RANDOM_BITS | rng.getrandbits(_RANDOM_BITS)
            created = _BEGIN + timedelta(milliseconds=n)
            owner = b"owner-%03d" % int(_OWNERS * rng.random() ** 2)
            head = row_head(owner, 1, created, created, plan.collection)
            yield id_bits.to_bytes(16, "big"), head, self._data(n, rng)

    def _data(self, n: int, rng: random.Random) -> bytes:
        words, draw = self._words, rng.random
        # One random number decides several things, because random numbers are most of the work.
        a, b = int(len(words) * draw()), int(len(words) * draw() ** 2)
        section = _SECTIONS[int(len(_SECTIONS) * draw() ** 1.5)]
        text = (
            b'{"name":"%b %b %d","sku":"%b-%07d","section":"%b","brand":"%b%b",'
            b'"price":{"amount":%b,"currency":"%b"},"stock":%d,"rating":%d.%d,"tags":["%b","%b"]'
        ) % (
            words[a].capitalize(),
            words[b],
            a % 97,
            section[:3].upper(),
            n,
            section,
            words[b // 20].capitalize(),
            _FIRMS[b % len(_FIRMS)],
            _number(rng),
            _CURRENCIES[a % len(_CURRENCIES)],
            int(1000 * draw() ** 3),
            1 + a % 4,
            b % 10,
            words[a % 50],
            words[b % 200],
        )
        for name, make in self._extra:
            text += b",%b:%b" % (name, make(rng))
        # Up to a third more or less than the mean.
        room = int(self._plan.item_bytes * (2 / 3 + draw() * 2 / 3)) - len(text) - 18
        if room > 0:
            text += b',"description":"%b"' % self._prose(room, draw())
        return text + b"}"

    def _prose(self, size: int, where: float) -> bytes:
        start = int(where * _FILLER_BYTES)
        return self._filler[start : start + size]


@cache
def _words() -> list[bytes]:
    """2,000 invented words of one to four syllables, always the same."""
    rng = random.Random("syllables")
    consonants, vowels, lengths = "bdfghklmnprstvz", "aeiou", [1, 2, 2, 3, 4]
    words = {
        "".join(rng.choice(consonants) + rng.choice(vowels) for _ in range(rng.choice(lengths)))
        for _ in range(8_000)
    }
    return [word.encode() for word in rng.sample(sorted(words), 2_000)]
