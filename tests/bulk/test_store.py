"""What every store of a run promises, and what Redis does about input that is damaged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from spaces_async import OutcomeStatus as S
from spaces_async._clock import Clock
from spaces_async.bulk._journal.format import Header
from spaces_async.bulk._journal.writer import Journal
from spaces_async.bulk._rollout_record import record_of
from spaces_async.bulk._store import redis_store, scripts
from spaces_async.bulk._store.job import (
    Job,
    digest_of,
    read_ids,
    read_intent,
    read_result,
)
from spaces_async.bulk._store.protocol import (
    Block,
    NotOursError,
    RunStore,
    Settlement,
    StoppedError,
    StoreAwayError,
    blocks_of,
)
from spaces_async.bulk._store.url import make_store, place_of
from spaces_async.bulk._waves import Pacing, Rollout
from spaces_async.bulk.health import Healthy
from spaces_async.bulk.report import StopReason
from spaces_async.errors import ConfigurationError, JournalError, StoreError
from tests.support.pages import ROOT
from tests.support.redis_server import RedisServer

IDS = [f"acme/s{number}" for number in range(40)]
MANY = [f"acme/n{number}" for number in range(600)]
LEASE = 0.5
HEADER = Header("restart", {"factory_reboot": False}, (), "http://hub")


def job(
    ids: Sequence[str] = IDS,
    *,
    healthy: Healthy | None = None,
    has_check: bool = False,
    waves: Sequence[int | str] | None = None,
    pause_between: float = 0.0,
    **more: Any,
) -> Job:
    pacing = Pacing.make(waves=waves, pause_between=pause_between)
    rollout = record_of(pacing, healthy, has_check=has_check)
    header = evolve(HEADER, rollout=rollout)
    return Job(header=header, digest=digest_of(ids), lease=LEASE, **more)


class Hosts(Protocol):
    """Opens the same run as one host after the other."""

    async def __call__(self) -> RunStore: ...


@pytest_asyncio.fixture(params=["redis", "file"])
async def hosts(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Hosts of one run. A file has one at a time: the one before is gone then."""
    if request.param == "redis":
        where = request.getfixturevalue("new_run")()
    else:
        where = f"file://{tmp_path}/run.jsonl"
    opened: list[RunStore] = []

    async def host() -> RunStore:
        if opened and request.param == "file":
            await opened[-1].aclose()
        store = make_store(where, Clock())
        opened.append(store)
        return store

    yield host
    for store in opened:
        await store.aclose()


async def begun(hosts: Hosts, ids: Sequence[str] = IDS, **more: Any) -> RunStore:
    """Begin a run as the first host, and find it."""
    store = await hosts()
    assert await store.begin(job(ids, **more), ids)
    found = await store.find()
    assert found == job(ids, **more)
    return store


async def claimed(store: RunStore) -> Block:
    block = await store.claim([])
    assert block is not None
    return block


async def taken_over(store: RunStore, known: Sequence[str] = ()) -> Block:
    """Claim what a silent host held, as soon as its lease is over."""
    while True:
        block = await store.claim(known)
        if block is not None:
            return block
        await Clock().sleep(0.02)
        assert not store.counts.is_over


def end(block: Block, repo_id: str, status: S = S.DONE) -> Settlement:
    return Settlement(block, repo_id, status, 1, {})


async def results(store: RunStore) -> dict[str, tuple[S | None, bool]]:
    return {
        r.repo_id: (r.entry.status, r.entry.in_doubt) async for r in store.results()
    }


async def finish(store: RunStore) -> list[str]:
    """Settle all that can be claimed, and return it."""
    order: list[str] = []
    while (block := await store.claim([])) is not None:
        order += block.entries
        assert not await store.settle([end(block, i) for i in block.entries])
    return order


# The promises --------------------------------------------------------------------


async def test_each_space_comes_once(hosts: Hosts) -> None:
    """Blocks have all Spaces of the run, each once, in the order of the targets."""
    store = await begun(hosts)
    assert await finish(store) == IDS
    assert (store.counts.finished, store.counts.total) == (len(IDS), len(IDS))
    assert store.counts.is_over
    assert await results(store) == dict.fromkeys(IDS, (S.DONE, False))


async def test_begun_once(hosts: Hosts) -> None:
    """A run that is there is not begun again."""
    store = await begun(hosts)
    await finish(store)
    again = await hosts()
    assert not await again.begin(job(IDS[:3]), IDS[:3])
    found = await again.find()
    assert found == job()
    assert (await again.read_counts()).finished == len(IDS)


async def test_not_there(hosts: Hosts) -> None:
    """A run that was not begun is not found."""
    store = await hosts()
    assert await store.find() is None


async def test_no_spaces(hosts: Hosts) -> None:
    """A run of no Spaces is over at once."""
    store = await begun(hosts, [])
    assert await store.claim([]) is None
    assert store.counts.is_over


