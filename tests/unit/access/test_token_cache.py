"""The cache of verified tokens: expiry, size, and distinct entries."""

import time

import pytest

from service.access import tokens
from service.access.tokens import TokenVerifier
from service.model.errors import InvalidToken
from tests.fixtures.tokens import AUDIENCE, ISSUER, LEEWAY_S, jwks, key_set, token, verifier

NOW = int(time.time())


class _Clock:
    now_s = float(NOW)

    def __call__(self) -> float:
        return self.now_s


def test_the_cache_never_outlives_exp_and_leeway() -> None:
    clock = _Clock()
    tokens = TokenVerifier({ISSUER: key_set(jwks(("ES256", "k")))}, AUDIENCE, LEEWAY_S, clock)
    sent = token(iat=NOW, exp=NOW + 5)
    first = tokens.verify(sent)
    clock.now_s = NOW + 5 + LEEWAY_S - 0.5
    assert tokens.verify(sent) is first
    clock.now_s = NOW + 5 + LEEWAY_S
    with pytest.raises(InvalidToken, match="expired"):
        tokens.verify(sent)


def test_the_cache_is_bounded_by_count_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_CACHE_MAX_TOKENS", 3)
    many = verifier(("ES256", "k"))
    sent = [token(jti=str(n)) for n in range(5)]
    callers = [many.verify(one) for one in sent]
    assert _remembered(many, sent) == sent[2:]
    assert many.verify(sent[4]) is callers[4]
    assert many.verify(sent[0]) is not callers[0]


def test_the_words_of_a_scope_have_weight() -> None:
    keys = {ISSUER: key_set(jwks(("ES256", "k")))}
    few = TokenVerifier(keys, AUDIENCE, LEEWAY_S, cache_max_bytes=100_000)
    plain, wordy = token(), token(scope=" ".join(map(str, range(1000))))
    few.verify(plain)
    assert few.cached_bytes < 10_000
    few.verify(wordy)
    assert _remembered(few, [plain, wordy]) == [plain, wordy]
    assert few.cached_bytes > 70_000
    wordier = token(scope=" ".join(map(str, range(1001))))
    few.verify(wordier)
    assert _remembered(few, [plain, wordy, wordier]) == [wordier]
    assert few.cached_bytes <= 100_000
    few.forget()
    assert not _remembered(few, [wordier])
    assert few.cached_bytes == 0


def test_a_token_has_one_spelling() -> None:
    """RFC 7515 section 2: base64url without padding."""
    keys = verifier(("ES256", "k"))
    sent = token()
    keys.verify(sent)
    for other in (f"{sent}=", f"{sent}==", f"{sent}.", f"{sent}~", sent.replace(".", "=.", 1)):
        with pytest.raises(InvalidToken):
            keys.verify(other)


def _remembered(verifier: TokenVerifier, sent: list[str]) -> list[str]:
    return [token for token in sent if verifier.remembered(token) is not None]


def test_two_tokens_that_differ_in_the_signature_alone_are_two() -> None:
    keys = verifier(("ES256", "k"))
    good = token()
    keys.verify(good)
    head, _, signature = good.rpartition(".")
    other = "A" if signature[0] != "A" else "B"
    with pytest.raises(InvalidToken):
        keys.verify(f"{head}.{other}{signature[1:]}")
