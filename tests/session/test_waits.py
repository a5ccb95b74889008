"""Waiting: when a Space has arrived, when it never will, and what it costs."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

import spaces_async as sa
from spaces_async import SpaceStage
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota


@pytest_asyncio.fixture
async def hub(clock: ManualClock) -> AsyncIterator[FakeHub]:
    """A Hub whose builds take a minute of that time."""
    async with FakeHub(
        clock=clock, quota=Quota(100_000, 300.0), build_seconds=60.0, start_seconds=30.0
    ) as hub:
        hub.add_org("acme", members={"tester": "write"})
        hub.add_space("acme/demo", stage="RUNNING", hardware="t4-small")
        yield hub


@pytest_asyncio.fixture
async def client(hub: FakeHub, clock: ManualClock) -> AsyncIterator[sa.SpacesClient]:
    """A client on the same clock."""
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock
    ) as client:
        yield client


async def test_a_restart_is_waited_for(client: sa.SpacesClient, hub: FakeHub) -> None:
    """From BUILDING to RUNNING; each stage is told once."""
    stages: list[SpaceStage] = []
    before = await client.lifecycle.restart("acme/demo")
    runtime = await client.lifecycle.wait_until(
        "acme/demo", after=before, on_stage=lambda r: stages.append(r.stage)
    )
    assert runtime.stage is SpaceStage.RUNNING
    assert stages == ["BUILDING", "APP_STARTING", "RUNNING"]
    assert hub.count("GET", "/runtime") < 15


async def test_a_stale_running_is_not_the_new_one(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock
) -> None:
    """Answers from before the restart do not end the wait; a settle time does."""
    before = await client.lifecycle.get_runtime("acme/demo")
    await client.lifecycle.restart("acme/demo")
    stale = {**before.raw, "stage": "RUNNING"}
    body = json.dumps(stale).encode()
    hub.faults("GET /runtime", Fault.status(200, body=body), times=2)
    runtime = await client.lifecycle.wait_until("acme/demo", after=before)
    assert runtime.stage is SpaceStage.RUNNING
    assert clock.monotonic() >= 90.0
    started = clock.monotonic()
    again = await client.lifecycle.wait_until("acme/demo", after=runtime)
    assert again.stage is SpaceStage.RUNNING
    assert 10.0 <= clock.monotonic() - started < 30.0


async def test_a_new_commit_needs_no_settling(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock
) -> None:
    """Another commit that runs is the new one at once."""
    before = await client.lifecycle.get_runtime("acme/demo")
    old = sa.SpaceRuntime("RUNNING", sha="0" * 40, replicas=before.replicas)
    await client.lifecycle.wait_until("acme/demo", after=old)
    assert clock.monotonic() < 1.0


async def test_a_failure_brings_its_reason_and_its_log(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """SpaceFailedError has the Hub's message and the end of the log."""
    hub.space("acme/demo").fails_with = "RUNTIME_ERROR"
    await client.lifecycle.restart("acme/demo")
    with pytest.raises(sa.SpaceFailedError) as caught:
        await client.lifecycle.wait_until("acme/demo")
    error = caught.value
    assert error.runtime is not None
    assert error.runtime.error_message is not None
    assert error.runtime.error_message in str(error)
    assert error.log_tail
    assert len(error.log_tail) <= 20


async def test_a_build_that_does_not_move_counts_as_failed(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock
) -> None:
    """After `stuck_after` seconds without a change the wait ends."""
    hub.set_stage("acme/demo", "BUILDING")
    with pytest.raises(sa.SpaceFailedError, match="is stuck"):
        await client.lifecycle.wait_until("acme/demo", stuck_after=120.0)
    assert 120.0 <= clock.monotonic() < 150.0


