"""The stages of a Space as time goes on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async.testing import FakeHub, ManualClock

DEMO = "/api/spaces/acme/demo"


async def test_a_restart_builds_starts_and_runs(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """The answer says BUILDING with no hardware; then it starts, then it runs."""
    space = hub.add_space("acme/demo")
    answer = await api("POST", f"{DEMO}/restart")
    assert answer.json == {
        "stage": "BUILDING",
        "hardware": {"current": None, "requested": "cpu-basic"},
        "gcTimeout": 172800,
        "replicas": {"requested": 1},
        "devMode": False,
        "domains": [{"domain": "acme-demo.hf.space", "stage": "READY"}],
    }
    clock.advance(2)
    assert space.stage == "APP_STARTING"
    clock.advance(1)
    runtime = (await api("GET", f"{DEMO}/runtime")).json
    assert runtime["stage"] == "RUNNING"
    assert runtime["hardware"]["current"] == "cpu-basic"
    assert runtime["replicas"] == {"requested": 1, "current": 1}
    assert runtime["sha"] == space.sha
    assert space.restarts == 1


async def test_a_factory_reboot_takes_longer(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """It is counted apart from restarts."""
    space = hub.add_space("acme/demo", stage="SLEEPING")
    await api("POST", f"{DEMO}/restart?factory=true")
    clock.advance(3)
    assert space.stage == "BUILDING"
    clock.advance(2)
    assert space.stage == "RUNNING"
    assert (space.restarts, space.factory_reboots) == (0, 1)


async def test_pause_is_immediate(hub: FakeHub, api: Any, clock: ManualClock) -> None:
    """Also in the middle of a build; only a restart ends it."""
    space = hub.add_space("acme/demo")
    await api("POST", f"{DEMO}/restart")
    answer = await api("POST", f"{DEMO}/pause")
    assert answer.json == {
        "stage": "PAUSED",
        "hardware": {"current": None, "requested": "cpu-basic"},
        "replicas": {"requested": 1, "current": None},
    }
    clock.advance(1000)
    assert (space.stage, space.pauses) == ("PAUSED", 1)


@pytest.mark.parametrize("stage", ["BUILD_ERROR", "RUNTIME_ERROR", "CONFIG_ERROR"])
async def test_a_broken_space_ends_broken_every_time(
    hub: FakeHub, api: Any, clock: ManualClock, stage: Any
) -> None:
    """`fails_with` outlasts restarts, `fail_next_build` only one."""
    space = hub.add_space("acme/demo", fails_with=stage, error_message="why")
    for _ in range(2):
        await api("POST", f"{DEMO}/restart")
        clock.advance(10)
        runtime = (await api("GET", f"{DEMO}/runtime")).json
        assert (runtime["stage"], runtime["errorMessage"]) == (stage, "why")
        assert runtime["hardware"]["current"] is None
    space.fails_with = None
    space.fail_next_build(stage)
    for expected in (stage, "RUNNING"):
        await api("POST", f"{DEMO}/restart")
        clock.advance(10)
        assert space.stage == expected
    assert space.error_message is None


async def test_hardware_moves_later(hub: FakeHub, api: Any, clock: ManualClock) -> None:
    """`requested` changes at once, `current` after the restart that it causes."""
    space = hub.add_space("acme/demo")
    body = {"flavor": "t4-small", "sleepTimeSeconds": 600}
    answer = await api("POST", f"{DEMO}/hardware", body)
    assert answer.json["hardware"] == {"current": "cpu-basic", "requested": "t4-small"}
    assert (answer.json["stage"], answer.json["gcTimeout"]) == ("RUNNING", 600)
    clock.advance(1)
    assert (space.stage, space.hardware) == ("APP_STARTING", None)
    clock.advance(1)
    assert (space.stage, space.hardware) == ("RUNNING", "t4-small")
    assert space.restarts == 0
    await api("POST", f"{DEMO}/hardware", {"flavor": "a10g-small"})
    await api("POST", f"{DEMO}/hardware", {"flavor": "t4-small"})
    clock.advance(100)
    assert space.stages[-1] == "RUNNING"
    assert len(space.stages) == 3


async def test_sleep(hub: FakeHub, api: Any, clock: ManualClock) -> None:
    """The free flavor has its two days; a visit wakes, but not a paused Space."""
    space = hub.add_space("acme/demo")
    body = (await api("POST", f"{DEMO}/sleeptime", {"seconds": 60})).json
    assert body["gcTimeout"] == 172800
    clock.advance(172800)
    assert space.stage == "SLEEPING"
    assert (await api("GET", f"{DEMO}/runtime")).json["replicas"]["current"] is None
    space.visit()
    clock.advance(1)
    assert space.stage == "RUNNING"
    await api("POST", f"{DEMO}/hardware", {"flavor": "t4-small"})
    assert space.sleep_time is None
    clock.advance(10_000_000)
    assert space.stage == "RUNNING"
    space.visit()
    body = (await api("POST", f"{DEMO}/sleeptime", {"seconds": 60})).json
    assert body["gcTimeout"] == 60
    clock.advance(59)
    assert space.stage == "RUNNING"
    clock.advance(1)
    assert space.stage == "SLEEPING"
    await api("POST", f"{DEMO}/sleeptime", {"seconds": -1})
    assert space.sleep_time is None
    space.pause()
    space.visit()
    assert space.stage == "PAUSED"


async def test_a_commit_keeps_the_old_version_up(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """RUNNING_BUILDING, RUNNING_APP_STARTING, and then the new commit runs."""
    space = hub.add_space("acme/demo")
    old = space.running_sha
    space.commit("f" * 40, {"new.py": 1})
    runtime = (await api("GET", f"{DEMO}/runtime")).json
    assert (runtime["stage"], runtime["sha"]) == ("RUNNING_BUILDING", old)
    assert (await api("GET", DEMO)).json["sha"] == "f" * 40
    clock.advance(2)
    assert space.stage == "RUNNING_APP_STARTING"
    clock.advance(1)
    assert (space.stage, space.running_sha) == ("RUNNING", "f" * 40)


async def test_a_stage_that_a_test_sets_stays(hub: FakeHub, clock: ManualClock) -> None:
    """Nothing moves on from it by itself."""
    space = hub.add_space("acme/demo", stage="BUILDING")
    clock.advance(100)
    assert space.stage == "BUILDING"
    hub.set_stage("acme/demo", "RUNTIME_ERROR", error_message="oom")
    assert (space.stage, space.error_message) == ("RUNTIME_ERROR", "oom")


async def test_writing_configuration_restarts(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """A running app restarts, which is counted apart; others do not."""
    space = hub.add_space("acme/demo")
    await api("POST", f"{DEMO}/variables", {"key": "A", "value": "1"})
    assert (space.stage, space.config_restarts, space.restarts) == ("BUILDING", 1, 0)
    clock.advance(10)
    await api("DELETE", f"{DEMO}/secrets", {"key": "NONE"})
    assert space.stage == "RUNNING"
    space.pause()
    await api("POST", f"{DEMO}/secrets", {"key": "S", "value": "1"})
    assert (space.stage, space.config_restarts) == ("PAUSED", 1)


async def test_a_name_for_both_is_a_collision(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """Both writes are accepted; the Space is then in CONFIG_ERROR until it is solved."""
    hub.add_space("acme/demo", variables={"A": "1"})
    answer = await api("POST", f"{DEMO}/secrets", {"key": "A", "value": "x"})
    assert (answer.status, answer.json) == (200, {})
    runtime = (await api("GET", f"{DEMO}/runtime")).json
    assert runtime["stage"] == "CONFIG_ERROR"
    assert runtime["errorMessage"] == "Collision on variables and secrets names."
    await api("POST", f"{DEMO}/restart")
    clock.advance(10)
    assert hub.space("acme/demo").stage == "CONFIG_ERROR"
    await api("DELETE", f"{DEMO}/variables", {"key": "A"})
    clock.advance(10)
    assert hub.space("acme/demo").stage == "RUNNING"


async def test_static_runtime(hub: FakeHub, api: Any) -> None:
    """A static Space has no hardware, no sleep time and no domains."""
    hub.add_space("acme/demo", sdk="static")
    assert (await api("GET", f"{DEMO}/runtime")).json == {
        "stage": "RUNNING",
        "hardware": {"current": None, "requested": None},
        "replicas": {"requested": 1, "current": 1},
    }


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["restart", "factory", "pause", "hardware", "commit", "look"]),
        st.floats(0, 6),
    ),
    max_size=12,
)


@given(ACTS)
def test_looking_changes_nothing(acts: Any) -> None:
    """A Space that is watched all the time ends like one that nobody looks at."""

    def play(*, watched: bool) -> tuple[list[str], object]:
        clock = ManualClock()
        hub = FakeHub(clock=clock)
        hub._world.start_time()
        space = hub.add_space("acme/demo")
        for act, gap in acts:
            match act:
                case "restart" | "factory":
                    space.restart(factory=act == "factory")
                case "pause":
                    space.pause()
                case "hardware":
                    space.request_hardware("t4-small")
                case "commit":
                    space.commit("f" * 40)
                case _:
                    pass
            for _ in range(4):
                clock.advance(gap / 4)
                if watched:
                    assert space.stage
        return [stage.value for stage in space.stages], space.hardware

    assert play(watched=True) == play(watched=False)


async def test_a_factory_reboot_leaves_a_paused_space_paused(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """It is answered with success and changes nothing; a plain restart gets it out."""
    space = hub.add_space("acme/demo", stage="PAUSED")
    answer = await api("POST", f"{DEMO}/restart?factory=true")
    assert (answer.status, answer.json["stage"]) == (200, "PAUSED")
    clock.advance(60)
    assert (space.stages, space.factory_reboots) == (["PAUSED"], 0)
    await api("POST", f"{DEMO}/restart")
    await api("POST", f"{DEMO}/restart?factory=true")
    assert (space.stage, space.restarts, space.factory_reboots) == ("BUILDING", 1, 1)
