"""The Hub as a whole: start, end, company, virtual time, demo content."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

import aiohttp
import async_solipsism  # type: ignore[import-untyped]
import pytest

from spaces_async import SpaceHardware, SpaceStage, testing
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota, seed_org


async def get(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        await response.read()
        return response.status


async def test_two_hubs_in_one_loop() -> None:
    """They share nothing."""
    async with FakeHub() as one, FakeHub() as two:
        one.add_space("acme/demo")
        assert one.url != two.url
        assert await get(f"{one.url}/api/spaces/acme/demo") == 200
        assert await get(f"{two.url}/api/spaces/acme/demo") == 401
        assert (len(one.requests), len(two.requests)) == (1, 1)


async def test_an_outage_keeps_address_and_state(
    hub: FakeHub, clock: ManualClock
) -> None:
    """Closed, it refuses connections; started again, it is what it was."""
    space = hub.add_space("acme/demo")
    space.restart()
    clock.advance(1)
    url = f"{hub.url}/api/spaces/acme/demo"
    await hub.aclose()
    await hub.aclose()
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(url)
    clock.advance(100)
    assert space.stage == "BUILDING"
    await hub.start()
    await hub.start()
    assert await get(url) == 200
    clock.advance(1)
    assert space.stage == "APP_STARTING"


async def test_a_taken_port_is_an_error_that_leaves_nothing(hub: FakeHub) -> None:
    """The second Hub fails to start and can be closed all the same."""
    second = FakeHub(port=int(hub.url.rpartition(":")[2]))
    with pytest.raises(OSError, match="in use"):
        await second.start()
    await second.aclose()


async def test_connections_are_kept_and_counted(hub: FakeHub) -> None:
    """One client with one connection makes many calls on it."""
    async with aiohttp.ClientSession(hub.url) as session:
        for _ in range(5):
            async with session.get("/api/spaces") as response:
                await response.read()
        assert hub.connections == 1
    assert hub.max_in_flight == 1


async def test_state_can_be_read_without_a_loop() -> None:
    """Before the start and after the end: with the loop's clock as well."""
    hub = await asyncio.to_thread(FakeHub)
    space = await asyncio.to_thread(hub.add_space, "acme/demo")
    async with hub:
        assert await get(f"{hub.url}/api/spaces/acme/demo") == 200
    assert await asyncio.to_thread(lambda: space.stage) == "RUNNING"


async def test_accounts_come_and_go(hub: FakeHub, anonymous: Any) -> None:
    """A revoked token is a wrong one; a token needs its user."""
    hub.add_token("hf_more")
    assert (await anonymous("GET", "/api/whoami-v2", token="hf_more")).status == 200
    hub.remove_token("hf_more")
    assert (await anonymous("GET", "/api/whoami-v2", token="hf_more")).status == 401
    with pytest.raises(KeyError):
        hub.add_token("hf_x", user="nobody")
    assert "hf_" not in repr(hub._world.accounts.tokens[hub.token])


async def test_automatic_time_builds_while_polling() -> None:
    """With an automatic clock a poll loop takes no real time."""
    clock = ManualClock(auto=True)
    async with FakeHub(clock=clock, build_seconds=600.0) as hub:
        space = hub.add_space("acme/demo")
        space.restart()
        polls = 0
        while space.stage != "RUNNING":
            await clock.sleep(10)
            polls += 1
        assert polls == 61


async def test_an_open_stream_does_not_drive_automatic_time() -> None:
    """It sends no comments then, and follows the stages all the same."""
    clock = ManualClock(auto=True)
    async with FakeHub(clock=clock) as hub:
        space = hub.add_space("acme/demo")
        headers = {"Authorization": f"Bearer {hub.token}"}
        async with (
            aiohttp.ClientSession(hub.url, headers=headers) as session,
            session.get("/api/spaces/acme/demo/events") as response,
        ):
            for stage in (b"RUNNING", b"BUILDING", b"APP_STARTING", b"RUNNING"):
                assert stage in await response.content.readuntil(b"\n\n")
                if space.stages == ["RUNNING"]:
                    for _ in range(50):
                        await asyncio.sleep(0)
                    assert clock.monotonic() == 0
                    space.restart()
        assert clock.monotonic() == 3


