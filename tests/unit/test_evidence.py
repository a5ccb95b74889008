"""What a runtime proves of which a field cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from spaces_async import SpaceRuntime
from spaces_async._operations import writes
from spaces_async._wire.calls import Circumstances, Done, Evidence, Verdict
from spaces_async._wire.converter import decode_infos, decode_runtime

NOW = Circumstances(age=5.0, patience=10.0)


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
