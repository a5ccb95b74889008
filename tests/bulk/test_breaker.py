"""The Hub goes out in the middle of a bulk: who waits, who asks, who is tried again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async.bulk import operations
from spaces_async.bulk._engine.breaker import (
    Admission,
    CircuitBreaker,
    Phase,
    is_trouble,
)
from spaces_async.testing import FakeHub, Fault, Quota
from tests.support import virtual

N = 2000
MANY = Quota(10**6, 300.0)


# The breaker itself --------------------------------------------------------------


def fail(breaker: CircuitBreaker, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        turn = breaker.admit()
        assert turn is not None
        breaker.failed(turn, now)


def test_five_in_a_row_open_it() -> None:
    """A success in between starts the count anew; the fifth in a row opens it."""
    breaker = CircuitBreaker()
    fail(breaker, 4)
    turn = breaker.admit()
    assert turn is not None
    breaker.succeeded(turn)
    fail(breaker, 4)
    assert breaker.pause(0.0) == 1
    fail(breaker, 1)
    assert breaker.phase is Phase.OPEN
    assert breaker.admit() is None
    assert breaker.outages == 1


def test_it_asks_more_and_more_slowly() -> None:
    """After 1 s, then twice as long each time, at most 15 s."""
    breaker = CircuitBreaker()
    fail(breaker, 5)
    pauses = []
    for _ in range(6):
        pauses.append(breaker.pause(0.0))
        breaker.probed(answered=False)
    assert pauses == [1, 2, 4, 8, 15, 15]


def test_one_call_decides() -> None:
    """When the Hub answers, one call is let through, and everybody waits for it."""
    breaker = CircuitBreaker()
    fail(breaker, 5)
    breaker.probed(answered=True)
    trial = breaker.admit()
    assert trial is not None
    assert trial.trial
    assert breaker.admit() is None
    breaker.failed(trial, 1.0)
    assert (breaker.phase, breaker.pause(1.0)) == (Phase.OPEN, 2.0)
    breaker.probed(answered=True)
    trial = breaker.admit()
    assert trial is not None
    breaker.left(trial)  # it ended without a result: the next one decides
    trial = breaker.admit()
    assert trial is not None
    breaker.succeeded(trial)
    assert breaker.phase is Phase.CLOSED
    assert breaker.outages == 1


def test_old_news_changes_nothing() -> None:
    """What comes of a call that went out before the outage says nothing about now."""
    breaker = CircuitBreaker()
    early = breaker.admit()
    assert early is not None
    fail(breaker, 5)
    breaker.succeeded(early)
    assert breaker.admit() is None
    breaker.probed(answered=True)
    breaker.failed(early, 9.0)
    assert breaker.phase is Phase.HALF_OPEN


def test_it_gives_up_in_the_end() -> None:
    """The last pause ends with the longest outage allowed; then it is over."""
    breaker = CircuitBreaker(10.0)
    fail(breaker, 5, now=100.0)
    breaker.interval = 8.0
    assert breaker.pause(105.0) == 5.0
    assert breaker.pause(110.0) is None


def test_it_leaves_the_hub_alone_as_long_as_that_asks() -> None:
    """`Retry-After` of any call or read of the outage counts, if it is the longest."""
    breaker = CircuitBreaker()
    early = breaker.admit()
    assert early is not None
    for wait in (0.0, 40.0, 5.0, 0.0, 0.0):
        turn = breaker.admit()
        assert turn is not None
        breaker.failed(turn, 10.0, wait=wait)
    assert breaker.pause(10.0) == 40.0
    breaker.failed(early, 20.0, wait=50.0)
    assert breaker.pause(20.0) == 50.0
    breaker.probed(answered=False, now=70.0, wait=30.0)
    assert breaker.pause(70.0) == 30.0
    breaker.probed(answered=True)
    turn = breaker.admit()
    assert turn is not None
    breaker.failed(turn, 100.0, wait=60.0)
    assert breaker.pause(100.0) == 60.0


def test_what_the_hub_asked_for_is_bounded_and_forgotten() -> None:
    """No wait goes beyond the longest outage; after a success none is left."""
    breaker = CircuitBreaker(600.0)
    for _ in range(5):
        turn = breaker.admit()
        assert turn is not None
        breaker.failed(turn, 0.0, wait=86_400.0)
    assert breaker.pause(0.0) == 600.0
    assert breaker.pause(600.0) is None
    breaker.probed(answered=True)
    turn = breaker.admit()
    assert turn is not None
    breaker.succeeded(turn)
    assert breaker.pause(600.0) == 1.0
    fail(breaker, 5, now=700.0)
    assert breaker.pause(700.0) == 1.0


def opened(*repo_ids: str) -> CircuitBreaker:
    breaker = CircuitBreaker()
    for number in range(5):
        turn = breaker.admit()
        assert turn is not None
        breaker.failed(turn, 0.0, repo_ids[number % len(repo_ids)])
    return breaker


def test_several_in_trouble_are_the_hubs_fault_for_a_while() -> None:
    """With two in trouble and no success between, the Hub is at fault; not for ever.

    When it has answered reads for two minutes, and fails the writes of the same Spaces
    still, they are at fault themselves: requests go out, and their trouble opens nothing.
    """
    alone, several = opened("a"), opened("a", "b")
    assert (alone.is_suspect("a", 0.0), alone.is_widespread(0.0)) == (True, False)
    assert (several.is_suspect("a", 0.0), several.is_widespread(0.0)) == (True, True)
    assert not several.is_suspect("c", 0.0)
    # While it does not even answer a read, no Space can be at fault.
    assert several.is_widespread(10_000.0)
    several.probed(answered=True, now=500.0)
    for now in (500.0, 619.0):
        turn = several.admit()
        assert turn is not None
        several.failed(turn, now, "a")
        assert several.is_widespread(now)
        several.probed(answered=True, now=now)
    turn = several.admit()
    assert turn is not None
    several.failed(turn, 619.5, "a")
    several.probed(answered=True, now=620.0)
    assert several.phase is Phase.CLOSED
    assert several.accused == {"a", "b"}


def test_an_outage_is_as_long_as_nothing_succeeds() -> None:
    """Closing for a moment, without a success, does not make it a new outage."""
    breaker = CircuitBreaker(600.0)
    fail(breaker, 5, now=100.0)
    breaker.probed(answered=True, now=101.0)
    assert breaker.admit(decides=False) is not None
    fail(breaker, 5, now=650.0)
    assert breaker.pause(690.0) == 1.0
    assert breaker.pause(700.0) is None


def closed_by(repo_id: str) -> CircuitBreaker:
    """A breaker that was open because of "a" and "b" until one succeeded."""
    breaker = opened("a", "b")
    breaker.probed(answered=True, now=1.0)
    turn = breaker.admit()
    assert turn is not None
    breaker.succeeded(turn, repo_id)
    assert breaker.phase is Phase.CLOSED
    return breaker


@pytest.mark.parametrize(
    ("by", "who", "is_the_hubs", "phase"),
    [
        ("c", "a", False, Phase.CLOSED),
        ("c", "a", True, Phase.OPEN),
        ("c", "d", False, Phase.OPEN),
        ("a", "b", False, Phase.CLOSED),
        ("a", "a", False, Phase.OPEN),
    ],
)
def test_trouble_while_others_succeed_is_a_spaces_own(
    by: str, who: str, is_the_hubs: bool, phase: Phase
) -> None:
    """Its next trouble opens nothing, unless no Space can be at fault for it."""
    breaker = closed_by(by)
    turn = breaker.admit()
    assert turn is not None
    for _ in range(9):
        breaker.failed(turn, 2.0, who, is_the_hubs=is_the_hubs)
    assert breaker.phase is phase
    assert who in breaker.suspects


def test_a_success_clears_all_suspicion() -> None:
    """Who failed before it and fails again after it is to blame alone."""
    breaker = CircuitBreaker()
    fail(breaker, 2)
    assert breaker.suspects == {""}
    turn = breaker.admit()
    assert turn is not None
    breaker.succeeded(turn)
    assert not breaker.is_suspect("", 0.0)
    breaker = opened("a", "b")
    breaker.probed(answered=True)
    assert breaker.admit(decides=False) is not None
    assert not breaker.suspects


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["admit", "good", "bad", "left", "yes", "no", "long"])))
def test_whatever_happens(events: list[str]) -> None:
    """Never two trials at once, never a call while it is open, never a stuck trial."""
    breaker, turns = CircuitBreaker(600.0), list[Admission]()
    for now, event in enumerate(events):
        if event in {"admit", "long"}:
            before = breaker.phase
            turn = breaker.admit(decides=event == "admit")
            if turn is not None:
                assert before is not Phase.OPEN
                turns.append(turn)
        elif event in {"yes", "no"}:
            breaker.probed(answered=event == "yes")
        elif turns:
            turn = turns.pop(0)
            if event == "good":
                breaker.succeeded(turn)
            elif event == "bad":
                breaker.failed(turn, float(now))
            breaker.left(turn)
        assert sum(t.trial and t.epoch == breaker.epoch for t in turns) <= 1
        assert 1.0 <= breaker.interval <= 15.0
    for turn in turns:
        breaker.left(turn)
    breaker.probed(answered=True)
    assert breaker.admit() is not None


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (sa.ConnectionFailedError("no connection: refused"), True),
        (sa.ConnectionFailedError("TLS failed: ...", permanent=True), False),
        (sa.ConnectionFailedError("TLS failed: a text is no reason"), True),
        (sa.ConnectionLostError("reset"), True),
        (sa.RequestTimeoutError("late"), True),
        (sa.HubServerError("down", status=503), True),
        (sa.HubServerError("never", status=501), False),
        (sa.HubResponseError("timeout", status=408), True),
        (sa.RateLimitError("slow", status=429), False),
        (sa.NotFoundError("gone", status=404), False),
        (sa.UnexpectedResponseError("what"), False),
        (ValueError("a bug"), False),
    ],
)
def test_what_concerns_the_hub(error: Exception, trouble: bool) -> None:
    """Connections and 5xx do; a certificate, a 4xx, a 429 and other bugs do not."""
    assert is_trouble(error) is trouble


# In a bulk, in virtual time ------------------------------------------------------

Scene = Callable[[FakeHub, sa.SpacesClient], Coroutine[Any, Any, None]]


def play(
    monkeypatch: pytest.MonkeyPatch, spaces: int, scene: Scene, *, page: int = 1000
) -> FakeHub:
    """Run a scene with an org of many Spaces, in a loop with virtual time."""
    hubs: list[FakeHub] = []

    async def run() -> None:
        clock = virtual.VirtualClock()
        hub = FakeHub(clock=clock, quota=MANY, build_seconds=400, page_size=page)
        hubs.append(hub)
        async with hub:
            for number in range(spaces):
                space = hub.add_space(f"acme/s{number}", hardware="t4-small")
                space.log(f"===== Application Startup at {clock.utcnow():%F %T} =====")
            await asyncio.sleep(60)
            hub.faults("POST *", Fault.delay(0.2), times=None)
            client = sa.SpacesClient(token=hub.token, endpoint=hub.url, clock=clock)
            async with client, asyncio.timeout(5000):
                await scene(hub, client)

    virtual.play(monkeypatch, run, measured=spaces <= 100 or page < spaces)
    return hubs[0]


async def outage(
    hub: FakeHub, after: int, fault: Fault | None, route: str = "*"
) -> None:
    """Let the Hub be out for a minute after so many writes; None closes it."""
    while sum(r.method == "POST" for r in hub.requests) < after:
        await asyncio.sleep(0.01)
    if fault is None:
        await hub.aclose()
        await asyncio.sleep(60)
        await hub.start()
    else:
        handle = hub.faults(route, fault, times=None)
        await asyncio.sleep(60)
        handle.remove()


IDS = [f"acme/s{number}" for number in range(N)]


@pytest.mark.filterwarnings("ignore::async_solipsism.SolipsismWarning")
@pytest.mark.parametrize(
    ("fault", "route", "spaces", "concurrency"),
    [
        (Fault.status(503), "*", N, 64),
        (Fault.status(503, headers={"Retry-After": "5"}), "*", 600, 16),
        (Fault.html(status=502), "*", 600, 16),
        (Fault.reset(), "*", 600, 16),
        (None, "*", N, 64),
        (Fault.status(503), "POST /restart", N, 64),
    ],
    ids=["503", "503 with Retry-After", "502", "reset", "closed", "writes only"],
)
def test_a_minute_out_fails_nobody(
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault | None,
    route: str,
    spaces: int,
    concurrency: int,
) -> None:
    """60 s without the Hub in 2,000 restarts: all done, and once, for few requests.

    What was lost is looked up at once, and again when the Hub is back: one listing, and
    the log of each Space that is RUNNING then.
    """

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        trouble = asyncio.create_task(outage(hub, spaces // 2, fault, route))
        report = await client.bulk.restart(IDS[:spaces], concurrency=concurrency)
        await trouble
        assert report.ok, report.summary()
        assert report.elapsed < 60 + 15 + spaces / concurrency

    hub = play(monkeypatch, spaces, scene)
    assert len(hub.requests) <= 1.05 * spaces + 3 * concurrency
    assert {space.restarts for space in hub.spaces.values()} == {1}


OVERHEAD = 100
"""Requests more than Spaces, at most: 1.05 x for 2,000 Spaces."""


@pytest.mark.filterwarnings("ignore::async_solipsism.SolipsismWarning")
@pytest.mark.parametrize("concurrency", [1, 3, 64])
@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        (operations.restart(), Fault.status(502)),
        (operations.restart(), Fault.reset()),
        (operations.restart(), Fault.status(503, headers={"Retry-After": "9"})),
        (operations.pause(), Fault.status(502)),
    ],
    ids=["restart-502", "restart-reset", "restart-503", "pause-502"],
)
@pytest.mark.parametrize("route", ["*", "POST *"], ids=["all", "writes"])
def test_a_minute_out_at_any_concurrency(
    monkeypatch: pytest.MonkeyPatch,
    route: str,
    operation: sa.Operation[Any],
    fault: Fault,
    concurrency: int,
) -> None:
    """Nobody fails, even if the Hub goes on to answer reads and few are under way."""
    spaces = 300

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        trouble = asyncio.create_task(outage(hub, spaces // 2, fault, route))
        report = await client.bulk.run(operation, IDS[:spaces], concurrency=concurrency)
        await trouble
        assert report.ok, report.summary()
        assert report.elapsed < 60 + 20 + 0.21 * spaces / concurrency

    hub = play(monkeypatch, spaces, scene)
    assert len(hub.requests) <= spaces + OVERHEAD + 3 * concurrency
    assert {s.restarts + s.pauses for s in hub.spaces.values()} == {1}


@pytest.mark.filterwarnings("ignore::async_solipsism.SolipsismWarning")
@pytest.mark.parametrize("concurrency", [1, 3, 200])
@pytest.mark.parametrize("acted", [True, False])
def test_lost_answers_of_an_outage_are_looked_up(
    monkeypatch: pytest.MonkeyPatch, concurrency: int, acted: bool
) -> None:
    """Whether the Hub had acted shows in the listing; no Space is restarted twice.

    That a PAUSED Space was not restarted shows only until a restart could be over: what
    was in flight as the Hub went out is unknown then.
    """

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        for space in hub.spaces.values():
            space.set_stage("PAUSED")
        fault = Fault.reset(acted=acted)
        trouble = asyncio.create_task(outage(hub, 0, fault))
        report = await client.bulk.restart(IDS[:200], concurrency=concurrency)
        await trouble
        assert len(report.succeeded) + len(report.unknown) == 200
        assert len(report.unknown) <= (0 if acted else max(6, concurrency))
        for outcome in report.unknown:
            assert hub.space(outcome.repo_id).restarts == 0

    hub = play(monkeypatch, 200, scene)
    assert max(space.restarts for space in hub.spaces.values()) <= 1


@pytest.mark.filterwarnings("ignore::async_solipsism.SolipsismWarning")
@pytest.mark.parametrize("concurrency", [1, 16])
@pytest.mark.parametrize("wait", [40, 100])
def test_the_hub_is_left_alone_as_long_as_it_asks(
    monkeypatch: pytest.MonkeyPatch, concurrency: int, wait: int
) -> None:
    """After a 503 with `Retry-After` no bulk asks earlier, not even with a read."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        fault = Fault.status(503, headers={"Retry-After": str(wait)})
        trouble = asyncio.create_task(outage(hub, 50, fault))
        report = await client.bulk.restart(IDS[:100], concurrency=concurrency)
        await trouble
        assert report.ok, report.summary()
        assert wait <= report.elapsed < 3 * wait + 100 / concurrency

    hub = play(monkeypatch, 100, scene)
    refused = [r.at for r in hub.requests if r.status == 503]
    assert refused
    # What was under way then is no news; those that follow come when they may.
    later = [r.at for r in hub.requests if r.at > refused[0] + 1]
    assert min(later) >= refused[0] + wait
    assert len(hub.requests) <= 100 + concurrency + 7
    assert {space.restarts for space in hub.spaces.values()} == {1}