async def test_doubt_after_a_lost_host(hosts: Hosts) -> None:
    """What a lost host announced is in doubt for the next, and nothing else is."""
    first = await begun(hosts, MANY)
    block = await claimed(first)
    a, b, c, *_ = block.entries
    await first.intend(block, a, {"restart": {"stage": "RUNNING"}})
    await first.intend(block, b, None)
    assert not await first.settle([end(block, b)])
    await first.intend(block, c, None)
    assert not await first.settle([end(block, c, S.FAILED)])
    second = await hosts()
    await second.find()
    found, known = await taken_over(second), list[str]()
    while a not in found.entries:
        known.append(found.key)
        found = await taken_over(second, known)
    assert found.entries[a].in_doubt
    assert found.entries[a].before == {"restart": {"stage": "RUNNING"}}
    age = Clock().utcnow().timestamp() - (found.entries[a].doubt_since or 0.0)
    assert -1.0 < age < 60.0
    assert {b, c}.isdisjoint(found.entries), "it has an outcome"
    rest = [i for i in found.entries if i != a]
    assert rest
    assert not any(found.entries[i].in_doubt for i in rest)


async def test_doubt_begins_with_the_first_announcement(hosts: Hosts) -> None:
    """A host that announces again does not make an earlier copy younger."""
    first = await begun(hosts, IDS[:1])
    block = await claimed(first)
    await first.intend(block, IDS[0], None)
    second = await hosts()
    await second.find()
    found = await taken_over(second)
    since = found.entries[IDS[0]].doubt_since
    await second.intend(found, IDS[0], None)
    third = await hosts()
    await third.find()
    last = await taken_over(third)
    assert last.entries[IDS[0]].doubt_since == pytest.approx(since, abs=0.8 * LEASE)


async def test_released_is_free(hosts: Hosts) -> None:
    """What a host gives back is there at once, for whoever asks."""
    store = await begun(hosts, IDS[:1])
    block = await claimed(store)
    assert await store.claim([block.key]) is None
    assert not store.counts.is_over
    await store.release()
    again = await store.claim([])
    assert again is not None
    assert list(again.entries) == IDS[:1]


async def test_settled_once(hosts: Hosts) -> None:
    """The first outcome of a Space counts; another one is refused, the same one is not."""
    store = await begun(hosts, IDS[:1])
    block = await claimed(store)
    done = end(block, IDS[0])
    assert not await store.settle([done])
    assert not await store.settle([done])
    other = Settlement(block, IDS[0], S.FAILED, 2, {})
    assert list(await store.settle([other])) == [other]
    assert await results(store) == {IDS[0]: (S.DONE, False)}
    assert store.counts.finished == 1


async def test_why_it_failed_is_kept(hosts: Hosts) -> None:
    """A later host, or process, reads the text of an error and the reason."""
    store = await begun(hosts, MANY)
    block = await claimed(store)
    failed, done = list(block.entries)[:2]
    told = {"error_type": "SpacesError", "error": "no\x1b[2J", "reason": "flat"}
    ends = [Settlement(block, failed, S.FAILED, 1, told), end(block, done)]
    assert not await store.settle(ends)
    later = await hosts()
    assert await later.find() is not None
    found = {r.repo_id: r.told async for r in later.results()}
    assert found[failed] == told | {"error": "no [2J"}
    assert found[done] == {}


@pytest.mark.parametrize("lines", [0, 1])
async def test_a_process_that_was_killed_while_it_began_a_file(
    tmp_path: Path, lines: int
) -> None:
    """There is no run yet, and whoever comes begins it."""
    path, work = tmp_path / "run.jsonl", job()
    await (await Journal.open(path, work.header)).aclose()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
    store = make_store(f"file://{path}", Clock())
    assert await store.find() is None
    assert await store.begin(work, IDS)
    await store.aclose()
    later = make_store(f"file://{path}", Clock())
    assert await later.find() == work
    assert (await later.read_counts()).total == len(IDS)
    await later.aclose()


async def test_a_journal_is_no_store(tmp_path: Path) -> None:
    """One that has targets is that of a bulk, which may be at work."""
    path = tmp_path / "j.jsonl"
    journal = await Journal.open(path, job().header)
    journal.name(IDS)
    await journal.aclose()
    with pytest.raises(StoreError, match="not the store of a run"):
        await make_store(f"file://{path}", Clock()).find()