def test_virtual_loop(monkeypatch: Any) -> None:
    """Under a loop with virtual time, windows, delays and stages follow that time."""
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:

        async def run() -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, async_solipsism.EventLoop)

            async def dial(*, addr_infos: Any, **_: Any) -> Any:
                return await loop.aiohappyeyeballs_start_connection(addr_infos)

            monkeypatch.setattr("aiohappyeyeballs.start_connection", dial)
            async with FakeHub(
                anonymous_quota=Quota(3, 300.0), build_seconds=50
            ) as hub:
                space = hub.add_space("acme/demo")
                space.restart()
                created = space.created_at
                hub.faults("GET /runtime", Fault.delay(30), times=None)
                hub.faults("GET /runtime", Fault.disconnect(), after=2)
                url = f"{hub.url}/api/spaces/acme/demo/runtime"
                start = loop.time()
                assert [await get(url), await get(url)] == [200, 200]
                assert loop.time() - start == 60
                assert space.stage == "RUNNING"
                # aiohttp sends a GET again by itself when the connection is lost.
                assert await get(url) == 429
                assert hub.requests[-2].status is None
                await asyncio.sleep(300)
                assert await get(url) == 200
                space.set_config("variables", "A", "1")
                passed = space.variables["A"].updated_at - created
                assert passed.total_seconds() == pytest.approx(loop.time() - start)

        runner.run(run())


def test_the_demo_organization() -> None:
    """200 Spaces: most run, twelve have failed, two of those for good; always alike."""

    def seed() -> FakeHub:
        hub = FakeHub(clock=ManualClock())
        assert len(seed_org(hub, "acme", 200)) == 200
        return hub

    hub = seed()
    stages = Counter(space.stage.value for space in hub.spaces.values())
    assert stages["RUNNING"] > 100
    assert stages["RUNTIME_ERROR"] + stages["BUILD_ERROR"] == 12
    assert {"SLEEPING", "PAUSED", "BUILDING"} <= set(stages)
    assert sum(space.fails_with is not None for space in hub.spaces.values()) == 2
    assert {"gradio", "docker", "static"} == {s.sdk for s in hub.spaces.values()}
    again = seed()
    assert list(again.spaces) == list(hub.spaces)
    assert [s.oid for s in again.spaces.values()] == [
        s.oid for s in hub.spaces.values()
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"stage": "RUNING"}, "'RUNING' is not a stage; did you mean 'RUNNING'?"),
        ({"stage": "running"}, "'running' is not a stage; did you mean 'RUNNING'?"),
        ({"fails_with": "BUILD_EROR"}, "a stage; did you mean 'BUILD_ERROR'?"),
        ({"sdk": "graido"}, "'graido' is not an SDK; did you mean 'gradio'?"),
        ({"sdk": "shiny"}, "expected one of docker, gradio, static, streamlit"),
        ({"hardware": "t4small"}, "hardware flavor; did you mean 't4-small'?"),
        ({"visibility": "privat"}, "a visibility; did you mean 'private'?"),
    ],
)
def test_a_misspelt_word_is_refused(options: Any, problem: str) -> None:
    """A test that goes on with it would test something else; nothing is added."""
    hub = FakeHub()
    with pytest.raises(ValueError, match="is not a") as caught:
        hub.add_space("acme/demo", **options)
    assert str(caught.value).endswith(problem)
    assert hub.spaces == {}


