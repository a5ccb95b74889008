"""A selection: its words, its conditions on one Space, and how it is written down."""

from __future__ import annotations

import copy
import pickle
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spaces_async as sa
from spaces_async import _validate
from spaces_async.bulk._conditions import conditions_of, judge, prices_of
from spaces_async.models import STAGE_GROUPS

NOW = datetime(2026, 8, 1, tzinfo=UTC)
PRICES = {"cpu-basic": 0.0, "t4-small": 0.4, "cpu-upgrade": 0.03}


def chosen(info: sa.SpaceInfo, **conditions: Any) -> bool | str:
    selection = sa.Selection(author="acme", **conditions)
    before = selection.modified_before
    assert not isinstance(before, timedelta)
    return judge(info, conditions_of(selection, before, PRICES))


def space(name: str = "demo", **fields: Any) -> sa.SpaceInfo:
    return sa.SpaceInfo(f"acme/{name}", **fields)


def on(
    hardware: str | None, requested: str | None = None, stage: str = "RUNNING"
) -> sa.SpaceInfo:
    now, wanted = (sa.SpaceHardware(f) if f else None for f in (hardware, requested))
    return space(runtime=sa.SpaceRuntime(sa.SpaceStage(stage), now, wanted))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("failed", STAGE_GROUPS["failed"]),
        ("Failed", STAGE_GROUPS["failed"]),
        ("running", {"RUNNING", "RUNNING_BUILDING", "RUNNING_APP_STARTING"}),
        ("RUNNING", {"RUNNING"}),
        ("building", STAGE_GROUPS["building"]),
        ("BUILDING", {"BUILDING"}),
        ("runtime-error", {"RUNTIME_ERROR"}),
        (["idle", "running"], STAGE_GROUPS["idle"] | STAGE_GROUPS["running"]),
        (sa.SpaceStage.PAUSED, {"PAUSED"}),
        ({sa.SpaceStage.PAUSED, "sleeping"}, {"PAUSED", "SLEEPING"}),
    ],
)
def test_stages_and_groups(words: Any, expected: set[str]) -> None:
    """A group is in lower case; a stage is in any, where no group has its name."""
    stages = sa.Selection(author="acme", stages=words).stages
    assert set(map(str, stages or ())) == expected


def test_each_stage_is_in_a_group_or_is_about_deletion() -> None:
    """Whatever stage a Space is in, a group selects it, unless it is being deleted."""
    grouped = frozenset[sa.SpaceStage]().union(*STAGE_GROUPS.values())
    assert set(sa.SpaceStage) - grouped == {sa.SpaceStage.DELETING}


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ({"stages": "runing"}, "did you mean 'running'"),
        ({"stages": "RUNING"}, "did you mean 'RUNNING'"),
        ({"stages": ["failed", "PUASED"]}, "did you mean 'PAUSED'"),
        ({"stages": "sick"}, "known: failed, running"),
        ({"stages": []}, "stages is empty"),
        ({"stages": 3}, "stages must be"),
        ({"stages": [3]}, "no stage 3"),
        ({"sdks": "gradoi"}, "did you mean 'gradio'"),
        ({"sdks": b"gradio"}, "sdks must be"),
        ({"visibility": "privat"}, "did you mean 'private'"),
        # "unprotected" would be the opposite, which is never proposed.
        ({"visibility": "unprotected"}, "known: public, private, protected"),
        ({"visibility": "protected"}, "visibility='private' takes both"),
        ({"visibility": {"protected", "public"}}, "takes both"),
        ({"match": "a/b/c"}, "one '/' at most"),
        ({"match": ""}, "must not be an empty text"),
        ({"match": []}, "match is empty"),
        ({"exclude": ["prod-*", ""]}, "must not be an empty text"),
        ({"exclude": 3}, "exclude must be"),
        ({"tags": [None]}, "tags must be a string"),
        ({"hardware": [7]}, "hardware must be a string"),
        ({"having_secret": "a-b"}, "a letter followed by"),
        ({"having_variable": []}, "is empty"),
        ({"resource_group": " "[:0]}, "must not be an empty text"),
        ({"modified_before": datetime(2026, 1, 1)}, "needs a time zone"),  # noqa: DTZ001
        ({"modified_before": timedelta()}, "above 0"),
        ({"modified_before": timedelta.max}, "at most 36500 days"),
        ({"modified_before": 90}, "a timedelta or a datetime"),
        ({"paid": 1}, "paid must be True or False"),
        ({"any_flavor": "yes"}, "any_flavor must be True or False"),
        ({"private": True}, "use visibility='private'"),
        ({"private": None}, "use visibility='private'"),
        ({"stage": "failed"}, "no condition 'stage'; did you mean 'stages'"),
    ],
)
def test_what_would_select_nothing_is_refused(
    condition: dict[str, Any], told: str
) -> None:
    """A slip is refused when the selection is made, with the word that was meant."""
    with pytest.raises(sa.ConfigurationError) as caught:
        sa.Selection(author="acme", **condition)
    assert told in str(caught.value)