async def test_cancelled(hosts: Hosts) -> None:
    """After a cancel nothing is claimed, started or announced; what was sent is settled."""
    store = await begun(hosts, max_unavailable=40)
    block = await claimed(store)
    first, second = list(block.entries)[:2] if len(block.entries) > 1 else (IDS[0], "")
    await store.start(block, first)
    await store.intend(block, first, None)
    await store.cancel(StopReason.CANCELLED)
    await store.cancel(StopReason.OUTAGE)
    assert store.counts.stop is StopReason.CANCELLED
    assert await store.claim([block.key]) is None
    with pytest.raises(StoppedError):
        await store.intend(block, first, None)
    with pytest.raises(StoppedError):
        await store.start(block, second or first)
    assert not await store.settle([end(block, first)])
    later = await hosts()
    await later.find()
    assert (await later.read_counts()).stop is StopReason.CANCELLED
    assert await later.claim([]) is None


@pytest.mark.parametrize(
    ("terms", "failures", "reason"),
    [
        ({"max_failures": 3}, 3, StopReason.MAX_FAILURES),
        ({"fail_fast": True}, 1, StopReason.FAIL_FAST),
        ({"ends": (1, 40)}, 1, StopReason.UNHEALTHY),
        ({"ends": (1, 40), "max_failures": 2}, 2, StopReason.UNHEALTHY),
        (
            {"ends": (1, 40), "max_failures": 2, "fail_fast": True},
            1,
            StopReason.FAIL_FAST,
        ),
    ],
)
async def test_failures_end_the_run(
    hosts: Hosts, terms: dict[str, Any], failures: int, reason: StopReason
) -> None:
    """The limit of failures counts all outcomes, whoever settles them."""
    store = await begun(hosts, **terms)
    for seen in range(failures):
        block = await claimed(store)
        repo_id = next(iter(block.entries))
        assert store.counts.stop is None
        status = S.UNKNOWN if seen else S.FAILED
        assert not await store.settle([end(block, repo_id, status)])
        await store.release()
    assert store.counts.stop is reason
    assert store.counts.troubled == failures
    assert await store.claim([]) is None


@pytest.mark.parametrize("ends", [(1, 4, 6), (6,)])
async def test_waves(hosts: Hosts, ends: tuple[int, ...]) -> None:
    """A wave starts when all of the one before have ended; as many as it has, no more."""
    ids = IDS[:6]
    store = await begun(hosts, ids, ends=ends)
    held: dict[str, Block] = {}
    while (block := await store.claim([b.key for b in held.values()])) is not None:
        held.update(dict.fromkeys(block.entries, block))
    done = 0
    for wave in ends:
        some = ids[done:wave]
        left = ids[done:]
        assert [i for i in left if await store.start(held[i], i) == 0.0] == some
        assert [i for i in left if await store.start(held[i], i) == 0.0] == some
        for repo_id in some[:-1]:
            assert not await store.settle([end(held[repo_id], repo_id)])
        again = [i for i in ids[wave:] if await store.start(held[i], i) == 0.0]
        assert not again, "one of the wave has not ended"
        assert not await store.settle([end(held[some[-1]], some[-1])])
        done = wave
    assert store.counts.is_over


async def test_pause_between_waves(hosts: Hosts) -> None:
    """The next wave says when it begins."""
    store = await begun(hosts, IDS[:2], ends=(1, 2), waves=[1], pause_between=500.0)
    one = await claimed(store)
    two = await store.claim([one.key])
    assert two is not None
    assert await store.start(one, IDS[0]) == 0.0
    assert not await store.settle([end(one, IDS[0])])
    assert 400.0 < await store.start(two, IDS[1]) <= 500.0


async def test_max_unavailable(hosts: Hosts) -> None:
    """As many Spaces are on their way as allowed, over all hosts."""
    store = await begun(hosts, IDS[:3], max_unavailable=2)
    blocks = [await claimed(store)]
    while (more := await store.claim([b.key for b in blocks])) is not None:
        blocks.append(more)
    assert await store.start(blocks[0], IDS[0]) == 0.0
    assert await store.start(blocks[1], IDS[1]) == 0.0
    assert await store.start(blocks[2], IDS[2]) > 0.0
    assert not await store.settle([end(blocks[1], IDS[1])])
    assert await store.start(blocks[2], IDS[2]) == 0.0


async def test_fence(hosts: Hosts) -> None:
    """A host whose block has passed to another can neither announce nor settle."""
    first = await begun(hosts, IDS[:1])
    old = await claimed(first)
    await first.release()
    second = await hosts()
    await second.find()
    new = await taken_over(second)
    # The file is locked by the second one.
    with pytest.raises((NotOursError, JournalError)):
        await first.intend(old, IDS[0], None)
    late = end(old, IDS[0])
    with contextlib.suppress(JournalError):
        assert list(await first.settle([late])) == [late]
        assert list(await first.renew([old])) == [old]
    assert not (await second.read_counts()).finished
    await second.intend(new, IDS[0], None)
    assert not await second.settle([end(new, IDS[0])])


