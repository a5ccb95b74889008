"""Which failure of which call may be tried again, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async import ConnectionLostError, RetryPolicy
from spaces_async._core.retry import Attempts, RetryBudget, backoff_bound, may_repeat
from spaces_async._wire.calls import Action, Failure, FailureClass, OnLost
from spaces_async._wire.messages import TimeLimit

NEVER_SENT, REFUSED, AMBIGUOUS, NOT_DONE, APPLIED, DEFINITE = FailureClass
POLICY = RetryPolicy(max_attempts=3)
ON_LOST = list(OnLost)


def failure(kind: FailureClass) -> Failure:
    return Failure(kind, ConnectionLostError("x"))


@pytest.mark.parametrize("on_lost", ON_LOST)
@pytest.mark.parametrize(
    ("kind", "allowed"),
    [(NEVER_SENT, True), (REFUSED, True), (APPLIED, False), (DEFINITE, False)],
)
def test_what_does_not_depend_on_the_call(
    on_lost: OnLost, kind: FailureClass, allowed: bool
) -> None:
    """Never sent and refused: repeat anything. Applied and definite: repeat nothing."""
    action = Action("x", "POST", on_lost)
    attempts = Attempts(lost=99)
    assert allowed is may_repeat(failure(kind), action, attempts, POLICY)


@pytest.mark.parametrize(
    ("on_lost", "lost", "kind", "allowed"),
    [
        (OnLost.REPEAT, 1, AMBIGUOUS, True),
        (OnLost.REPEAT, 2, AMBIGUOUS, True),
        (OnLost.REPEAT, 3, AMBIGUOUS, False),
        (OnLost.REPEAT, 2, NOT_DONE, True),
        (OnLost.REPEAT, 3, NOT_DONE, False),
        (OnLost.VERIFY_THEN_REPEAT, 1, NOT_DONE, True),
        (OnLost.VERIFY_THEN_REPEAT, 1, AMBIGUOUS, False),
        (OnLost.VERIFY_THEN_REPEAT, 2, NOT_DONE, False),
        (OnLost.VERIFY, 1, NOT_DONE, False),
        (OnLost.VERIFY, 1, AMBIGUOUS, False),
    ],
)
def test_what_depends_on_the_call(
    on_lost: OnLost, lost: int, kind: FailureClass, allowed: bool
) -> None:
    """A lost response: the table of the operations decides."""
    action = Action("x", "POST", on_lost)
    assert allowed is may_repeat(failure(kind), action, Attempts(lost=lost), POLICY)


@pytest.mark.parametrize(
    ("kinds", "lost", "in_doubt", "uncounted"),
    [
        ([AMBIGUOUS], 1, True, 0),
        ([NOT_DONE], 1, False, 0),
        ([AMBIGUOUS, NOT_DONE], 2, False, 0),
        ([AMBIGUOUS, REFUSED, NEVER_SENT], 1, True, 2),
        ([REFUSED, AMBIGUOUS], 1, True, 0),
        ([AMBIGUOUS, DEFINITE], 1, True, 0),
        ([APPLIED], 0, True, 0),
    ],
)
def test_what_is_kept_of_failed_attempts(
    kinds: list[FailureClass], lost: int, in_doubt: bool, uncounted: int
) -> None:
    """A lost response leaves a doubt until the state shows that nothing happened."""
    attempts = Attempts()
    for kind in kinds:
        attempts.note_failure(failure(kind))
    assert (attempts.lost, attempts.in_doubt, attempts.uncounted) == (
        lost,
        in_doubt,
        uncounted,
    )


@pytest.mark.parametrize(
    ("deadline", "attempt", "expected"),
    [
        (None, None, TimeLimit(None, "total")),
        (None, 5.0, TimeLimit(5.0, "attempt")),
        (103.0, None, TimeLimit(3.0, "total")),
        (103.0, 5.0, TimeLimit(3.0, "total")),
        (109.0, 5.0, TimeLimit(5.0, "attempt")),
        (99.0, 5.0, TimeLimit(0.0, "total")),
    ],
)
def test_the_time_of_an_attempt(
    deadline: float | None, attempt: float | None, expected: TimeLimit
) -> None:
    """The shorter limit counts, and the error names that one."""
    assert Attempts(deadline).time_limit(attempt, 100.0) == expected


@pytest.mark.parametrize("kind", list(FailureClass))
def test_off_repeats_nothing(kind: FailureClass) -> None:
    """With retries off there is one attempt, whatever happens."""
    assert not may_repeat(
        failure(kind),
        Action("x", "GET"),
        Attempts(lost=1),
        RetryPolicy.off(),
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