@given(st.text(max_size=30))
def test_any_word_is_a_stage_or_refused(word: str) -> None:
    """No text, whatever is in it, fails in another way or selects nothing."""
    with suppress(sa.ConfigurationError):
        assert _validate.stages([word])


@given(
    st.sampled_from(["un", "not", "non-", "non_", "no", "un-"]),
    st.sampled_from(["protected", "private", "public"]),
)
def test_the_opposite_is_never_proposed(prefix: str, word: str) -> None:
    """A word that says not to take something does not lead to the one that does."""
    error = _validate.unknown_word("visibility", prefix + word, ["protected", word])
    assert "did you mean" not in str(error)


def test_the_first_part_of_a_word_proposes_all_that_begin_so() -> None:
    """Who types the name of a GPU is shown its flavors, and not all that there are."""
    flavors = ["cpu-basic", "t4-small", "t4-medium"]
    error = _validate.unknown_word("hardware flavor", "t4", flavors)
    assert str(error).endswith("'t4'; did you mean 't4-small' or 't4-medium'?")


@pytest.mark.parametrize(
    ("info", "condition", "expected"),
    [
        (on("t4-small"), {"stages": "running"}, True),
        (on(None, stage="PAUSED"), {"stages": "running"}, False),
        (space(), {"stages": "running"}, "stage"),
        (space(sdk=sa.SpaceSdk.DOCKER), {"sdks": ["gradio", "docker"]}, True),
        (space(), {"sdks": "gradio"}, "SDK"),
        (on("cpu-basic", "t4-small"), {"hardware": "t4-small"}, True),
        (on("cpu-basic", "t4-small"), {"hardware": "cpu-basic"}, True),
        (on(None), {"hardware": "cpu-basic"}, False),
        (space(), {"hardware": "cpu-basic"}, "hardware"),
        (space("demo-1"), {"match": "demo-*"}, True),
        (space("demo-1"), {"match": ["x", "demo-?"]}, True),
        (space("demo-1"), {"match": "acme-*"}, False),
        (space("demo-1"), {"match": "*/demo-*"}, True),
        (space("demo-1"), {"match": "ac*/*"}, True),
        (space("demo-1"), {"match": "other/*"}, False),
        (space("prod-1"), {"exclude": "prod-*"}, False),
        (space("demo-1"), {"exclude": "prod-*"}, True),
        (space("demo-1"), {"exclude": ["prod-*", "acme/demo-1"]}, False),
        (space("demo-1"), {"exclude": []}, True),
        (space("demo-1"), {"match": "demo-*", "exclude": "*-1"}, False),
        (space(private=True), {"visibility": "private"}, True),
        (space(private=False), {"visibility": "private"}, False),
        (space(private=True), {"visibility": ["private", "protected"]}, True),
        (space(private=True), {"visibility": ["public", "private"]}, True),
        (space(), {"visibility": "public"}, "visibility"),
        (space(tags=("a", "b")), {"tags": ["b", "c"]}, True),
        (space(tags=()), {"tags": "b"}, False),
        (space(), {"tags": "b"}, "tags"),
        (space(resource_group={"id": "6" * 24, "name": "ml"}), {"resource_group": "ml"}, True),
        (space(resource_group={"id": "6" * 24}), {"resource_group": "6" * 24}, True),
        (space(resource_group={"id": "6" * 24}), {"resource_group": "None"}, False),
        (space(), {"resource_group": "ml"}, False),
        (space(last_modified=NOW - timedelta(seconds=1)), {"modified_before": NOW}, True),
        (space(last_modified=NOW), {"modified_before": NOW}, False),
        (space(), {"modified_before": NOW}, "time of the last change"),
        (on("t4-small"), {"paid": True}, True),
        (on("t4-small"), {"paid": False}, False),
        (on("cpu-basic"), {"paid": True}, False),
        (on("cpu-basic"), {"paid": False}, True),
        # One that is paused, or will be paid for when its build is over.
        (on(None, "t4-small"), {"paid": True}, True),
        (on("cpu-basic", "t4-small"), {"paid": True}, True),
        # A static Space has no hardware, and costs nothing.
        (on(None), {"paid": False}, True),
        (on("zero-a10g"), {"paid": True}, "price of 'zero-a10g'"),
        (on("zero-a10g"), {"paid": False}, "price of 'zero-a10g'"),
        (on("zero-a10g", "t4-small"), {"paid": True}, True),
        (space(), {"paid": True}, "hardware"),
        # What is false decides, whatever is not known.
        (space("x"), {"match": "demo-*", "stages": "failed"}, False),
        (on("zero-a10g"), {"paid": True, "stages": "idle"}, False),
    ],
)  # fmt: skip
def test_conditions(
    info: sa.SpaceInfo, condition: dict[str, Any], expected: bool | str
) -> None:
    """A condition of a Space holds, does not hold, or names what is not known."""
    assert chosen(info, **condition) == expected


