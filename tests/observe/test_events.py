"""What an observer is told, and that it never changes what it observes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any, TypeVar, get_args

import attrs
import pytest

import spaces_async as sa
from spaces_async import observe
from spaces_async.bulk import operations
from spaces_async.errors import ConfigurationError
from spaces_async.observe import (
    AttemptEnded,
    BreakerChanged,
    CallEnded,
    CallStarted,
    Event,
    QuotaWait,
    QuotaWindow,
    Refusal,
    RetryWait,
    RunEnded,
    RunStarted,
    SpaceEnded,
    StageChanged,
)
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota
from tests.support.virtual import VirtualClock, play

E = TypeVar("E")
SECRET = "canary-of-a-secret-value"
TOKEN = "hf_canaryCanaryCanaryTOKEN"
IDS = [f"acme/s{number}" for number in range(6)]


def of(events: list[Event], kind: type[E]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


@asynccontextmanager
async def observed(
    hub: FakeHub, events: list[Event], **settings: Any
) -> AsyncIterator[sa.SpacesClient]:
    """Give a client of the Hub that tells a list."""
    clock = settings.pop("clock", None)
    made = sa.ClientSettings(observer=events.append, **settings)
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=made, clock=clock
    ) as client:
        yield client


async def test_a_call_is_told_from_its_begin_to_its_end(hub: FakeHub) -> None:
    """A call is a begin, one event for each request, and an end."""
    events: list[Event] = []
    async with observed(hub, events) as client:
        await client.lifecycle.get_runtime("acme/demo")
    started, ended = of(events, CallStarted)[0], of(events, CallEnded)[0]
    (attempt,) = of(events, AttemptEnded)
    assert [type(e) for e in events if not isinstance(e, QuotaWindow)] == [
        CallStarted,
        AttemptEnded,
        CallEnded,
    ]
    assert started == CallStarted(
        call=ended.call,
        parent=None,
        action="get_runtime",
        method="GET",
        repo_id="acme/demo",
    )
    assert (ended.error, ended.attempts, ended.waited) == (None, 1, 0.0)
    assert ended.seconds >= attempt.seconds > 0
    assert (attempt.call, attempt.number, attempt.status) == (ended.call, 1, 200)
    assert attempt.url == f"{hub.url}/api/spaces/acme/demo/runtime"
    assert f"http://{attempt.host}:{attempt.port}" == hub.url
    assert attempt.quota_left == 999


async def test_a_url_is_told_without_its_query(hub: FakeHub) -> None:
    """What was searched for is nobody's business."""
    events: list[Event] = []
    async with observed(hub, events) as client:
        _ = [info async for info in client.catalog.list_spaces(search="private words")]
    (attempt,) = of(events, AttemptEnded)
    assert attempt.url == f"{hub.url}/api/spaces"
    assert "private" not in repr(events)


async def test_a_failed_call_says_why(hub: FakeHub) -> None:
    """The end has the name of the error, its words and its status."""
    events: list[Event] = []
    async with observed(hub, events) as client:
        with pytest.raises(sa.SpaceNotFoundError) as seen:
            await client.lifecycle.get_runtime("acme/none")
    (ended,) = of(events, CallEnded)
    assert (ended.error, ended.status) == ("SpaceNotFoundError", 404)
    assert ended.message == str(seen.value)
    assert ended.repo_id == "acme/none"


async def test_a_retried_call_tells_its_pauses(hub: FakeHub) -> None:
    """Each attempt is told, and each pause between two of them."""
    events: list[Event] = []
    hub.faults("GET /runtime", Fault.disconnect())
    hub.faults("GET /runtime", Fault.status(500))
    clock = ManualClock(auto=True)
    async with observed(hub, events, clock=clock) as client:
        await client.lifecycle.get_runtime("acme/demo")
    attempts = of(events, AttemptEnded)
    assert [(a.number, a.status, a.error) for a in attempts] == [
        (1, None, "ConnectionLostError"),
        (2, 500, None),
        (3, 200, None),
    ]
    pauses = of(events, RetryWait)
    (ended,) = of(events, CallEnded)
    assert {(p.call, p.run, p.repo_id) for p in pauses} == {
        (ended.call, None, "acme/demo")
    }
    assert len(pauses) == 2
    assert ended.attempts == 3
    assert ended.waited == pytest.approx(sum(p.seconds for p in pauses))


