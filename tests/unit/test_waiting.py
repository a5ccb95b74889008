"""When a Space has arrived, and when it never will."""

from __future__ import annotations

import pytest

from spaces_async import Replicas, SpaceFailedError, SpaceRuntime, SpaceStage
from spaces_async import _validate as v
from spaces_async._follow.stage_rules import (
    SETTLE_SECONDS,
    Goal,
    StageJudge,
    log_kind_of_failure,
)
from spaces_async._wire.converter import DecodeError, decode_info
from spaces_async.errors import ConfigurationError

RUNNING = frozenset({SpaceStage.RUNNING})


def judge(
    after: SpaceRuntime | None = None, wanted: frozenset[SpaceStage] = RUNNING
) -> StageJudge:
    return StageJudge("a/b", Goal(wanted), after=after, stuck_after=None, started=0.0)


def test_only_a_running_can_be_stale() -> None:
    """A stage that a restart does not end in is believed at once."""
    paused = frozenset({SpaceStage.PAUSED})
    before = SpaceRuntime("RUNNING")
    assert judge(before, paused).arrived(SpaceRuntime("PAUSED"), 1.0)


def test_other_replicas_are_new_ones() -> None:
    """As many replicas as before may be the old ones; another number is not."""
    before = SpaceRuntime("RUNNING", replicas=Replicas(2, 2))
    assert not judge(before).arrived(
        SpaceRuntime("RUNNING", replicas=Replicas(2, 2)), 1
    )
    assert judge(before).arrived(SpaceRuntime("RUNNING", replicas=Replicas(1, 2)), 1)


def test_the_failure_from_before_is_given_time() -> None:
    """Right after a restart the old failure may be told once more, but not for ever."""
    failed = SpaceRuntime("RUNTIME_ERROR")
    waiting = judge(failed)
    assert not waiting.arrived(failed, 1.0)
    with pytest.raises(SpaceFailedError):
        waiting.arrived(failed, SETTLE_SECONDS)


def test_what_was_never_seen_has_no_log() -> None:
    """Which log tells why: the build's, the app's, or none."""
    assert log_kind_of_failure(None) is None
    assert log_kind_of_failure(SpaceRuntime("BUILD_ERROR")) == "build"
    assert log_kind_of_failure(SpaceRuntime("APP_STARTING")) == "run"
    assert log_kind_of_failure(SpaceRuntime("PAUSED")) is None


def test_wrong_infos() -> None:
    """`gated` is a boolean or a word, or else unreadable; an id is a text."""
    info = decode_info(b'{"id":"a/b","gated":7}')
    assert info.gated is None
    assert info.problems == ("$.gated: expected a boolean or a string, got a number",)
    with pytest.raises(DecodeError):
        decode_info(b'{"id":7}')


@pytest.mark.parametrize("files", [[7], [{"path": "a"}], [{"path": 1, "content": ""}]])
def test_bad_files(files: object) -> None:
    """A file of a first commit has a path and a text."""
    with pytest.raises(ConfigurationError):
        v.files(files)


def test_an_instant_without_zone() -> None:
    """An instant without a zone is taken for UTC; one that is none is a problem."""
    info = decode_info(b'{"id":"a/b","createdAt":"2026-01-01T00:00:00"}')
    assert info.created_at is not None
    assert info.created_at.utcoffset() is not None
    for wrong in (b'"yesterday"', b"7"):
        info = decode_info(b'{"id":"a/b","createdAt":' + wrong + b"}")
        assert info.created_at is None
        assert info.problems[0].startswith(
            "$.createdAt: expected an ISO 8601 date and time"
        )