@given(
    st.lists(st.sampled_from(["*", "demo-*", "*-1", "acme/*", "x/*"]), min_size=1),
    st.sampled_from(["demo-1", "demo-2", "x"]),
)
def test_to_exclude_is_the_opposite_of_to_match(patterns: list[str], name: str) -> None:
    """The same patterns split an org into two parts, and lose no Space."""
    info = space(name)
    assert chosen(info, match=patterns) is not chosen(info, exclude=patterns)


def test_prices() -> None:
    """A price comes from either field; a flavor that has none has no known price."""
    flavors = [
        sa.HardwareFlavor(sa.SpaceHardware.CPU_BASIC, unit_cost_usd=0.0),
        sa.HardwareFlavor(sa.SpaceHardware.T4_SMALL, unit_cost_micro_usd=6667),
        sa.HardwareFlavor(sa.SpaceHardware.L4X1, unit_cost_usd=0.01, unit_cost_micro_usd=0),
        sa.HardwareFlavor(sa.SpaceHardware.ZERO_A10G),
    ]  # fmt: skip
    assert prices_of(flavors) == {"cpu-basic": 0, "t4-small": 0.006667, "l4x1": 0.01}


def test_it_is_written_as_it_was_made() -> None:
    """The repr is one line that makes an equal selection."""
    made = sa.Selection(
        author=["acme", "other"],
        stages=["failed", "PAUSED"],
        sdks="docker",
        match=["demo-*", "x"],
        exclude="prod-*",
        visibility="private",
        tags="region:us",
        modified_before=timedelta(days=90),
        paid=False,
        having_secret="OPENAI_KEY",
    )
    text = repr(made)
    assert "stages=['PAUSED', 'failed'], sdks='docker'" in text
    assert "paid=False" in text
    assert "\n" not in text
    names = {"Selection": sa.Selection, "datetime": __import__("datetime")}
    assert eval(text, names) == made  # noqa: S307  (our own text)
    assert repr(sa.Selection(author="acme")) == "Selection(author='acme')"
    long = sa.Selection(author="acme", tags=[f"tag-{n}" * 20 for n in range(50)])
    assert len(repr(long)) <= 300


def test_it_compares_and_copies() -> None:
    """Equal conditions are equal, in whatever order their words are, and hash alike."""
    first = sa.Selection(author="acme", match=["a", "b"], stages={"idle", "failed"})
    second = sa.Selection(
        author=["acme"], match=["b", "a", "b"], stages=["failed", "idle"]
    )
    assert first == second
    assert hash(first) == hash(second)
    assert first != sa.Selection(author="acme", match=["a"], stages={"idle", "failed"})
    assert pickle.loads(pickle.dumps(first)) == copy.deepcopy(first) == first  # noqa: S301
    assert attrs.evolve(first, exclude="b").match == ("a", "b")
    with pytest.raises(AttributeError):
        first.match = None  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
