"""Logs, events and metrics over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

import spaces_async as sa
from spaces_async.testing import FakeHub, Fault


async def take(lines: AsyncIterator[sa.LogLine], count: int) -> list[str]:
    async with asyncio.timeout(20):
        return [(await anext(lines)).text for _ in range(count)]


def write(hub: FakeHub, *texts: str, repo_id: str = "acme/demo") -> None:
    for text in texts:
        hub.space(repo_id).log(text)


async def test_a_log_is_read_to_its_end(client: sa.SpacesClient, hub: FakeHub) -> None:
    """Without follow the replay is returned and the iterator ends."""
    write(hub, "one", "two \x1b[31mred\x1b[0m")
    async with client.logs.stream_logs("acme/demo") as lines:
        found = [line async for line in lines]
    texts = [line.text for line in found]
    assert texts[-2:] == ["one", "two \x1b[31mred\x1b[0m"]
    assert all(line.timestamp is not None for line in found)
    assert {line.repo_id for line in found} == {"acme/demo"}


async def test_a_log_that_broke_off_does_not_look_whole(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Without follow a broken connection is an error, and not the end of the log."""
    write(hub, "one")
    hub.faults("GET /logs/run", Fault.truncated())
    with pytest.raises(sa.StreamInterruptedError, match="acme/demo broke off"):
        async with client.logs.stream_logs("acme/demo") as lines:
            async for _ in lines:
                pass


async def test_the_tail_of_a_log(client: sa.SpacesClient, hub: FakeHub) -> None:
    """`tail` asks the Hub for the last lines only."""
    write(hub, *"abcdef")
    async with client.logs.stream_logs("acme/demo", tail=2) as lines:
        assert [line.text async for line in lines] == ["e", "f"]
    assert ("tail", "2") in hub.requests[-1].query


async def test_a_followed_log_goes_on(client: sa.SpacesClient, hub: FakeHub) -> None:
    """With follow new lines come as they are written."""
    write(hub, "old")
    async with client.logs.stream_logs("acme/demo", follow=True, tail=1) as lines:
        assert await take(lines, 1) == ["old"]
        write(hub, "new")
        assert await take(lines, 1) == ["new"]


