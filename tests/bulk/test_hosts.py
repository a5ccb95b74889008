"""Runs that many hosts work on, through the public API, against a real Redis.

A host is a client of its own. One that is lost is played by a store that claims Spaces,
announces what it is going to send, and falls silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from spaces_async import (
    AuthenticationError,
    BulkInterruptedError,
    BulkReport,
    ConfigurationError,
    Healthy,
    JournalError,
    RunState,
    Selection,
    SpacesClient,
    StoreError,
)
from spaces_async import OutcomeStatus as S
from spaces_async._clock import Clock
from spaces_async._wire.messages import LostResponse
from spaces_async.bulk import operations
from spaces_async.bulk._engine import joining
from spaces_async.bulk._engine.lease import Lease
from spaces_async.bulk._engine.rollout import NOT_CHECKED
from spaces_async.bulk._engine.shared_run import SharedRun, SharedSource
from spaces_async.bulk._rollout_record import PACING
from spaces_async.bulk._store import redis_store
from spaces_async.bulk._store.protocol import (
    Block,
    RunStore,
    Settlement,
    StoreAwayError,
)
from spaces_async.bulk._store.redis_store import RedisStore
from spaces_async.bulk._store.url import make_store
from spaces_async.bulk.report import Keep, StopReason
from spaces_async.testing import FakeHub, Fault, Quota
from tests.support.redis_server import RedisServer, log_size

IDS = [f"acme/s{number}" for number in range(60)]
LEASE = 8.0
"""An attempt takes half of it at most, and the machine may be busy."""
SHORT_LEASE = 1.0
"""Of a host that is lost."""


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """An org of Spaces that run."""
    async with FakeHub(quota=Quota(10**6, 300.0), build_seconds=0.01) as hub:
        for repo_id in IDS:
            hub.add_space(repo_id, stage="RUNNING")
        yield hub


@pytest_asyncio.fixture
async def hosts(hub: FakeHub) -> AsyncIterator[Callable[[], SpacesClient]]:
    """Makes hosts, each with connections of its own."""
    clients: list[SpacesClient] = []

    def host(**more: Any) -> SpacesClient:
        clients.append(SpacesClient(token=hub.token, endpoint=hub.url, **more))
        return clients[-1]

    yield host
    for client in clients:
        await client.aclose()


def writes(hub: FakeHub, name: str = "pause") -> list[str]:
    """Every Space that a write was received for, in order of arrival."""
    found = [r.path.split("/") for r in hub.requests if r.method == "POST"]
    return [f"{parts[3]}/{parts[4]}" for parts in found if parts[-1] == name]


async def until_written(hub: FakeHub, count: int) -> None:
    """Wait until so many writes were received."""
    while len(writes(hub)) < count:
        await asyncio.sleep(0)


async def begin(client: SpacesClient, where: str, **options: Any) -> None:
    """Begin a run of pauses, and leave it before anything is sent."""
    stream = client.bulk.stream(
        operations.pause(), options.pop("ids", IDS), store=where, **options
    )
    stream.report.stopped_by = None
    async with stream:
        stream.stop()
        async for _ in stream:
            pass


async def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """Do all of it at the same time; return what each brings."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
    return [task.result() for task in tasks]


class LostHost:
    """A host that claims Spaces, announces some, and falls silent."""

    def __init__(self, where: str) -> None:
        self.store: RunStore = make_store(where, Clock())
        self.block: Block | None = None

    async def claim(self) -> list[str]:
        assert await self.store.find()
        self.block = await self.store.claim([])
        assert self.block is not None
        return list(self.block.entries)

    async def announce(self, repo_id: str) -> None:
        assert self.block is not None
        await self.store.intend(self.block, repo_id, None)


# What holds for all hosts ---------------------------------------------------------


