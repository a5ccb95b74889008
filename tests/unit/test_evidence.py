"""What the state of a Space proves, and what it does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spaces_async import SpaceRuntime, SpaceStage
from spaces_async._operations import writes
from spaces_async._operations.evidence import restarted
from spaces_async._wire.calls import Circumstances, Done, Evidence, Verdict
from spaces_async._wire.converter import decode_infos, decode_runtime

NOW = Circumstances(age=5.0)


def evidence_of(write: Any) -> Evidence[SpaceRuntime, SpaceRuntime]:
    found: Evidence[SpaceRuntime, SpaceRuntime] = write.evidence
    return found


@pytest.mark.parametrize(
    ("write", "field"),
    [
        (writes.set_sleep_time(-1), '"gcTimeout":"172800"'),
        (writes.set_sleep_time(300), '"gcTimeout":"300"'),
        (writes.request_hardware("t4-small"), '"hardware":"t4-small"'),
        (writes.request_hardware("t4-small"), '"hardware":{"requested":7}'),
        (writes.set_dev_mode(False), '"devMode":"true"'),
        (writes.set_replicas(2), '"replicas":{"requested":"2"}'),
        (writes.delete_storage(), '"storage":{"current":"small"}'),
    ],
)
def test_what_cannot_be_read_proves_nothing(write: Any, field: str) -> None:
    """It is None as what is not set is, but it neither is so already nor is not."""
    body = b'{"stage":"RUNNING",%b}' % field.encode()
    runtime = decode_runtime(body)
    evidence = evidence_of(write)
    assert runtime.problems
    assert evidence.judge(runtime, NOW) is Verdict.UNKNOWN
    assert evidence.already is not None
    assert not evidence.already(runtime)
    (listed,) = decode_infos(b'[{"id":"a/b","runtime":%b}]' % body)
    assert evidence.listed is not None
    state = evidence.listed(listed)
    assert state is None or not evidence.already(state)


def test_other_fields_take_no_proof_away() -> None:
    """A new type of a field that a write is not about changes nothing."""
    runtime = decode_runtime(b'{"stage":"PAUSED","gcTimeout":60,"sha":7,"rawLogs":1}')
    assert len(runtime.problems) == 2
    for write in (writes.pause(), writes.set_sleep_time(60)):
        assert isinstance(evidence_of(write).judge(runtime, NOW), Done)


@pytest.mark.parametrize(
    "write",
    [
        writes.set_sleep_time(300),
        writes.request_hardware("t4-small", sleep_time=300),
    ],
)
def test_what_cannot_be_read_is_not_brought_back(write: Any) -> None:
    """An unreadable sleep time looks like "never", and that may cost a lot."""
    before = b'{"stage":"RUNNING","hardware":{"requested":"t4-small"},"gcTimeout":%b}'
    assert write.inverse(decode_runtime(before % b'"172800"')) is None
    assert write.inverse(decode_runtime(before % b"172800")) is not None


# Restarts --------------------------------------------------------------------------------

SENT = datetime(2026, 6, 20, 12, 0, 0, tzinfo=UTC)


def judged(
    stage: str,
    age: float,
    *,
    before: str | None = None,
    started: datetime | None = None,
) -> str:
    """Return what a restart of that age is judged to be, with the log if it is asked."""
    evidence = restarted(factory_reboot=False)
    about = Circumstances(
        age=age,
        sent_at=SENT,
        before=None if before is None else SpaceRuntime(SpaceStage(before)),
    )
    found = evidence.judge(SpaceRuntime(SpaceStage(stage)), about)
    asked = ""
    if isinstance(found, Evidence):
        found, asked = found.judge(started, about), "log: "
    if isinstance(found, Done):
        return f"{asked}done"
    return f"{asked}{found.value}" if isinstance(found, Verdict) else "too early"


@pytest.mark.parametrize(
    ("stage", "age", "before", "verdict"),
    [
        ("BUILDING", 1, None, "done"),
        ("BUILDING", 500, None, "done"),
        ("RUNNING_APP_STARTING", 1, "RUNNING", "done"),
        ("BUILDING", 1, "BUILDING", "unknown"),
        ("APP_STARTING", 1, "BUILDING", "unknown"),
        ("RUNNING", 1.9, None, "too early"),
        ("RUNNING", 2, None, "not done"),
        ("RUNNING", 2.9, "RUNNING", "not done"),
        ("RUNNING", 3, None, "log: not done"),
        ("RUNNING", 10, "RUNNING", "log: not done"),
        ("RUNNING", 2, "PAUSED", "done"),
        ("RUNNING", 10, "BUILDING", "unknown"),
        ("RUNNING", 10.1, "PAUSED", "done"),
        ("RUNNING", 10.1, "RUNTIME_ERROR", "done"),
        ("RUNNING", 10.1, "BUILDING", "unknown"),
        ("RUNNING", 10.1, "RUNNING", "log: unknown"),
        ("RUNNING", 10.1, None, "log: unknown"),
        ("PAUSED", 1, None, "not done"),
        ("PAUSED", 10.1, None, "unknown"),
        ("PAUSED", 10.1, "PAUSED", "unknown"),
        ("SLEEPING", 9, None, "not done"),
        ("RUNTIME_ERROR", 9, None, "not done"),
        ("RUNTIME_ERROR", 11, None, "unknown"),
        ("DELETING", 1, None, "unknown"),
    ],
)
def test_what_the_stage_says_of_a_restart(
    stage: str, age: float, before: str | None, verdict: str
) -> None:
    """A Space at rest proves something only as long as no restart can be over."""
    assert judged(stage, age, before=before) == verdict


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (-3600, "not done"),
        (-3, "not done"),
        (-1, "unknown"),
        (1, "unknown"),
        (3, "done"),
    ],
)
def test_what_the_log_says_of_a_restart(seconds: int, verdict: str) -> None:
    """The app was started before the restart was sent, or after it; to two seconds."""
    started = SENT + timedelta(seconds=seconds)
    assert judged("RUNNING", 60, started=started) == f"log: {verdict}"
