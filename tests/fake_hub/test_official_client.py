"""The Hub's official client takes FakeHub for the Hub."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from huggingface_hub import HfApi, Volume
from huggingface_hub.errors import (
    BadRequestError,
    HfHubHTTPError,
    RepositoryNotFoundError,
)

from spaces_async.testing import FakeHub, ManualClock

DEMO = "acme/demo"


@pytest.fixture
def clock() -> Any:
    # The client compares the log's timestamps with `Date`, which has no fractions.
    return ManualClock(datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
async def hub(clock: ManualClock) -> Any:
    async with FakeHub(clock=clock, page_size=3) as hub:
        hub.add_space(DEMO, hardware="cpu-upgrade", variables={"A": "1"})
        yield hub


@pytest.fixture
def official(hub: FakeHub) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.token)


async def test_runtime(hub: FakeHub, official: Any, clock: ManualClock) -> None:
    """restart, pause, sleep time, hardware and dev mode."""
    run = asyncio.to_thread
    runtime = await run(official.get_space_runtime, DEMO)
    assert (runtime.stage, runtime.hardware) == ("RUNNING", "cpu-upgrade")
    assert (await run(official.pause_space, DEMO)).stage == "PAUSED"
    assert (await run(official.restart_space, DEMO)).stage == "BUILDING"
    await run(official.restart_space, DEMO, factory_reboot=True)
    space = hub.space(DEMO)
    assert (space.restarts, space.factory_reboots, space.pauses) == (1, 1, 1)
    assert (await run(official.set_space_sleep_time, DEMO, 600)).sleep_time == 600
    hardware = official.request_space_hardware
    runtime = await run(hardware, DEMO, "t4-small", sleep_time=900)
    assert (runtime.requested_hardware, runtime.sleep_time) == ("t4-small", 900)
    assert (await run(official.enable_space_dev_mode, DEMO)).dev_mode
    assert not (await run(official.disable_space_dev_mode, DEMO)).dev_mode


async def test_configuration(hub: FakeHub, official: Any) -> None:
    """Variables, secrets, volumes and settings."""
    run = asyncio.to_thread
    found = await run(official.add_space_variable, DEMO, "B", "2", description="d")
    assert (found["B"].value, found["B"].description) == ("2", "d")
    assert set(await run(official.get_space_variables, DEMO)) == {"A", "B"}
    assert set(await run(official.delete_space_variable, DEMO, "A")) == {"B"}
    await run(official.add_space_secret, DEMO, "S", "x", description="e")
    secrets = await run(official.get_space_secrets, DEMO)
    assert (secrets["S"].description, secrets["S"].updated_at is None) == ("e", False)
    await run(official.delete_space_secret, DEMO, "S")
    assert hub.space(DEMO).secrets == {}
    volume = Volume(type="bucket", source="acme/b", mount_path="/data")
    await run(official.set_space_volumes, DEMO, volumes=[volume])
    runtime = await run(official.get_space_runtime, DEMO)
    assert runtime.volumes
    assert runtime.volumes[0].mount_path == "/data"
    await run(official.delete_space_volumes, DEMO)
    with pytest.raises(BadRequestError):
        await run(official.delete_space_volumes, DEMO)
    settings = official.update_repo_settings
    await run(settings, DEMO, repo_type="space", visibility="private")
    assert hub.space(DEMO).private


async def test_repositories(hub: FakeHub, official: Any) -> None:
    """create, duplicate, move and delete."""
    run = asyncio.to_thread
    create = official.create_repo
    url = await run(create, "acme/new", repo_type="space", space_sdk="gradio")
    assert (url.repo_id, url.repo_type) == ("acme/new", "space")
    again = {"repo_type": "space", "space_sdk": "gradio"}
    assert await run(create, "acme/new", exist_ok=True, **again) == url
    with pytest.raises(HfHubHTTPError, match="409"):
        await run(create, "acme/new", **again)
    template = {"repo_type": "space", "space_template": "JupyterLab"}
    await run(create, "acme/lab", **template)
    assert hub.space("acme/lab").private
    copy = await run(official.duplicate_repo, DEMO, repo_type="space")
    assert copy.repo_id == "tester/demo"
    assert set(hub.space("tester/demo").variables) == {"A"}
    await run(official.move_repo, "acme/new", "acme/moved", repo_type="space")
    await run(official.delete_repo, "acme/moved", repo_type="space")
    with pytest.raises(RepositoryNotFoundError):
        await run(official.delete_repo, "acme/moved", repo_type="space")


async def test_lists(hub: FakeHub, official: Any) -> None:
    """Pages, expansions, info, search, hardware, templates, quota, whoami."""
    run = asyncio.to_thread
    for number in range(7):
        hub.add_space(f"acme/s{number}")

    def listed(**query: Any) -> Any:
        return list(official.list_spaces(author="acme", **query))

    assert len(await run(listed)) == 8
    assert hub.count("GET", "/api/spaces") == 3
    assert len(await run(listed, limit=5)) == 5
    spaces = await run(listed, expand=["runtime", "sdk"], sort="created_at")
    assert all(space.runtime.stage == "RUNNING" for space in spaces)
    info = await run(official.space_info, DEMO, files_metadata=True)
    assert (info.author, info.siblings[0].size is None) == ("acme", False)
    info = await run(official.space_info, DEMO, revision="main", expand=["sha"])
    assert info.sha == hub.space(DEMO).sha

    def found(query: Any) -> Any:
        return list(official.search_spaces(query, include_non_running=True))

    assert [card.id for card in await run(found, "demo")] == [DEMO]
    flavors = await run(official.list_spaces_hardware)
    assert "t4-small" in {flavor.name for flavor in flavors}
    assert (await run(official.list_space_templates))[0].sdk == "gradio"
    assert (await run(official.get_zero_gpu_quota)).remaining == 210
    me = await run(official.whoami)
    assert (me["name"], me["orgs"][0]["name"]) == ("tester", "acme")


async def test_errors(hub: FakeHub, official: Any) -> None:
    """The client sees the errors that it knows from the Hub."""
    run = asyncio.to_thread
    hub.add_space("acme/page", sdk="static")
    with pytest.raises(BadRequestError):
        await run(official.pause_space, "acme/page")
    with pytest.raises(RepositoryNotFoundError):
        await run(official.get_space_runtime, "acme/none")
    hub.set_stage(DEMO, "RUNNING")
    stranger = HfApi(endpoint=hub.url, token=False)
    # The client takes a 401 for "not found" only where the URL starts with https.
    with pytest.raises(HfHubHTTPError, match="Invalid username or password"):
        await run(stranger.get_space_runtime, "acme/none")
    hub.spend(10_000)
    with pytest.raises(HfHubHTTPError, match="Retry after 300 seconds"):
        await run(official.get_space_runtime, DEMO)


async def test_logs(hub: FakeHub, official: Any) -> None:
    """Build logs end by themselves; run logs at a line later than the answer."""
    space = hub.add_space("acme/logs")
    space.log("built", kind="build")
    space.log("hello\n")
    space.log("later", timestamp=space.created_at + timedelta(seconds=5))

    def lines(**query: Any) -> Any:
        return [
            line.rstrip() for line in official.fetch_space_logs("acme/logs", **query)
        ]

    assert await asyncio.to_thread(lines, build=True) == ["built"]
    assert await asyncio.to_thread(lines) == ["hello"]


async def test_wait_for_space(
    hub: FakeHub, official: Any, clock: ManualClock, until: Any
) -> None:
    """It polls until the stage is no longer transitional."""
    hub.space(DEMO).restart()
    task = asyncio.create_task(asyncio.to_thread(official.wait_for_space, DEMO))
    await until(lambda: hub.count("GET", "/runtime"))
    clock.advance(10)
    assert (await task).stage == "RUNNING"
