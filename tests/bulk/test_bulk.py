"""The bulk executor: one outcome each, whatever happens."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async.bulk import operations
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota
from tests.support.deadline import DEADLINE, DeadlineClock
from tests.support.virtual import VirtualClock, play

IDS = [f"acme/s{number}" for number in range(30)]


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """An org of 30 Spaces."""
    async with FakeHub(build_seconds=0.2, start_seconds=0.1) as hub:
        hub.add_org("acme", members={"tester": "write"})
        for repo_id in IDS:
            hub.add_space(repo_id, hardware="t4-small")
        yield hub


@pytest_asyncio.fixture
async def timeless(hub: FakeHub) -> AsyncIterator[sa.SpacesClient]:
    """The same client, whose waits take no time."""
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=ManualClock(auto=True)
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("request_hardware", {"flavor": "T4"}),
        ("set_sleep_time", {"seconds": 0}),
        ("add_variable", {"key": "1", "value": "v"}),
        ("add_variable", {"key": "K", "value": 1}),
        ("add_secret", {"key": "K", "value": None}),
        ("delete_secret", {"key": "a-b"}),
        ("request_storage", {"tier": "huge"}),
        ("restart", {"factory_reboot": 1}),
        ("restart", {"concurrency": 0}),
        ("restart", {"concurrency": 1001}),
        ("restart", {"max_failures": 0}),
        ("restart", {"deadline": 0}),
        ("restart", {"fail_fast": 1}),
        ("restart", {"max_rate_limit_wait": -1}),
    ],
)
async def test_bad_arguments_send_nothing(
    client: sa.SpacesClient, hub: FakeHub, name: str, arguments: dict[str, Any]
) -> None:
    """What cannot work is told once, before anything is sent."""
    with pytest.raises(sa.ConfigurationError):
        await getattr(client.bulk, name)(IDS, **arguments)
    assert not hub.requests


async def test_a_bad_target_in_a_list_sends_nothing(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A list is complete, so it is checked as a whole before the first call."""
    for bad in ("nonsense", 7, None):
        with pytest.raises(sa.ConfigurationError):
            await client.bulk.restart([*IDS, bad])  # type: ignore[list-item]
    with pytest.raises(sa.ConfigurationError, match="list"):
        await client.bulk.restart("acme/s1")
    with pytest.raises(sa.ConfigurationError):
        await client.bulk.restart(7)  # type: ignore[arg-type]
    assert not hub.requests