async def test_announced_at_the_same_time(hosts: Hosts) -> None:
    """Each announcement is answered by itself: one that is refused holds no other up."""
    store = await begun(hosts, MANY)
    block = await claimed(store)
    settled, *others = block.entries
    assert not await store.settle([end(block, settled)])
    async with asyncio.TaskGroup() as group:
        refused = group.create_task(refusal(store, block, settled))
        for repo_id in others:
            group.create_task(store.intend(block, repo_id, None))
    assert refused.result() is NotOursError
    later = await hosts()
    await later.find()
    found = await results(later)
    assert [i for i, (_, in_doubt) in found.items() if in_doubt] == others


async def refusal(store: RunStore, block: Block, repo_id: str) -> type[Exception]:
    """Announce a write; return the class of the error it is refused with."""
    with pytest.raises((NotOursError, StoppedError)) as caught:
        await store.intend(block, repo_id, None)
    return caught.type


async def test_blocks(hosts: Hosts) -> None:
    """Many Spaces come in blocks of 16, a few one at a time."""
    store = await begun(hosts, MANY)
    assert len((await claimed(store)).entries) == 16
    assert [len(b) for b in blocks_of(IDS[:5])] == [1] * 5
    assert sum(map(len, blocks_of(MANY))) == 600


# What comes out of a store --------------------------------------------------------


leaf = st.sampled_from(
    [None, True, False, 0, -1, 7, 1e300, "", "verify", "acme/x", "\0", "../x", "{}"]
)
anything = leaf | st.lists(leaf, max_size=3) | st.dictionaries(leaf.map(str), leaf)


@given(
    st.dictionaries(st.sampled_from([*job().record(), "x"]), anything), st.booleans()
)
def test_any_job(changes: dict[str, Any], inner: bool) -> None:
    """A job that is not what this package writes is refused, whatever it is."""
    record = job(ends=(1, 2), healthy=Healthy(probe="/x")).record()
    if inner:
        record["header"].update(changes)
    else:
        record.update(changes)
    try:
        text = json.dumps(record)
        found = Job.read(text)
    except ValueError:
        return
    assert found == Job.read(json.dumps(found.record()))


@given(st.text('[]{}:, .0159"aenull/-\0', max_size=12))
def test_any_text(text: str) -> None:
    """What is no JSON of ours raises ValueError, and nothing else."""
    for read in (Job.read, read_ids, read_intent):
        with contextlib.suppress(ValueError):
            read(text)
    with contextlib.suppress(ValueError):
        read_result("acme/x", None, text)
    with contextlib.suppress(ValueError):
        read_result("acme/x", text, None)


def test_bad_words_are_not_quoted() -> None:
    """What somebody else has written is not shown at length, nor to a terminal raw."""
    bad = json.dumps({"status": "x" * 9000, "attempts": 1})
    with pytest.raises(ValueError, match=r"^a status in it is unknown$"):
        read_result("acme/x", None, bad)
    header = evolve(HEADER, parameters={"a\x1b[2J": "b\x1b[2J"})
    assert header.shown == "restart(a [2J='b\\x1b[2J') at http://hub"


def test_a_job_comes_back() -> None:
    """A job is read as it was written."""
    terms: dict[str, Any] = {
        "ends": (1, 5),
        "healthy": Healthy(stages={"RUNNING"}, probe="/health", for_seconds=3.0),
        "max_failures": 3,
        "max_unavailable": 2,
        "waves": [1, "100%"],
        "pause_between": 1.5,
        "fail_fast": True,
        "on_unknown": "skip",
        "only_changes": True,
        "record_before": False,
    }
    found = Job.read(json.dumps(job(**terms).record()))
    assert found == job(**terms)
    assert found.header.rollout == job(**terms).header.rollout
    assert found.healthy == terms["healthy"]
    assert found.pause_between == 1.5
    judged = job(healthy=Healthy(), has_check=True)
    assert Job.read(json.dumps(judged.record())) == judged
    assert judged.has_check


@given(st.integers(1, 40), st.sets(st.integers(1, 40), max_size=4).map(sorted))
def test_waves_are_those_of_a_bulk(total: int, waves: list[int]) -> None:
    """The ends that a store gets are those of the same waves without one."""
    rollout = Rollout.of(Pacing.make(waves=waves or None), total)
    assert rollout.ends[-1] == total
    made = job(IDS[:total], ends=rollout.ends)
    assert Job.read(json.dumps(made.record())).ends == rollout.ends