def test_a_wait_that_was_asked_for_ends_with_the_bulk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the bulk is over, nobody waits on to send once more; that is a failure."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        asks = Fault.status(503, headers={"Retry-After": "300"})
        hub.faults("POST *", asks, repo_id="acme/s0", times=None)
        hub.faults("POST *", Fault.status(403), repo_id="acme/s9", times=None)
        report = await client.bulk.restart(IDS[:20], concurrency=2, fail_fast=True)
        assert report.elapsed < 20
        assert [o.repo_id for o in report.failed] == ["acme/s0", "acme/s9"]
        error = report.failed[0].error
        assert isinstance(error, sa.HubServerError)
        assert error.retry_after == 300
        assert not error.outcome_unknown
        waited = report.failed[0].waited
        assert 0 < waited <= report.elapsed

    play(monkeypatch, 20, scene)


def test_a_factory_reboot_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that may have been sent are unknown; those that were not are done."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        trouble = asyncio.create_task(outage(hub, 50, Fault.status(502)))
        report = await client.bulk.restart(
            IDS[:100], factory_reboot=True, concurrency=10
        )
        await trouble
        assert not report.failed
        assert 1 <= len(report.unknown) <= 11
        assert all(
            o.error is not None and getattr(o.error, "outcome_unknown", False)
            for o in report.unknown
        )

    hub = play(monkeypatch, 100, scene)
    sent = [r.path for r in hub.requests if r.method == "POST"]
    assert len(sent) == len(set(sent)) == 100


