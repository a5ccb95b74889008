"""The records and the Hub's words."""

from __future__ import annotations

import copy
import pickle

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async import (
    SpaceHardware,
    SpaceInfo,
    SpaceRuntime,
    SpaceSdk,
    SpaceStage,
    SpaceStorage,
    Volume,
    VolumeType,
)

PROPERTIES = ("is_running", "is_building", "is_starting", "is_failed", "is_idle")
EXPECTED = {
    "NO_APP_FILE": {"is_failed"},
    "CONFIG_ERROR": {"is_failed"},
    "BUILDING": {"is_building"},
    "BUILD_ERROR": {"is_failed"},
    "APP_STARTING": {"is_starting"},
    "RUNNING": {"is_running"},
    "RUNNING_BUILDING": {"is_running", "is_building"},
    "RUNNING_APP_STARTING": {"is_running", "is_starting"},
    "RUNTIME_ERROR": {"is_failed"},
    "DELETING": set[str](),
    "STOPPED": {"is_idle"},
    "PAUSED": {"is_idle"},
    "SLEEPING": {"is_idle"},
}


def test_all_thirteen_stages_answer() -> None:
    """Each stage says what it means, and there are exactly the Hub's thirteen."""
    found = {s: {p for p in PROPERTIES if getattr(s, p)} for s in SpaceStage}
    assert found == EXPECTED
    for stage in SpaceStage:
        assert stage.is_transitional is (stage.is_building or stage.is_starting)


def test_all_flavors_are_there() -> None:
    """The 29 flavors that the Hub listed, by the Hub's names."""
    assert len(SpaceHardware) == 29
    assert {"cpu-basic", "zero-a10g", "rtx-pro-6000x8", "inf2x6"} <= set(SpaceHardware)
    assert set(SpaceSdk) == {"gradio", "streamlit", "docker", "static"}
    assert set(SpaceStorage) == {"small", "medium", "large"}


@given(st.sampled_from([SpaceStage, SpaceHardware, SpaceSdk, VolumeType]), st.text())
def test_unknown_words_keep_their_text(
    kind: type[SpaceStage | SpaceHardware], word: str
) -> None:
    """A word that is not known yet is a member like the others, and says so."""
    member = kind(word)
    assert member == word
    assert str(member) == word
    assert hash(member) == hash(word)
    assert member.is_known == (word in set(kind))
    for again in (copy.copy(member), pickle.loads(pickle.dumps(member))):  # noqa: S301  (our own)
        assert again == member
        assert type(again) is kind


def test_an_unknown_stage_is_nothing_we_know() -> None:
    """What is not known is neither running nor failed."""
    stage = SpaceStage("HIBERNATING")
    assert not any(getattr(stage, p) for p in (*PROPERTIES, "is_transitional"))


def test_a_member_is_no_number() -> None:
    """Only a text is a word."""
    with pytest.raises(ValueError, match="7"):
        SpaceStage(7)  # type: ignore[arg-type]


@pytest.mark.parametrize("record", [SpaceRuntime("RUNNING"), SpaceInfo("a/b")])
def test_records_are_frozen_and_light(record: attrs.AttrsInstance) -> None:
    """A record can be a key, cannot be changed, and has no `__dict__`."""
    assert hash(record) == hash(copy.copy(record))
    assert not hasattr(record, "__dict__")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        record.raw = {}  # type: ignore[attr-defined]


def test_words_are_taken_for_members() -> None:
    """Who makes a record may write plain words."""
    assert SpaceRuntime("PAUSED").stage is SpaceStage.PAUSED
    assert Volume("bucket", "a/b", "/data").type is VolumeType.BUCKET


def test_raw_is_no_part_of_identity() -> None:
    """Two records that say the same are equal, however they came."""
    assert SpaceRuntime("RUNNING", raw={"x": 1}) == SpaceRuntime("RUNNING")
    assert "x" not in repr(SpaceRuntime("RUNNING", raw={"x": 1}))


def test_shortcuts_of_info() -> None:
    """The name and the stage are at hand."""
    info = SpaceInfo("acme/demo", runtime=SpaceRuntime("SLEEPING"))
    assert (info.name, info.stage) == ("demo", SpaceStage.SLEEPING)
    assert SpaceInfo("acme/demo").stage is None