def test_misspelt_words_later_on() -> None:
    """Whatever changes a Space checks its words as well."""
    hub = FakeHub(clock=ManualClock())
    space = hub.add_space("acme/demo")
    with pytest.raises(ValueError, match="did you mean 'PAUSED'"):
        hub.set_stage("acme/demo", "PASUED")
    with pytest.raises(ValueError, match="did you mean 'BUILD_ERROR'"):
        space.fail_next_build("BUILD_ERORR")
    with pytest.raises(ValueError, match="did you mean 'RUNTIME_ERROR'"):
        space.fails_with = "RUNTIME_EROR"
    with pytest.raises(ValueError, match="did you mean 'build'"):
        space.log("x", kind="biuld")
    with pytest.raises(ValueError, match="did you mean 'cpu-basic'"):
        hub.limit_flavor("acme", "cpu_basic", 3)
    with pytest.raises(ValueError, match="did you mean 'pause'"):
        hub.limit_flavor("acme", "cpu-basic", 3, form=cast("Any", "pasue"))
    with pytest.raises(ValueError, match="at least 0, not -1"):
        hub.limit_flavor("acme", "cpu-basic", -1)
    with pytest.raises(KeyError, match="did you mean 'acme/demo'"):
        hub.space("acme/dmeo")
    assert (space.stages, space.fails_with) == (["RUNNING"], None)


def test_stages_and_flavors_of_tomorrow() -> None:
    """What the Hub may add is possible, where a test says that it means it."""
    hub = FakeHub(clock=ManualClock())
    space = hub.add_space(
        "acme/demo", stage=SpaceStage("FROZEN"), hardware=SpaceHardware("b300")
    )
    assert (space.stage, space.requested_hardware) == ("FROZEN", "b300")


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        ({"quota": 5}, TypeError, r"quota must be a Quota\(limit, window\), not 5"),
        ({"round_t": "up"}, ValueError, "'up' is not a rounding"),
        ({"path_prefix": "hf/"}, ValueError, "path_prefix must be a path"),
    ],
)
def test_wrong_options(options: Any, error: type[Exception], problem: str) -> None:
    """They are refused where they are given, not at the first call."""
    with pytest.raises(error, match=problem):
        FakeHub(**options)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("::", "[::1]"),
        ("localhost", "localhost"),
        ("::1", "[::1]"),
    ],
)
def test_hosts(host: str, name: str) -> None:
    """The URL names an address that this machine can reach."""
    assert FakeHub(host=host, port=8080).url == f"http://{name}:8080"


async def test_runtimes_of_the_older_documentation(api: Any) -> None:
    """`rawLogs`, `sdk`, `sdkVersion` come where a test asks; one Space can differ."""
    async with FakeHub(legacy_runtime=True) as old:
        base = f"{old.url}/api/spaces/acme"
        old.add_space("acme/demo")
        old.add_space("acme/docker", sdk="docker")
        old.add_space("acme/odd", runtime_fields={"rawLogs": "text", "gcTimeout": "x"})
        runtime = (await api("GET", f"{base}/demo/runtime")).json
        legacy = {"rawLogs": True, "sdk": "gradio", "sdkVersion": "4.0.0"}
        assert {key: runtime[key] for key in legacy} == legacy
        assert (await api("POST", f"{base}/demo/restart")).json["rawLogs"] is True
        docker = (await api("GET", f"{base}/docker/runtime")).json
        assert (docker["sdk"], "sdkVersion" in docker) == ("docker", False)
        odd = (await api("GET", f"{base}/odd")).json["runtime"]
        assert (odd["rawLogs"], odd["gcTimeout"]) == ("text", "x")
    async with FakeHub() as new:
        new.add_space("acme/demo")
        runtime = (await api("GET", f"{new.url}/api/spaces/acme/demo/runtime")).json
        assert not runtime.keys() & {"rawLogs", "sdk", "sdkVersion"}


def test_public_names() -> None:
    """Each is there, sorted, and loaded on demand."""
    assert testing.__all__ == sorted(testing.__all__)
    for name in testing.__all__:
        assert getattr(testing, name) is not None
    assert set(testing.__all__) <= set(dir(testing))
    with pytest.raises(AttributeError, match="nothing"):
        _ = testing.nothing  # type: ignore[attr-defined]


async def test_fixture(fake_hub: FakeHub) -> None:
    """The plugin's fixture is a Hub that runs."""
    assert await get(f"{fake_hub.url}/api/spaces") == 200
