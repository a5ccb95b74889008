"""Which failure of which call may be tried again, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async import ConnectionLostError, RetryPolicy
from spaces_async._core.retry import RetryBudget, Tally, backoff_bound, may_repeat
from spaces_async._wire.calls import Action, Failure, FailureClass, OnLost

A, B, C, D, E = FailureClass
POLICY = RetryPolicy(max_attempts=3)
ON_LOST = list(OnLost)


def failure(kind: FailureClass) -> Failure:
    return Failure(kind, ConnectionLostError("x"))


@pytest.mark.parametrize("on_lost", ON_LOST)
@pytest.mark.parametrize(
    ("kind", "allowed"), [(A, True), (B, True), (D, False), (E, False)]
)
def test_what_does_not_depend_on_the_call(
    on_lost: OnLost, kind: FailureClass, allowed: bool
) -> None:
    """Never sent and refused: repeat anything. Applied and definite: repeat nothing."""
    action = Action("x", "POST", on_lost)
    tally = Tally(lost=99)
    for nothing_happened in (True, False):
        assert allowed is may_repeat(
            failure(kind), action, tally, POLICY, nothing_happened=nothing_happened
        )


@pytest.mark.parametrize(
    ("on_lost", "lost", "nothing_happened", "allowed"),
    [
        (OnLost.REPEAT, 1, False, True),
        (OnLost.REPEAT, 2, False, True),
        (OnLost.REPEAT, 3, False, False),
        (OnLost.VERIFY_THEN_REPEAT, 1, True, True),
        (OnLost.VERIFY_THEN_REPEAT, 1, False, False),
        (OnLost.VERIFY_THEN_REPEAT, 2, True, False),
        (OnLost.VERIFY, 1, True, False),
        (OnLost.VERIFY, 1, False, False),
    ],
)
def test_what_depends_on_the_call(
    on_lost: OnLost, lost: int, nothing_happened: bool, allowed: bool
) -> None:
    """A lost answer: the table of the operations decides."""
    assert allowed is may_repeat(
        failure(C),
        Action("x", "POST", on_lost),
        Tally(lost=lost),
        POLICY,
        nothing_happened=nothing_happened,
    )


@pytest.mark.parametrize("kind", list(FailureClass))
def test_off_repeats_nothing(kind: FailureClass) -> None:
    """With retries off there is one attempt, whatever happens."""
    assert not may_repeat(
        failure(kind),
        Action("x", "GET"),
        Tally(lost=1),
        RetryPolicy.off(),
        nothing_happened=True,
    )


@given(st.integers(0, 10_000), st.floats(0.01, 10.0), st.floats(0.01, 100.0))
def test_the_back_off_grows_to_its_bound(
    failures: int, initial: float, most: float
) -> None:
    """The bound doubles each time, never shrinks and never passes the limit."""
    policy = RetryPolicy(wait_initial=initial, wait_max=most)
    bound = backoff_bound(policy, failures)
    assert 0 < bound <= most
    assert bound <= backoff_bound(policy, failures + 1)
    if failures <= 1:
        assert bound == min(initial, most)


def test_the_budget_bounds_the_repeats_of_an_outage() -> None:
    """In an outage, repeats are a fifth of the calls and a few to start with."""
    budget = RetryBudget()
    repeats = 0
    for _ in range(1000):
        budget.earn()
        while budget.spend():
            repeats += 1
    assert repeats == pytest.approx(1000 / 5 + 10, abs=2)


def test_the_budget_does_not_save_up_for_ever() -> None:
    """A quiet day earns no storm."""
    budget = RetryBudget()
    for _ in range(100_000):
        budget.earn()
    assert budget.earned == budget.most