async def test_a_refusal_is_told(hub: FakeHub) -> None:
    """A 429 and a 503 with Retry-After are refusals; a bare 503 is none."""
    events: list[Event] = []
    hub.faults("POST /pause", Fault.action_limit(retry_after=20))
    hub.faults("GET /runtime", Fault.status(503, headers={"Retry-After": "7"}))
    hub.faults("GET /runtime", Fault.status(503))
    clock = ManualClock(auto=True)
    async with observed(hub, events, clock=clock) as client:
        await client.lifecycle.pause("acme/demo")
        await client.lifecycle.get_runtime("acme/demo")
    refusals = of(events, Refusal)
    assert [(r.action, r.status, r.retry_after) for r in refusals] == [
        ("pause", 429, 20.0),
        ("get_runtime", 503, 7.0),
    ]
    assert refusals[0].quota_left
    (wait,) = of(events, QuotaWait)
    assert (wait.reason, wait.action, wait.call) == (
        "action",
        "pause",
        refusals[0].call,
    )


async def test_each_quota_window_is_told_once() -> None:
    """The first response of a window tells of it, and so does what uses it up."""
    events: list[Event] = []
    clock = ManualClock(auto=True)
    async with FakeHub(clock=clock, quota=Quota(3, 300.0)) as hub:
        hub.add_org("acme", members={"tester": "write"})
        hub.add_space("acme/demo")
        async with observed(hub, events, clock=clock) as client:
            for _ in range(4):
                await client.lifecycle.get_runtime("acme/demo")
    assert [(w.limit, w.left) for w in of(events, QuotaWindow)] == [
        (3, 2),
        (3, 0),
        (3, 2),
    ]
    (wait,) = of(events, QuotaWait)
    assert (wait.reason, wait.action) == ("window", "get_runtime")
    last = of(events, AttemptEnded)[-1]
    assert (last.call, last.quota_left) == (wait.call, 2)
    assert last.waited == pytest.approx(of(events, CallEnded)[-1].waited)


async def test_a_look_is_part_of_the_write_that_was_lost(hub: FakeHub) -> None:
    """The read after a lost response names the call of the write as its parent."""
    events: list[Event] = []
    hub.faults("POST /restart", Fault.disconnect(acted=True))
    async with observed(hub, events) as client:
        await client.lifecycle.restart("acme/demo")
    write, look = of(events, CallStarted)
    assert (write.action, write.parent) == ("restart", None)
    assert (look.action, look.parent) == ("get_runtime", write.call)


def test_a_look_while_a_response_is_late_is_part_of_its_own_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One timer begins the looks of all calls; each look belongs to its write."""
    events: list[Event] = []
    outcomes: list[sa.Outcome[Any]] = []

    async def scene() -> None:
        clock = VirtualClock()
        async with FakeHub(clock=clock, build_seconds=60) as hub:
            hub.add_org("acme", members={"tester": "write"})
            for repo_id in IDS:
                hub.add_space(repo_id)
            for repo_id in IDS[2:]:
                hub.faults("POST /restart", Fault.hang(acted=True), repo_id=repo_id)
            async with observed(hub, events, clock=clock) as client:
                report = await client.bulk.restart(IDS, concurrency=len(IDS))
                outcomes.extend(report.outcomes)

    play(monkeypatch, scene, measured=True)
    calls = {call.call: call for call in of(events, CallStarted)}
    looks = [c for c in calls.values() if c.action == "get_runtime"]
    assert sorted(str(look.repo_id) for look in looks) == IDS[2:]
    for look in looks:
        assert look.parent is not None
        assert calls[look.parent].repo_id == look.repo_id
    assert {o.attempts for o in outcomes} == {1}
    # Where the state made the response needless, nothing was wrong with the request.
    needless = [a for a in of(events, AttemptEnded) if a.status is None]
    assert {a.error for a in needless} == {None}


async def test_a_run_is_told_with_all_its_spaces(hub: FakeHub) -> None:
    """A bulk is a run: its calls are part of it, and each Space has an outcome."""
    events: list[Event] = []
    for repo_id in IDS[1:]:
        hub.add_space(repo_id)
    async with observed(hub, events) as client:
        report = await client.bulk.pause(IDS, concurrency=3)
    (started,), (ended,) = of(events, RunStarted), of(events, RunEnded)
    assert (started.operation, started.concurrency, started.total) == ("pause", 3, 6)
    assert (ended.run, ended.stopped_by) == (started.run, None)
    assert ended.counts == {str(s): n for s, n in report.counts.items()}
    spaces = {space.repo_id: space for space in of(events, SpaceEnded)}
    assert sorted(spaces) == IDS
    assert spaces[IDS[0]].status == "failed"
    assert spaces[IDS[0]].error == "SpaceNotFoundError"
    assert {space.status for space in spaces.values()} == {"failed", "done"}
    assert {call.parent for call in of(events, CallStarted)} == {started.run}
    assert len(of(events, SpaceEnded)) == len(IDS)


async def test_a_run_that_is_left_early_tells_all_the_same(hub: FakeHub) -> None:
    """Each Space is told once, also those that were not attempted, and so is the end."""
    events: list[Event] = []
    for repo_id in IDS:
        hub.add_space(repo_id)
    async with observed(hub, events) as client:
        stream = client.bulk.stream(operations.restart(), IDS, concurrency=1)
        async with stream as outcomes:
            await anext(outcomes)
    ended = of(events, RunEnded)
    assert [end.stopped_by for end in ended] == ["left"]
    told = [space.repo_id for space in of(events, SpaceEnded)]
    assert sorted(told) == IDS
    assert ended[0].counts["not_attempted"] > 0


async def test_calls_of_a_function_are_part_of_its_run(hub: FakeHub) -> None:
    """Also what a user's function asks for belongs to the bulk that calls it."""
    events: list[Event] = []

    async def look(client: sa.SpacesClient, repo_id: str) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(client.lifecycle.get_runtime(repo_id))

    async with observed(hub, events) as client:
        await client.bulk.run(operations.as_operation(look, name="look"), ["acme/demo"])
        await client.lifecycle.get_runtime("acme/demo")
    (run,) = of(events, RunStarted)
    inside, outside = of(events, CallStarted)
    assert inside.parent == run.run
    assert outside.parent is None