def test_it_gives_up_after_max_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bulk ends with what it has: tried ones failed, the rest not attempted."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        hub.faults("*", Fault.status(503, headers={"Retry-After": "1"}), times=None)
        report = await client.bulk.restart(IDS[:100], concurrency=10, max_outage=100)
        assert report.stopped_by == "outage"
        assert 100 <= report.elapsed < 102
        assert {len(report.failed), len(report.not_attempted)} == {10, 90}
        assert {type(o.error) for o in report.failed} == {sa.HubServerError}

    hub = play(monkeypatch, 100, scene)
    assert len(hub.requests) < 10 + 12


@pytest.mark.parametrize("route", ["* *", "POST *"])
def test_the_last_one_being_broken_ends_too(
    monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    """Alone it looks like an outage, until the Hub answers a read about others."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        hub.faults(route, Fault.status(500), repo_id="acme/s7", times=None)
        for name in ("restart", "pause"):
            report = await getattr(client.bulk, name)(["acme/s7"])
            assert len(report.failed) + len(report.unknown) == 1
            assert report.elapsed < 90

    hub = play(monkeypatch, 10, scene)
    assert len(hub.requests) < 60


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("broken", [2, 5])
def test_broken_ones_at_the_end_end_too(
    monkeypatch: pytest.MonkeyPatch, broken: int, concurrency: int
) -> None:
    """They look like a Hub that takes no writes, but not for as long as an outage."""
    last = IDS[10 - broken : 10]

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        for name in last:
            hub.faults("POST *", Fault.status(500), repo_id=name, times=None)
        report = await client.bulk.restart(IDS[:10], concurrency=concurrency)
        assert [o.repo_id for o in report.failed] == last
        assert report.stopped_by is None
        assert report.elapsed < 300

    hub = play(monkeypatch, 10, scene)
    assert len(hub.requests) < 100


@pytest.mark.filterwarnings("ignore::async_solipsism.SolipsismWarning")
@pytest.mark.parametrize("first", [0, 10])
@pytest.mark.parametrize("concurrency", [1, 2, 4, 8, 16])
def test_many_broken_in_a_row_are_found_out(
    monkeypatch: pytest.MonkeyPatch, concurrency: int, first: int
) -> None:
    """Eight look like an outage, until one behind them shows that the Hub is well."""
    broken = IDS[first : first + 8]

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        for repo_id in broken:
            hub.faults("POST *", Fault.status(500), repo_id=repo_id, times=None)
        report = await client.bulk.restart(IDS[:60], concurrency=concurrency)
        assert [o.repo_id for o in report.failed] == broken
        assert len(report.succeeded) == 52
        assert report.elapsed < 100

    hub = play(monkeypatch, 60, scene)
    assert len(hub.requests) < 60 + 8 * 10


@pytest.mark.parametrize("route", ["* *", "POST *"])
@pytest.mark.parametrize("concurrency", [1, 16])
def test_outage_after_outage_fails_nobody(
    monkeypatch: pytest.MonkeyPatch, concurrency: int, route: str
) -> None:
    """Who was in trouble each time the Hub went out is not taken for broken."""

    async def outages(hub: FakeHub) -> None:
        for _ in range(4):
            await outage(hub, 200, Fault.status(502), route)
            await asyncio.sleep(3)

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        trouble = asyncio.create_task(outages(hub))
        report = await client.bulk.restart(IDS[:600], concurrency=concurrency)
        await trouble
        assert len(report.succeeded) == 600

    hub = play(monkeypatch, 600, scene)
    assert [space.restarts for space in hub.spaces.values()] == [1] * 600
    assert len(hub.requests) < 600 * 1.45


@pytest.mark.filterwarnings("ignore::async_solipsism.SolipsismWarning")
@pytest.mark.parametrize("concurrency", [1, 4])
def test_every_second_one_broken(
    monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    """However many there are, those that wait for another never pile up."""
    broken = IDS[:200:2]

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        for repo_id in broken:
            hub.faults("POST *", Fault.status(500), repo_id=repo_id, times=None)
        report = await client.bulk.restart(IDS[:200], concurrency=concurrency)
        assert [o.repo_id for o in report.succeeded] == IDS[1:200:2]
        assert [o.repo_id for o in report.failed] == broken
        assert max(o.elapsed for o in report) < 120

    play(monkeypatch, 200, scene)


@pytest.mark.parametrize("concurrency", [1, 16])
def test_an_outage_while_spaces_are_listed(
    monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    """A selection is listed again when the Hub is back; all are done, and once."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        trouble = asyncio.create_task(outage(hub, 95, Fault.status(502)))
        selection = sa.Selection(author="acme")
        report = await client.bulk.restart(selection, concurrency=concurrency)
        await trouble
        assert report.ok, report.summary()
        assert len(report) == 300

    hub = play(monkeypatch, 300, scene, page=50)
    assert [space.restarts for space in hub.spaces.values()] == [1] * 300


@pytest.mark.parametrize("concurrency", [1, 4, 16])
def test_an_outage_right_after_a_429(
    monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    """Who has waited for the quota waits the outage out like everybody else."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        hub.faults(
            "POST *", Fault.action_limit(retry_after=30), after=20, times=concurrency
        )

        async def later() -> None:
            while hub.count("POST", "/restart") < 20 + concurrency:
                await asyncio.sleep(0.01)
            await asyncio.sleep(29)
            await outage(hub, 0, Fault.status(502))

        trouble = asyncio.create_task(later())
        report = await client.bulk.restart(IDS[:100], concurrency=concurrency)
        await trouble
        assert report.ok, report.summary()

    hub = play(monkeypatch, 100, scene)
    assert [space.restarts for space in hub.spaces.values()] == [1] * 100


def test_answers_that_break_off_as_the_hub_goes_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A 200 says that it was done: its result is read when the Hub is back."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        cut = hub.faults("POST *", Fault.truncated(), after=8, times=4)

        async def later() -> None:
            while cut.hits < 4:
                await asyncio.sleep(0.01)
            await outage(hub, 0, Fault.status(502))

        trouble = asyncio.create_task(later())
        report = await client.bulk.restart(IDS[:40], concurrency=4)
        await trouble
        assert report.ok, report.summary()
        assert all(outcome.value is not None for outcome in report)

    hub = play(monkeypatch, 40, scene)
    assert [space.restarts for space in hub.spaces.values()] == [1] * 40


def test_a_reading_is_as_old_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """RUNNING seen too early says nothing, though it is looked at later."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        lost = hub.faults("POST *", Fault.status(502), times=6)

        async def slow_backend() -> None:
            while lost.hits < 6:
                await asyncio.sleep(0.01)
            await asyncio.sleep(1.5)
            for repo_id in IDS[:6]:
                hub.space(repo_id).restart()

        behind = asyncio.create_task(slow_backend())
        report = await client.bulk.restart(IDS[:6], concurrency=6)
        await behind
        assert report.ok, report.summary()

    hub = play(monkeypatch, 6, scene)
    assert [space.restarts for space in hub.spaces.values()] == [1] * 6
    # Each is looked at once at first; then one listing tells of all.
    assert hub.count("GET", "/api/spaces") <= 3
    assert hub.count("GET", "/runtime") <= 6


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("seconds", [1, 20, 45])
def test_a_deadline_while_another_is_tried(
    monkeypatch: pytest.MonkeyPatch, concurrency: int, seconds: int
) -> None:
    """Those that wait for what another shows have their outcome too, and none is done."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        hub.faults("POST *", Fault.status(502), times=None)
        report = await client.bulk.restart(
            IDS[:20], concurrency=concurrency, deadline=seconds
        )
        assert report.stopped_by == "deadline"
        assert [o.repo_id for o in report] == IDS[:20]
        assert len(report.not_attempted) + len(report.unknown) == 20

    hub = play(monkeypatch, 20, scene)
    assert not any(space.restarts for space in hub.spaces.values())


def test_a_deadline_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits, what may have been sent is unknown and the rest untouched."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        hub.faults("*", Fault.status(502), times=None)
        report = await client.bulk.restart(IDS[:100], concurrency=10, deadline=30)
        assert report.stopped_by == "deadline"
        assert len(report.unknown) == 10
        assert len(report.not_attempted) == 90

    play(monkeypatch, 100, scene)


def test_a_limit_on_failures_ends_the_wait_of_those_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who has sent nothing yet does not wait for the end of the outage."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        async def work(client: sa.SpacesClient, repo_id: str) -> None:
            if repo_id not in IDS[:5]:
                await asyncio.sleep(3)
                raise ValueError(repo_id)
            await asyncio.sleep(0.1)
            raise sa.ConnectionLostError("gone")

        handle = hub.faults("GET *", Fault.status(503), times=None)
        report = await client.bulk.run(
            work, IDS[:50], concurrency=10, max_failures=8, max_outage=None
        )
        assert report.stopped_by == "max_failures"
        assert report.elapsed < 4
        assert len(report.not_attempted) >= 36
        handle.remove()

    play(monkeypatch, 50, scene)


def test_callables_of_others_wait_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is called twice, for nobody knows what it does; few fail, the rest wait."""
    calls: list[str] = []

    async def work(client: sa.SpacesClient, repo_id: str) -> None:
        calls.append(repo_id)
        await client.lifecycle.restart(repo_id)

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        quick = client.with_options(retry=sa.RetryPolicy.off())
        trouble = asyncio.create_task(outage(hub, 50, Fault.status(503)))
        report = await quick.bulk.run(work, IDS[:200], concurrency=8)
        await trouble
        assert 5 <= len(report.unknown) <= 13
        assert len(report.succeeded) + len(report.unknown) == 200
        assert sorted(calls) == sorted(IDS[:200])

    play(monkeypatch, 200, scene)


BULKS: tuple[sa.Operation[Any], ...] = (
    operations.restart(),
    operations.pause(),
    operations.add_variable("K", "v"),
)
BROKEN: dict[str, Fault] = {
    "500": Fault.status(500),
    "503": Fault.status(503, headers={"Retry-After": "60"}),
    "silence": Fault.hang(),
}


# Each pair of operation, concurrency and fault once; all of them in the long form.
TENTH_BROKEN = [
    (operation, concurrency, fault)
    for a, operation in enumerate(BULKS)
    for b, concurrency in enumerate((4, 16, 64))
    for c, fault in enumerate(BROKEN)
    if (a + b + c) % 3 == 0 or os.environ.get("SOAK")
]


@pytest.mark.parametrize(
    ("operation", "concurrency", "fault"),
    TENTH_BROKEN,
    ids=[f"{o.name}-{n}-{fault}" for o, n, fault in TENTH_BROKEN],
)
def test_a_tenth_broken_holds_up_nothing(
    monkeypatch: pytest.MonkeyPatch, operation: Any, concurrency: int, fault: str
) -> None:
    """Every healthy Space is done, the broken ones fail by themselves, none is an outage.

    It takes no longer than the healthy ones and the broken ones one after the other.
    """
    bad = set(IDS[:200:10])

    def run(ids: list[str]) -> sa.BulkReport[Any]:
        reports: list[sa.BulkReport[Any]] = []

        async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
            for repo_id in bad:
                hub.faults("POST *", BROKEN[fault], repo_id=repo_id, times=None)
            reports.append(
                await client.bulk.run(operation, ids, concurrency=concurrency)
            )

        play(monkeypatch, 200, scene)
        return reports[0]

    report = run(IDS[:200])
    assert report.stopped_by is None
    assert {o.repo_id for o in report.succeeded} == set(IDS[:200]) - bad
    assert len(report.failed) + len(report.unknown) == 20
    healthy = run([repo_id for repo_id in IDS[:200] if repo_id not in bad])
    broken = run(sorted(bad))
    assert report.elapsed <= 1.5 * healthy.elapsed + broken.elapsed
    assert max(o.elapsed for o in report.succeeded) <= healthy.elapsed + 60


def test_a_503_of_one_space_counts_as_its_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once others succeed, `Retry-After` does not keep a broken Space going."""

    async def scene(hub: FakeHub, client: sa.SpacesClient) -> None:
        hub.faults("POST *", BROKEN["503"], repo_id=IDS[7], times=None)
        report = await client.bulk.restart(IDS[:40])
        assert [(o.repo_id, o.attempts) for o in report.failed] == [(IDS[7], 5)]
        assert len(report.succeeded) == 39

    play(monkeypatch, 40, scene)


# Single Spaces in trouble, in real time ------------------------------------------


@pytest_asyncio.fixture
async def quick(hub: FakeHub) -> AsyncIterator[sa.SpacesClient]:
    """A client that backs off for milliseconds only."""
    for number in range(40):
        hub.add_space(f"acme/s{number}", stage="PAUSED")
    client = sa.SpacesClient(
        token=hub.token,
        endpoint=hub.url,
        settings=sa.ClientSettings(retry=sa.RetryPolicy(wait_initial=0.001)),
    )
    async with client:
        yield client


@pytest.mark.parametrize("concurrency", [1, 4, 16])
async def test_one_space_that_is_broken_holds_nobody(
    quick: sa.SpacesClient, hub: FakeHub, concurrency: int
) -> None:
    """One that always answers 500 fails, by itself and soon; no outage is seen."""
    hub.faults("POST /restart", Fault.status(500), repo_id="acme/s7", times=None)
    async with asyncio.timeout(10):
        report = await quick.bulk.restart(IDS[:40], concurrency=concurrency)
    assert [o.repo_id for o in report.failed] == ["acme/s7"]
    assert len(report.succeeded) == 39
    sent = [r for r in hub.requests if r.path.endswith("acme/s7/restart")]
    assert len(sent) == 2, "tried once more after a look at its state"


@pytest.mark.parametrize("broken", [{7}, {7, 8}, {7, 8, 9}, {0}, {39}, {38, 39}])
async def test_broken_ones_in_a_row_hold_nobody(
    quick: sa.SpacesClient, hub: FakeHub, broken: set[int]
) -> None:
    """One after the other, the next ones show that the Hub is well."""
    for number in broken:
        repo_id = f"acme/s{number}"
        hub.faults("POST /restart", Fault.status(500), repo_id=repo_id, times=None)
    async with asyncio.timeout(20):
        report = await quick.bulk.restart(IDS[:40], concurrency=1)
    assert {o.repo_id for o in report.failed} == {f"acme/s{n}" for n in broken}
    assert len(report.succeeded) == 40 - len(broken)
    assert [o.repo_id for o in report] == IDS[:40]
    # Each is tried twice; but five failures in a row are an outage.
    assert hub.count("POST", "/restart") <= 40 + len(broken) + 4
    for outcome in report.succeeded:
        assert outcome.attempts == 1, "the attempts of one are not those of another"


@pytest.mark.parametrize("options", [{"fail_fast": True}, {"max_failures": 1}])
async def test_the_last_failure_allowed_begins_no_other(
    quick: sa.SpacesClient, hub: FakeHub, options: Any
) -> None:
    """Whoever wants to stop at the first failure gets no further Space touched."""
    hub.faults("POST /restart", Fault.status(500), times=None)
    report = await quick.bulk.restart(IDS[:40], concurrency=1, **options)
    assert [o.repo_id for o in report.failed] == ["acme/s0"]
    assert {r.path.split("/")[4] for r in hub.requests} == {"s0"}


async def test_targets_that_depend_on_outcomes(
    quick: sa.SpacesClient, hub: FakeHub
) -> None:
    """An iterator that gives the next Space only after the last one's outcome works."""
    hub.faults("POST /restart", Fault.status(500), repo_id="acme/s1", times=None)
    told = asyncio.Semaphore(1)

    async def one_by_one() -> AsyncIterator[str]:
        for repo_id in IDS[:4]:
            await told.acquire()
            yield repo_id

    async with (
        asyncio.timeout(10),
        quick.bulk.stream(operations.restart(), one_by_one(), concurrency=1) as stream,
    ):
        async for _ in stream:
            told.release()
    assert [o.status for o in stream.report] == [S.DONE, S.FAILED, S.DONE, S.DONE]


async def test_spaces_that_refuse_are_no_outage(
    quick: sa.SpacesClient, hub: FakeHub
) -> None:
    """4xx answers, as many as there may be, never make the bulk wait."""
    hub.faults("POST /restart", Fault.status(403), times=None)
    report = await quick.bulk.restart(IDS[:40], concurrency=4)
    assert len(report.failed) == 40
    assert len(hub.requests) == 40


async def test_without_retries_nothing_is_repeated(
    quick: sa.SpacesClient, hub: FakeHub
) -> None:
    """`RetryPolicy.off()` means one attempt in a bulk too, without a look."""
    hub.faults("POST /restart", Fault.status(500), times=3)
    client = quick.with_options(retry=sa.RetryPolicy.off())
    report = await client.bulk.restart(IDS[:40], concurrency=4)
    assert len(report.unknown) == 3
    assert len(report.succeeded) == 37
    assert len(hub.requests) == 40


async def test_a_429_is_waited_out(quick: sa.SpacesClient, hub: FakeHub) -> None:
    """A quota that is used up is no trouble; the client waits as always."""
    hub.faults("POST /restart", Fault.rate_limit(0.05), times=2)
    report = await quick.bulk.restart(IDS[:40], concurrency=4)
    assert report.ok
    # Who is refused twice depends on who probes the new window.
    assert sum(o.attempts for o in report) == 42
    assert hub.count("POST", "/restart") == 42


async def test_a_broken_answer_is_read_up(quick: sa.SpacesClient, hub: FakeHub) -> None:
    """The Hub has acted, so it is not asked again; the runtime is read instead."""
    hub.faults("POST /restart", Fault.truncated(), times=2)
    hub.faults("POST /secrets", Fault.truncated(), times=2)
    hub.faults("POST /variables", Fault.invalid_json(), times=2)
    reports: list[Awaitable[sa.BulkReport[Any]]] = [
        quick.bulk.restart(IDS[:5]),
        quick.bulk.add_variable(IDS[:5], key="K", value="v"),
        quick.bulk.add_secret(IDS[:5], key="S", value="v"),
    ]
    for report in [await report for report in reports]:
        assert report.ok
        assert all(o.status is S.DONE for o in report)
    assert sum(r.method == "POST" for r in hub.requests) == 15


@pytest.mark.parametrize(
    "options", [{"max_outage": -1}, {"max_outage": "1"}, {"on_unknown": "guess"}]
)
async def test_bad_options(quick: sa.SpacesClient, options: Any) -> None:
    """They are refused before anything is sent."""
    with pytest.raises(sa.ConfigurationError):
        await quick.bulk.restart(IDS[:3], **options)