@pytest.mark.parametrize(
    ("url", "shown", "server"),
    [
        ("redis://h/1/n", "redis://h/1/n", "redis://h/1"),
        ("redis://u:p%40w@h:6380/0/n-1.x", "redis://h:6380/0/n-1.x", None),
        ("rediss://h/2/n?ssl_cert_reqs=none", "rediss://h/2/n", None),
        (
            "unix:///run/r.sock?db=3&password=pw&run=n",
            "unix:///run/r.sock?db=3&run=n",
            None,
        ),
        ("file:///var/lib/n.jsonl", "file:///var/lib/n.jsonl", "/var/lib/n.jsonl"),
    ],
)
def test_urls(url: str, shown: str, server: str | None) -> None:
    """A URL names server, database and run; what is shown has no password."""
    place = place_of(url)
    assert place.shown == shown
    assert "pw" not in repr(place)
    assert server is None or place.server.reveal() == server


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:6379/1",
        "redis://h/one/n",
        "redis://h/1/n/m",
        "redis://h/1/n m",
        "redis:///1/n",
        "redis://:s3cret@h/1/n?password=s3cret",
        "redis://:s3cret#x@h/1/n",
        "unix:///run/r.sock?db=1",
        "unix://host/run/r.sock?run=n",
        "unix://user@/run/r.sock?run=n",
        "unix://:s3cret@/run/r.sock?run=n",
        "http://h/1/n",
        "file://host/x",
        "file:///",
        "redis://[::1/1/n",
        "nightly",
        "",
        7,
    ],
)
def test_bad_urls(url: Any) -> None:
    """What leads to no run is refused, without any part that could be secret."""
    with pytest.raises(ConfigurationError, match="store ") as caught:
        place_of(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None


# Redis ----------------------------------------------------------------------------


def keys(where: str) -> dict[str, str]:
    name = where.rpartition("/")[2]
    return {key: f"spaces_async:run:1:{{{name}}}:{key}" for key in scripts.KEYS}


async def test_poison(new_run: Callable[[], str], run_server: RedisServer) -> None:
    """What somebody else has written into a run is refused, and acted on by no one."""
    with run_server.client() as raw:
        raw.execute_command("SELECT", 1)

        async def spoilt(*command: Any, **more: Any) -> str:
            where = new_run()
            async with AsyncExitStack() as stack:
                store = make_store(where, Clock())
                stack.push_async_callback(store.aclose)
                assert await store.begin(job(), IDS)
                await store.find()
                first = await claimed(store)
                await store.intend(first, next(iter(first.entries)), None)
                await store.release()
                head, *rest = command
                raw.execute_command(head, keys(where)[rest[0]], *rest[1:])
                host = make_store(where, Clock())
                stack.push_async_callback(host.aclose)
                with pytest.raises((StoreError, NotOursError)) as caught:
                    await host.find()
                    while (
                        block := await host.claim(more.get("known", []))
                    ) is not None:
                        for repo_id in block.entries:
                            await host.intend(block, repo_id, None)
                            await host.settle([end(block, repo_id)])
                    async for _ in host.results():
                        pass
                return str(caught.value)

        first = next(iter(blocks_of(IDS)))[0]
        assert "cannot be used" in await spoilt("HSET", "head", "job", "{}")
        assert "cannot be used" in await spoilt("HSET", "head", "stop", "whim")
        assert "WRONGTYPE" in await spoilt("SETEX", "blocks", 60, "x")
        assert "cannot be used" in await spoilt("HSET", "intents", first, "soon")
        assert "cannot be used" in await spoilt("HSET", "ends", first, "{")
        told = await spoilt("HSET", "intents", first, f"0 {9**400} null")
        assert "a timestamp in it is out of range" in told
        told = await spoilt("HSET", "intents", first, "x" * 9000 + " 0 null")
        assert "a timestamp in it is out of range" in told
        told = await spoilt("HSET", "head", "job", '{"schema": "' + "x" * 9000 + '"}')
        assert len(told) < 300
        told = await spoilt("HSET", "head", "job", '{"schema": 1}')
        written = "its job record was not written by this version (a field is missing)"
        assert told.endswith(f"cannot be used: {written}")
        told = await spoilt("HSET", "head", "state", "odd")
        assert "has not been found" in told
        assert "a count in it is out of range" in await spoilt(
            "HSET", "head", "is:done", "x"
        )
        told = await spoilt("XADD", "blocks", "*", "ids", '["acme/../../whoami-v2"]')
        assert "a Space id in it is malformed" in told
        told = await spoilt("XADD", "blocks", "*", "ids", "7")
        assert "cannot be used" in told


async def test_a_lost_block_beside_others(
    new_run: Callable[[], str], run_server: RedisServer
) -> None:
    """What is announced together goes in few exchanges, and each block has its fence."""
    where = new_run()
    store = make_store(where, Clock())
    assert await store.begin(job(MANY), MANY)
    await store.find()
    lost = await claimed(store)
    kept = await store.claim([lost.key])
    assert kept is not None
    with run_server.client() as raw:
        raw.select(1)
        # Another host claims it.
        raw.xclaim(keys(where)["blocks"], "hosts", "other", 0, [lost.key])
        raw.config_resetstat()
        async with asyncio.TaskGroup() as group:
            refused = [
                group.create_task(refusal(store, lost, repo_id))
                for repo_id in lost.entries
            ]
            for repo_id in kept.entries:
                group.create_task(store.intend(kept, repo_id, None))
        assert raw.info("commandstats")["cmdstat_evalsha"]["calls"] <= 2
    assert {task.result() for task in refused} == {NotOursError}
    found = await results(store)
    announced = {i for i, (_, in_doubt) in found.items() if in_doubt}
    assert announced == set(kept.entries)
    await store.aclose()


@pytest.mark.parametrize("options", [(), ("--appendonly", "yes")])
async def test_restart_of_redis(tmp_path: Path, options: tuple[str, ...]) -> None:
    """What Redis lost when it ended is in doubt, and what it cannot have lost is not.

    With an append-only file that is what was claimed before. Without one nothing is
    left here; see the next test.
    """
    server = RedisServer(tmp_path, *options)
    server.start()
    where = f"redis://127.0.0.1:{server.port}/0/nightly"
    store = make_store(where, Clock())
    try:
        assert await store.begin(job(), IDS)
        await store.find()
        assert store.hold_seconds == (2.0 if options else 0.0)
        block = await claimed(store)
        size = await asyncio.to_thread(server.log_size)
        for repo_id in block.entries:
            await store.intend(block, repo_id, None)
        await asyncio.to_thread(server.lose, size)
        other = make_store(where, Clock())
        if not options:
            assert await other.find() is None
            with pytest.raises(StoreError, match="not there any more"):
                await store.claim([])
        else:
            await other.find()
            told = await results(other)
            assert {i for i, (_, in_doubt) in told.items() if in_doubt} == {
                *block.entries
            }, "who only looks sees it, too"
            new = await claimed(other)
            assert new.key != block.key
            assert not any(entry.in_doubt for entry in new.entries.values())
            again, known = new, list[str]()
            while again.key != block.key:
                known.append(again.key)
                again = await taken_over(other, known)
            assert again.entries.keys() == block.entries.keys()
            assert all(entry.in_doubt for entry in again.entries.values())
        await other.aclose()
    finally:
        await store.aclose()
        server.kill()


async def test_a_restart_after_the_end_of_a_run(tmp_path: Path) -> None:
    """What ended the run has survived, so nothing of it is lost, and nothing in doubt."""
    server = RedisServer(tmp_path, "--appendonly", "yes")
    server.start()
    where = f"redis://127.0.0.1:{server.port}/0/nightly"
    store = make_store(where, Clock())
    try:
        assert await store.begin(job(), IDS)
        await store.find()
        block = await claimed(store)
        await store.intend(block, next(iter(block.entries)), None)
        await store.cancel(StopReason.CANCELLED)
        before = await results(store)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        later = make_store(where, Clock())
        assert await later.find()
        assert await results(later) == before
        assert sum(in_doubt for _, in_doubt in before.values()) == 1
        await later.aclose()
    finally:
        await store.aclose()
        server.kill()


async def test_keys_expire(run_server: RedisServer, new_run: Callable[[], str]) -> None:
    """Redis forgets a run some time after its last use, however short it was."""
    where = new_run()
    store = make_store(where, Clock())
    assert await store.begin(job(ends=(len(IDS),)), IDS)
    assert await store.find()
    block = await claimed(store)
    repo_id = next(iter(block.entries))
    assert await store.start(block, repo_id) == 0.0
    await store.intend(block, repo_id, None)
    assert not await store.settle([end(block, repo_id)])
    await store.release()
    await store.aclose()
    with run_server.client() as raw:
        raw.select(1)
        name = where.rpartition("/")[2]
        keys = list(raw.scan_iter(f"*{{{name}}}*"))
        # The only block that was claimed is over, so nothing of its claim is left.
        written = {key.rpartition(":")[2] for key in keys}
        assert written == {*scripts.KEYS} - {"claims"}
        assert all(raw.ttl(key) > 0 for key in keys)


async def test_restart_without_a_log(tmp_path: Path) -> None:
    """A Redis that keeps snapshots alone leaves all that has no outcome in doubt."""
    server = RedisServer(tmp_path)
    server.start()
    where = f"redis://127.0.0.1:{server.port}/0/nightly"
    store = make_store(where, Clock())
    try:
        assert await store.begin(job(), IDS)
        with server.client() as raw:
            raw.save()
            seconds, microseconds = raw.time()
            begun = seconds + microseconds / 1e6
        await asyncio.to_thread(server.lose, 0)
        await store.find()
        asked = time.monotonic()
        block = await claimed(store)
        # The clocks are compared when the answer is read, which may take a while.
        late = time.monotonic() - asked + 0.02
        for entry in block.entries.values():
            assert entry.in_doubt
            # It may have been sent at any time since the run began.
            assert entry.sent_at is not None
            assert entry.sent_at <= begun + late
    finally:
        await store.aclose()
        server.kill()


async def test_rights(run_server: RedisServer) -> None:
    """A run needs the rights that its page names, and no others."""
    page = (ROOT / "docs/hosts.md").read_text("utf-8")
    named = re.search(r"no others: `([^`]+)~spaces_async:run:\*`", page)
    assert named is not None
    texts = "".join(str(getattr(scripts, name)) for name in scripts.__all__)
    used = {*re.findall(r"redis\.call\('(\w+)'", texts), "EVAL", "EVALSHA"}
    assert {word[1:].upper() for word in named[1].split()} == used
    with run_server.client() as raw:
        raw.acl_setuser(
            "few",
            enabled=True,
            passwords=["+s3cret"],
            keys=["spaces_async:run:*"],
            commands=named[1].split(),
        )
    store = make_store(f"redis://few:s3cret@127.0.0.1:{run_server.port}/0/few", Clock())
    assert await store.begin(job(), IDS)
    await store.find()
    block = await claimed(store)
    await store.renew([block])
    await store.start(block, IDS[0])
    await store.intend(block, IDS[0], None)
    await store.release()
    assert await finish(store) == IDS
    await store.cancel(StopReason.CANCELLED)
    assert await results(store) == dict.fromkeys(IDS, (S.DONE, False))
    await store.aclose()


_IN_SCRIPT = "script: 1f, on @user_script:1."
_IN_6_2 = "ERR Error running script (call to f_1f): @user_script:1:"
_BY_6_2 = f"{_IN_6_2} @user_script: 1:"


@contextlib.asynccontextmanager
async def answering(answer: str) -> AsyncGenerator[tuple[RunStore, list[object]]]:
    """A store in a socket with this one answer, as no Redis gives all of them.

    Yields:
        The store, and the connections that it has made.
    """
    connections = list[object]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while await reader.read(65_536):
            writer.write(f"-{answer}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = make_store(f"redis://127.0.0.1:{port}/0/n", Clock())
    try:
        yield store, connections
    finally:
        await store.aclose()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        ("READONLY You can't write s3cret", StoreAwayError, "(READONLY)"),
        (f"READONLY You can't. {_IN_SCRIPT}", StoreAwayError, "(READONLY)"),
        (f"{_BY_6_2} -READONLY You can't", StoreAwayError, "(READONLY)"),
        ("CLUSTERDOWN Hash slot not served", StoreAwayError, "(CLUSTERDOWN)"),
        ("MASTERDOWN Link is down", StoreAwayError, "(MASTERDOWN)"),
        ("TRYAGAIN Multiple keys", StoreAwayError, "(TRYAGAIN)"),
        ("BUSY Redis is busy", StoreAwayError, "(BUSY)"),
        ("NOREPLICAS Not enough good replicas", StoreAwayError, "(NOREPLICAS)"),
        ("LOADING Redis is loading", StoreAwayError, "is loading its data"),
        (
            "NOPERM this user has none",
            StoreError,
            "lacks a right; docs/hosts.md",
        ),
        (
            "NOPERM this user has no permissions to run the 'select' command",
            StoreError,
            "lacks the right to SELECT; docs/hosts.md",
        ),
        ("ERR The user executing the script can't run", StoreError, "lacks a right"),
        ("ERR ACL failure in script: User s3cret", StoreError, "lacks a right"),
        (f"OOM not allowed. {_IN_SCRIPT}", StoreAwayError, "Redis is full"),
        (f"{_BY_6_2} -OOM not allowed", StoreAwayError, "Redis is full"),
        ("WRONGPASS invalid s3cret", StoreError, "the user or the password"),
        ("NOAUTH Authentication required", StoreError, "the user or the password"),
        ("WRONGTYPE Operation", StoreError, "with an error (WRONGTYPE)"),
        (f"{_IN_6_2} WRONGTYPE Operation", StoreError, "an error (WRONGTYPE)"),
        ("ERR unknown command s3cret", StoreError, "answered with an error"),
        ("ERR DB index is out of range", StoreError, "a database that this Redis does"),
    ],
)
async def test_what_redis_answers(
    answer: str, kind: type[Exception], told: str
) -> None:
    """What passes is waited for, what does not ends the run, and both are told."""
    async with answering(answer) as (store, _):
        with pytest.raises((StoreAwayError, StoreError)) as caught:
            await store.find()
    assert type(caught.value) is kind
    assert told in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "is_elsewhere"),
    [
        ("READONLY You can't write", True),
        (f"READONLY You can't. {_IN_SCRIPT}", True),
        (f"{_BY_6_2} -READONLY You can't", True),
        ("MASTERDOWN Link is down", True),
        ("BUSY Redis is busy", False),
    ],
)
async def test_a_replica_is_left(answer: str, *, is_elsewhere: bool) -> None:
    """After the answer of a replica, of any version, the next connection is a new one."""
    async with answering(answer) as (store, connections):
        for _ in range(2):
            with pytest.raises(StoreAwayError):
                await store.find()
    assert len(connections) == (2 if is_elsewhere else 1)


