"""Waves and health: what is started when, what halts, and what counts as healthy."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async.bulk import operations
from spaces_async.bulk._waves import Pacing, Rollout
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota

IDS: Final = [f"acme/s{number}" for number in range(11)]
WAVES: Final[list[int | str]] = [1, 5, "20%", "100%"]


@pytest_asyncio.fixture
async def hub(clock: ManualClock) -> AsyncIterator[FakeHub]:
    """An org whose Spaces build in half a minute."""
    async with FakeHub(clock=clock, build_seconds=20.0, start_seconds=10.0) as hub:
        hub.add_org("acme", members={"tester": "write"})
        for repo_id in IDS:
            hub.add_space(repo_id, hardware="t4-small")
        yield hub


@pytest_asyncio.fixture
async def client(hub: FakeHub, clock: ManualClock) -> AsyncIterator[sa.SpacesClient]:
    """A client in that time, which finds the apps at the Hub."""
    settings = sa.ClientSettings(app_url=f"{hub.url}/_app/{{subdomain}}")
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock, settings=settings
    ) as client:
        yield client


def restarts(hub: FakeHub) -> list[tuple[str, float]]:
    return [
        (request.path.split("/")[4], request.at)
        for request in hub.requests
        if request.path.endswith("/restart")
    ]


# The waves ------------------------------------------------------------------------


async def test_a_wave_begins_when_the_one_before_runs_again(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """One, four more, then the rest: each after the builds and the pause before."""
    report = await client.bulk.restart(IDS, waves=WAVES, pause_between=60.0)
    assert report.ok
    sent = restarts(hub)
    assert [name for name, _ in sent[:1]] == ["s0"]
    assert {name for name, _ in sent[1:5]} == {"s1", "s2", "s3", "s4"}
    starts = [at for _, at in sent]
    for before, first, last in ((0, 1, 4), (4, 5, 10)):
        assert starts[first] - starts[before] >= 30 + 60
        assert starts[last] - starts[first] < 1
    assert {o.value.stage for o in report if o.value} == {"RUNNING"}


@pytest.mark.parametrize("nth", [0, 1, 4])
async def test_a_wave_that_is_not_healthy_halts_the_rest(
    client: sa.SpacesClient, hub: FakeHub, nth: int
) -> None:
    """Its Space failed with the log's end; those after the wave are not attempted."""
    hub.space(IDS[nth]).fails_with = "RUNTIME_ERROR"
    report = await client.bulk.restart(IDS, waves=WAVES)
    assert report.stopped_by == "unhealthy"
    (failed,) = report.failed
    assert (failed.repo_id, failed.reason) == (IDS[nth], "unhealthy")
    assert isinstance(failed.error, sa.SpaceFailedError)
    assert failed.error.log_tail
    end = 1 if nth == 0 else 5
    assert {o.repo_id for o in report.not_attempted} == set(IDS[end:])
    assert {o.reason for o in report.not_attempted} == {"unhealthy"}
    assert "halted because a wave was not healthy" in report.summary()


@pytest.mark.parametrize(
    ("max_failures", "broken", "halts"),
    [(None, 1, True), (1, 1, True), (2, 1, False), (2, 2, True), (3, 2, False),
     ("10%", 1, False), ("10%", 2, True), ("9%", 1, True), ("30%", 3, False),
     ("30%", 4, True)],
)  # fmt: skip
async def test_how_many_may_fail(
    client: sa.SpacesClient, hub: FakeHub, max_failures: Any, broken: int, halts: bool
) -> None:
    """The N-th failure ends it; a share of the 11 is rounded up."""
    for repo_id in IDS[1 : 1 + broken]:
        hub.space(repo_id).fails_with = "RUNTIME_ERROR"
    report = await client.bulk.restart(IDS, waves=WAVES, max_failures=max_failures)
    assert (report.stopped_by is not None) is halts
    assert bool(report.not_attempted) is halts
    assert len(report.failed) == broken


