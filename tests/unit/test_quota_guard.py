"""Which Spaces of a bulk the compute quota keeps from starting."""

from __future__ import annotations

import pytest

from spaces_async import ComputeQuotaError, PermissionDeniedError, SpaceRuntime
from spaces_async._operations.evidence import restarted
from spaces_async._wire.calls import Circumstances, Verdict
from spaces_async.bulk._engine.quota_guard import QuotaGuard
from spaces_async.models import SpaceHardware

REFUSED = ComputeQuotaError("used up", flavor="t4-small")
T4 = SpaceHardware("t4-small")


def runtime(stage: str, flavor: str | None = "t4-small") -> SpaceRuntime:
    hardware = None if flavor is None else SpaceHardware(flavor)
    return SpaceRuntime(stage, requested_hardware=hardware)


@pytest.mark.parametrize(
    ("repo_id", "state", "kept"),
    [
        ("acme/b", runtime("PAUSED"), True),
        ("acme/b", runtime("RUNTIME_ERROR"), True),
        ("acme/b", SpaceRuntime("SLEEPING", hardware=T4), True),
        ("acme/b", runtime("RUNNING"), False),
        ("acme/b", runtime("BUILDING"), False),
        ("acme/b", runtime("PAUSED", "cpu-basic"), False),
        ("acme/b", runtime("PAUSED", None), False),
        ("other/b", runtime("PAUSED"), False),
        ("acme/b", None, False),
    ],
)
def test_restarts(repo_id: str, state: SpaceRuntime | None, kept: bool) -> None:
    """What does not run, of the same owner and flavor, would be refused as well."""
    guard = QuotaGuard("restart", {})
    assert not guard.keeps(repo_id, state)
    guard.note("acme/a", REFUSED)
    assert guard.keeps(repo_id, state) == kept


def test_moves_to_other_hardware() -> None:
    """A Space that runs on another flavor would start on the new one at once."""
    guard = QuotaGuard("request_hardware", {"flavor": "t4-small"})
    guard.note("acme/a", REFUSED)
    assert guard.keeps("acme/b", runtime("RUNNING", "cpu-basic"))
    assert not guard.keeps("acme/b", runtime("RUNNING"))
    assert not guard.keeps("acme/b", runtime("PAUSED", "cpu-basic"))


def test_a_quota_that_paused_a_space_is_no_proof_that_nothing_happened() -> None:
    """After a lost answer: the restart may be the one that the quota ended."""
    judge = restarted(factory_reboot=False).judge
    paused = SpaceRuntime(
        "PAUSED",
        error_message="Quota exceeded for flavor cpu-basic (requested=1): current=6,"
        " limit=3",
    )
    for age in (1.0, 9.0, 1000.0):
        assert judge(paused, Circumstances(age=age)) is Verdict.UNKNOWN
    assert judge(SpaceRuntime("PAUSED"), Circumstances(age=9.0)) is Verdict.NOT_DONE


def test_what_is_no_quota() -> None:
    """Other refusals, other owners and other operations ask for no listing."""
    guard = QuotaGuard("restart", None)
    for error in (None, PermissionDeniedError("no", status=403), ValueError()):
        guard.note("acme/a", error)
    guard.note("acme/a", ComputeQuotaError("of an unknown flavor"))
    assert not guard.may_concern("acme/b")
    guard.note("acme/a", REFUSED)
    assert guard.may_concern("acme/b")
    assert not guard.may_concern("other/b")
    pause = QuotaGuard("pause", None)
    pause.note("acme/a", REFUSED)
    assert not pause.may_concern("acme/b")