async def test_a_full_redis_is_waited_for(tmp_path: Path) -> None:
    """Nothing is claimed, started, announced or renewed meanwhile, and nothing is lost."""
    server = RedisServer(tmp_path)
    server.start()
    where = f"redis://127.0.0.1:{server.port}/0/n"
    store, paced = make_store(where, Clock()), make_store(f"{where}-paced", Clock())
    try:
        for each, limit in ((store, None), (paced, 40)):
            assert await each.begin(job(max_unavailable=limit), IDS)
            await each.find()
        block, waiting = await claimed(store), await claimed(paced)
        settled, started = next(iter(block.entries)), next(iter(waiting.entries))
        await paced.start(waiting, started)
        await store.intend(block, settled, None)
        with server.client() as raw:
            raw.config_set("maxmemory", 1)
            for ask in (
                lambda: store.claim([block.key]),
                lambda: store.intend(block, settled, None),
                lambda: store.settle([end(block, settled)]),
                lambda: store.renew([block]),
                lambda: paced.start(waiting, started),
            ):
                with pytest.raises(StoreAwayError, match="Redis is full"):
                    await ask()
            raw.config_set("maxmemory", 0)
        assert not await store.renew([block])
        assert not await store.settle([end(block, settled)])
        assert await finish(store) == [i for i in IDS if i != settled]
    finally:
        await store.aclose()
        await paced.aclose()
        server.kill()