async def test_two_hosts_share(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """Each Space is written once; `run` reports all of them, `work` its own."""
    where = new_run()
    hub.faults("POST *", Fault.delay(0.005), times=None)
    mine, theirs = await together(
        hosts().bulk.pause(IDS, store=where, concurrency=2, lease=LEASE),
        hosts().bulk.work(where, concurrency=2),
    )
    assert Counter(writes(hub)) == dict.fromkeys(IDS, 1)
    assert [o.repo_id for o in mine] == IDS
    assert mine.ok
    others = {o.repo_id for o in mine if o.from_journal}
    assert {o.repo_id for o in theirs} == others
    assert others
    assert len(others) < len(IDS)
    assert theirs.ok
    assert all(o.value is not None for o in theirs)
    assert mine.summary() == (
        f"pause: 60 done ({len(others)} of them before or by other hosts)"
    )


async def test_a_refused_token_is_that_of_one_host(
    hub: FakeHub, hosts: Callable[[], SpacesClient], anywhere: str
) -> None:
    """It says nothing of the Spaces: the host leaves, and others do them."""
    await begin(hosts(), anywhere, lease=LEASE, max_failures=1)
    refused = await hosts().with_token("hf_of_nobody").bulk.work(anywhere)
    assert refused.stopped_by == "authentication"
    assert {type(o.error) for o in refused.failed} == {AuthenticationError}
    state = await hosts().bulk.get_run(anywhere)
    assert (state.finished, state.stopped_by) == (0, None)
    sent = len(writes(hub))
    assert (await hosts().bulk.work(anywhere)).ok
    assert sorted(writes(hub)[sent:]) == sorted(IDS)


async def test_a_401_of_one_space_is_a_failure_of_it(
    hub: FakeHub, hosts: Callable[[], SpacesClient], anywhere: str
) -> None:
    """Where the Hub takes the token otherwise, the run goes on and ends."""
    hub.faults("POST *", Fault.status(401), repo_id=IDS[0], times=None)
    bulk = hosts().bulk
    report = await bulk.pause(IDS[:6], store=anywhere, concurrency=1)
    assert [o.repo_id for o in report.failed] == IDS[:1]
    assert len(report.succeeded) == 5
    assert report.stopped_by is None
    assert (await bulk.get_run(anywhere)).is_over
    assert hub.count("GET", "/whoami-v2") == 1


async def test_what_was_not_attempted_may_be_an_outcome(
    hub: FakeHub, hosts: Callable[[], SpacesClient], anywhere: str
) -> None:
    """A run that left Spaces out for the quota of a flavor is over all the same."""
    for repo_id in IDS[:6]:
        hub.set_stage(repo_id, "PAUSED")
    hub.limit_flavor("acme", "cpu-basic", len(IDS) - 4)
    report = await hosts().bulk.restart(IDS[:6], store=anywhere, concurrency=1)
    assert report.not_attempted
    state = await hosts().bulk.get_run(anywhere)
    assert state.is_over
    assert state.counts == report.counts


async def test_a_short_run_is_shared(
    hub: FakeHub, hosts: Callable[[], SpacesClient], tmp_path: Path
) -> None:
    """A Redis that may lose seconds lets hosts claim ahead, but not all there is."""
    server = RedisServer(tmp_path, "--appendonly", "yes")
    server.start()
    where = f"redis://127.0.0.1:{server.port}/0/nightly"
    hub.faults("POST *", Fault.delay(0.02), times=None)

    async def help_out() -> BulkReport[Any]:
        await until_written(hub, 1)
        return await hosts().bulk.work(where, concurrency=2)

    try:
        mine, theirs = await together(
            hosts().bulk.pause(IDS, store=where, concurrency=2), help_out()
        )
    finally:
        server.kill()
    assert mine.ok
    assert len(theirs) >= 10
    assert Counter(writes(hub)) == dict.fromkeys(IDS, 1)


async def test_what_a_run_that_is_over_left(
    hosts: Callable[[], SpacesClient], anywhere: str
) -> None:
    """Its counts have what may have been sent, and what was not begun."""
    await begin(hosts(), anywhere, lease=SHORT_LEASE)
    await lose_host(anywhere, IDS[0])
    state = await hosts().bulk.get_run(anywhere)
    assert (state.finished, state.counts[S.NOT_ATTEMPTED]) == (0, 0)
    state = await hosts().bulk.cancel(anywhere)
    assert (state.counts[S.UNKNOWN], state.counts[S.NOT_ATTEMPTED]) == (1, 59)
    assert state.finished == 1
    assert state == await hosts().bulk.get_run(anywhere)


@pytest.mark.parametrize("lease", [600.0, SHORT_LEASE])
async def test_who_is_silent_is_no_host(
    hosts: Callable[[], SpacesClient], new_run: Callable[[], str], lease: float
) -> None:
    """One that is lost holds its blocks, but nobody works on them."""
    where, looking = new_run(), hosts().bulk
    await begin(hosts(), where, lease=lease)
    host = LostHost(where)
    await host.claim()
    assert host.block is not None
    await host.store.renew([host.block])
    if lease > SHORT_LEASE:
        assert len((await looking.get_run(where)).hosts) == 1
    else:
        async with asyncio.timeout(30):
            while (await looking.get_run(where)).hosts:
                await asyncio.sleep(0.05)
    await host.store.aclose()


async def test_report_of_the_whole_run(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """A run that is over is not repeated: the same call returns its report."""
    where = new_run()
    hub.faults(f"POST /api/spaces/{IDS[1]}/pause", Fault.status(403), times=None)
    first = await hosts().bulk.pause(IDS[:3], store=where, lease=LEASE)
    sent = len(writes(hub))
    again = await hosts().bulk.pause(IDS[:3], store=where, lease=LEASE)
    assert len(writes(hub)) == sent
    assert [o.status for o in again] == [o.status for o in first]
    assert [o.status for o in again] == [S.DONE, S.FAILED, S.DONE]
    assert str(again.failed[0].error) == f"{IDS[1]}: {first.failed[0].error}"
    assert (await hosts().bulk.work(where)).outcomes == []


async def test_kept_outcomes(
    hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """The counts are those of all hosts, whichever outcomes are kept."""
    where = new_run()
    report, _ = await together(
        hosts().bulk.pause(IDS, store=where, keep="none", concurrency=2, lease=LEASE),
        hosts().bulk.work(where, concurrency=2),
    )
    assert report.counts[S.DONE] == len(IDS)
    assert report.outcomes == []


async def test_takeover(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """What a lost host announced is looked up, the rest of its block is sent."""
    where = new_run()
    lost = LostHost(where)
    starter = hosts()
    await begin(starter, where, lease=SHORT_LEASE)
    held = await lost.claim()
    arrived, not_arrived = IDS[0], None
    assert arrived in held
    await lost.announce(arrived)
    await starter.lifecycle.pause(arrived)
    if len(held) > 1:
        not_arrived = held[1]
        await lost.announce(not_arrived)
    before = len(writes(hub))
    report = await hosts().bulk.work(where)
    assert Counter(writes(hub)[before:]) == dict.fromkeys(IDS[1:], 1)
    assert report.ok
    assert len(report) == len(IDS)
    await lost.store.aclose()


async def test_takeover_where_the_state_does_not_tell(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """What cannot be told after a lost host is `unknown`, and not sent again."""
    where = new_run()
    lost = LostHost(where)
    stream = hosts().bulk.stream(
        operations.delete(), IDS[:2], store=where, lease=SHORT_LEASE
    )
    async with stream:
        stream.stop()
        async for _ in stream:
            pass
    await lost.claim()
    await lost.announce(IDS[0])
    report = await hosts().bulk.work(where)
    assert {o.repo_id: o.status for o in report} == {IDS[0]: S.UNKNOWN, IDS[1]: S.DONE}
    sent = [r.json["name"] for r in hub.requests if r.method == "DELETE"]
    assert sent == [IDS[1].partition("/")[2]]
    whole = await hosts().bulk.delete(IDS[:2], store=where, lease=SHORT_LEASE)
    for told in (report, whole):
        (unknown,) = told.unknown
        assert str(unknown.error) == (
            f"{IDS[0]}: the delete may have been sent by a host that was lost; the Space"
            " does not show whether it took effect"
        )
    await lost.store.aclose()


async def test_leaving_hands_over(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """A host that ends gives back what it holds, so another need not wait."""
    where = new_run()
    async with hosts().bulk.stream(
        operations.pause(), IDS, store=where, lease=600.0, concurrency=2
    ) as outcomes:
        await anext(outcomes)
    report = await hosts().bulk.pause(IDS, store=where, lease=600.0)
    assert report.ok
    assert len(report) == len(IDS)
    repeated = [repo_id for repo_id, n in Counter(writes(hub)).items() if n > 1]
    assert len(repeated) <= 2, "only what was in flight is looked up"


@pytest.mark.parametrize("other", [False, True])
async def test_cancel(
    hub: FakeHub,
    hosts: Callable[[], SpacesClient],
    new_run: Callable[[], str],
    other: bool,
) -> None:
    """A cancel ends the run on all hosts; nothing is lost, and it stays cancelled."""
    where = new_run()
    hub.faults("POST *", Fault.delay(0.02), times=None)
    reading = hosts()

    async def cancel_soon() -> None:
        await until_written(hub, 5)
        state = await reading.bulk.cancel(where)
        assert state.stopped_by is StopReason.CANCELLED
        assert state.is_over

    working = [hosts().bulk.pause(IDS, store=where, concurrency=2, lease=LEASE)]
    if other:
        working.append(hosts().bulk.work(where, concurrency=2))
    report, *_ = (await together(*working, cancel_soon()))[0:1]
    assert report.stopped_by is StopReason.CANCELLED
    assert [o.repo_id for o in report] == IDS
    sent = set(writes(hub))
    for outcome in report:
        if outcome.status is S.NOT_ATTEMPTED:
            assert outcome.repo_id not in sent
            assert outcome.reason == "cancelled"
        else:
            assert outcome.status in {S.DONE, S.UNKNOWN}
    assert len(report.not_attempted) > 10
    again = await hosts().bulk.work(where)
    assert again.stopped_by is StopReason.CANCELLED
    assert set(writes(hub)) == sent


async def test_max_failures_of_all_hosts(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """The failures of all hosts are counted together."""
    where = new_run()
    hub.faults("POST *", Fault.status(403), times=None)
    mine, theirs = await together(
        hosts().bulk.pause(
            IDS, store=where, max_failures=6, concurrency=1, lease=LEASE
        ),
        hosts().bulk.work(where, concurrency=1),
    )
    assert mine.stopped_by is theirs.stopped_by is StopReason.MAX_FAILURES
    assert 6 <= len(mine.failed) <= 8, "what was in flight is finished"
    assert len(mine.failed) == len(writes(hub))
    assert len(mine.not_attempted) == len(IDS) - len(mine.failed)


async def test_waves_of_all_hosts(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """No Space of a wave is begun before all of the wave before are healthy."""
    where = new_run()
    ids = IDS[:12]
    options: dict[str, Any] = {"waves": [2, 5, "100%"], "lease": LEASE}
    mine, theirs = await together(
        hosts().bulk.pause(ids, store=where, concurrency=4, **options),
        hosts().bulk.work(where, concurrency=4),
    )
    assert mine.ok
    assert theirs.ok
    sent = writes(hub)
    assert sorted(sent) == sorted(ids)
    starts = [i for i, r in enumerate(hub.requests) if r.path.endswith("/pause")]
    for first, last in ((2, 1), (5, 4)):
        # Between two waves the Spaces are looked at until they run.
        reads = hub.requests[starts[last] : starts[first]]
        assert [r for r in reads if r.method == "GET"]


async def test_unhealthy_wave_halts_all_hosts(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """A Space that fails in the first wave keeps every host from the second."""
    where = new_run()
    hub.faults(f"POST /api/spaces/{IDS[0]}/pause", Fault.status(403), times=None)
    mine, theirs = await together(
        hosts().bulk.pause(IDS, store=where, waves=[1, "100%"], lease=LEASE),
        hosts().bulk.work(where),
    )
    assert mine.stopped_by is StopReason.UNHEALTHY
    assert theirs.stopped_by is StopReason.UNHEALTHY
    assert writes(hub) == [IDS[0]]
    assert len(mine.not_attempted) == len(IDS) - 1


async def test_going_on_keeps_the_waves(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """What failed is tried again in the waves of the run, from the report of any host."""
    where = new_run()
    hub.faults("POST *", Fault.status(403), times=None)
    waves: dict[str, Any] = {"waves": [1, "100%"], "max_failures": 4}
    mine, theirs = await together(
        hosts().bulk.pause(
            IDS[:4], store=where, healthy=Healthy(timeout=9.0), lease=LEASE, **waves
        ),
        hosts().bulk.work(where),
    )
    assert len(mine.failed) == 4
    for report in (mine, theirs):
        if not report.failed:
            continue
        before = len(writes(hub))
        again = await hosts().bulk.retry_failed(report, max_failures=1)
        assert again.stopped_by is StopReason.UNHEALTHY
        assert len(writes(hub)) == before + 1, "the canary halts the rest"


async def test_undo(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """A run records the state before each write, and so it can be undone."""
    where = new_run()
    await hosts().lifecycle.pause(IDS[1])
    hub.faults(f"POST /api/spaces/{IDS[2]}/pause", Fault.status(403), times=None)
    await hosts().bulk.pause(IDS[:4], store=where, lease=LEASE)
    plan = await hosts().bulk.plan_undo(where)
    assert [change.repo_id for change in plan.changes] == [IDS[0], IDS[3]]
    report = await hosts().bulk.undo(where)
    assert report.counts[S.DONE] == 2
    assert not [r for r in hub.requests if r.path == f"/api/spaces/{IDS[1]}/restart"]
    other = new_run()
    with pytest.raises(ConfigurationError, match="there is no run"):
        await hosts().bulk.plan_undo(other)
    await hosts().bulk.pause(IDS[:1], store=other, record_before=False)
    assert not (await hosts().bulk.plan_undo(other)).changes


async def test_a_url_is_no_journal(hosts: Callable[[], SpacesClient]) -> None:
    """Where a file is wanted a URL is refused, without its password."""
    bulk, where = hosts().bulk, "redis://me:hunter2@127.0.0.1:1/0/nightly"
    for asking in (bulk.resume(where), bulk.pause(IDS, journal=where)):
        with pytest.raises(ConfigurationError, match="a journal is a file") as caught:
            await asking
        assert "hunter2" not in str(caught.value)


# What a run has left, once it is over ----------------------------------------------


@pytest.fixture(params=["redis", "file"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a run in each kind of store."""
    if request.param == "file":
        return f"file://{tmp_path}/run.jsonl"
    return str(request.getfixturevalue("new_run")())


async def lose_host(where: str, *repo_ids: str) -> None:
    """Play a host that announces these Spaces, the first of the run, and is lost."""
    store = make_store(where, Clock())
    assert await store.find()
    known: list[str] = []
    for repo_id in repo_ids:
        block = await store.claim(known)
        assert block is not None
        known.append(block.key)
        await store.intend(block, repo_id, None)
    await store.aclose()


async def test_retry_of_a_run(
    hub: FakeHub, hosts: Callable[[], SpacesClient], anywhere: str
) -> None:
    """What failed is sent again, and what is unknown only if it was not done."""
    ids = IDS[:4]
    refused = hub.faults(f"POST /api/spaces/{IDS[2]}/pause", Fault.status(403))
    await begin(hosts(), anywhere, ids=ids, lease=SHORT_LEASE, on_unknown="skip")
    await lose_host(anywhere, *IDS[:2])
    await hosts().lifecycle.pause(IDS[0])
    report = await hosts().bulk.work(anywhere)
    assert refused.hits == 1
    assert {o.repo_id: o.status for o in report if not o.ok} == {
        IDS[0]: S.UNKNOWN,
        IDS[1]: S.UNKNOWN,
        IDS[2]: S.FAILED,
    }
    before = len(writes(hub))
    again = await hosts().bulk.retry_failed(anywhere)
    assert [o.repo_id for o in again] == IDS[:3]
    assert again.ok
    assert sorted(writes(hub)[before:]) == IDS[1:3]
    state = await hosts().bulk.get_run(anywhere)
    assert state.counts[S.UNKNOWN] == 2, "the run itself stays as it is"
    left = await hosts().bulk.retry_failed(anywhere, on_unknown="skip")
    assert [o.repo_id for o in left.unknown] == IDS[:2]


@pytest.mark.parametrize("limit", [{"fail_fast": True}, {"max_failures": 1}])
async def test_a_run_that_ended_early_stays_so(
    hub: FakeHub,
    hosts: Callable[[], SpacesClient],
    anywhere: str,
    limit: dict[str, Any],
) -> None:
    """Why a run ended is kept with what ended it: the same call sends nothing more."""
    hub.faults("POST *", Fault.status(403), times=1)
    for _ in range(2):
        bulk = hosts().bulk
        report = await bulk.pause(IDS[:4], store=anywhere, concurrency=1, **limit)
        assert len(report.failed) == 1
        assert len(report.not_attempted) == 3
        assert (await bulk.get_run(anywhere)).stopped_by is report.stopped_by
        assert str(report.stopped_by) in limit
    assert len(writes(hub)) == 1


async def test_nothing_is_tried_again_while_hosts_may_send(
    hub: FakeHub, hosts: Callable[[], SpacesClient], anywhere: str
) -> None:
    """A run has to be over, and so has the lease of what was announced last."""
    await begin(hosts(), anywhere, ids=IDS[:3], lease=600.0)
    await lose_host(anywhere, IDS[0])
    with pytest.raises(ConfigurationError, match="is not over: `work` goes on"):
        await hosts().bulk.retry_failed(anywhere)
    await hosts().bulk.cancel(anywhere)
    told = r"a host may still be sending: try again in (\d{3}) s"
    with pytest.raises(ConfigurationError, match=told):
        await hosts().bulk.retry_failed(anywhere)
    assert not writes(hub)


async def test_doubt_whose_time_is_not_known(
    hub: FakeHub, hosts: Callable[[], SpacesClient], anywhere: str
) -> None:
    """No look can tell, so it stays unknown, unless it is to be sent in any case."""
    client = hosts()
    stream = client.bulk.stream(operations.restart(), IDS[:1], store=anywhere)
    async with stream:
        stream.stop()
        async for _ in stream:
            pass
    store = make_store(anywhere, Clock())
    await store.find()
    block = await store.claim([])
    assert block is not None
    await store.settle([Settlement(block, IDS[0], S.UNKNOWN, 0, {})])
    await store.aclose()
    hub.set_stage(IDS[0], "BUILDING")  # Somebody else may have begun that.
    kept = await client.bulk.retry_failed(anywhere)
    assert kept.counts[S.UNKNOWN] == 1
    assert not writes(hub, "restart")
    sent = await client.bulk.retry_failed(anywhere, on_unknown="retry")
    assert sent.ok
    assert writes(hub, "restart") == IDS[:1]


async def test_retry_of_a_run_keeps_its_waves(
    hub: FakeHub, hosts: Callable[[], SpacesClient], anywhere: str
) -> None:
    """The canary halts the rest again, unless other waves are passed."""
    hub.faults("POST *", Fault.status(403), times=None)
    waves: dict[str, Any] = {"waves": [1, "100%"], "max_failures": 3}
    await hosts().bulk.pause(IDS[:3], store=anywhere, **waves)
    before = len(writes(hub))
    again = await hosts().bulk.retry_failed(anywhere, max_failures=1)
    assert again.stopped_by is StopReason.UNHEALTHY
    assert len(writes(hub)) == before + 1
    whole = await hosts().bulk.retry_failed(anywhere, waves=None, healthy=False)
    assert len(whole.failed) == 3


async def test_retry_of_a_run_needs_what_its_store_lacks(
    hub: FakeHub,
    hosts: Callable[[], SpacesClient],
    anywhere: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values of secrets come from the environment, and have to be those of the run."""
    hub.faults("POST *", Fault.status(403), times=1)
    await hosts().bulk.add_secret(IDS[:1], key="API_KEY", value="v", store=anywhere)
    retry = hosts().bulk.retry_failed
    with pytest.raises(ConfigurationError, match="needs the value of API_KEY"):
        await retry(anywhere)
    with pytest.raises(
        ConfigurationError, match=r"another secret value for add_secret"
    ):
        await retry(anywhere, secrets={"API_KEY": "w"})
    monkeypatch.setenv("API_KEY", "v")
    assert (await retry(anywhere)).ok
    assert hub.space(IDS[0]).secrets["API_KEY"].value == "v"
    with pytest.raises(ConfigurationError, match="there is no run"):
        await retry(f"{anywhere}-2")


async def test_a_wave_goes_on_after_a_lost_host(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """The Space of a wave whose host was lost is taken over, and the next wave comes."""
    where = new_run()
    lost = LostHost(where)
    await begin(hosts(), where, ids=IDS[:4], waves=[1, "100%"], lease=SHORT_LEASE)
    held = await lost.claim()
    assert held == [IDS[0]]
    assert lost.block is not None
    assert await lost.store.start(lost.block, IDS[0]) == 0.0
    report = await hosts().bulk.work(where)
    assert report.ok
    assert len(report) == 4
    await lost.store.aclose()


async def test_a_wave_goes_on_after_a_lost_host_with_much_under_way(
    hub: FakeHub,
    hosts: Callable[[], SpacesClient],
    new_run: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the lost host had started comes before all that waits for it.

    A host that may not begin its blocks at once claims several of them ahead.
    """
    find = RedisStore.find

    async def find_and_hold(store: RedisStore) -> Any:
        job = await find(store)
        store.hold_seconds = 0.3
        return job

    monkeypatch.setattr(RedisStore, "find", find_and_hold)
    where, ids = new_run(), IDS[:8]
    await begin(hosts(), where, ids=ids, waves=[2, "100%"], lease=SHORT_LEASE)
    lost = LostHost(where)
    assert await lost.store.find()
    held: list[Block] = []
    for _ in range(2):
        block = await lost.store.claim([block.key for block in held])
        assert block is not None
        assert await lost.store.start(block, next(iter(block.entries))) == 0.0
        held.append(block)
    # It claims Spaces that wait for the wave, and then those of the lost host.
    async with asyncio.timeout(30):
        report = await hosts().bulk.work(where)
    assert report.ok
    assert Counter(writes(hub)) == dict.fromkeys(ids, 1)
    assert set(writes(hub)[:2]) == set(ids[:2])
    await lost.store.aclose()


async def test_a_host_that_leaves_does_not_vouch_for_health(
    new_run: Callable[[], str],
) -> None:
    """What it has not seen healthy is looked at by the host that goes on."""
    where, ids = new_run(), IDS[:3]
    async with FakeHub(build_seconds=1.0) as hub:
        for repo_id in ids:
            hub.add_space(repo_id, fails_with="RUNTIME_ERROR")
        async with SpacesClient(token=hub.token, endpoint=hub.url) as client:
            stream = client.bulk.stream(
                operations.restart(), ids, store=where, waves=[1, "100%"], lease=LEASE
            )
            async with stream:
                while (await client.lifecycle.get_runtime(ids[0])).stage != "BUILDING":
                    pass
                stream.stop()
                async for _ in stream:
                    pass
            assert [o.reason for o in stream.report if o.value] == [NOT_CHECKED]
            report = await client.bulk.work(where)
        assert report.stopped_by is StopReason.UNHEALTHY
        assert writes(hub, "restart") == [ids[0]]


async def test_an_outcome_that_came_too_late(
    hub: FakeHub,
    hosts: Callable[[], SpacesClient],
    new_run: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Space that comes back to the host that knows its outcome is not sent again."""
    where, refused = new_run(), list[Settlement]()
    settle = RedisStore.settle

    async def refuse_first(store: RedisStore, ends: Any) -> Any:
        if refused:
            return await settle(store, ends)
        refused.extend(ends)
        # Another host had the block for a while, and has given it back.
        await store.release()
        return ends

    monkeypatch.setattr(RedisStore, "settle", refuse_first)
    report = await hosts().bulk.pause(IDS[:4], store=where, lease=LEASE)
    assert refused
    assert report.ok
    assert Counter(writes(hub)) == dict.fromkeys(IDS[:4], 1)
    assert (await hosts().bulk.get_run(where)).counts[S.DONE] == 4


@pytest.mark.parametrize("keep", ["all", "failures", "none"])
async def test_the_report_has_the_word_of_the_store(
    hosts: Callable[[], SpacesClient],
    new_run: Callable[[], str],
    run_server: RedisServer,
    keep: Keep,
) -> None:
    """A Space that another host took over and finished has the outcome of that host."""
    where = new_run()
    other = make_store(where, Clock())
    assert isinstance(other, RedisStore)
    taken, name = list[str](), where.rpartition("/")[2]

    def take_over(repo_id: str) -> str:
        """Claim the block of a Space as if the lease of its host were over."""
        with run_server.client() as raw:
            raw.select(1)
            blocks = f"spaces_async:run:1:{{{name}}}:blocks"
            (key,) = [k for k, told in raw.xrange(blocks) if repo_id in told["ids"]]
            raw.xclaim(blocks, "hosts", other._host, 0, [key])
            return str(key)

    async def lose_the_first(client: SpacesClient, repo_id: str) -> None:
        await client.lifecycle.pause(repo_id)
        if taken:
            return
        taken.append(repo_id)
        assert await other.find()
        key = await asyncio.to_thread(take_over, repo_id)
        told = {"error_type": "ForbiddenError", "error": "it is not yours"}
        end = Settlement(Block(key, 2, {}), repo_id, S.FAILED, 3, told)
        assert not await other.settle([end])

    client = hosts()
    report = await client.bulk.run(
        lose_the_first,
        IDS[:5],
        store=where,
        concurrency=1,
        keep=keep,
        lease=LEASE,
        name="pause",
    )
    assert len(report) == 5
    assert report.counts == (await client.bulk.get_run(where)).counts
    assert (report.counts[S.DONE], report.counts[S.FAILED]) == (4, 1)
    assert not report.ok
    if keep == "all":
        assert [outcome.repo_id for outcome in report] == IDS[:5]
    if keep != "none":
        (failed,) = report.failed
        assert [failed.repo_id] == taken
        assert (failed.attempts, failed.from_journal) == (3, True)
        assert str(failed.error) == f"{failed.repo_id}: it is not yours"
    await other.aclose()


async def test_who_has_work_never_waits_for_others(
    hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """A worker with a Space of its own is not held up by those that wait for one."""
    where = new_run()
    await begin(hosts(), where, ids=IDS[:1], lease=600.0)
    other = LostHost(where)
    await other.claim()
    store = make_store(where, Clock())
    run = SharedRun(store, Clock(), max_outage=None, whole=False)
    run.job = await store.find()
    source = SharedSource(run, lambda _: None, workers=3)
    waiting = [asyncio.create_task(source.next()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in waiting[:-1]:
        # From now on it is the turn of the next one, which does not run yet.
        task.cancel()
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            assert await source.next(waits=False) is None
    waiting[-1].cancel()
    await asyncio.wait(waiting)
    await run.aclose(None)
    await other.store.aclose()


# Who may join ---------------------------------------------------------------------


async def test_other_jobs_are_refused(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """A run is of one operation, one list, one set of options and one Hub."""
    where = new_run()
    await begin(hosts(), where, lease=LEASE)
    client = hosts()
    with pytest.raises(ConfigurationError, match="another job, pause"):
        await client.bulk.restart(IDS, store=where, lease=LEASE)
    with pytest.raises(ConfigurationError, match="other targets"):
        await client.bulk.pause(IDS[1:], store=where, lease=LEASE)
    with pytest.raises(ConfigurationError, match=r"other options: lease, fail_fast$"):
        await client.bulk.pause(IDS, store=where, fail_fast=True)
    with pytest.raises(ConfigurationError, match="other options: waves"):
        await client.bulk.pause(IDS, store=where, lease=LEASE, waves=[1], healthy=False)
    async with (
        FakeHub() as another,
        SpacesClient(token=another.token, endpoint=another.url) as stranger,
    ):
        with pytest.raises(ConfigurationError, match="another job"):
            await stranger.bulk.work(where)
        assert not another.requests
    assert not writes(hub)


async def test_arguments(
    hosts: Callable[[], SpacesClient], new_run: Callable[[], str], tmp_path: Path
) -> None:
    """What cannot be is refused before anything is opened."""
    bulk, where = hosts().bulk, new_run()
    for lease in (0.0, -1.0, 10**6, "60", True):
        with pytest.raises(ConfigurationError, match="lease"):
            await bulk.pause(IDS, store=where, lease=lease)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="add store="):
        await bulk.pause(IDS, lease=5.0)
    with pytest.raises(ConfigurationError, match="contradict"):
        await bulk.pause(IDS, store=where, journal=tmp_path / "j")
    with pytest.raises(ConfigurationError, match="name="):
        await bulk.run(lambda _client, _id: asyncio.sleep(0), IDS, store=where)
    with pytest.raises(TypeError, match="no option waves"):
        await bulk.work(where, waves=[1])  # type: ignore[call-arg]
    plan = await bulk.plan(operations.pause(), IDS[:1])
    with pytest.raises(ConfigurationError, match="plan"):
        await plan.apply(store=where)
    with pytest.raises(ConfigurationError, match="there is no run"):
        await bulk.get_run(where)


async def test_targets_that_fail(
    hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """A run whose targets cannot be read to their end is not begun."""

    async def targets() -> AsyncIterator[str]:
        yield IDS[0]
        raise OSError("no more")

    where, client = new_run(), hosts()
    with pytest.raises(BulkInterruptedError, match="was not begun"):
        await client.bulk.pause(targets(), store=where)
    with pytest.raises(ConfigurationError, match="repo_id"):
        await client.bulk.pause(iter(["acme/../x"]), store=where)
    with pytest.raises(ConfigurationError, match="there is no run"):
        await client.bulk.get_run(where)


async def test_selection(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """A selection is listed once, by the host that begins; what is so is unchanged."""
    where = new_run()
    await hosts().lifecycle.pause(IDS[0])
    report = await hosts().bulk.pause(Selection(author="acme"), store=where)
    assert report.counts[S.DONE] == len(IDS) - 1
    assert report.counts[S.UNCHANGED] == 1
    again = await hosts().bulk.pause(Selection(author="acme"), store=where)
    assert again.counts == report.counts


async def test_work_waits_for_the_run(
    hosts: Callable[[], SpacesClient],
    new_run: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that is not there yet is waited for, but not for ever."""
    where = new_run()
    working = asyncio.create_task(hosts().bulk.work(where))
    await asyncio.sleep(0)
    report = await hosts().bulk.pause(IDS[:3], store=where, lease=LEASE)
    theirs = await working
    assert len(report) == 3
    assert theirs.ok
    monkeypatch.setattr(joining, "FOUND_SECONDS", 0.0)
    with pytest.raises(ConfigurationError, match="there is no run redis://"):
        await hosts().bulk.work(new_run())


# Functions, secrets ---------------------------------------------------------------


async def wake(client: SpacesClient, repo_id: str) -> None:
    """Do something to a Space."""
    await client.lifecycle.pause(repo_id)


async def restart_it(client: SpacesClient, repo_id: str) -> None:
    """Do something else to a Space."""
    await client.lifecycle.restart(repo_id)


async def test_functions(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """A function is passed to each host; it is told from others by its name."""
    where = new_run()
    with_function = hosts().bulk
    mine, theirs = await together(
        hosts().bulk.run(wake, IDS, store=where, concurrency=2, lease=LEASE),
        with_function.work(where, operation=wake, concurrency=2),
    )
    assert mine.ok
    assert theirs.ok
    assert Counter(writes(hub)) == dict.fromkeys(IDS, 1)
    with pytest.raises(ConfigurationError, match="pass it as operation="):
        await hosts().bulk.work(where)
    with pytest.raises(ConfigurationError, match="another job"):
        await hosts().bulk.work(where, operation=restart_it)


async def test_a_function_that_hides_a_write_that_was_held_back(
    hub: FakeHub,
    hosts: Callable[[], SpacesClient],
    new_run: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its Space does not pass for done, whether it sent one write or a bulk of its own."""
    held_back = list[str]()

    async def pause_it(client: SpacesClient, repo_id: str) -> None:
        if repo_id in held_back or len(held_back) == 2:
            await client.lifecycle.pause(repo_id)
            return
        held_back.append(repo_id)
        with monkeypatch.context() as patch, contextlib.suppress(Exception):
            patch.setattr(Lease, "longest", 10 * SHORT_LEASE)  # more than is left of it
            if len(held_back) == 1:
                await client.lifecycle.pause(repo_id)
            else:
                await client.bulk.pause([repo_id])

    report = await hosts().bulk.run(
        pause_it,
        IDS[:3],
        store=new_run(),
        name="pause",
        concurrency=1,
        lease=SHORT_LEASE,
    )
    # No state proves what a function did, so it is not called again.
    assert [o.repo_id for o in report.unknown] == held_back
    assert writes(hub) == [IDS[2]]


async def test_secrets(
    hub: FakeHub,
    hosts: Callable[[], SpacesClient],
    new_run: Callable[[], str],
    run_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each host brings the values of secrets; the store has neither them nor a token."""
    where, value = new_run(), "s3cr3t-value"
    report = await hosts().bulk.add_secret(
        IDS[:4], key="API_KEY", value=value, store=where
    )
    assert report.ok
    monkeypatch.delenv("API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="needs the value of API_KEY"):
        await hosts().bulk.work(where)
    monkeypatch.setenv("API_KEY", "another")
    with pytest.raises(ConfigurationError, match="another secret value") as caught:
        await hosts().bulk.work(where)
    assert value not in str(caught.value)
    monkeypatch.setenv("API_KEY", value)
    assert (await hosts().bulk.work(where)).ok
    assert (await hosts().bulk.work(where, secrets={"API_KEY": value})).ok
    with run_server.client() as client:
        client.execute_command("SELECT", 1)
        raw: Any = client
        kept = ""
        for key in raw.keys("*"):
            kind = raw.type(key)
            kept += str(raw.hgetall(key) if kind == "hash" else key)
            if kind == "stream":
                kept += str(raw.xrange(key))
    assert "API_KEY" in kept
    assert value not in kept
    assert hub.token not in kept


async def test_a_run_without_a_proof(
    hub: FakeHub,
    hosts: Callable[[], SpacesClient],
    new_run: Callable[[], str],
    run_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who can write to a store cannot have a value of this environment sent anywhere."""
    where = new_run()
    monkeypatch.setenv("CLOUD_PASSWORD", "hunter2")
    stream = hosts().bulk.stream(
        operations.add_secret("CLOUD_PASSWORD", "a guess"), IDS, store=where
    )
    async with stream:
        stream.stop()
        async for _ in stream:
            pass
    name = f"spaces_async:run:1:{{{where.rpartition('/')[2]}}}:head"
    rollout: dict[str, Any] = dict.fromkeys(PACING) | {"pause_between": 0.0}
    with run_server.client() as raw:
        raw.execute_command("SELECT", 1)
        job = json.loads(str(raw.hget(name, "job")))
        for proof in (job["header"]["proof"], None, "", "00:00", "zz"):
            job["header"]["proof"] = proof
            raw.hset(name, "job", json.dumps(job))
            with pytest.raises(
                ConfigurationError, match="another secret value"
            ) as caught:
                await hosts().bulk.work(where)
            assert "hunter2" not in str(caught.value)
        for change in (
            {"operation": "eval"},
            {"operation": "undo x"},
            {"parameters": None},
            {"parameters": {"key": 7}},
            {"operation": "pause", "parameters": {"x": 1}, "hidden": []},
            {"endpoint": "http://elsewhere"},
            {"function": "os:remove"},
            {"rollout": rollout | {"healthy": {"probe": "//evil.example/"}}},
            {"rollout": rollout | {"healthy": "yes"}},
            {"rollout": rollout | {"pause_between": -1.0}},
            {"rollout": [1]},
        ):
            raw.hset(name, "job", json.dumps(job | {"header": job["header"] | change}))
            with pytest.raises((ConfigurationError, StoreError)):
                await hosts().bulk.work(where)
    assert not hub.requests


# The Hub --------------------------------------------------------------------------


async def test_an_outage_ends_the_run(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """A Hub that is down for too long ends the run on all hosts."""
    where = new_run()
    hub.faults("*", Fault.status(500), times=None)
    report = await hosts().bulk.pause(IDS, store=where, max_outage=1.0, lease=LEASE)
    assert report.stopped_by is StopReason.OUTAGE
    assert len(report) == len(IDS)
    assert not report.succeeded
    state = await hosts().bulk.get_run(where)
    assert state.stopped_by is StopReason.OUTAGE
    assert (await hosts().bulk.work(where)).stopped_by is StopReason.OUTAGE


async def test_a_host_that_is_cut_off_leaves_alone(
    hub: FakeHub, hosts: Callable[[], SpacesClient], new_run: Callable[[], str]
) -> None:
    """A host that cannot reach the Hub gives up; the others finish the run."""
    where = new_run()
    hub.faults("POST *", Fault.delay(0.1), times=None)
    cut_off = hosts()

    async def cut() -> Any:
        await until_written(hub, 2)
        found: Any = cut_off._session.shared.transport

        async def fail(_request: Any, exchange: Any) -> LostResponse:
            del exchange
            return LostResponse("the test says so", sent=False)

        found.exchange = fail
        return await cut_off.bulk.work(where, max_outage=1.0, concurrency=2)

    mine, theirs = await together(
        hosts().bulk.pause(IDS, store=where, concurrency=2, lease=LEASE), cut()
    )
    assert theirs.stopped_by is StopReason.OUTAGE
    assert mine.ok
    assert len(mine) == len(IDS)
    assert (await hosts().bulk.get_run(where)).stopped_by is None


# The store ------------------------------------------------------------------------


@pytest.fixture
def own_server(tmp_path: Path) -> Any:
    """A server that this test may kill; it loses nothing that it has answered."""
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    yield server
    server.kill()


async def test_store_comes_back(
    hub: FakeHub,
    hosts: Callable[[], SpacesClient],
    own_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A store that is away for a while costs time, and nothing else."""
    where = f"redis://127.0.0.1:{own_server.port}/0/nightly"
    hub.faults("POST *", Fault.delay(0.01), times=None)

    async def interrupt() -> None:
        await until_written(hub, 10)
        await asyncio.to_thread(own_server.kill)
        sent = len(writes(hub))
        await asyncio.sleep(0)
        while "is away" not in caplog.text:
            await asyncio.sleep(0)
        assert len(writes(hub)) <= sent + 4
        await asyncio.to_thread(own_server.start)

    report, _ = await together(
        hosts().bulk.pause(IDS, store=where, concurrency=4, lease=60.0), interrupt()
    )
    assert report.ok
    assert len(report) == len(IDS)
    assert Counter(writes(hub)) == dict.fromkeys(IDS, 1)
    away = [r.message for r in caplog.records if "is away" in r.message]
    assert len(away) == 1, "it is said once"


@pytest.mark.parametrize(
    ("size", "policy", "warned"),
    [
        ("1gb", "allkeys-lru", True),
        ("1gb", "volatile-ttl", True),
        ("1gb", "noeviction", False),
        ("0", "allkeys-lru", False),
    ],
)
async def test_a_store_that_deletes_keys(  # noqa: PLR0917  (fixtures)
    hosts: Callable[[], SpacesClient],
    own_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
    size: str,
    policy: str,
    warned: bool,
) -> None:
    """Who begins a run is warned of a Redis that may drop it."""
    with own_server.client() as raw:
        raw.config_set("maxmemory", size)
        raw.config_set("maxmemory-policy", policy)
    await begin(hosts(), f"redis://127.0.0.1:{own_server.port}/0/nightly")
    assert ("set maxmemory-policy to noeviction" in caplog.text) is warned


async def test_store_goes_away_for_good(
    hosts: Callable[[], SpacesClient], hub: FakeHub, own_server: RedisServer
) -> None:
    """The report of who began the run has each Space that was passed, once."""
    where = f"redis://127.0.0.1:{own_server.port}/0/nightly"

    async def end() -> None:
        await until_written(hub, 5)
        await asyncio.to_thread(own_server.kill)

    bulk = hosts().bulk
    ending = asyncio.create_task(end())
    with pytest.raises(StoreError) as told:
        await bulk.pause(IDS, store=where, concurrency=2, max_outage=0.5)
    await ending
    report = told.value.report
    assert report is not None
    assert sorted(o.repo_id for o in report) == sorted(IDS)
    assert {o.repo_id for o in report.succeeded} == {*writes(hub)}
    assert report.not_attempted


async def test_store_is_full(
    hub: FakeHub,
    hosts: Callable[[], SpacesClient],
    own_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A store without room is waited for, as one that is away: it is said once."""
    where = f"redis://127.0.0.1:{own_server.port}/0/nightly"
    hub.faults("POST *", Fault.delay(0.01), times=None)
    others = hosts()

    async def fill() -> None:
        await until_written(hub, 10)
        with own_server.client() as raw:
            raw.config_set("maxmemory", 1)
            while "is away (Redis is full)" not in caplog.text:
                await asyncio.sleep(0)
            sent = len(writes(hub))
            # Reading needs no room, and says nothing of it.
            assert not (await others.bulk.get_run(where)).is_over
            assert len(writes(hub)) <= sent + 4
            raw.config_set("maxmemory", 0)

    report, _ = await together(
        hosts().bulk.pause(IDS, store=where, concurrency=4, lease=60.0), fill()
    )
    assert report.ok
    assert Counter(writes(hub)) == dict.fromkeys(IDS, 1)
    away = [r.message for r in caplog.records if "is away" in r.message]
    assert len(away) == 1, "it is said once"


async def test_an_answer_says_nothing_of_what_was_refused(
    hosts: Callable[[], SpacesClient],
    new_run: Callable[[], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A store is back when a call that it refused is answered, and not before.

    A call of before is answered after the refusal of a later one, and a store that is
    full answers what needs no room.
    """
    where = new_run()
    await begin(hosts(), where, ids=IDS[:1], lease=600.0)
    store = make_store(where, Clock())
    run = SharedRun(store, Clock(), max_outage=None, whole=False)
    may_rest, early, is_full = asyncio.Event(), asyncio.Event(), True

    async def rest(_: float) -> bool:
        await may_rest.wait()
        return True

    async def answer(after: asyncio.Event | None = None) -> str:
        if after is not None:
            await after.wait()
        return "answered"

    async def write() -> str:
        if is_full:
            raise StoreAwayError("it is full")
        return "written"

    def told() -> list[str]:
        words = [r.message.split(" is ")[1].split()[0] for r in caplog.records]
        return [word for word in words if word in {"away", "back"}]

    run.rest = rest
    first = asyncio.create_task(run.call(lambda: answer(early)))
    await asyncio.sleep(0)
    writing = [asyncio.create_task(run.call(write)) for _ in range(2)]
    while not told():
        await asyncio.sleep(0)
    early.set()
    await first
    await run.call(answer)
    assert told() == ["away"]
    writing.pop().cancel()
    await asyncio.sleep(0)
    is_full = False
    may_rest.set()
    assert (await writing[0])[0] == "written"
    assert told() == ["away", "back"]
    await run.call(answer)
    assert told() == ["away", "back"]
    await store.aclose()


async def test_store_loses_an_outcome(
    hub: FakeHub, hosts: Callable[[], SpacesClient], own_server: RedisServer
) -> None:
    """A host that is still there tells again what Redis has lost; nothing is sent again."""
    where = f"redis://127.0.0.1:{own_server.port}/0/nightly"
    hub.faults("POST *", Fault.delay(0.1), times=None)
    stream = hosts().bulk.stream(
        operations.pause(), IDS[:4], store=where, concurrency=1, lease=LEASE
    )
    looking = hosts()
    async with stream as outcomes:
        while not writes(hub):
            await asyncio.sleep(0)
        size = log_size(own_server.folder)
        await anext(outcomes)
        while not (await looking.bulk.get_run(where)).finished:
            await asyncio.sleep(0)
        await asyncio.to_thread(own_server.lose, size)
        async for _ in outcomes:
            pass
    assert stream.report.ok
    assert Counter(writes(hub)) == dict.fromkeys(IDS[:4], 1)
    assert (await looking.bulk.get_run(where)).counts[S.DONE] == 4


@pytest.mark.parametrize(("done", "kept"), [(3, 2), (3, 1), (3, 0), (4, 3), (4, 1)])
async def test_store_loses_what_is_loaded(
    hub: FakeHub,
    hosts: Callable[[], SpacesClient],
    own_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    *,
    done: int,
    kept: int,
) -> None:
    """A run has all its Spaces, even if Redis lost some of them while it was begun.

    It is begun in five steps: its head, three loads of blocks, and the word that it is
    whole. Redis restarts when some are done, and then only some of these are kept.
    """
    where = f"redis://127.0.0.1:{own_server.port}/0/nightly"
    monkeypatch.setattr(redis_store, "_BLOCKS_AT_ONCE", 2)
    step, sizes = RedisStore._run, list[int]()

    async def told(store: RedisStore, script: str, *more: str | int) -> list[Any]:
        if len(sizes) == done:
            await asyncio.to_thread(own_server.lose, sizes[kept])
        sizes.append(await asyncio.to_thread(log_size, own_server.folder))
        return await step(store, script, *more)

    monkeypatch.setattr(RedisStore, "_run", told)
    # A run that lacks a block never ends.
    async with asyncio.timeout(30.0):
        report = await hosts().bulk.pause(IDS[:5], store=where, lease=LEASE)
    assert report.ok
    assert Counter(writes(hub)) == dict.fromkeys(IDS[:5], 1)
    assert (await hosts().bulk.get_run(where)).counts[S.DONE] == 5


async def test_store_is_lost(
    hub: FakeHub, hosts: Callable[[], SpacesClient], own_server: RedisServer
) -> None:
    """A store that stays away ends the bulk with an error that keeps the report."""
    where = f"redis://127.0.0.1:{own_server.port}/0/nightly"
    hub.faults("POST *", Fault.delay(0.01), times=None)
    stream = hosts().bulk.stream(
        operations.pause(), IDS, store=where, concurrency=4, max_outage=0.5
    )
    with pytest.raises(StoreError, match="was away for") as caught:
        async with stream:
            async for _ in stream:
                if len(stream.report) >= 10:  # several may end in one turn
                    await asyncio.to_thread(own_server.kill)
    report = caught.value.report
    assert report is not None
    assert report is stream.report
    assert report.stopped_by is StopReason.STORE
    assert report.counts[S.DONE] == len(writes(hub)) < len(IDS)
    assert caught.value.path == where


async def test_what_redis_may_lose_is_not_sent(
    hub: FakeHub,
    hosts: Callable[[], SpacesClient],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a log that is synced each second a block is begun after that time."""
    monkeypatch.setattr(redis_store, "SYNC_SECONDS", 0.3)
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "everysec")
    server.start()
    try:
        client = hosts()
        await client.lifecycle.get_runtime(IDS[0])
        where = f"redis://127.0.0.1:{server.port}/0/nightly"
        report = await client.bulk.pause(IDS, store=where, lease=LEASE)
        assert report.ok
        assert Counter(writes(hub)) == dict.fromkeys(IDS, 1)
        first = next(r for r in hub.requests if r.method == "POST")
        assert first.at - hub.requests[0].at >= 0.3
    finally:
        server.kill()


async def test_a_file(
    hub: FakeHub, hosts: Callable[[], SpacesClient], tmp_path: Path
) -> None:
    """A run may be kept in a journal: one process after the other works on it."""
    where = f"file://{tmp_path}/nightly.jsonl"
    hub.faults(f"POST /api/spaces/{IDS[-1]}/pause", Fault.status(403), times=None)
    async with hosts().bulk.stream(
        operations.pause(), IDS, store=where, concurrency=2, waves=[20, "100%"]
    ) as outcomes:
        for _ in range(10):
            await anext(outcomes)
    state = await hosts().bulk.get_run(where)
    assert 8 <= state.finished < len(IDS)
    working = hosts().bulk
    async with working.stream(
        operations.pause(), IDS, store=where, waves=[20, "100%"]
    ) as outcomes:
        await anext(outcomes)
        with pytest.raises(JournalError, match="in use"):
            await hosts().bulk.work(where)
        async for _ in outcomes:
            pass
    report = outcomes.report
    assert [o.repo_id for o in report] == IDS
    assert report.counts[S.DONE] == len(IDS) - 1
    assert [o.repo_id for o in report.failed] == IDS[-1:]
    sent = Counter(writes(hub))
    assert len([repo_id for repo_id in IDS if sent[repo_id] > 1]) <= 2
    again = await hosts().bulk.work(where)
    assert again.outcomes == []
    for kept in (tmp_path / "nightly.jsonl", where):
        plan = await hosts().bulk.plan_undo(kept)
        assert len(plan.changes) == len(IDS) - 1


async def test_cancel_of_a_file(
    hosts: Callable[[], SpacesClient], tmp_path: Path
) -> None:
    """A file that nothing works on can be cancelled, and stays so."""
    where = f"file://{tmp_path}/nightly.jsonl"
    await begin(hosts(), where)
    assert (await hosts().bulk.cancel(where)).stopped_by is StopReason.CANCELLED
    report = await hosts().bulk.pause(IDS, store=where)
    assert report.stopped_by is StopReason.CANCELLED
    assert len(report.not_attempted) == len(IDS)


async def test_no_store(hosts: Callable[[], SpacesClient]) -> None:
    """A store that cannot be reached is told at once, without its password."""
    where = "redis://someone:hunter2@127.0.0.1:1/0/nightly"
    with pytest.raises(StoreError, match=r"redis://127\.0\.0\.1:1/0/nightly") as caught:
        await hosts().bulk.pause(IDS, store=where)
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.fake_hub(build_seconds=1e6)
@pytest.mark.parametrize("waits_for", ["a response", "health"])
def test_a_program_that_ends_leaves_its_spaces_to_others(
    fake_hub: FakeHub, tmp_path: Path, waits_for: str
) -> None:
    """`asyncio.run` cancels all tasks at once: what was not seen yet is no outcome."""
    where = f"file://{tmp_path}/nightly.jsonl"
    ids = IDS[:12]
    for repo_id in ids:
        fake_hub.add_space(repo_id)
    options: dict[str, Any] = {"waves": [6, "100%"]}
    if waits_for == "a response":
        fake_hub.faults("POST *", Fault.hang(), times=None)
        options = {"concurrency": 6, "record_before": False}
    tasks: list[asyncio.Task[None]] = []

    async def work() -> None:
        async with SpacesClient(token=fake_hub.token, endpoint=fake_hub.url) as client:
            await client.bulk.restart(ids, store=where, **options)

    async def program() -> None:
        tasks.append(asyncio.create_task(work()))
        in_flight = 6 if waits_for == "a response" else 0
        while fake_hub.count("POST") < 6 or fake_hub.in_flight != in_flight:
            await asyncio.sleep(0.01)

    async def look() -> RunState:
        async with SpacesClient(token=fake_hub.token, endpoint=fake_hub.url) as client:
            return await client.bulk.get_run(where)

    asyncio.run(program())
    assert tasks[0].cancelled()
    state = asyncio.run(look())
    assert (state.total, sum(state.counts.values())) == (12, 0)
