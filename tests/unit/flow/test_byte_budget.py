import pytest

from service.flow.byte_budget import ByteBudget
from service.model.errors import Overloaded


def test_leases_share_a_budget() -> None:
    budget = ByteBudget("bodies", 100)
    with budget.lease(60) as first, budget.lease() as second:
        second.grow(40)
        assert budget.used_bytes == 100
        with pytest.raises(Overloaded, match="memory for bodies is in use") as refused:
            second.grow(1)
        assert refused.value.retry_after_s == 1
        assert (second.held_bytes, budget.used_bytes, budget.refused) == (40, 100, 1)
        first.shrink(10)
        second.grow(10)
        assert (first.held_bytes, second.held_bytes) == (50, 50)
    assert budget.used_bytes == 0


def test_a_refused_lease_holds_nothing() -> None:
    budget = ByteBudget("bodies", 10)
    with pytest.raises(Overloaded):
        budget.lease(11)
    assert budget.used_bytes == 0
    lease = budget.lease(10)
    lease.close()
    lease.close()
    assert budget.used_bytes == 0


def test_no_holder_has_more_than_its_share() -> None:
    budget = ByteBudget("answers", 100, share=0.25)
    first = budget.lease(20, "alice")
    with pytest.raises(Overloaded):
        budget.lease(6, "alice")
    others = [budget.lease(25, "bob"), budget.lease(5, "alice"), budget.lease(50)]
    with pytest.raises(Overloaded):
        budget.lease(1, "carol")
    for lease in (first, *others):
        lease.close()
    assert budget.used_bytes == 0
    budget.lease(25, "alice").close()