async def test_a_failover_is_followed(tmp_path: Path) -> None:
    """A replica is waited for, and asked by connections that are new."""
    server = RedisServer(tmp_path)
    server.start()
    try:
        store = make_store(f"redis://127.0.0.1:{server.port}/0/n", Clock())
        assert await store.begin(job(), IDS)
        await store.find()
        with server.client() as raw:
            mine = raw.client_id()
            old = {int(c["id"]) for c in raw.client_list()} - {mine}
            assert old
            raw.execute_command("REPLICAOF", "127.0.0.1", "1")
            with pytest.raises(StoreAwayError, match="READONLY"):
                await store.claim([])
            raw.execute_command("REPLICAOF", "NO", "ONE")
            assert await finish(store) == IDS
            assert not old & {int(c["id"]) for c in raw.client_list()}
        await store.aclose()
    finally:
        server.kill()


async def test_an_answer_that_was_lost(
    new_run: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim whose answer was lost comes with the next one, and holds nothing up."""
    store = make_store(new_run(), Clock())
    assert await store.begin(job(), IDS)
    await store.find()
    first = await claimed(store)
    again = await store.claim([])
    assert again == first
    other = await store.claim([first.key])
    assert other is not None
    assert other.key != first.key
    await store.aclose()


async def test_a_host_that_begins_and_is_lost(
    new_run: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose first host was lost before it was whole is begun by the next."""
    where = new_run()
    first, second = make_store(where, Clock()), make_store(where, Clock())

    async def fail() -> str:
        raise StoreAwayError("the test says so")

    monkeypatch.setattr(first._server, "survives", fail)  # type: ignore[attr-defined]
    with pytest.raises(StoreAwayError):
        await first.begin(job(), IDS)
    assert await second.find() is None
    assert not await second.begin(job(), IDS), "the first may still be at it"
    monkeypatch.setattr(redis_store, "LOADING_SECONDS", 0.0)
    assert await second.begin(job(), IDS)
    await second.find()
    assert await finish(second) == IDS
    await first.aclose()
    await second.aclose()


async def test_wall_clocks(new_run: Callable[[], str]) -> None:
    """An announcement is as old on a host whose wall clock is an hour off."""
    where = new_run()
    hour = timedelta(hours=1)

    class Wrong(Clock):
        def utcnow(self) -> datetime:
            return super().utcnow() + hour

    first, second = make_store(where, Clock()), make_store(where, Wrong())
    assert await first.begin(job(IDS[:1]), IDS[:1])
    await first.find()
    block = await claimed(first)
    await first.intend(block, IDS[0], None)
    await first.release()
    await second.find()
    told = [(await claimed(second)).entries[IDS[0]]]
    told += [result.entry async for result in second.results()]
    for entry in told:
        age = Wrong().utcnow().timestamp() - (entry.doubt_since or 0.0)
        assert -1.0 < age < 60.0
    await first.aclose()
    await second.aclose()