async def test_a_followed_log_survives_a_break(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """After an outage it goes on where it was: nothing twice, nothing lost."""
    write(hub, "a", "b", "b")
    async with client.logs.stream_logs("acme/demo", follow=True, tail=3) as lines:
        assert await take(lines, 3) == ["a", "b", "b"]
        await hub.aclose()
        write(hub, "b", "c")
        await hub.start()
        assert await take(lines, 2) == ["b", "c"]
        write(hub, "d")
        assert await take(lines, 1) == ["d"]


async def test_a_stream_that_stays_broken_ends(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """After five vain tries in a row the stream gives up, and says of what."""
    clock = client.clock
    slept: list[float] = []

    async def no_wait(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    clock.sleep = no_wait  # type: ignore[method-assign]
    write(hub, "a")
    async with client.logs.stream_logs("acme/demo", follow=True, tail=1) as lines:
        assert await take(lines, 1) == ["a"]
        hub.faults("GET /logs/run", Fault.status(502), times=None)
        await hub.aclose()
        await hub.start()
        with pytest.raises(sa.StreamInterruptedError, match="acme/demo"):
            await take(lines, 1)
    # Each opening is tried as often as any read, as long as the budget for that lasts.
    assert 1 + 5 < hub.count("GET", "/logs/run") <= 1 + 5 * 5
    assert sum(slept) >= 12.5


@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(503),
        Fault.status(503, headers={"Retry-After": "1"}),
        Fault.rate_limit(1),
        Fault.reset(),
        Fault.status(307, headers={"Location": "/api/spaces/acme/demo/logs/run"}),
    ],
    ids=["503", "503 that asks to wait", "429", "reset", "307"],
)
async def test_opening_is_a_read_like_any(
    client: sa.SpacesClient, hub: FakeHub, fault: Fault
) -> None:
    """One failure that passes, and a redirect within the Hub, are no error."""
    write(hub, "a")
    hub.faults("GET /logs/run", fault, times=1)
    async with client.logs.stream_logs("acme/demo", follow=True) as lines:
        assert await take(lines, 1) == ["a"]
    assert hub.count("GET", "/logs/run") == 2


async def test_without_retries_a_stream_is_opened_once(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """`RetryPolicy.off()` holds for streams: neither opened nor reopened again."""
    write(hub, "a")
    once = client.with_options(retry=sa.RetryPolicy.off())
    async with once.logs.stream_logs("acme/demo", follow=True) as lines:
        assert await take(lines, 1) == ["a"]
        await hub.aclose()
        await hub.start()
        with pytest.raises(sa.StreamInterruptedError):
            await take(lines, 1)
    hub.faults("GET /logs/run", Fault.status(503), times=None)
    async with once.logs.stream_logs("acme/demo") as lines:
        with pytest.raises(sa.HubServerError) as caught:
            await take(lines, 1)
    assert caught.value.attempts == 1
    assert hub.count("GET", "/logs/run") == 2


async def test_the_limits_hold_for_opening_a_stream(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A Hub that does not answer is given up after the time that a call has."""
    hub.faults("GET /logs/run", Fault.hang(), times=None)
    for timeouts, phase in (
        (sa.Timeouts(total=0.3), "total"),
        (sa.Timeouts(attempt=0.1, total=0.3), "attempt"),
        (sa.Timeouts(read=0.1, total=0.3), "read"),
    ):
        quick = client.with_options(timeouts=timeouts)
        async with (
            asyncio.timeout(10),
            quick.logs.stream_logs("acme/demo", follow=True) as lines,
        ):
            with pytest.raises(sa.RequestTimeoutError) as caught:
                await anext(lines)
        assert caught.value.phase in (phase, "total")


async def test_the_token_is_not_in_the_error_of_a_stream(
    client: sa.SpacesClient, hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even if the Hub sends it back."""
    hub.faults(
        "GET *", Fault.status(400, message=f"bad: Bearer {hub.token}"), times=None
    )
    for opened in (
        client.logs.stream_logs("acme/demo"),
        client.logs.stream_logs("acme/demo", follow=True),
        client.logs.stream_events("acme/demo"),
        client.logs.stream_metrics("acme/demo"),
        client.logs.stream_many(["acme/demo"]),
    ):
        async with opened as source:
            with pytest.raises(
                sa.BadRequestError, match=r"bad: Bearer \*\*\*"
            ) as caught:
                await anext(source)
        assert hub.token not in repr(vars(caught.value)) + str(caught.value)
    assert hub.token not in caplog.text


async def test_the_log_of_a_build_ends_with_it(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """The Hub closes it then, and it is not asked for again and again."""
    hub.space("acme/demo").log("built", "build")
    async with (
        asyncio.timeout(10),
        client.logs.stream_logs("acme/demo", kind="build", follow=True) as lines,
    ):
        assert [line.text async for line in lines] == ["built"]
    assert hub.count("GET", "/logs/build") == 1


@pytest.mark.parametrize(
    ("repo_id", "token", "error"),
    [
        ("acme/missing", True, sa.SpaceNotFoundError),
        ("acme/demo", False, sa.AuthenticationError),
    ],
)
async def test_what_cannot_be_opened_is_told(
    client: sa.SpacesClient,
    hub: FakeHub,
    repo_id: str,
    token: bool,
    error: type[sa.SpacesError],
) -> None:
    """A stream that is refused raises like any call, and is not tried again."""
    caller = client if token else client.with_token(False)
    for follow in (True, False):
        async with caller.logs.stream_logs(repo_id, follow=follow) as lines:
            with pytest.raises(error):
                await anext(lines)
    assert hub.count("GET", "/logs/run") == 2


async def test_bad_arguments_are_refused(client: sa.SpacesClient, hub: FakeHub) -> None:
    """A kind or a tail that cannot be is refused before anything is sent."""
    for arguments in ({"kind": "container"}, {"tail": 0}, {"follow": 1}):
        with pytest.raises(sa.ConfigurationError):
            async with client.logs.stream_logs("acme/demo", **arguments):
                pass
    with pytest.raises(sa.ConfigurationError):
        async with client.logs.stream_logs("nonsense"):
            pass
    assert not hub.requests


async def test_leaving_a_stream_closes_its_connection(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A `break` out of a log leaves no connection, no task and no open request."""
    write(hub, "a")
    async with client.logs.stream_logs("acme/demo", follow=True) as lines:
        async for _ in lines:
            break
    async with asyncio.timeout(10):
        while hub.in_flight:
            await asyncio.sleep(0)
    await client.lifecycle.get_runtime("acme/demo")


async def test_a_cancelled_stream_closes_its_connection(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """So does a cancel while nothing comes."""

    async def follow() -> None:
        async with client.logs.stream_logs("acme/demo", follow=True, tail=1) as lines:
            async for _ in lines:
                pass

    write(hub, "a")
    task = asyncio.create_task(follow())
    while not hub.in_flight:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        while hub.in_flight:
            await asyncio.sleep(0)


async def test_many_logs_in_one(client: sa.SpacesClient, hub: FakeHub) -> None:
    """Each line says whose it is; those of one Space keep their order."""
    hub.add_space("acme/other")
    write(hub, "d1", "d2")
    write(hub, "o1", "o2", repo_id="acme/other")
    ids = ["acme/demo", "acme/other", "acme/demo"]
    async with client.logs.stream_many(ids, follow=False, tail=2) as lines:
        found = [(line.repo_id, line.text) async for line in lines]
    assert [text for repo_id, text in found if repo_id == "acme/demo"] == ["d1", "d2"]
    assert [text for repo_id, text in found if repo_id == "acme/other"] == ["o1", "o2"]


async def test_a_log_that_fails_ends_only_its_own_part(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """The others go on; its error is told at once, and raised when all have ended."""
    write(hub, "a", "b")
    failed: list[tuple[str, sa.SpacesError]] = []
    found: list[str] = []
    with pytest.raises(sa.SpaceNotFoundError) as caught:
        async with client.logs.stream_many(
            ["acme/gone", "acme/demo"],
            follow=False,
            tail=2,
            on_failure=lambda repo_id, error: failed.append((repo_id, error)),
        ) as lines:
            async for line in lines:
                found.append(line.text)  # noqa: PERF401  (kept when it raises)
    assert found == ["a", "b"]
    assert failed == [("acme/gone", caught.value)]


async def test_other_logs_are_followed_on(
    client: sa.SpacesClient, hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """With follow, a Space that is missing does not end the others; a warning tells."""
    write(hub, "old")
    failed = asyncio.Event()
    async with client.logs.stream_many(
        ["acme/gone", "acme/demo"], tail=1, on_failure=lambda *_: failed.set()
    ) as lines:
        assert await take(lines, 1) == ["old"]
        async with asyncio.timeout(10):
            await failed.wait()
        write(hub, "new")
        assert await take(lines, 1) == ["new"]
    assert "the log of acme/gone ended" in caplog.text


async def test_events_tell_the_stage(client: sa.SpacesClient, hub: FakeHub) -> None:
    """Each change of the stage is an event."""
    async with (
        asyncio.timeout(20),
        client.logs.stream_events("acme/demo") as events,
    ):
        first = await anext(events)
        assert (first.kind, first.stage) == ("stage", sa.SpaceStage.RUNNING)
        await client.lifecycle.pause("acme/demo")
        async for event in events:
            if event.stage is sa.SpaceStage.PAUSED:
                break


async def test_metrics_come(client: sa.SpacesClient, hub: FakeHub) -> None:
    """A running Space tells what it uses; one that does not run is refused."""
    async with client.logs.stream_metrics("acme/demo") as metrics:
        found = await anext(metrics)
    assert found.memory_total_bytes is not None
    assert found.raw["replica"] == found.replica
    hub.set_stage("acme/demo", "PAUSED")
    async with client.logs.stream_metrics("acme/demo") as metrics:
        with pytest.raises(sa.HubResponseError) as caught:
            await anext(metrics)
    assert caught.value.status == 406


async def test_streams_do_not_use_up_connections(hub: FakeHub) -> None:
    """Open streams leave the places for calls free."""
    settings = sa.ClientSettings(max_connections=1)
    write(hub, "a")
    async with (
        sa.SpacesClient(token=hub.token, endpoint=hub.url, settings=settings) as client,
        client.logs.stream_logs("acme/demo", follow=True) as lines,
    ):
        await anext(lines)
        async with asyncio.timeout(10):
            await client.lifecycle.get_runtime("acme/demo")


async def serve(*chunks: bytes, headers: bytes = b"") -> tuple[asyncio.Server, str]:
    """A server that answers everything with one stream, which stays open."""

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
            writer.write(headers + b"\r\n")
            for chunk in chunks:
                writer.write(chunk)
            await writer.drain()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("many", [False, True])
async def test_a_timestamp_at_the_beginning_of_time(many: bool) -> None:
    """What some programs write for "never" breaks nothing."""
    never = b'data: {"data":"a","timestamp":"0001-01-01T00:00:00Z"}\n\n'
    now = b'data: {"data":"b","timestamp":"2026-01-01T00:00:00Z"}\n\n'
    server, url = await serve(never, now)
    async with server, sa.SpacesClient(token="hf_x", endpoint=url) as client:
        logs = client.logs
        opened = (
            logs.stream_many(["acme/demo"])
            if many
            else logs.stream_logs("acme/demo", follow=True)
        )
        async with opened as lines:
            assert await take(lines, 2) == ["a", "b"]


@pytest.mark.parametrize("follow", [False, True])
async def test_a_line_that_is_too_large_is_cut(
    follow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes with a mark, and the lines after it come as well."""
    monkeypatch.setattr("spaces_async.logs._REPLAY_SILENCE_SECONDS", 0.3)
    large = b'data: {"data":"' + b"x" * 2_000_000 + b'","timestamp":"2026-01-01"}\n\n'
    after = b'data: {"data":"after","timestamp":"2026-01-01T00:00:00Z"}\n\n'
    server, url = await serve(large, after)
    async with (
        server,
        sa.SpacesClient(token="hf_x", endpoint=url) as client,
        client.logs.stream_many(["acme/demo"], follow=follow) as lines,
    ):
        cut, whole = await take(lines, 2)
    assert cut.startswith("xxx")
    assert cut.endswith("x […cut: larger than 1 MiB]")
    assert len(cut) <= 1024 * 1024 + 30
    assert whole == "after"


@pytest.mark.parametrize(
    "date",
    [
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -0500",
        "Mon, 01 Jan 0100 00:00:00 GMT",
    ],
)
async def test_a_date_at_the_end_of_time(
    date: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `Date` that no clock shows neither breaks a log nor cuts it off."""
    monkeypatch.setattr("spaces_async.logs._REPLAY_SILENCE_SECONDS", 0.3)
    line = b'data: {"data":"a","timestamp":"2026-01-01T00:00:00Z"}\n\n'
    server, url = await serve(line, headers=f"Date: {date}\r\n".encode())
    async with server, sa.SpacesClient(token="hf_x", endpoint=url) as client:
        async with client.logs.stream_logs("acme/demo") as lines:
            assert [line.text async for line in lines] == ["a"]
        shared = client._session.shared
        assert shared.heard is not None
        assert shared.heard[0] == date
        assert shared.by_hub_clock(client.clock.utcnow()) is None


async def test_a_measurement_that_is_not_as_thought() -> None:
    """It comes all the same: what cannot be read is in `raw`."""
    server, url = await serve(
        b'event: metric\ndata: {"memory_used_bytes": 1.5, "replica": 7}\n\n',
        b'event: metric\ndata: {"cpu_usage_pct": 1.5}\n\n',
    )
    async with (
        server,
        sa.SpacesClient(token="hf_x", endpoint=url) as client,
        client.logs.stream_metrics("acme/demo") as metrics,
    ):
        first, second = await anext(metrics), await anext(metrics)
    assert first.raw == {"memory_used_bytes": 1.5, "replica": 7}
    assert second.cpu_usage_pct == 1.5


async def test_many_logs_end_with_any_error(
    client: sa.SpacesClient, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with one that nobody has foreseen: it is raised, and nobody waits on."""

    def bug(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("spaces_async.logs._line", bug)
    write(hub, "a")
    async with asyncio.timeout(10), client.logs.stream_many(["acme/demo"]) as lines:
        with pytest.raises(ZeroDivisionError):
            await anext(lines)