def test_an_outage_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The breaker's phases are told in order, and so are the pauses of Spaces."""
    events: list[Event] = []

    async def scene() -> None:
        clock = VirtualClock()
        async with FakeHub(clock=clock) as hub:
            hub.add_org("acme", members={"tester": "write"})
            ids = [f"acme/s{number}" for number in range(30)]
            for repo_id in ids:
                hub.add_space(repo_id)
            hub.faults("POST /pause", Fault.status(502), times=12)
            hub.faults("GET /api/spaces", Fault.status(502), times=2)
            async with observed(hub, events, clock=clock) as client:
                report = await client.bulk.pause(ids, concurrency=8)
                assert report.ok

    play(monkeypatch, scene, measured=True)
    phases = [change.phase for change in of(events, BreakerChanged)]
    assert phases[0] == "open"
    assert phases[-2:] == ["half-open", "closed"]
    (run,) = of(events, RunStarted)
    assert {change.run for change in of(events, BreakerChanged)} == {run.run}
    assert {(p.call, p.run) for p in of(events, RetryWait)} <= {(None, run.run)}
    assert of(events, RetryWait)


async def test_a_wait_tells_each_new_stage(hub: FakeHub) -> None:
    """Who only observes learns the stages that a wait sees."""
    events: list[Event] = []
    async with observed(hub, events) as client:
        runtime = await client.lifecycle.restart("acme/demo")
        await client.lifecycle.wait_until("acme/demo", after=runtime, timeout=30)
    changes = of(events, StageChanged)
    assert changes[-1].stage == "RUNNING"
    assert changes[0].before is None
    for earlier, later in pairwise(changes):
        assert later.before == earlier.stage
    assert {change.repo_id for change in changes} == {"acme/demo"}


async def test_a_cancelled_call_ends(hub: FakeHub) -> None:
    """A call that is cancelled is told as ended, and so is its request."""
    events: list[Event] = []
    hub.faults("GET /runtime", Fault.hang())
    async with observed(hub, events) as client:
        task = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        async with asyncio.timeout(30):
            while not hub.requests:
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (attempt,), (ended,) = of(events, AttemptEnded), of(events, CallEnded)
    assert (attempt.error, ended.error) == ("CancelledError", "CancelledError")
    assert ended.message is None


async def test_a_call_that_is_not_sent_has_no_attempt(hub: FakeHub) -> None:
    """What fails before it is sent tells its end, without an attempt."""
    events: list[Event] = []
    async with observed(hub, events) as client:
        await client.aclose()
        with pytest.raises(sa.ClientClosedError):
            await client.lifecycle.get_runtime("acme/demo")
    assert [type(event) for event in events] == [CallStarted, CallEnded]
    assert of(events, CallEnded)[0].attempts == 0


