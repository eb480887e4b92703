"""How one worker handles a reply of Redis."""

from service.access.quota import Reply
from service.access.quota_leases import QuotaLeases
from service.model.rate import Admission, Rate


def test_less_than_half_of_the_capacity_is_low() -> None:
    """By what is left to all workers, although one may count on its own part only."""
    leases = QuotaLeases("w", lambda: 0.0, lambda: None, lambda: True, workers=2)
    rate, answers = Rate(100, 60), list[Admission]()
    assert leases.admit("key", rate, 1, answers.append) is None
    [call] = leases.due_calls()
    leases.replied(call, Reply(12, 41.5, b"0", 1, 46.5, 1))

    def spend() -> Admission:
        admission = leases.admit("key", rate, 1, answers.append)
        assert admission is not None
        return admission

    [first] = answers
    assert (first.remaining < 50, first.is_low) == (True, False)
    assert [spend().is_low for _ in range(5)] == [False, False, True, True, True]