async def test_a_failed_write_is_not_healthy_either(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A refusal in the first wave halts the rest as well."""
    hub.faults("POST /restart", Fault.status(403), repo_id=IDS[0], times=None)
    report = await client.bulk.restart(IDS, waves=[1, "100%"])
    assert report.stopped_by == "unhealthy"
    assert len(restarts(hub)) == 1


@pytest.mark.parametrize("most", [1, 3, "20%"])
async def test_so_many_are_unavailable_at_a_time(
    client: sa.SpacesClient, hub: FakeHub, most: int | str
) -> None:
    """A rolling restart: the next one starts when one of them runs again."""
    report = await client.bulk.restart(IDS, max_unavailable=most, wait=True)
    assert report.ok
    number = 3 if most == "20%" else int(most)
    starts = [at for _, at in restarts(hub)]
    for first, later in zip(starts, starts[number:], strict=False):
        assert later - first >= 30


async def test_targets_are_read_to_their_end_first(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Shares are shares of all, so a stream of targets is read before the first write."""
    read: list[str] = []

    async def targets() -> AsyncIterator[str]:
        for repo_id in [*IDS, *IDS]:
            read.append(repo_id)
            yield repo_id
            assert not restarts(hub)

    report = await client.bulk.restart(targets(), waves=["50%", "100%"])
    assert report.ok
    assert len(read) == 22
    assert len(restarts(hub)) == 11


async def test_waiting_without_waves(client: sa.SpacesClient, hub: FakeHub) -> None:
    """All are started at once, one that fails stops nobody, and the listing is shared."""
    hub.space(IDS[3]).fails_with = "BUILD_ERROR"
    report = await client.bulk.restart(IDS, wait=True)
    assert report.stopped_by is None
    assert [o.repo_id for o in report.failed] == [IDS[3]]
    assert len(report.succeeded) == 10
    assert hub.count("GET") < 40


@pytest.mark.parametrize(
    ("operation", "stage"),
    [
        (operations.pause(), "PAUSED"),
        (operations.request_hardware("a10g-small"), "RUNNING"),
        (operations.add_variable("K", "v"), "RUNNING"),
        (operations.set_sleep_time(3600), "RUNNING"),
        (operations.delete(), None),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_where_a_write_aims_at(
    client: sa.SpacesClient, hub: FakeHub, operation: Any, stage: str | None
) -> None:
    """Each Space is where it should be when its outcome comes."""
    async with client.bulk.stream(operation, IDS[:3], waves=[1, "100%"]) as outcomes:
        async for outcome in outcomes:
            assert outcome.ok, outcome.error
            if stage is None:
                assert outcome.repo_id not in hub.spaces
            else:
                assert hub.space(outcome.repo_id).stage == stage


# What the report knows ------------------------------------------------------------


async def test_the_report_knows_the_waves(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Each Space has its wave, and each wave its size, its times and its health."""
    report = await client.bulk.restart(IDS, waves=WAVES, pause_between=60.0)
    assert [o.wave for o in report] == [1] + [2] * 4 + [3] * 6
    first, second, third = report.waves
    assert [w.number for w in report.waves] == [1, 2, 3]
    for wave, size in ((first, 1), (second, 4), (third, 6)):
        assert (wave.size, wave.started, wave.finished) == (size, size, size)
        assert (wave.healthy, wave.troubled, wave.halted) == (size, 0, False)
    times = [(wave.began or 0.0, wave.ended or 0.0) for wave in report.waves]
    assert times[0][0] < 5
    assert all(ended - began >= 30 for began, ended in times)
    assert times[1][0] >= times[0][1] + 60
    assert times[2][0] >= times[1][1] + 60
    assert times[2][1] <= report.elapsed
    assert report.to_dict()["waves"][1]["size"] == 4
    assert [row["wave"] for row in report.to_rows()] == [o.wave for o in report]


async def test_the_report_knows_which_wave_halted(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """The wave with the failure did; what was never started is of no wave."""
    hub.space(IDS[2]).fails_with = "RUNTIME_ERROR"
    report = await client.bulk.restart(IDS, waves=WAVES)
    assert [w.halted for w in report.waves] == [False, True, False]
    second, third = report.waves[1:]
    assert (second.started, second.healthy, second.troubled) == (4, 3, 1)
    assert second.ended is not None
    assert (third.started, third.began, third.ended) == (0, None, None)
    assert {o.wave for o in report.not_attempted} == {None}
    assert report.failed[0].wave == 2


@pytest.mark.parametrize(
    "options", [{}, {"wait": True}, {"max_unavailable": 2, "wait": True}]
)
async def test_no_waves(client: sa.SpacesClient, options: dict[str, Any]) -> None:
    """A bulk without waves tells of none."""
    report = await client.bulk.restart(IDS[:3], **options)
    assert report.waves == ()
    assert {o.wave for o in report} == {None}


async def test_a_wave_whose_health_is_not_seen(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A Space that was restarted and not seen to run is not counted as healthy."""
    async with client.bulk.stream(
        operations.restart(), IDS, waves=[1, "100%"]
    ) as outcomes:
        while not restarts(hub):
            await asyncio.sleep(0)
        outcomes.abort()
        done = [outcome async for outcome in outcomes]
    (started,) = [outcome for outcome in done if outcome.wave is not None]
    assert started.reason == "not checked for health"
    wave = outcomes.report.waves[0]
    assert (wave.started, wave.finished, wave.healthy, wave.troubled) == (1, 1, 0, 0)
    assert not wave.halted


# Control -------------------------------------------------------------------------------


async def test_hold_and_promote(
    client: sa.SpacesClient, hub: FakeHub, clock: ManualClock
) -> None:
    """While it is held no wave begins, however long that is."""
    async with client.bulk.stream(
        operations.restart(), IDS, waves=[1, "100%"]
    ) as outcomes:
        held = [outcomes.held]
        outcomes.hold()
        held.append(outcomes.held)
        first = await anext(outcomes)
        assert first.repo_id == IDS[0]
        clock.advance(3600)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(restarts(hub)) == 1
        outcomes.promote()
        held.append(outcomes.held)
        rest = [outcome async for outcome in outcomes]
    assert len(rest) == 10
    assert outcomes.report.ok
    assert held == [False, True, False]


async def test_promote_does_not_wait(client: sa.SpacesClient, hub: FakeHub) -> None:
    """The next wave begins though the one before is not healthy yet."""
    hub.space(IDS[0]).fails_with = "RUNTIME_ERROR"
    async with client.bulk.stream(
        operations.restart(), IDS, waves=[1, "100%"], max_failures=2
    ) as outcomes:
        while not restarts(hub):
            await asyncio.sleep(0)
        outcomes.promote()
        while len(restarts(hub)) < 11:
            await asyncio.sleep(0)
        done = [outcome async for outcome in outcomes]
    assert sum(outcome.ok for outcome in done) == 10


async def test_abort(client: sa.SpacesClient, hub: FakeHub) -> None:
    """What was done stays done, its health is not waited for, the rest is not attempted."""
    async with client.bulk.stream(
        operations.restart(), IDS, waves=[1, "100%"], healthy=sa.Healthy(timeout=9999)
    ) as outcomes:
        hub.space(IDS[0]).fails_with = None
        while not restarts(hub):
            await asyncio.sleep(0)
        outcomes.abort()
        done = [outcome async for outcome in outcomes]
    report = outcomes.report
    assert report.stopped_by == "aborted"
    assert len(done) == 11
    assert len(report.not_attempted) == 10
    (first,) = [outcome for outcome in done if outcome.repo_id == IDS[0]]
    assert first.status is S.DONE


async def test_a_canary_that_gets_nothing_is_none(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Spaces that are so already are in no wave: the first wave is one that is sent."""
    await client.bulk.pause(IDS[:3])
    plan = await client.bulk.plan(operations.pause(), IDS)
    hub.faults("POST /pause", Fault.status(403), repo_id=IDS[3], times=None)
    report = await plan.apply(waves=[1, "100%"])
    assert [wave.size for wave in report.waves] == [1, 7]
    assert [o.repo_id for o in report if o.wave == 1] == [IDS[3]]
    assert len(report.unchanged) == 3
    assert len(report.not_attempted) == 7


# Health --------------------------------------------------------------------------------


async def test_a_check_of_ones_own(client: sa.SpacesClient, hub: FakeHub) -> None:
    """It is asked once, when the Space is RUNNING again, and False is final."""
    asked: list[str] = []

    async def check(client: sa.SpacesClient, repo_id: str) -> bool:
        runtime = await client.lifecycle.get_runtime(repo_id)
        assert runtime.stage == "RUNNING"
        asked.append(repo_id)
        return repo_id != IDS[1]

    report = await client.bulk.restart(IDS, waves=[1, 2, "100%"], healthy=check)
    assert asked == IDS[:2]
    (failed,) = report.failed
    assert failed.repo_id == IDS[1]
    assert "returned False" in str(failed.error)


async def test_a_check_that_raises(client: sa.SpacesClient) -> None:
    """Its Space is not healthy, and the bulk goes on by its rules."""

    async def check(client: sa.SpacesClient, repo_id: str) -> bool:
        raise RuntimeError("no database")

    report = await client.bulk.restart(IDS[:2], healthy=check)
    assert [o.reason for o in report.failed] == ["unhealthy", "unhealthy"]
    assert "no database" in str(report.failed[0].error)


@pytest.mark.parametrize(("refusals", "told"), [(0, 0), (10, 1)])
async def test_an_app_that_takes_its_time_is_named(
    client: sa.SpacesClient,
    hub: FakeHub,
    caplog: pytest.LogCaptureFixture,
    refusals: int,
    told: int,
) -> None:
    """Who waits for a probe hears what it waits for, once for all Spaces, and where."""
    for repo_id in IDS[:3]:
        answers = iter([500] * refusals + [200])
        hub.space(repo_id).app_status = lambda _, answers=answers: next(answers)
    report = await client.bulk.restart(IDS[:3], healthy=sa.Healthy(probe="/up?key=k"))
    assert report.ok
    lines = [r.getMessage() for r in caplog.records if "runs, but" in r.getMessage()]
    assert len(lines) == told
    for line in lines:
        assert re.fullmatch(
            rf"acme/s\d runs, but /up\?key=k answered 500 \(at {hub.url}\); it is asked"
            " again, for 600 s at most",
            line,
        )


@pytest.mark.parametrize("visibility", ["public", "private"])
async def test_the_app_is_asked(
    client: sa.SpacesClient, hub: FakeHub, visibility: Any
) -> None:
    """An app that answers 503 at first is asked again; the token never goes there."""
    space = hub.space(IDS[0])
    space.visibility = visibility
    answers = iter([503, 500, 204])
    space.app_status = lambda path: next(answers) if path == "/health" else 404
    report = await client.bulk.restart(IDS[:1], healthy=sa.Healthy(probe="/health"))
    assert report.ok, report.failed[0].error
    probes = [r for r in hub.requests if r.path.startswith("/_app/")]
    assert [r.status for r in probes] == [503, 500, 204]
    assert {r.token for r in probes} == {None}
    signed = [any(key == "__sign" for key, _ in r.query) for r in probes]
    assert signed == [visibility == "private"] * 3


@pytest.mark.parametrize("status", [404, 302, 503])
async def test_an_app_that_is_not_well(
    client: sa.SpacesClient, hub: FakeHub, status: int
) -> None:
    """RUNNING is no health: the error says what the app answered."""
    hub.space(IDS[0]).app_status = status
    healthy = sa.Healthy(probe="/", timeout=120.0)
    report = await client.bulk.restart(IDS[:1], healthy=healthy)
    (failed,) = report.failed
    assert isinstance(failed.error, sa.WaitTimeoutError)
    assert f"/ answered {status}" in str(failed.error)


async def test_it_has_to_stay_so(client: sa.SpacesClient, hub: FakeHub) -> None:
    """A Space that runs for a moment and then fails is not healthy."""
    statuses = iter([200, 200, 500])
    hub.space(IDS[0]).app_status = lambda _: next(statuses)
    healthy = sa.Healthy(probe="/", for_seconds=60.0)
    report = await client.bulk.restart(IDS[:1], healthy=healthy)
    assert "not any more: / answered 500" in str(report.failed[0].error)
    report = await client.bulk.restart(
        IDS[1:2], healthy=sa.Healthy(for_seconds=60.0, stages={"RUNNING"})
    )
    assert report.ok
    assert report.elapsed >= 90


async def test_a_used_up_quota_is_no_ill_health(clock: ManualClock) -> None:
    """What could not be looked at in time is looked at in the next window."""
    quota = Quota(30, 300.0)
    async with FakeHub(clock=clock, quota=quota, build_seconds=20.0) as hub:
        hub.add_org("acme", members={"tester": "write"})
        ids = [hub.add_space(f"acme/q{number}").id for number in range(20)]
        hub.space(ids[7]).fails_with = "RUNTIME_ERROR"
        async with sa.SpacesClient(
            token=hub.token, endpoint=hub.url, clock=clock
        ) as client:
            healthy = sa.Healthy(timeout=60.0)
            report = await client.bulk.restart(ids, healthy=healthy)
    assert [o.repo_id for o in report.failed] == [ids[7]]
    assert isinstance(report.failed[0].error, sa.SpaceFailedError)
    assert {o.reason for o in report.succeeded} == {"healthy"}
    # The time of an outcome has the wait for its health in it.
    assert max(o.elapsed for o in report) > 60


async def test_a_subdomain_that_would_lead_elsewhere(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """What the Hub says becomes part of a host: anything but a plain word is refused."""
    body = b'{"id":"acme/s0","subdomain":"evil.example/","private":false}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    raw = Fault.raw(head % len(body) + body)
    hub.faults("GET /api/spaces/{id}", raw, times=None)
    healthy = sa.Healthy(probe="/", timeout=60.0)
    report = await client.bulk.restart(IDS[:1], healthy=healthy)
    assert "does not say where it is" in str(report.failed[0].error)


@pytest.mark.parametrize(
    "options",
    [
        {"waves": [5, 1]}, {"waves": [3, 1, 2]}, {"waves": [2, 2]},
        {"waves": [1, "50%", 3, "49.999999%"]}, {"waves": []}, {"waves": "20%"}, {"waves": [0]}, {"waves": ["0%"]},
        {"waves": [1.5]}, {"max_unavailable": 2}, {"pause_between": 5.0},
        {"max_failures": "0%"}, {"healthy": "yes"}, {"wait": 1},
        {"wait": True, "healthy": False}, {"max_unavailable": 0, "wait": True},
    ],
)  # fmt: skip
async def test_what_makes_no_sense(
    client: sa.SpacesClient, hub: FakeHub, options: dict[str, Any]
) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(sa.ConfigurationError):
        await client.bulk.restart(IDS, **options)
    assert not hub.requests


@pytest.mark.parametrize(
    "options",
    [{"probe": "health"}, {"probe": "//evil.example"}, {"probe": "/a b"},
     {"timeout": -1}, {"for_seconds": "5"}, {"stages": {"RUNNIN"}}, {"stages": []}],
)  # fmt: skip
def test_what_is_no_health(options: dict[str, Any]) -> None:
    """A probe is a path of the app itself."""
    with pytest.raises(sa.ConfigurationError):
        sa.Healthy(**options)


# The arithmetic ------------------------------------------------------------------------

AMOUNTS: Final = st.one_of(
    st.integers(1, 30), st.integers(1, 100).map(lambda share: f"{share}%")
)
NUMBERS: Final = st.lists(st.integers(1, 30), min_size=1, max_size=6, unique=True)
SHARES: Final = st.lists(st.integers(1, 100), max_size=6, unique=True)


def woven(numbers: list[int], shares: list[int], order: list[type]) -> list[int | str]:
    """Put rising numbers and rising shares into one list, in any order of the two."""
    left: dict[type, list[Any]] = {
        int: sorted(numbers),
        str: [f"{share}%" for share in sorted(shares)],
    }
    return [left[kind].pop(0) for kind in order if left[kind]]


@given(
    waves=st.tuples(NUMBERS, SHARES).flatmap(
        lambda kinds: st.permutations([int, str] * 6).map(partial(woven, *kinds))
    ),
    total=st.integers(0, 40),
    most=st.one_of(st.none(), AMOUNTS),
)
def test_every_space_is_started_once(waves: list[Any], total: int, most: Any) -> None:
    """Whatever the waves are, all are started, in order, and never too many at a time."""
    pacing = Pacing.make(waves=waves, max_unavailable=most)
    rollout = Rollout.of(pacing, total)
    assert list(rollout.ends) == sorted(set(rollout.ends))
    assert not total or rollout.ends[-1] == total
    under_way, running = 0, list[int | None]()
    while not rollout.is_exhausted:
        if rollout.may_start(0.0):
            running.append(rollout.start(0.0))
            under_way += 1
            limit = rollout.max_unavailable
            assert limit is None or under_way <= limit
            assert rollout.started <= rollout.ends[rollout.wave]
        else:
            assert under_way, "nothing runs, and nothing may be started"
            rollout.finish(0.0, running.pop(0), healthy=True, troubled=False)
            under_way -= 1
    assert rollout.started == total
    assert [wave.started for wave in rollout.waves] == [w.size for w in rollout.waves]
