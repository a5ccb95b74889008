"""The compute quota of an account, in both of its forms."""

from __future__ import annotations

from typing import Any

import pytest

from spaces_async.testing import FakeHub, ManualClock

REFUSAL = (
    "You've reached your cpu-basic quota limit, please upgrade your account, or pause"
    " your previous Spaces to restart this one"
)


async def restart(api: Any, name: str) -> Any:
    return await api("POST", f"/api/spaces/acme/{name}/restart")


async def test_a_restart_too_many_is_refused(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """Of six paused Spaces three start; pausing one lets another one start."""
    hub.limit_flavor("acme", "cpu-basic", 3)
    spaces = [hub.add_space(f"acme/s{n}", stage="PAUSED") for n in range(6)]
    answers = [await restart(api, f"s{n}") for n in range(6)]
    assert [answer.status for answer in answers] == [200] * 3 + [403] * 3
    assert answers[3].json == {"error": REFUSAL}
    assert not hub.requests[-1].acted
    clock.advance(10)
    assert [space.stage for space in spaces] == ["RUNNING"] * 3 + ["PAUSED"] * 3
    assert (await restart(api, "s0")).status == 200
    await api("POST", "/api/spaces/acme/s1/pause")
    assert (await restart(api, "s5")).status == 200
    assert (await restart(api, "s4")).status == 403
    hub.limit_flavor("acme", "cpu-basic", None)
    assert (await restart(api, "s4")).status == 200


async def test_a_restart_too_many_goes_back_to_paused(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """It is taken, builds, and then says which quota stopped it."""
    hub.limit_flavor("acme", "cpu-basic", 3, form="pause")
    spaces = [hub.add_space(f"acme/s{n}", stage="PAUSED") for n in range(5)]
    for index in range(6):
        hub.add_space(f"acme/running-{index}", hardware="t4-small")
    answers = [await restart(api, f"s{n}") for n in range(5)]
    assert [answer.json["stage"] for answer in answers] == ["BUILDING"] * 5
    clock.advance(10)
    assert [space.stage for space in spaces] == ["RUNNING"] * 3 + ["PAUSED"] * 2
    runtime = (await api("GET", "/api/spaces/acme/s4/runtime")).json
    message = "Quota exceeded for flavor cpu-basic (requested=1): current=3, limit=3"
    assert (runtime["stage"], runtime["errorMessage"]) == ("PAUSED", message)
    assert spaces[4].stages == ["PAUSED", "BUILDING", "PAUSED"]
    await api("POST", "/api/spaces/acme/s0/pause")
    await restart(api, "s4")
    clock.advance(10)
    assert (spaces[4].stage, spaces[4].error_message) == ("RUNNING", None)


async def test_an_account_that_had_more_before(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """What runs goes on running above the limit, and counts."""
    for index in range(6):
        hub.add_space(f"acme/s{index}")
    space = hub.add_space("acme/demo", stage="PAUSED")
    hub.limit_flavor("acme", "cpu-basic", 3, form="pause")
    await restart(api, "demo")
    clock.advance(10)
    message = "Quota exceeded for flavor cpu-basic (requested=1): current=6, limit=3"
    assert (space.stage, space.error_message) == ("PAUSED", message)
    assert hub.space("acme/s0").stage == "RUNNING"


async def test_only_this_owner_and_flavor(hub: FakeHub, api: Any) -> None:
    """Other accounts, other flavors and static Spaces are not limited."""
    hub.limit_flavor("acme", "cpu-basic", 0)
    hub.add_space("other/demo", stage="PAUSED")
    hub.add_space("acme/gpu", stage="PAUSED", hardware="t4-small")
    hub.add_space("acme/page", sdk="static")
    assert (await api("POST", "/api/spaces/other/demo/restart")).status == 200
    assert (await restart(api, "gpu")).status == 200
    body = {"name": "acme/new", "type": "space", "sdk": "static"}
    assert (await api("POST", "/api/repos/create", body)).status == 200


@pytest.mark.parametrize("form", ["refuse", "pause"])
async def test_hardware(hub: FakeHub, api: Any, clock: ManualClock, form: Any) -> None:
    """A Space that runs may not move to a flavor that is used up; a paused one may."""
    hub.limit_flavor("acme", "t4-small", 1, form=form)
    hub.add_space("acme/first", hardware="t4-small")
    running = hub.add_space("acme/running")
    paused = hub.add_space("acme/paused", stage="PAUSED")
    body = {"flavor": "t4-small"}
    assert (await api("POST", "/api/spaces/acme/first/hardware", body)).status == 200
    assert (await api("POST", "/api/spaces/acme/paused/hardware", body)).status == 200
    answer = await api("POST", "/api/spaces/acme/running/hardware", body)
    clock.advance(10)
    assert paused.requested_hardware == "t4-small"
    if form == "refuse":
        assert (answer.status, running.stage) == (403, "RUNNING")
        assert running.requested_hardware == "cpu-basic"
    else:
        assert (answer.status, running.stage) == (200, "PAUSED")
        assert "flavor t4-small" in str(running.error_message)


@pytest.mark.parametrize("way", ["create", "duplicate"])
async def test_new_spaces(hub: FakeHub, api: Any, clock: ManualClock, way: str) -> None:
    """One too many is refused with 402, or is made and ends paused."""

    async def make(name: str) -> Any:
        if way == "duplicate":
            body = {"repository": f"acme/{name}"}
            return await api("POST", "/api/spaces/other/source/duplicate", body)
        files = [{"path": "app.py", "content": ""}]
        body = {"name": f"acme/{name}", "type": "space", "sdk": "gradio"}
        return await api("POST", "/api/repos/create", {**body, "files": files})

    hub.add_space("other/source")
    hub.limit_flavor("acme", "cpu-basic", 1)
    assert (await make("one")).status == 200
    assert (await make("two")).status == 402
    assert "acme/two" not in hub.spaces
    hub.limit_flavor("acme", "cpu-basic", 1, form="pause")
    assert (await make("two")).status == 200
    clock.advance(10)
    two = hub.space("acme/two")
    assert (two.stage, hub.space("acme/one").stage) == ("PAUSED", "RUNNING")
    assert "Quota exceeded" in str(two.error_message)


async def test_what_a_test_sets_is_not_limited(
    hub: FakeHub, api: Any, clock: ManualClock
) -> None:
    """A pause or a stage of the test's own ends what a restart too many began."""
    hub.limit_flavor("acme", "cpu-basic", 0, form="pause")
    space = hub.add_space("acme/demo", stage="PAUSED")
    await restart(api, "demo")
    space.set_stage("RUNNING")
    space.restart()
    clock.advance(10)
    assert space.stage == "RUNNING"
    space.pause()
    space.fails_with = "BUILD_ERROR"
    await restart(api, "demo")
    clock.advance(10)
    space.fails_with = None
    space.restart()
    clock.advance(10)
    assert space.stage == "RUNNING"