async def test_a_refused_token_that_is_replaced_is_one_call(
    hub: FakeHub, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that is made again with the token file's new token is one call."""
    events: list[Event] = []
    path = tmp_path / "token"
    path.write_text("hf_oldOldOldOldOldOld", "utf-8")
    monkeypatch.setenv("HF_TOKEN_PATH", str(path))
    settings = sa.ClientSettings(observer=events.append)
    async with sa.SpacesClient(endpoint=hub.url, settings=settings) as client:
        with pytest.raises(sa.AuthenticationError):
            await client.lifecycle.get_runtime("acme/demo")
        events.clear()
        path.write_text(hub.token, "utf-8")
        await client.lifecycle.get_runtime("acme/demo")
    assert len(of(events, CallStarted)) == len(of(events, CallEnded)) == 1
    assert [a.status for a in of(events, AttemptEnded)] == [401, 200]
    assert of(events, CallEnded)[0].attempts == 2


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_an_observer_that_raises_breaks_nothing(
    hub: FakeHub, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    """Calls and bulks go on, the other observers are told, and one line is logged."""
    events: list[Event] = []

    def fail(_event: Event) -> None:
        raise error("a bug of the service")

    settings = sa.ClientSettings(observer=[fail, events.append])
    with caplog.at_level(logging.WARNING, logger="spaces_async"):
        async with sa.SpacesClient(
            token=hub.token, endpoint=hub.url, settings=settings
        ) as client:
            runtime = await client.lifecycle.restart("acme/demo")
            await client.lifecycle.wait_until("acme/demo", after=runtime, timeout=30)
            report = await client.bulk.pause(["acme/demo", "acme/none"])
    assert len(report.succeeded) == len(report.failed) == 1
    assert of(events, RunEnded)
    assert of(events, StageChanged)
    (line,) = [r for r in caplog.records if "observer failed" in r.message]
    assert "CallStarted" in line.message


async def test_views_share_the_observer(hub: FakeHub) -> None:
    """What a view does, with its own token or options, is told as well."""
    events: list[Event] = []
    async with observed(hub, events) as client:
        for view in (
            client.with_token(hub.token),
            client.with_options(retry=sa.RetryPolicy.off()),
            client.with_token(hub.token).with_options(timeouts=sa.Timeouts(total=9)),
        ):
            await view.lifecycle.get_runtime("acme/demo")
    assert len(of(events, CallEnded)) == 3


async def test_no_token_and_no_secret_is_told(
    hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever happens, and whatever the Hub echoes, an event has neither."""
    events: list[Event] = []
    hub.add_token(TOKEN)
    echo = f"no: {TOKEN} {SECRET}"
    faults = [
        Fault.status(400, message=echo),
        Fault.status(500, message=echo),
        Fault.disconnect(),
        Fault.rate_limit(retry_after=0),
        Fault.raw(f"HTTP/1.1 999 {TOKEN}\r\n{SECRET}\r\n\r\n".encode()),
    ]
    settings = sa.ClientSettings(
        observer=events.append, retry=sa.RetryPolicy(max_attempts=2, wait_initial=0.01)
    )
    with caplog.at_level(logging.DEBUG):
        async with sa.SpacesClient(
            token=TOKEN, endpoint=hub.url, settings=settings
        ) as client:
            for fault in faults:
                hub.faults("POST /secrets", fault)
                with suppress(sa.SpacesError):
                    await client.config.add_secret("acme/demo", "KEY", SECRET)
            await client.bulk.add_secret(["acme/demo"], key="KEY", value=SECRET)
            await client.bulk.add_variable(["acme/demo"], key="PLAIN", value="v")
    assert {type(event) for event in events} >= {CallEnded, AttemptEnded, SpaceEnded}
    assert any(ended.message for ended in of(events, CallEnded))
    told = "\n".join([*map(repr, events), caplog.text])
    for canary in (TOKEN, SECRET, "hf_canary", "canary-of"):
        assert canary not in told


def test_events_are_frozen_records() -> None:
    """Nothing can change an event, and each says what its fields are."""
    kinds = get_args(Event)
    assert {kind.__name__ for kind in kinds} | {"Event", "Observer"} == {
        *observe.__all__
    }
    for kind in kinds:
        names = [field.name for field in attrs.fields(kind)]
        event = kind(**dict.fromkeys(names))
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(event, names[0], 1)
        for name in names:
            assert f"{name}: " in str(kind.__doc__)


@pytest.mark.parametrize("value", [1, "x", [None], [print, 3]])
def test_what_is_no_observer_is_refused(value: Any) -> None:
    """A mistake fails when the settings are made, and not at the first event."""
    with pytest.raises(ConfigurationError, match="observer must be a function"):
        sa.ClientSettings(observer=value)


def test_several_observers_are_kept_in_their_order() -> None:
    """One, several, or none."""
    first: list[Event] = []
    second: list[Event] = []
    assert sa.ClientSettings().observer == ()
    for given in (first.append, [first.append], (first.append, second.append)):
        (observer, *more) = sa.ClientSettings(observer=given).observer
        assert observer == first.append
        assert len(more) == isinstance(given, tuple)