async def test_trouble_on_the_way_does_not_end_it(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """5xx, 429 and lost connections are survived."""
    await client.lifecycle.restart("acme/demo")
    for fault in (Fault.status(502), Fault.rate_limit(retry_after=5), Fault.reset()):
        hub.faults("GET /runtime", fault, times=6)
    runtime = await client.lifecycle.wait_until("acme/demo")
    assert runtime.stage is SpaceStage.RUNNING


async def test_a_callback_that_fails_stops_nothing(client: sa.SpacesClient) -> None:
    """A bug in on_stage is logged, and the wait goes on."""

    def broken(runtime: sa.SpaceRuntime) -> None:
        raise ValueError("a bug of the caller")

    runtime = await client.lifecycle.wait_until("acme/demo", on_stage=broken)
    assert runtime.stage is SpaceStage.RUNNING


async def test_waking(client: sa.SpacesClient, hub: FakeHub) -> None:
    """What is idle is restarted; what runs is left alone."""
    assert (await client.lifecycle.wake("acme/demo")).stage is SpaceStage.RUNNING
    for stage in ("SLEEPING", "PAUSED", "STOPPED"):
        hub.set_stage("acme/demo", stage)
        assert (await client.lifecycle.wake("acme/demo")).stage is SpaceStage.BUILDING
    assert hub.space("acme/demo").restarts == 3


async def test_few_waits_ask_for_themselves(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Two waits are cheaper with calls of their own."""
    hub.add_space("acme/other", stage="RUNNING", hardware="t4-small")
    for repo_id in ("acme/demo", "acme/other"):
        await client.lifecycle.restart(repo_id)
    async with asyncio.TaskGroup() as group:
        for repo_id in ("acme/demo", "acme/other"):
            group.create_task(client.lifecycle.wait_until(repo_id))
    assert hub.count("GET", "/api/spaces") == 0


async def test_a_cancelled_reader_leaves_the_others_waiting(
    hub: FakeHub,
) -> None:
    """Whoever reads the listing for all may be cancelled: the next one reads."""
    clock = ManualClock()
    for number in range(6):
        hub.add_space(f"acme/n{number}", stage="BUILDING")
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock
    ) as client:
        await client.lifecycle.get_runtime("acme/demo")
        hub.faults("GET /api/spaces", Fault.hang(), times=1)
        waits = [
            asyncio.create_task(client.lifecycle.wait_until(f"acme/n{number}"))
            for number in range(6)
        ]
        while not hub.count("GET", "/api/spaces"):
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        readers = [w for w in waits if not w.done()]
        for wait in readers[:3]:
            wait.cancel()
        for number in range(6):
            hub.set_stage(f"acme/n{number}", "RUNNING")
        async with asyncio.timeout(20):
            while not all(wait.done() for wait in waits):
                clock.advance(1.0)
                await asyncio.sleep(0)
        assert sum(wait.cancelled() for wait in waits) == 3
        assert {w.result().stage for w in waits if not w.cancelled()} == {"RUNNING"}


async def test_the_event_stream_shortens_the_wait(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """With `events` the news comes at once, and polling goes on without it."""
    await client.lifecycle.restart("acme/demo")
    runtime = await client.lifecycle.wait_until("acme/demo", events=True)
    assert runtime.stage is SpaceStage.RUNNING
    assert hub.count("GET", "/events") == 1
    hub.faults("GET /events", Fault.status(404), times=None)
    await client.lifecycle.restart("acme/demo")
    runtime = await client.lifecycle.wait_until("acme/demo", events=True)
    assert runtime.stage is SpaceStage.RUNNING


@pytest.mark.parametrize("how", ["after", "hardware", "neither"])
async def test_a_move_to_other_hardware_is_waited_for(
    clock: ManualClock, how: str
) -> None:
    """RUNNING on the old flavor, however long that lasts, is not the end."""
    async with (
        FakeHub(clock=clock, build_seconds=60.0, hardware_seconds=40.0) as hub,
        sa.SpacesClient(token=hub.token, endpoint=hub.url, clock=clock) as client,
    ):
        hub.add_space("tester/demo", stage="RUNNING", hardware="t4-small")
        requested = await client.hardware.request_hardware("tester/demo", "l40sx1")
        assert (requested.stage, requested.hardware) == ("RUNNING", "t4-small")
        runtime = await client.lifecycle.wait_until(
            "tester/demo",
            hardware="l40sx1" if how == "hardware" else None,
            after=requested if how == "after" else None,
        )
        assert (runtime.stage, runtime.hardware) == ("RUNNING", "l40sx1")
        assert clock.monotonic() >= 40.0


async def test_hardware_that_does_not_come_is_named(client: sa.SpacesClient) -> None:
    """The error of a wait that ran out says which flavor it is on."""
    with pytest.raises(
        sa.WaitTimeoutError, match="is on t4-small, not l40sx1"
    ) as caught:
        await client.lifecycle.wait_until("acme/demo", hardware="l40sx1", timeout=30)
    assert caught.value.last_stage is SpaceStage.RUNNING
    assert caught.value.missing == "is on t4-small, not l40sx1"


async def test_a_commit_is_waited_for(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock
) -> None:
    """RUNNING with another commit is not the end; the first digits are enough."""
    new, old = "ab" * 20, "cd" * 20
    served = await client.lifecycle.get_runtime("acme/demo")
    for sha in (old, old, new):
        body = json.dumps({**served.raw, "sha": sha}).encode()
        hub.faults("GET /runtime", Fault.status(200, body=body), times=1)
    runtime = await client.lifecycle.wait_until("acme/demo", sha="ABABABA")
    assert runtime.sha == new
    assert hub.count("GET", "/runtime") == 4
    with pytest.raises(sa.WaitTimeoutError, match=f"not {old}"):
        await client.lifecycle.wait_until("acme/demo", sha=old, timeout=20)
    for wrong in ("main", "ababab", ""):
        with pytest.raises(sa.ConfigurationError):
            await client.lifecycle.wait_until("acme/demo", sha=wrong)


async def test_a_failure_of_the_commit_before_is_given_time(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Right after a push the Hub may still report the old failure."""
    new = "ab" * 20
    for stage, sha in (
        ("BUILD_ERROR", "cd" * 20),
        ("BUILDING", None),
        ("RUNNING", new),
    ):
        body = json.dumps({"stage": stage, "sha": sha}).encode()
        hub.faults("GET /runtime", Fault.status(200, body=body), times=1)
    runtime = await client.lifecycle.wait_until("acme/demo", sha=new)
    assert runtime.sha == new


async def test_a_new_copy_is_given_time_to_appear(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock
) -> None:
    """A 404 right after duplicating is not the end; one that lasts is."""
    missing = Fault.status(404, message="Repository not found")
    hub.faults("GET /runtime", missing, times=3)
    assert (await client.lifecycle.wait_until("acme/demo")).stage == "RUNNING"
    assert clock.monotonic() < 10.0
    started = clock.monotonic()
    with pytest.raises(sa.SpaceNotFoundError):
        await client.lifecycle.wait_until("acme/gone")
    assert 5.0 <= clock.monotonic() - started < 10.0
    with pytest.raises(sa.SpaceNotFoundError):
        await client.lifecycle.wait_until("acme/gone", timeout=2)


async def test_a_space_that_vanishes_ends_the_wait(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A 404 after the Space was seen means that it was deleted."""
    hub.set_stage("acme/demo", "BUILDING")
    runtime = Fault.status(200, body=b'{"stage":"BUILDING"}')
    hub.faults("GET /runtime", runtime, times=1)
    hub.faults("GET /runtime", Fault.status(404), times=None)
    with pytest.raises(sa.SpaceNotFoundError):
        await client.lifecycle.wait_until("acme/demo")
    assert hub.count("GET", "/runtime") == 2


async def wait_for_all(
    client: sa.SpacesClient, count: int, **options: float | str
) -> list[object]:
    async def wait(repo_id: str) -> object:
        try:
            return await client.lifecycle.wait_until(repo_id, **options)  # type: ignore[arg-type]
        except sa.SpacesError as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait(f"acme/n{n}")) for n in range(count)]
    return [task.result() for task in tasks]


@pytest.mark.parametrize("status", [403, 400, 404, 500])
async def test_waits_do_without_a_listing_that_fails(
    client: sa.SpacesClient, hub: FakeHub, status: int
) -> None:
    """Each wait then reads the runtime of its own Space."""
    for number in range(6):
        hub.add_space(f"acme/n{number}", stage="RUNNING", hardware="t4-small")
        await client.lifecycle.restart(f"acme/n{number}")
    hub.faults("GET /api/spaces", Fault.status(status), times=None)
    found = await wait_for_all(client, 6)
    assert [getattr(r, "stage", r) for r in found] == ["RUNNING"] * 6
    assert hub.count("GET", "/api/spaces")


@pytest.mark.parametrize(
    "odd",
    [
        {"stage": "RUNNING", "hardware": "cpu-basic"},
        {"stage": 7},
        {},
        "RUNNING",
        None,
    ],
)
async def test_an_odd_space_in_the_listing_costs_no_other_wait(
    client: sa.SpacesClient, hub: FakeHub, odd: object
) -> None:
    """The others use the listing; the wait for the odd one reads its runtime."""
    listing: list[object] = [{"id": "acme/n0", "runtime": odd}, {"id": 7}]
    for number in range(6):
        hub.add_space(f"acme/n{number}", stage="RUNNING", hardware="t4-small")
        await client.lifecycle.restart(f"acme/n{number}")
        if number:
            listing.append({"id": f"acme/n{number}", "runtime": {"stage": "BUILDING"}})
    body = json.dumps(listing).encode()
    hub.faults("GET /api/spaces", Fault.status(200, body=body), times=3)
    found = await wait_for_all(client, 6)
    assert [getattr(r, "stage", r) for r in found] == ["RUNNING"] * 6


async def test_what_a_listing_does_not_show_is_read_alone(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A wait for hardware does not end in a listing that has it in an odd form."""
    runtime = {"stage": "RUNNING", "hardware": {"current": 7, "requested": "t4-small"}}
    listing = [{"id": f"acme/n{number}", "runtime": runtime} for number in range(6)]
    for number in range(6):
        hub.add_space(f"acme/n{number}", stage="RUNNING", hardware="t4-small")
    body = json.dumps(listing).encode()
    hub.faults("GET /api/spaces", Fault.status(200, body=body), times=None)
    found = await wait_for_all(client, 6, hardware="t4-small", timeout=60.0)
    assert [getattr(r, "stage", r) for r in found] == ["RUNNING"] * 6


@contextlib.asynccontextmanager
async def endless_listing(
    document: str, stage: str = "BUILDING"
) -> AsyncIterator[tuple[str, list[int]]]:
    """A Hub whose listings never end, with Spaces in a stage, and whose writes fail.

    It yields its address and the pages that it has sent.
    """
    pages: list[int] = []

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                method, path = request.decode().split()[:2]
                status = "500 Oops" if method == "POST" else "200 OK"
                link, body = "", f'{{"stage":"{stage}"}}'
                if path.startswith("/api/spaces?"):
                    pages.append(len(pages))
                    body = document.replace("#", f"{len(pages)}")
                    link = f'Link: </api/spaces?cursor={len(pages)}>; rel="next"\r\n'
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{link}"
                    f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
                )
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", pages


async def test_a_listing_without_an_end_does_not_outlast_the_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """New Spaces on every page, for ever: the timeout of each wait holds."""
    monkeypatch.setattr("spaces_async._follow.stage_wait._FIRST_READ_SECONDS", 0.0)
    async with (
        endless_listing('[{"id":"acme/x#"}]') as (url, pages),
        sa.SpacesClient(token="hf_x", endpoint=url) as client,
        asyncio.timeout(20),
    ):
        found = await wait_for_all(client, 5, timeout=1.0)
    assert {type(error) for error in found} == {sa.WaitTimeoutError}
    assert len(pages) > 2


@pytest.mark.parametrize("page", ["[]", '[{"id":"acme/x#"}]'])
async def test_a_listing_without_an_end_does_not_stop_a_bulk(page: str) -> None:
    """A look after a lost answer reads no more pages than there are Spaces to find."""
    async with (
        endless_listing(page, "PAUSED") as (url, pages),
        sa.SpacesClient(token="hf_x", endpoint=url) as client,
        asyncio.timeout(30),
    ):
        report = await client.bulk.pause([f"acme/s{n}" for n in range(6)])
    assert len(report.succeeded) == 6
    assert 0 < len(pages) <= 6 * 6


async def test_a_quota_that_pauses_the_space_again_is_the_cause(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """PAUSED with the quota's message: the wait fails because of a ComputeQuotaError."""
    hub.limit_flavor("acme", "t4-small", 0, form="pause")
    hub.set_stage("acme/demo", "PAUSED")
    restarted = await client.lifecycle.restart("acme/demo")
    with pytest.raises(sa.SpaceFailedError, match="Quota exceeded") as caught:
        await client.lifecycle.wait_until("acme/demo", after=restarted)
    cause = caught.value.__cause__
    assert isinstance(cause, sa.ComputeQuotaError)
    assert (cause.flavor, cause.current, cause.limit) == ("t4-small", 0, 0)
    assert (cause.status, cause.request_id, cause.attempts) == (403, None, 0)


async def test_a_restart_over_the_quota_is_refused(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """The other form of the quota: the request itself is refused."""
    hub.limit_flavor("acme", "t4-small", 0)
    hub.set_stage("acme/demo", "PAUSED")
    with pytest.raises(sa.ComputeQuotaError) as caught:
        await client.lifecycle.restart("acme/demo")
    assert caught.value.flavor == "t4-small"
    assert caught.value.attempts == 1
    assert caught.value.request_id