async def test_a_bad_target_on_the_way_fails_alone(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """In a stream of ids a malformed one fails, and the others go on."""
    report = await client.bulk.pause(iter(["acme/s1", "nonsense", "acme/s2"]))
    assert [o.status for o in report] == [S.DONE, S.FAILED, S.DONE]
    assert isinstance(report.failed[0].error, sa.ConfigurationError)


async def test_duplicates_are_done_once(client: sa.SpacesClient, hub: FakeHub) -> None:
    """Each distinct Space has one outcome, at the place where it first came."""
    report = await client.bulk.restart(["acme/s2", "acme/s1", "acme/s2", "acme/s1"])
    assert [o.repo_id for o in report] == ["acme/s2", "acme/s1"]
    assert hub.count("POST", "/restart") == 2


async def test_all_kinds_of_targets(client: sa.SpacesClient, hub: FakeHub) -> None:
    """Lists, sets, generators, async generators, infos, outcomes and selections."""

    async def generate() -> AsyncIterator[str]:
        for repo_id in IDS[:3]:
            yield repo_id

    listing = client.catalog.list_spaces(author="acme", limit=3)
    selection = sa.Selection(author="acme", match="s?")
    first = await client.bulk.restart(generate())
    reports = [
        first,
        await client.bulk.restart(listing),
        await client.bulk.restart(set(IDS[:3])),
        await client.bulk.restart(first.succeeded),
        await client.bulk.restart(dict.fromkeys(IDS[:3])),
        await client.bulk.restart(selection),
    ]
    assert [len(report) for report in reports] == [3, 3, 3, 3, 3, 10]
    assert all(report.ok for report in reports)


async def test_a_selection_chooses(client: sa.SpacesClient, hub: FakeHub) -> None:
    """Stage, sdk, hardware, name and privacy choose together."""
    hub.add_space("acme/x1", sdk="docker", stage="RUNTIME_ERROR", private=True)
    hub.add_space("acme/x2", sdk="docker", stage="PAUSED", hardware="a10g-small")
    hub.add_space("acme/x3", sdk="static")

    async def chosen(**conditions: Any) -> list[str]:
        selection = sa.Selection(author="acme", **conditions)
        return sorted([info.name async for info in selection.resolve(client)])

    assert len(await chosen()) == 33
    assert await chosen(stages="RUNTIME_ERROR") == ["x1"]
    assert await chosen(stages={"RUNTIME_ERROR", "PAUSED"}) == ["x1", "x2"]
    assert await chosen(sdks=["static"]) == ["x3"]
    assert await chosen(hardware="a10g-small") == ["x2"]
    assert await chosen(match="x*", sdks="docker") == ["x1", "x2"]
    assert await chosen(match="acme/x3") == ["x3"]
    assert await chosen(match=["x1", "*/x3"]) == ["x1", "x3"]
    # The owner's name is not part of a pattern without a "/".
    assert await chosen(match="a*") == []
    assert await chosen(visibility="private") == ["x1"]
    conditions: list[dict[str, Any]] = [
        {"stages": []},
        {"sdks": ()},
        {"stages": "RUNING"},
        {"sdks": ["gradient"]},
    ]
    for bad in conditions:
        with pytest.raises(sa.ConfigurationError):
            sa.Selection(author="acme", **bad)
    authors: list[Any] = ["acme/x1", [], 3]
    for author in authors:
        with pytest.raises(sa.ConfigurationError):
            sa.Selection(author=author)


async def test_a_selection_by_an_unknown_flavor(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A misspelt flavor selects nothing, so it is refused before anything is listed."""
    slip = sa.Selection(author="acme", hardware={"a10g-smal"})
    with pytest.raises(sa.ConfigurationError, match="did you mean 'a10g-small'"):
        await client.bulk.pause(slip)
    with pytest.raises(sa.ConfigurationError, match="did you mean 'a10g-small'"):
        [info async for info in slip.resolve(client)]
    assert {r.path for r in hub.requests} == {"/api/spaces/hardware"}
    other = sa.Selection(author="acme", hardware="zzz-9", any_flavor=True)
    assert len(await client.bulk.pause(other)) == 0
    assert hub.count("GET", "/api/spaces/hardware") == 2


async def test_a_hub_without_a_list_of_flavors(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Where no list tells what is known, no flavor is refused."""
    hub.faults("GET /api/spaces/hardware", Fault.status(404))
    report = await client.bulk.pause(sa.Selection(author="acme", hardware="new-1"))
    assert report.ok


async def test_a_selection_of_several_owners(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """They are listed one after the other, each once."""
    hub.add_space("other/x1")
    selection = sa.Selection(author=["other", "acme", "other"])
    ids = [info.id async for info in selection.resolve(client)]
    assert len(ids) == 31
    assert ids[0] == "other/x1"
    assert hub.count("GET", "/api/spaces") == 2


async def test_one_failing_space_stops_nobody(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Refusals of single Spaces are outcomes, and the rest is done.

    A static Space has nothing to restart, which is no failure: it is skipped.
    """
    hub.add_space("acme/static", sdk="static")
    hub.faults("POST /restart", Fault.status(403), repo_id=IDS[0])
    report = await client.bulk.restart([*IDS, "acme/static", "acme/missing"])
    assert len(report.succeeded) == 29
    assert [(o.repo_id, o.reason) for o in report.skipped] == [
        ("acme/static", "static")
    ]
    errors = {o.repo_id: type(o.error) for o in report.failed}
    assert errors == {
        IDS[0]: sa.PermissionDeniedError,
        "acme/missing": sa.SpaceNotFoundError,
    }
    assert not report.ok
    assert all(o.error is None or o.error.__traceback__ is None for o in report)
    with pytest.raises(sa.BulkError, match="29 done, 1 skipped, 2 failed") as caught:
        report.raise_for_failures()
    assert len(caught.value.exceptions) == 2
    assert caught.value.report is report


@pytest.mark.parametrize(
    ("limits", "why", "at_most"),
    [
        ({"fail_fast": True}, "fail_fast", 3),
        ({"max_failures": 5}, "max_failures", 7),
    ],
)
async def test_limits_on_failures(
    client: sa.SpacesClient,
    hub: FakeHub,
    limits: dict[str, Any],
    why: str,
    at_most: int,
) -> None:
    """At the limit no further Space is started; those under way are finished."""
    hub.faults("POST /pause", Fault.status(403), times=None)
    report = await client.bulk.pause(IDS, concurrency=3, **limits)
    assert report.stopped_by == why
    assert len(report.failed) <= at_most
    assert len(report.failed) + len(report.not_attempted) == 30
    assert hub.count("POST", "/pause") == len(report.failed)


async def test_a_token_that_is_gone_stops_the_bulk(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """2,000 times 401 help nobody: after a few in a row the rest is left."""
    hub.faults("POST /pause", Fault.status(401), times=None, after=3)
    report = await client.bulk.pause(IDS, concurrency=2)
    assert report.stopped_by == "authentication"
    assert len(report.succeeded) == 3
    assert 5 <= len(report.failed) <= 7
    assert len(report) == 30


async def test_a_single_401_stops_nobody(client: sa.SpacesClient, hub: FakeHub) -> None:
    """One Space that answers 401 is that Space's failure."""
    hub.faults("POST /pause", Fault.status(401), repo_id="acme/s3", times=None)
    report = await client.bulk.pause(IDS, concurrency=2)
    assert report.stopped_by is None
    assert [o.repo_id for o in report.failed] == ["acme/s3"]


async def test_a_deadline_ends_it_with_a_true_report(hub: FakeHub) -> None:
    """What is under way at the deadline is unknown, the rest not attempted."""

    def all_hang() -> bool:
        return hub.count("POST", "/restart") == 8 and hub.in_flight == 4

    hub.faults("POST /restart", Fault.hang(), times=None, after=4)
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=DeadlineClock(all_hang)
    ) as client:
        report = await client.bulk.restart(IDS, concurrency=4, deadline=DEADLINE)
    assert report.stopped_by == "deadline"
    counts = {s: len(o) for s, o in report.by_status.items() if o}
    assert counts == {S.DONE: 4, S.UNKNOWN: 4, S.NOT_ATTEMPTED: 22}
    assert hub.count("POST", "/restart") == 8


async def test_a_cancel_leaves_a_true_report(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Cancelled in the middle: the stream's report has an outcome for every input."""
    hub.faults("POST /restart", Fault.hang(), times=None, after=4)
    stream = client.bulk.stream(
        lambda c, repo_id: c.lifecycle.restart(repo_id), IDS, concurrency=4
    )

    async def consume() -> None:
        async with stream as outcomes:
            async for _ in outcomes:
                pass

    task = asyncio.create_task(consume())
    while hub.in_flight < 4 or len(hub.requests) < 8:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    report = stream.report
    assert report.stopped_by == "cancelled"
    assert [o.repo_id for o in report] == IDS
    counts = {s: len(o) for s, o in report.by_status.items() if o}
    assert counts == {S.DONE: 4, S.UNKNOWN: 4, S.NOT_ATTEMPTED: 22}


async def test_a_cancel_in_every_turn_waits_for_the_end(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Frameworks that cancel again and again until it ends get a clean end as well."""
    ended: list[str] = []

    async def stubborn(client: sa.SpacesClient, repo_id: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            ended.append(repo_id)

    stream = client.bulk.stream(stubborn, IDS[:5], concurrency=5)

    async def consume() -> None:
        async with stream as outcomes:
            async for _ in outcomes:
                pass

    task = asyncio.create_task(consume())
    for _ in range(5):
        await asyncio.sleep(0)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert sorted(ended) == IDS[:5]
    assert len(stream.report) == 5
    assert len(stream.report.unknown) == 5


async def test_a_cancelled_read_was_not_attempted(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """An operation that had written nothing yet leaves nothing unknown."""
    clock = ManualClock()
    async with FakeHub(clock=clock, quota=Quota(3, 300.0)) as other:
        for repo_id in IDS[:6]:
            other.add_space(repo_id)
        async with sa.SpacesClient(
            token=other.token, endpoint=other.url, clock=clock
        ) as limited:
            stream = limited.bulk.stream(
                operations.pause(),
                IDS[:6],
                concurrency=6,
            )
            async with stream as outcomes:
                for _ in range(2):
                    await anext(outcomes)
                await clock.wait_for_sleepers(4)
    assert stream.report.stopped_by == "left"
    assert len(stream.report.succeeded) == 2
    assert len(stream.report.not_attempted) == 4


async def test_an_iterator_that_raises(client: sa.SpacesClient, hub: FakeHub) -> None:
    """What had come is done; the error carries the report and the cause."""

    async def broken() -> AsyncIterator[str]:
        for repo_id in IDS[:5]:
            yield repo_id
        raise OSError("the database is gone")

    def broken_too() -> Iterator[str]:
        yield from IDS[:5]
        raise OSError("the file is gone")

    for targets in (broken(), broken_too()):
        with pytest.raises(sa.BulkInterruptedError, match="gone") as caught:
            await client.bulk.restart(targets, concurrency=2)
        assert isinstance(caught.value.__cause__, OSError)
        report = caught.value.report
        assert report is not None
        assert report.stopped_by == "targets"
        assert len(report) == 5
        assert {o.status for o in report} <= {S.DONE, S.NOT_ATTEMPTED}
        assert len(report.succeeded) >= 3


async def test_work_starts_while_the_listing_arrives(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """The first Spaces are restarted before the last ones are listed."""
    started = asyncio.Event()

    async def slow_listing() -> AsyncIterator[str]:
        yield IDS[0]
        await started.wait()
        yield IDS[1]

    async def work(client: sa.SpacesClient, repo_id: str) -> str:
        started.set()
        return repo_id

    async with asyncio.timeout(10):
        report = await client.bulk.run(work, slow_listing(), concurrency=2)
    assert [o.value for o in report] == IDS[:2]


async def test_concurrency_is_bounded_and_used(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """As many are under way as allowed, never more."""
    under_way = most = 0

    async def work(client: sa.SpacesClient, repo_id: str) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(3):
            await asyncio.sleep(0)
        under_way -= 1

    await client.bulk.run(work, IDS, concurrency=7)
    assert most == 7


async def test_any_callable_and_any_error(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """What a user's own function raises is the outcome of that Space alone."""

    async def work(client: sa.SpacesClient, repo_id: str) -> int:
        if repo_id == "acme/s3":
            raise ZeroDivisionError("a bug")
        if repo_id == "acme/s4":
            raise asyncio.CancelledError
        await client.lifecycle.get_runtime(repo_id)
        await client.config.add_variable(repo_id, "K", repo_id)
        return 7

    report = await client.bulk.run(work, IDS)
    assert report.operation == "work"
    assert {o.value for o in report.succeeded} == {7}
    assert {o.attempts for o in report.succeeded} == {2}
    assert [type(o.error).__name__ for o in report.failed] == [
        "ZeroDivisionError",
        "SpacesError",
    ]
    with pytest.raises(sa.ConfigurationError):
        await client.bulk.run("restart", IDS)  # type: ignore[arg-type]


async def test_progress_is_told(client: sa.SpacesClient, hub: FakeHub) -> None:
    """The callback hears of each Space; a callback that fails stops nothing."""
    seen: list[sa.BulkProgress] = []

    def note(progress: sa.BulkProgress) -> None:
        seen.append(progress)
        raise ValueError("a bug of the caller")

    report = await client.bulk.pause([*IDS, "acme/missing"], progress=note)
    assert [p.finished for p in seen] == list(range(1, 32))
    assert {p.total for p in seen} == {31}
    assert seen[-1].failed == 1
    assert len(report) == 31


async def test_a_renamed_space_is_done_under_its_new_id(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """The outcome has the id that was passed, and says which one it has become."""
    hub.add_space("acme/old")
    await client.lifecycle.move("acme/old", "acme/new")
    report = await client.bulk.pause(["acme/old", "acme/s1"])
    renamed, other = report.outcomes
    assert (renamed.repo_id, renamed.new_id) == ("acme/old", "acme/new")
    assert renamed.to_dict()["new_id"] == "acme/new"
    assert other.new_id is None
    assert hub.space("acme/new").stage == "PAUSED"


async def test_a_stream_yields_as_they_finish(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Outcomes come one by one; the report grows with them and is complete at last."""
    seen: list[str] = []
    async with client.bulk.stream(
        lambda c, r: c.lifecycle.pause(r), IDS, concurrency=4
    ) as outcomes:
        async for outcome in outcomes:
            seen.append(outcome.repo_id)
            assert len(outcomes.report) >= len(seen)
    assert sorted(seen) == sorted(IDS)
    assert outcomes.report.ok
    with pytest.raises(sa.ConfigurationError, match="once"):
        async with outcomes:
            pass


async def test_a_slow_consumer_slows_the_workers(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Outcomes that nobody fetches do not pile up."""
    async with client.bulk.stream(
        lambda c, r: c.lifecycle.pause(r), IDS, concurrency=4
    ) as outcomes:
        await anext(outcomes)
        for _ in range(500):
            await asyncio.sleep(0)
        assert hub.count("POST", "/pause") <= 1 + 4 + 4


async def test_leaving_a_stream_early(client: sa.SpacesClient, hub: FakeHub) -> None:
    """Who leaves the loop stops the work, and the report says so."""
    async with client.bulk.stream(
        lambda c, r: c.lifecycle.pause(r), IDS, concurrency=2
    ) as outcomes:
        async for _ in outcomes:
            break
    assert outcomes.report.stopped_by == "left"
    assert len(outcomes.report) == 30
    assert hub.count("POST", "/pause") < 10


async def test_those_not_attempted_come_last(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """A stream that ends early still yields an outcome for every input."""
    hub.faults("POST /pause", Fault.status(403), times=None)
    async with client.bulk.stream(
        lambda c, r: c.lifecycle.pause(r), IDS, concurrency=2, fail_fast=True
    ) as outcomes:
        seen = [outcome.status async for outcome in outcomes]
    assert len(seen) == 30
    assert seen[-1] is S.NOT_ATTEMPTED


async def test_a_lost_answer_that_stays_open_is_unknown(
    timeless: sa.SpacesClient, hub: FakeHub
) -> None:
    """Unknown is neither done nor failed, and raise_for_failures raises for it."""
    hub.faults("POST /restart", Fault.reset(acted=True), repo_id="acme/s1")
    hub.faults("GET /runtime", Fault.status(500), times=None)
    quick = timeless.with_options(retry=sa.RetryPolicy(wait_initial=0.001))
    report = await quick.bulk.restart(IDS[:3])
    assert [o.status for o in report] == [S.DONE, S.UNKNOWN, S.DONE]
    assert not report.failed
    with pytest.raises(sa.BulkError):
        report.raise_for_failures()


async def test_no_targets(client: sa.SpacesClient) -> None:
    """Nothing to do is done at once."""
    report = await client.bulk.restart([])
    assert report.ok
    assert report.summary() == "restart: no Spaces"
    report.raise_for_failures()


async def test_the_report_is_json(client: sa.SpacesClient, hub: FakeHub) -> None:
    """A report becomes plain data without any secret value."""
    report = await client.bulk.add_secret(
        [*IDS[:2], "acme/missing"], key="K", value="hush-hush"
    )
    data = json.loads(json.dumps(report.to_dict()))
    assert data["counts"]["done"] == 2
    assert data["outcomes"][2]["error_type"] == "SpaceNotFoundError"
    assert "hush-hush" not in json.dumps(data) + repr(report) + report.summary()
    assert [hub.space(r).secrets["K"].value for r in IDS[:2]] == ["hush-hush"] * 2


@pytest.mark.unmeasured
async def test_a_bulk_over_the_quota_meets_no_429() -> None:
    """1,000 restarts, 300 calls a window: every window is used, none overdrawn."""
    clock = ManualClock(auto=True)
    async with FakeHub(clock=clock, quota=Quota(300, 5.0)) as hub:
        hub.add_org("acme", members={"tester": "write"})
        for number in range(1000):
            hub.add_space(f"acme/n{number}")
        async with sa.SpacesClient(
            token=hub.token, endpoint=hub.url, clock=clock
        ) as client:
            selection = sa.Selection(author="acme")
            report = await client.bulk.restart(selection, concurrency=64)
        assert report.ok
        assert len(report) == 1000
        assert not [r for r in hub.requests if r.status == 429]
        assert hub.count("POST", "/restart") == 1000


@pytest.mark.parametrize("late", [False, True])
def test_a_worker_that_is_torn_down(late: bool) -> None:
    """Who was under way when a second Ctrl-C came is unknown, done or not."""
    reports: list[sa.BulkReport[None]] = []

    async def work(client: sa.SpacesClient, repo_id: str) -> None:
        await client.lifecycle.restart(repo_id)
        if repo_id == IDS[2] and not late:
            raise KeyboardInterrupt

    def told(progress: sa.BulkProgress) -> None:
        if progress.outcome.repo_id == IDS[2]:
            raise KeyboardInterrupt

    async def main() -> None:
        async with FakeHub() as hub:
            for repo_id in IDS[:5]:
                hub.add_space(repo_id)
            client = sa.SpacesClient(token=hub.token, endpoint=hub.url)
            async with client:
                stream = client.bulk.stream(
                    work, IDS[:5], concurrency=1, progress=told if late else None
                )
                reports.append(stream.report)
                async with stream:
                    async for _ in stream:
                        pass

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    third = S.DONE if late else S.UNKNOWN
    assert [o.status for o in reports[0]] == [
        S.DONE, S.DONE, third, S.NOT_ATTEMPTED, S.NOT_ATTEMPTED
    ]  # fmt: skip


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_was_refused_was_not_done(hub: FakeHub, cancelled: bool) -> None:
    """Who waits for what a 429 has asked for is not in doubt when the bulk ends."""
    hub.faults("POST /restart", Fault.action_limit(retry_after=3600), times=None)
    clock = ManualClock()

    async def all_of_it() -> None:
        async with stream as outcomes:
            async for _ in outcomes:
                pass

    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock
    ) as client:
        stream = client.bulk.stream(
            operations.restart(), IDS[:6], concurrency=3, deadline=60.0
        )
        task = asyncio.create_task(all_of_it())
        while max([*clock.slept, *clock.waited], default=0.0) < 3600:
            await asyncio.sleep(0)
        if cancelled:
            task.cancel()
        else:
            clock.advance(60.0)
        await asyncio.wait([task])
    assert [o.status for o in stream.report] == [S.NOT_ATTEMPTED] * 6
    assert hub.count("POST", "/restart") <= 3


async def test_no_targets_by_mistake(client: sa.SpacesClient, hub: FakeHub) -> None:
    """A function that forgot its `return` does not look like an empty list."""
    nothing: Any = None
    with pytest.raises(sa.ConfigurationError, match="targets is None"):
        await client.bulk.restart(nothing)
    with pytest.raises(TypeError, match="a bulk has no option concurency; it has conc"):
        await client.bulk.restart(IDS, concurency=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert not hub.requests


async def test_an_error_says_how_often_it_was_sent(
    timeless: sa.SpacesClient, hub: FakeHub
) -> None:
    """All requests for the Space count, and not only the last."""
    hub.faults("POST *", Fault.status(500), repo_id=IDS[3], times=None)
    report = await timeless.bulk.pause(IDS[:9])
    (outcome,) = report.failed
    assert isinstance(outcome.error, sa.HubServerError)
    assert outcome.attempts > 2
    assert outcome.error.attempts == outcome.attempts
    assert any("requests in all, waited" in note for note in outcome.error.__notes__)


async def test_a_callable_whose_answer_cannot_be_read(
    timeless: sa.SpacesClient, hub: FakeHub
) -> None:
    """If it was a write, the Hub has acted: it is unknown, and a read has failed."""
    broken = timeless.with_options(retry=sa.RetryPolicy(verify=False))
    hub.faults("POST /restart", Fault.invalid_json(), repo_id=IDS[0], times=None)
    hub.faults("GET /runtime", Fault.invalid_json(), repo_id=IDS[1], times=None)
    writes = await broken.bulk.run(lambda c, r: c.lifecycle.restart(r), IDS[:1])
    reads = await broken.bulk.run(lambda c, r: c.lifecycle.get_runtime(r), IDS[1:2])
    assert hub.space(IDS[0]).restarts == 1
    assert [o.status for o in (*writes, *reads)] == [S.UNKNOWN, S.FAILED]


@pytest.mark.parametrize("what", ["gives up", "read", "refused", "bug", "cancel"])
async def test_a_callable_that_may_have_acted_is_unknown(
    timeless: sa.SpacesClient, hub: FakeHub, what: str
) -> None:
    """Whatever a function raises after a write that may have taken effect: unknown."""
    hub.faults("DELETE /variables", Fault.status(403), times=None)
    hub.faults("GET /variables", Fault.status(404), times=None)
    if what == "gives up":
        hub.faults("POST /restart", Fault.hang(acted=True))

    async def work(client: sa.SpacesClient, repo_id: str) -> object:
        restart = asyncio.create_task(client.lifecycle.restart(repo_id))
        if what == "gives up":
            while not hub.space(repo_id).restarts:
                await asyncio.sleep(0)
            restart.cancel()
            await asyncio.wait([restart])
            raise TimeoutError
        runtime = await restart
        if what == "read":
            return await client.config.get_variables(repo_id)
        if what == "refused":
            return await client.config.delete_variable(repo_id, "OLD")
        if what == "cancel":
            raise asyncio.CancelledError
        return runtime.raw["no such key"]

    report = await timeless.bulk.run(work, IDS[:1])
    assert hub.space(IDS[0]).restarts == 1
    assert [o.status for o in report] == [S.UNKNOWN]
    assert report.outcomes[0].error is not None


@pytest.mark.parametrize("factory_reboot", [False, True])
async def test_what_built_before_was_not_seen_to_restart(
    timeless: sa.SpacesClient, hub: FakeHub, *, factory_reboot: bool
) -> None:
    """The listing of a selection showed it: building proves no lost restart then."""
    hub.add_space("acme/builds", stage="BUILDING")
    hub.faults("POST /restart", Fault.status(502), times=None)
    report = await timeless.bulk.restart(
        sa.Selection(author="acme", stages={"BUILDING"}), factory_reboot=factory_reboot
    )
    assert [o.status for o in report] == [S.UNKNOWN]
    assert hub.count("POST", "/restart") == 1


async def test_a_callable_whose_success_changed_nothing_has_failed(
    timeless: sa.SpacesClient, hub: FakeHub
) -> None:
    """A factory reboot of a paused Space is answered with one, and is no doubt."""
    hub.space(IDS[0]).pause()

    async def reboot(client: sa.SpacesClient, repo_id: str) -> None:
        await client.lifecycle.restart(repo_id, factory_reboot=True)

    report = await timeless.bulk.run(reboot, IDS[:1])
    assert [o.status for o in report] == [S.FAILED]


@pytest.mark.parametrize("what", ["refused", "not done"])
async def test_a_callable_whose_writes_did_nothing_has_failed(
    timeless: sa.SpacesClient, hub: FakeHub, what: str
) -> None:
    """A write that the Hub refused, or that the state shows undone, is no doubt."""
    once = timeless.with_options(retry=sa.RetryPolicy(max_attempts=2))
    fault = Fault.status(403) if what == "refused" else Fault.reset()
    hub.faults("POST /pause", fault, times=None)
    report = await once.bulk.run(lambda c, r: c.lifecycle.pause(r), IDS[:1])
    assert hub.space(IDS[0]).stage == "RUNNING"
    assert [o.status for o in report] == [S.FAILED]


async def test_a_sign_in_page_does_not_pass_for_success(
    timeless: sa.SpacesClient, hub: FakeHub
) -> None:
    """What a network answers in place of the Hub is looked up, and sent again."""
    page = Fault.status(200, body="<html>", headers={"Content-Type": "text/html"})
    hub.faults("DELETE /secrets", page, times=3)
    for repo_id in IDS[:10]:
        hub.space(repo_id).set_config("secrets", "K", "value")
    report = await timeless.bulk.delete_secret(IDS[:10], key="K")
    assert report.ok
    assert not any(hub.space(repo_id).secrets for repo_id in IDS[:10])


# Iterators of targets -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["deadline", "cancel", "fail_fast"])
async def test_an_iterator_without_end_is_not_read_to_its_end(
    client: sa.SpacesClient, hub: FakeHub, how: str
) -> None:
    """A bulk that ends early reads no further, and says nothing about what it has not
    read."""
    read: list[str] = []

    def endless() -> Iterator[str]:
        for number in itertools.count():
            read.append(f"acme/s{number % 30}")
            yield read[-1] if number < 30 else f"acme/none-{number}"

    hub.faults("POST /restart", Fault.status(403), repo_id=IDS[5], times=None)
    options: dict[str, Any] = {"concurrency": 2}
    if how == "fail_fast":
        options["fail_fast"] = True
    elif how == "deadline":
        options["deadline"] = 0.5
    stream = client.bulk.stream(operations.restart(), endless(), **options)
    async with asyncio.timeout(20), stream as outcomes:
        async for outcome in outcomes:
            if how == "cancel" and outcome.repo_id == IDS[5]:
                break
    assert stream.report.stopped_by in {"left", "deadline", "fail_fast"}
    assert len(stream.report) <= len(read)


async def test_an_iterator_that_ends_in_a_cancel_of_its_own(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """It is no end of the targets: the bulk says that they could not be read."""

    async def targets() -> AsyncIterator[str]:
        for repo_id in IDS[:8]:
            yield repo_id
        raise asyncio.CancelledError

    with pytest.raises(
        sa.BulkInterruptedError, match="could not all be read"
    ) as caught:
        await client.bulk.restart(targets(), concurrency=4)
    report = caught.value.report
    assert report is not None
    assert report.stopped_by == "targets"
    assert not report.ok
    assert len(report.succeeded) == 8


@pytest.mark.parametrize("listed", [False, True])
async def test_a_compute_quota_stops_what_needs_it(
    client: sa.SpacesClient, hub: FakeHub, listed: bool
) -> None:
    """After the first refusal only Spaces of other owners and flavors are sent to."""
    hub.add_org("other", members={"tester": "write"})
    paused = [f"acme/p{number:02d}" for number in range(12)]
    for repo_id in (*paused, "other/p"):
        hub.add_space(repo_id, hardware="cpu-basic", stage="PAUSED")
    hub.add_space("acme/t4", hardware="t4-small", stage="PAUSED")
    hub.limit_flavor("acme", "cpu-basic", 3)
    targets: Any = [*paused, "acme/t4", "other/p", "acme/s0"]
    if listed:
        targets = sa.Selection(author=["acme", "other"], match=["p*", "t4", "s0"])
    hub.requests.clear()
    report = await client.bulk.restart(targets, concurrency=1, only_changes=False)
    refused, left_out = report.failed, report.not_attempted
    assert len(refused) == 1
    assert isinstance(refused[0].error, sa.ComputeQuotaError)
    assert refused[0].error.flavor == "cpu-basic"
    assert len(left_out) == 8
    assert {outcome.reason for outcome in left_out} == {"compute quota"}
    assert {outcome.attempts for outcome in left_out} == {0}
    assert {o.repo_id for o in report.succeeded} >= {"acme/t4", "other/p", "acme/s0"}
    assert report.stopped_by is None
    assert hub.count("POST", "/restart") == 3 + 1 + 3
    # One listing for ids; the selection has read one of each owner.
    assert hub.count("GET", "/api/spaces") == (2 if listed else 1)


async def test_a_compute_quota_for_other_hardware(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Spaces that run are left out after the first refusal; paused ones may move."""
    hub.limit_flavor("acme", "a10g-small", 2)
    hub.set_stage("acme/s9", "PAUSED")
    report = await client.bulk.request_hardware(
        IDS[:10], flavor="a10g-small", concurrency=1
    )
    assert len(report.succeeded) == 3
    assert report.succeeded[-1].repo_id == "acme/s9"
    assert len(report.failed) == 1
    assert [o.reason for o in report.not_attempted] == ["compute quota"] * 6


async def test_a_listing_that_fails_leaves_nothing_out(
    client: sa.SpacesClient, hub: FakeHub
) -> None:
    """Where the flavor of a Space cannot be learned, its own refusal tells."""
    for repo_id in IDS[:6]:
        hub.set_stage(repo_id, "PAUSED")
    hub.limit_flavor("acme", "t4-small", 0)
    hub.faults("GET /api/spaces", Fault.status(403), times=None)
    report = await client.bulk.restart(IDS[:6], concurrency=1)
    assert len(report.failed) == 6
    assert hub.count("GET", "/api/spaces") == 1


async def test_what_the_quota_left_out_is_sent_on_resume(
    client: sa.SpacesClient, hub: FakeHub, tmp_path: Any
) -> None:
    """The journal keeps it as not attempted: with a larger quota it is sent."""
    for repo_id in IDS[:6]:
        hub.set_stage(repo_id, "PAUSED")
    hub.limit_flavor("acme", "t4-small", 24 + 1)
    journal = tmp_path / "night.jsonl"
    first = await client.bulk.restart(IDS[:6], concurrency=1, journal=journal)
    assert (len(first.succeeded), len(first.not_attempted)) == (1, 4)
    hub.limit_flavor("acme", "t4-small", None)
    report = await client.bulk.resume(journal)
    assert report.ok
    assert hub.count("POST", "/restart") == 6 + 1


def test_a_look_while_a_response_is_late_is_no_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One timer begins the looks of all calls; none counts for the Space it was set for."""
    reports: list[sa.BulkReport[sa.SpaceRuntime]] = []

    async def scene() -> None:
        clock = VirtualClock()
        async with FakeHub(clock=clock, build_seconds=60) as hub:
            hub.add_org("acme", members={"tester": "write"})
            for repo_id in IDS[:4]:
                hub.add_space(repo_id)
            hub.faults("POST /restart", Fault.hang(acted=True), times=None)
            async with sa.SpacesClient(
                token=hub.token, endpoint=hub.url, clock=clock
            ) as client:
                reports.append(await client.bulk.restart(IDS[:4], concurrency=4))
            assert hub.count("GET", "/runtime") == 4

    play(monkeypatch, scene, measured=True)
    assert [outcome.attempts for outcome in reports[0].succeeded] == [1, 1, 1, 1]


async def test_a_function_that_never_waits_leaves_others_their_turn(
    client: sa.SpacesClient,
) -> None:
    """Other tasks of the program go on while a bulk has nothing to wait for."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def nothing(_client: sa.SpacesClient, _repo_id: str) -> None:
        pass

    task = asyncio.create_task(others())
    ids = [f"acme/s{number}" for number in range(4000)]
    report = await client.bulk.run(nothing, ids, concurrency=16)
    task.cancel()
    assert report.counts[S.DONE] == 4000
    assert turns >= 10
