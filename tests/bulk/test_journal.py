"""The journal of a bulk: what it says, what it survives, what is done with it."""

# ruff: noqa: ASYNC240  (the files of these tests are small and local)

from __future__ import annotations

import asyncio
import contextlib
import copy
import errno
import functools
import json
import os
import sys
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

import spaces_async as sa
from spaces_async import OutcomeStatus as S
from spaces_async._operations.write import Edit, Series
from spaces_async._redacted import Redacted
from spaces_async.bulk import JournalError, operations
from spaces_async.bulk._journal import format as lines
from spaces_async.bulk._journal import writer as journal
from spaces_async.bulk._journal.format import DamagedError, Header, State, encode, read
from spaces_async.bulk._journal.history import JournalHistory
from spaces_async.bulk._journal.proof import is_proven, prove
from spaces_async.bulk._journal.reader import read_state
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota
from tests.support.deadline import DEADLINE, DeadlineClock
from tests.support.writes_table import (
    IN_BULK,
    SECRET,
    Row,
    add_spaces,
    one_per_write,
    rows,
)

IDS = [f"acme/s{number}" for number in range(30)]
LONG_AGO = 1_600_000_000.0


# The lines -----------------------------------------------------------------------


def a_journal(*more: dict[str, Any], ids: list[str] = IDS[:3]) -> bytes:
    header = Header("restart", {"factory_reboot": False}, (), "http://hub")
    records = [header.record(), {"type": "targets", "ids": ids}, {"type": "complete"}]
    return b"".join(encode(r, n) for n, r in enumerate([*records, *more]))


def intent(repo_id: str, at: float = LONG_AGO) -> dict[str, Any]:
    return {"type": "intent", "id": repo_id, "at": at}


def outcome(repo_id: str, status: str = "done") -> dict[str, Any]:
    return {"type": "outcome", "id": repo_id, "status": status, "attempts": 1}


WHOLE = a_journal(
    intent(IDS[0]), outcome(IDS[0]), intent(IDS[1]), outcome(IDS[1], "failed")
)


def test_each_line_is_json() -> None:
    """Any tool can read a journal, one object a line."""
    records = [json.loads(line) for line in WHOLE.splitlines()]
    assert [r["n"] for r in records] == list(range(7))
    assert records[0]["schema"] == lines.SCHEMA
    assert {r["type"] for r in records} == {
        "header",
        "targets",
        "complete",
        "intent",
        "outcome",
    }


def test_what_the_lines_add_up_to() -> None:
    """Done is settled, failed is not, announced without an outcome is in doubt."""
    state, length = read(WHOLE + encode(intent(IDS[2]), 7))
    assert length > len(WHOLE)
    assert state.complete
    assert [state.entries[r].settled for r in IDS[:3]] == [True, False, False]
    assert list(state.in_doubt) == [(IDS[2], LONG_AGO)]


def test_doubt_begins_with_the_first_call() -> None:
    """A later copy of a call does not hide that an earlier one may have worked."""
    doubt = outcome(IDS[0], "unknown")
    journal = a_journal(intent(IDS[0], 1.0), intent(IDS[0], 2.0), doubt)
    journal += encode(intent(IDS[0], 3.0), 6)
    state, _ = read(journal)
    assert list(state.in_doubt) == [(IDS[0], 1.0)]
    assert state.entries[IDS[0]].sent_at == 3.0
    journal += encode(outcome(IDS[0], "failed"), 7) + encode(intent(IDS[0], 4.0), 8)
    assert list(read(journal)[0].in_doubt) == [(IDS[0], 4.0)]


@given(st.integers(0, len(WHOLE)))
def test_any_cut_of_the_end(length: int) -> None:
    """A crash leaves a prefix: its whole lines count, the torn one does not."""
    state, good = read(WHOLE[:length])
    assert good == WHOLE[:length].rfind(b"\n") + 1
    again, _ = read(WHOLE[:good])
    assert (state.entries, state.lines) == (again.entries, again.lines)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_any_damaged_byte(place: int, change: int) -> None:
    """One byte that is not what was written is found, wherever it is."""
    damaged = bytearray(WHOLE)
    damaged[place] ^= change
    with pytest.raises(DamagedError):
        read(bytes(damaged))


@given(st.integers(0, 5), st.sampled_from(["lost", "doubled"]))
def test_any_line_lost_or_doubled(number: int, how: str) -> None:
    """Lines are numbered, so one that is gone or there twice is found."""
    parts = WHOLE.splitlines(keepends=True)
    parts[number : number + 1] = [] if how == "lost" else [parts[number]] * 2
    with pytest.raises(DamagedError):
        read(b"".join(parts))


@pytest.mark.parametrize(
    "record",
    [
        {"type": "header", "schema": 1},
        {"type": "intent", "id": "acme/unknown", "at": 1.0},
        {"type": "intent", "id": IDS[0]},
        {"type": "outcome", "id": IDS[0], "status": "dreamt", "attempts": 1},
        {"type": "targets", "ids": 7},
        {"type": "stop", "reason": "dreamt"},
        {"type": "novelty"},
        {},
    ],
)
def test_a_line_that_makes_no_sense(record: dict[str, Any]) -> None:
    """A line may be whole and still say what cannot be: that is refused too."""
    with pytest.raises(DamagedError, match="line 4"):
        read(a_journal(record))


def test_another_schema_is_refused() -> None:
    """A later version's journal is not guessed at."""
    with pytest.raises(DamagedError, match="schema 2"):
        read(encode({"type": "header", "schema": 2}, 0))


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Whatever is in a file, reading it ends with a state or a clear refusal."""
    with contextlib.suppress(DamagedError):
        state, length = read(data)
        assert (state.lines, length) == (0, 0)


# With a Hub ----------------------------------------------------------------------


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """An org of 30 paused Spaces that take long to build."""
    async with FakeHub(build_seconds=3600) as hub:
        hub.add_org("acme", members={"tester": "write"})
        for repo_id in IDS:
            hub.add_space(repo_id, hardware="t4-small", stage="PAUSED")
        yield hub


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "journal.jsonl"


def state_of(path: Path) -> State:
    return read(path.read_bytes())[0]


def leave(path: Path, hub: FakeHub, operation: sa.Operation[Any], *more: Any) -> None:
    """Write a journal as a bulk leaves it that was killed."""
    header = Header(operation.name, operation.parameters, operation.hidden, hub.url)
    records = [header.record(), {"type": "targets", "ids": IDS}, {"type": "complete"}]
    data = b"".join(encode(r, n) for n, r in enumerate([*records, *more]))
    path.write_bytes(data)


def restarted(hub: FakeHub) -> list[str]:
    return [r.path[12:-8] for r in hub.requests if r.path.endswith("/restart")]


async def test_a_bulk_writes_what_it_does(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """Each Space has an intent and an outcome, and nobody else may read the file."""
    report = await client.bulk.restart([*IDS, "acme/missing"], journal=path)
    assert len(report.succeeded) == 30
    state = state_of(path)
    assert list(state.entries) == [*IDS, "acme/missing"]
    assert all(state.entries[r].settled for r in IDS)
    assert state.entries["acme/missing"].status is S.FAILED
    assert not list(state.in_doubt)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_nothing_done_is_done_again(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """What is done is told from the journal; what failed is tried again."""
    hub.faults("POST /restart", Fault.status(403), repo_id=IDS[7], times=1)
    first = await client.bulk.restart(IDS, journal=path)
    assert [o.repo_id for o in first.failed] == [IDS[7]]
    sent = len(hub.requests)
    for report in (
        await client.bulk.restart(IDS, journal=path),
        await client.bulk.resume(path),
        await client.bulk.restart(list(reversed(IDS)), journal=str(path)),
    ):
        assert report.ok
        assert len(report) == 30
    # The one that failed: the state before, and the write.
    assert [r.method for r in hub.requests[sent:]] == ["GET", "POST"]
    assert {o.from_journal for o in report} == {True}
    assert {o.attempts for o in report} <= {1, 2, 3}
    assert sorted(restarted(hub)) == sorted([*IDS, IDS[7]])


async def test_calls_in_flight_are_read_up_with_one_listing(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """What was in flight at the crash is settled by the stages of one listing."""
    done, lost, asked = IDS[:10], IDS[10:16], IDS[16:22]
    for repo_id in done:
        hub.set_stage(repo_id, "RUNNING")
    for repo_id in asked:
        hub.space(repo_id).restart()
    just_now = datetime.now(UTC).timestamp() - 5
    records = [intent(r, just_now) for r in (*done, *lost, *asked)]
    leave(path, hub, operations.restart(), *records, *map(outcome, done))
    report = await client.bulk.resume(path, record_before=False)
    assert report.ok
    assert sorted(restarted(hub)) == sorted([*lost, *IDS[22:]])
    assert sum(r.method == "GET" for r in hub.requests) == 1
    assert {hub.space(r).restarts for r in IDS[10:]} == {1}


@pytest.mark.parametrize(
    ("how", "status", "sent"),
    [("verify", S.UNKNOWN, 27), ("skip", S.UNKNOWN, 27), ("retry", S.DONE, 30)],
)
async def test_what_the_state_does_not_show(  # noqa: PLR0917  (fixtures)
    client: sa.SpacesClient, hub: FakeHub, path: Path, how: Any, status: S, sent: int
) -> None:
    """RUNNING long after says nothing of a restart: told, or sent again if asked to."""
    for repo_id in IDS[:3]:
        hub.set_stage(repo_id, "RUNNING")
    leave(path, hub, operations.restart(), *map(intent, IDS[:3]))
    report = await client.bulk.resume(path, on_unknown=how, record_before=False)
    assert {o.status for o in report.outcomes[:3]} == {status}
    assert len(report.succeeded) == sent
    assert len(restarted(hub)) == sent
    if how == "skip":
        assert hub.count("GET") == 0
    if status is S.UNKNOWN:
        error = report.outcomes[0].error
        assert isinstance(error, sa.SpacesError)
        assert error.outcome_unknown
        # It stays in doubt until somebody decides.
        again = await client.bulk.resume(path, on_unknown="retry")
        assert again.ok
        assert len(restarted(hub)) == 30


async def test_a_repeat_that_is_refused_leaves_it_in_doubt(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """With `retry` the second copy may be refused although the first one worked."""
    hub.set_stage(IDS[0], "RUNNING")
    leave(path, hub, operations.restart(), intent(IDS[0]))
    hub.faults("POST *", Fault.status(403), repo_id=IDS[0], times=None)
    report = await client.bulk.resume(path, on_unknown="retry")
    assert [o.repo_id for o in report.unknown] == IDS[:1]
    assert [r for r, e in state_of(path).entries.items() if e.in_doubt] == IDS[:1]


async def test_a_young_restart_that_still_runs_did_not_happen(
    hub: FakeHub, path: Path
) -> None:
    """Some seconds after it was sent, RUNNING means that nothing has happened."""
    clock = ManualClock(auto=True)
    hub.set_stage(IDS[0], "RUNNING")
    sent_at = clock.utcnow().timestamp() - 0.5
    leave(path, hub, operations.restart(), intent(IDS[0], sent_at))
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock
    ) as client:
        report = await client.bulk.resume(path, concurrency=1, record_before=False)
    assert report.ok
    assert clock.slept[0] == pytest.approx(1.5)
    assert hub.count("GET", "/runtime") == 2
    assert len(restarted(hub)) == 30


async def test_a_stream_of_targets(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """Those that had come are known; the rest has to be given again."""

    async def some(count: int) -> AsyncIterator[str]:
        for repo_id in IDS[:count]:
            yield repo_id
        if count < len(IDS):
            raise OSError("the database is gone")

    with pytest.raises(sa.BulkInterruptedError):
        await client.bulk.restart(some(9), journal=path)
    assert set(state_of(path).entries) <= set(IDS[:9])
    with pytest.raises(sa.ConfigurationError, match="pass the targets again"):
        await client.bulk.resume(path)
    report = await client.bulk.resume(path, targets=some(30))
    assert report.ok
    assert [o.repo_id for o in report] == IDS
    assert sorted(restarted(hub)) == sorted(IDS)
    again = await client.bulk.resume(path)
    assert again.summary() == "restart: 30 done (30 of them before)"
    assert len(restarted(hub)) == 30


async def test_an_iterator_that_raised_is_not_at_its_end(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """Workers that wait for its next target do not take the failure for the end."""

    async def some() -> AsyncIterator[str]:
        for repo_id in IDS[:8]:
            await asyncio.sleep(0)
            yield repo_id
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    with pytest.raises(sa.BulkInterruptedError):
        await client.bulk.restart(some(), journal=path, concurrency=12)
    assert not state_of(path).complete
    assert not state_of(path).finished
    assert (await client.bulk.resume(path, targets=IDS)).ok
    assert sorted(restarted(hub)) == sorted(IDS)


async def test_an_iterator_that_swallows_a_cancel_is_not_at_its_end(
    client: sa.SpacesClient, path: Path
) -> None:
    """A generator that returns when it is cancelled had more targets to give."""

    async def some() -> AsyncIterator[str]:
        for repo_id in IDS[:8]:
            yield repo_id
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    stream = client.bulk.stream(operations.restart(), some(), journal=path)
    async with stream as outcomes:
        async for _ in outcomes:
            if len(stream.report) == 8:
                break
    assert len(state_of(path).entries) == 8
    assert not state_of(path).complete


async def test_another_round_needs_a_new_journal(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """What a selection finds tomorrow is not done because it was done today."""
    hub.space(IDS[0]).set_stage("RUNTIME_ERROR")
    broken = sa.Selection(author="acme", stages={"RUNTIME_ERROR"})
    assert len(await client.bulk.restart(broken, journal=path)) == 1
    hub.space(IDS[0]).set_stage("RUNTIME_ERROR")
    with pytest.raises(sa.ConfigurationError, match="needs a new file"):
        await client.bulk.restart(broken, journal=path)
    assert (await client.bulk.resume(path)).ok
    assert restarted(hub) == [IDS[0]]


async def test_a_journal_is_finished_with_failures_too(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """A bulk that ended by itself is over; `resume` and the same list try again."""
    everything = sa.Selection(author="acme")
    fault = hub.faults("POST *", Fault.status(403), repo_id=IDS[0], times=None)
    assert len((await client.bulk.restart(everything, journal=path)).failed) == 1
    assert state_of(path).ended
    with pytest.raises(sa.ConfigurationError, match="1 of its 30 Spaces are left"):
        await client.bulk.restart(everything, journal=path)
    assert len((await client.bulk.resume(path)).failed) == 1
    fault.remove()
    report = await client.bulk.resume(path)
    assert report.summary() == "restart: 30 done (29 of them before)"
    text = path.read_bytes()
    assert (await client.bulk.resume(path)).ok
    assert path.read_bytes() == text


@pytest.mark.parametrize("how", ["fail_fast", "deadline", "leave", "cancel"])
async def test_a_bulk_that_was_interrupted_is_not_finished(
    hub: FakeHub, path: Path, how: str
) -> None:
    """Whatever ends it early, the same call goes on with the journal."""
    at = IDS[3]
    clock = DeadlineClock(lambda: len(restarted(hub)) == 4 and hub.in_flight == 1)
    if how == "fail_fast":
        hub.faults("POST *", Fault.status(403), repo_id=at, times=1)
    else:
        hub.faults("POST *", Fault.hang(acted=False), repo_id=at, times=1)

    async def everything() -> AsyncIterator[str]:
        for repo_id in IDS:
            yield repo_id

    async def work(client: sa.SpacesClient) -> sa.BulkReport[Any]:
        stream = client.bulk.stream(
            operations.restart(),
            everything(),
            journal=path,
            concurrency=1,
            fail_fast=how == "fail_fast",
            deadline=DEADLINE if how == "deadline" else None,
        )
        with contextlib.suppress(asyncio.CancelledError):
            async with stream as outcomes:
                async for outcome in outcomes:
                    if outcome.repo_id == IDS[2] and how == "leave":
                        break
                    if outcome.repo_id == IDS[2] and how == "cancel":
                        asyncio.current_task().cancel()  # type: ignore[union-attr]
        return stream.report

    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock
    ) as client:
        report = await asyncio.create_task(work(client))
        assert len(report.succeeded) == 3
        assert not state_of(path).finished
        hub.clear_faults()
        again = await client.bulk.restart(
            everything(), journal=path, on_unknown="retry"
        )
    assert again.ok
    assert state_of(path).finished
    assert set(restarted(hub)) == set(IDS)


async def test_a_bulk_that_was_cut_at_its_last_space_is_not_finished(
    hub: FakeHub, path: Path
) -> None:
    """Its last target had begun, but what came of it is not known."""
    hub.faults("POST *", Fault.hang(), repo_id=IDS[2], times=1)
    clock = DeadlineClock(lambda: len(restarted(hub)) == 3 and hub.in_flight == 1)
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, clock=clock
    ) as client:
        report = await client.bulk.restart(
            IDS[:3], journal=path, concurrency=1, deadline=DEADLINE
        )
    assert [o.repo_id for o in report.unknown] == [IDS[2]]
    assert not state_of(path).finished


async def test_what_waits_is_written_also_if_the_writer_is_cancelled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the event loop cancels the writer, but a bulk is closed to its end."""
    go_on, syncs = threading.Event(), threading.Semaphore(0)

    def slowly(_fd: int) -> None:
        syncs.release()
        assert go_on.wait(30)

    header = Header("restart", {}, (), "http://hub")
    file = await journal.Journal.open(path, header)
    monkeypatch.setattr(journal, "_sync", slowly)
    before = asyncio.all_tasks()
    first = asyncio.ensure_future(file.add_durably(lines.body_of({"type": "complete"})))
    await asyncio.to_thread(syncs.acquire)
    second = asyncio.ensure_future(file.add_durably(lines.body_of({"type": "end"})))
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - before - {first, second}:
        task.cancel()
    go_on.set()
    async with asyncio.timeout(30):
        await first
        await second
    await file.aclose()
    assert state_of(path).ended


async def test_a_file_is_not_closed_before_what_waits_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that is cancelled starts another one, and closing waits for that, too."""
    go_on = threading.Semaphore(0)
    doing: list[str] = []

    def slowly(_fd: int) -> None:
        assert go_on.acquire(timeout=30)

    def noted(function: Any, *args: Any) -> Any:
        doing.append(function.__name__)
        return in_thread(function, *args)

    in_thread = journal.in_thread
    file = await journal.Journal.open(path, Header("restart", {}, (), "http://hub"))
    monkeypatch.setattr(journal, "_sync", slowly)
    monkeypatch.setattr(journal, "in_thread", noted)
    before = asyncio.all_tasks()
    first = asyncio.ensure_future(file.add_durably(lines.body_of({"type": "complete"})))
    while not doing:
        await asyncio.sleep(0)
    second = asyncio.ensure_future(file.add_durably(lines.body_of({"type": "end"})))
    closing = asyncio.ensure_future(file.aclose())
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - before - {first, second, closing}:
        task.cancel()
    second.cancel()
    go_on.release()
    while len(doing) < 2:
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert doing == ["append", "append"]
    go_on.release()
    async with asyncio.timeout(30):
        await closing
    assert doing == ["append", "append", "close"]
    assert state_of(path).ended


async def test_no_targets(client: sa.SpacesClient, path: Path) -> None:
    """An empty job is complete at once, and stays so."""
    assert (await client.bulk.restart([], journal=path)).ok
    assert (await client.bulk.resume(path)).ok


async def test_a_journal_is_read_beside_the_loop(
    client: sa.SpacesClient, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long one takes seconds to read and to go through: the loop goes on meanwhile."""
    assert (await client.bulk.restart(IDS, journal=path)).ok
    where: dict[str, int] = {}

    def watch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def watched(*args: Any, **given: Any) -> Any:
            where[name] = threading.get_ident()
            return real(*args, **given)

        monkeypatch.setattr(owner, name, watched)

    watch(journal, "read")
    watch(JournalHistory, "targets")
    watch(JournalHistory, "first_targets")
    assert (await client.bulk.resume(path)).ok
    assert where.keys() == {"read", "targets", "first_targets"}
    assert threading.get_ident() not in where.values()


# What is refused -----------------------------------------------------------------


async def test_a_journal_belongs_to_one_job(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """Another operation, other parameters, other targets, another Hub: refused."""
    await client.bulk.set_sleep_time(IDS[:3], seconds=3600, journal=path)
    before, sent = path.read_bytes(), len(hub.requests)
    with pytest.raises(sa.ConfigurationError, match=r"set_sleep_time\(seconds=3600\)"):
        await client.bulk.pause(IDS[:3], journal=path)
    with pytest.raises(sa.ConfigurationError, match="another job"):
        await client.bulk.set_sleep_time(IDS[:3], seconds=7200, journal=path)
    with pytest.raises(sa.ConfigurationError, match="other targets"):
        await client.bulk.set_sleep_time(IDS[:4], seconds=3600, journal=path)
    async with sa.SpacesClient(token=False, endpoint="http://127.0.0.1:1") as other:
        with pytest.raises(sa.ConfigurationError, match="another job"):
            await other.bulk.resume(path)
    assert (path.read_bytes(), len(hub.requests)) == (before, sent)


@pytest.mark.parametrize("place", [3, 90, 200, -3])
async def test_a_damaged_journal_is_refused(
    client: sa.SpacesClient, hub: FakeHub, path: Path, place: int
) -> None:
    """Damage is told with its line; nothing is sent, and the file stays as it is."""
    leave(path, hub, operations.restart(), *map(intent, IDS))
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalError, match=r"damaged or no journal: line \d+") as told:
        await client.bulk.restart(IDS, journal=path)
    assert told.value.path == str(path)
    assert path.read_bytes() == data
    assert not hub.requests


async def test_a_torn_last_line_is_cut_off(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """What was being written when the writer died had not been sent."""
    leave(path, hub, operations.restart(), intent(IDS[0]), outcome(IDS[0]))
    data = path.read_bytes()
    path.write_bytes(data + encode(intent(IDS[1]), 5)[:-9])
    report = await client.bulk.resume(path, record_before=False)
    assert report.ok
    assert path.read_bytes().startswith(data)
    assert sorted(restarted(hub)) == sorted(IDS[1:])
    assert hub.count("GET") == 0


@pytest.mark.parametrize("text", ["notes", "notes\n", '{"a": 1}', "\n", "[1]\n[2]"])
async def test_other_files_are_left_alone(
    client: sa.SpacesClient, hub: FakeHub, path: Path, text: str
) -> None:
    """A slip in the path destroys nothing."""
    path.write_text(text)
    with pytest.raises(JournalError):
        await client.bulk.restart(IDS, journal=path)
    with pytest.raises(JournalError):
        await client.bulk.resume(path)
    assert path.read_text() == text
    assert not hub.requests


async def test_a_place_where_nothing_can_be_written(
    client: sa.SpacesClient, hub: FakeHub, tmp_path: Path
) -> None:
    """A folder, or none: told before anything is sent."""
    for place in (tmp_path, tmp_path / "missing" / "journal"):
        with pytest.raises(JournalError, match="cannot be opened"):
            await client.bulk.restart(IDS, journal=place)
        with pytest.raises(JournalError, match="cannot be opened"):
            await client.bulk.resume(place)
    assert not hub.requests


async def test_two_at_once_are_refused(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """A journal is locked while a bulk has it open, and free when that ends."""
    stream = client.bulk.stream(operations.restart(), IDS, journal=path, concurrency=1)
    async with stream as outcomes:
        await anext(outcomes)
        with pytest.raises(JournalError, match="in use"):
            await client.bulk.restart(IDS, journal=path)
    assert stream.report.stopped_by == "left"
    assert (await client.bulk.resume(path)).ok
    assert sorted(restarted(hub)) == sorted(IDS)


# What fails on the way -----------------------------------------------------------


class Disk:
    """The disk of a journal, to be full or broken from some point on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: int | None = None
        self.after = 0
        self.heals = False  # whether only the first write fails
        self.syncs = 0
        self.write, self.sync = os.write, journal._sync
        monkeypatch.setattr("spaces_async.bulk._journal.writer.os.write", self.on_write)
        monkeypatch.setattr(journal, "_sync", self.on_sync)

    def on_write(self, fd: int, data: Any) -> int:
        if self.error == errno.ENOSPC:
            if self.after <= 0:
                if self.heals:
                    self.error = None
                raise OSError(errno.ENOSPC, "No space left on device")
            # As a full disk does: what fits is written.
            data = bytes(data)[: self.after]
            self.after -= len(data)
        return self.write(fd, data)

    def on_sync(self, fd: int) -> None:
        self.syncs += 1
        if self.error == errno.EIO:
            self.after -= 1
            if self.after < 0:
                raise OSError(errno.EIO, "Input/output error")
        self.sync(fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk that a test can fill."""
    return Disk(monkeypatch)


@pytest.mark.parametrize(
    ("error", "after"),
    [(errno.ENOSPC, n) for n in (1, 900, 1700, 2600)]
    + [(errno.EIO, n) for n in (2, 5)],
)
async def test_a_disk_that_fails(  # noqa: PLR0917  (fixtures)
    client: sa.SpacesClient,
    hub: FakeHub,
    path: Path,
    disk: Disk,
    error: int,
    after: int,
) -> None:
    """Nothing more is sent, the report is true, and a resume does the rest once."""
    disk.error, disk.after = error, after
    with pytest.raises(JournalError, match="cannot be written") as told:
        await client.bulk.restart(IDS, journal=path, concurrency=4)
    report = told.value.report
    sent = set(restarted(hub))
    if report is not None:
        assert report.stopped_by == "journal"
        assert {o.repo_id for o in report.succeeded} == sent
        assert len(report.not_attempted) == 30 - len(sent)
    assert len(sent) < 30
    known = state_of(path)
    assert sent <= {r for r, entry in known.entries.items() if entry.sent_at}
    disk.error = None
    assert (await client.bulk.restart(IDS, journal=path)).ok
    assert sorted(restarted(hub)) == sorted(IDS)


@pytest.mark.parametrize("after", [0, 1, 2, 4])
async def test_a_machine_without_threads(
    client: sa.SpacesClient, hub: FakeHub, path: Path, after: int
) -> None:
    """A container that may have no more processes is told of like a full disk."""
    left = after
    loop = asyncio.get_running_loop()
    real = loop.run_in_executor

    def run(executor: Any, function: Any, *args: Any) -> Any:
        nonlocal left
        if getattr(function, "__name__", "") in {"append", "close"}:
            left -= 1
            if left < 0:
                raise RuntimeError("can't start new thread")
        return real(executor, function, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "run_in_executor", run)
        with pytest.raises(JournalError, match="can't start new thread"):
            await client.bulk.restart(IDS, journal=path, concurrency=4)
    sent = set(restarted(hub))
    assert len(sent) < 30
    if sent:
        known = state_of(path)
        assert sent <= {r for r, entry in known.entries.items() if entry.sent_at}
    assert (await client.bulk.restart(IDS, journal=path)).ok
    assert sorted(restarted(hub)) == sorted(IDS)


async def test_a_line_that_cannot_be_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written of its batch is taken back, so that no line comes twice."""
    file = await journal.Journal.open(path, Header("restart", {}, (), "http://hub"))
    fails = True

    def line_of(body: bytes, number: int) -> bytes:
        nonlocal fails
        if fails and number == 9:
            fails = False
            raise MemoryError
        return lines.line_of(body, number)

    monkeypatch.setattr(journal, "_PIECE_BYTES", 100)
    monkeypatch.setattr(journal, "line_of", line_of)
    for repo_id in IDS[:12]:
        file.name([repo_id])
    await file.aclose()
    assert list(state_of(path).entries) == IDS[:12]


async def test_a_disk_that_has_room_again_at_the_end(
    client: sa.SpacesClient, hub: FakeHub, path: Path, disk: Disk
) -> None:
    """What is known is written when the bulk ends; what was never sent is not."""
    stream = client.bulk.stream(operations.restart(), IDS, journal=path, concurrency=4)
    async with stream as outcomes:
        await anext(outcomes)
        disk.error, disk.after, disk.heals = errno.ENOSPC, 0, True
        with pytest.raises(JournalError):
            async for _ in outcomes:
                pass
    state = state_of(path)
    assert {r for r, e in state.entries.items() if e.settled} == set(restarted(hub))
    assert not list(state.in_doubt)


async def test_leaving_early_tells_of_a_broken_journal(
    client: sa.SpacesClient, path: Path, disk: Disk
) -> None:
    """Who leaves the loop hears of outcomes that are not on the disk."""
    stream = client.bulk.stream(operations.restart(), IDS, journal=path, concurrency=4)
    with pytest.raises(JournalError) as told:
        async with stream as outcomes:
            async for _ in outcomes:
                disk.error, disk.after = errno.ENOSPC, 0
                break
    assert told.value.report is stream.report


async def test_nothing_is_sent_before_it_is_durable(
    client: sa.SpacesClient,
    hub: FakeHub,
    path: Path,
    disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the disk takes its time, no call goes out."""
    written, go_on = threading.Event(), threading.Event()

    def slow(fd: int) -> None:
        if disk.syncs >= 1:
            written.set()
            go_on.wait(20)
        disk.on_sync(fd)

    monkeypatch.setattr(journal, "_sync", slow)
    bulk = asyncio.create_task(client.bulk.restart(IDS[:4], journal=path))
    while not written.is_set():
        await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert all(request.method == "GET" for request in hub.requests)
    go_on.set()
    assert (await bulk).ok


@pytest.mark.parametrize("eager", [False, True])
async def test_a_slow_consumer_changes_nothing_about_that(  # noqa: PLR0917  (fixtures)
    client: sa.SpacesClient,
    hub: FakeHub,
    path: Path,
    disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
    eager: bool,
) -> None:
    """The next intent finds an idle disk then; with eager tasks it is written at once."""
    if eager and sys.version_info < (3, 12):
        pytest.skip("eager tasks are new in 3.12")
    is_free = threading.Event()
    is_free.set()

    def slow(fd: int) -> None:
        is_free.wait(20)
        disk.on_sync(fd)

    async def settle() -> int:
        for _ in range(200):
            await asyncio.sleep(0)
        while any(not state_of(path).entries[r].settled for r in restarted(hub)):
            await asyncio.sleep(0)
        return len(restarted(hub))

    monkeypatch.setattr(journal, "_sync", slow)
    loop = asyncio.get_running_loop()
    if eager:
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    try:
        bulk = client.bulk.stream(
            operations.restart(), IDS[:6], journal=path, concurrency=1
        )
        async with bulk as outcomes:
            await anext(outcomes)
            while len(restarted(hub)) < 2:
                await asyncio.sleep(0)
            sent = await settle()
            is_free.clear()
            await anext(outcomes)
            for _ in range(500):
                await asyncio.sleep(0)
            assert len(restarted(hub)) == sent
            is_free.set()
            assert len([outcome async for outcome in outcomes]) == 4
        assert bulk.report.ok
    finally:
        is_free.set()
        loop.set_task_factory(None)


async def test_many_share_one_sync(
    client: sa.SpacesClient, hub: FakeHub, path: Path, disk: Disk
) -> None:
    """Workers that announce at the same time wait for the same sync."""
    assert (await client.bulk.restart(IDS, journal=path, concurrency=30)).ok
    assert disk.syncs < 30


async def test_a_cancel_leaves_a_true_journal(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """What was under way is in doubt, the rest is untouched; a resume ends it."""
    hub.faults("POST /restart", Fault.hang(acted=True), times=4, after=6)
    bulk = asyncio.create_task(client.bulk.restart(IDS, journal=path, concurrency=4))
    while len(hub.requests) < 10 or hub.in_flight < 4:
        await asyncio.sleep(0)
    bulk.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bulk
    state = state_of(path)
    assert len(list(state.in_doubt)) == 4
    assert sum(entry.settled for entry in state.entries.values()) == 6
    assert (await client.bulk.resume(path)).ok
    assert sorted(restarted(hub)) == sorted(IDS)


async def test_cancels_at_any_time(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """Cancelled in any turn of the loop, the journal is soon free, and true.

    Soon: a file that was being opened is closed by the thread that opens it.
    """
    for turns in range(0, 60, 3):
        bulk = asyncio.create_task(
            client.bulk.restart(IDS, journal=path, concurrency=4)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        bulk.cancel()
        await asyncio.wait((bulk,))
    report: sa.BulkReport[Any] | None = None
    async with asyncio.timeout(20):
        while report is None:
            with contextlib.suppress(JournalError):
                report = await client.bulk.restart(IDS, journal=path)
    assert report.ok
    assert {hub.space(r).restarts for r in IDS} == {1}


async def test_stopping_early_keeps_what_is_known(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """A resumed bulk that stops again reports what earlier ones have done or left."""
    leave(
        path,
        hub,
        operations.restart(),
        *map(intent, IDS[20:]),
        *map(outcome, IDS[20:25]),
    )
    hub.faults("POST /restart", Fault.status(403), times=None)
    report = await client.bulk.resume(path, fail_fast=True, concurrency=1)
    assert report.stopped_by == "fail_fast"
    statuses = [o.status for o in report]
    assert [o.repo_id for o in report] == IDS
    assert statuses[0] is S.FAILED
    assert set(statuses[1:20]) == {S.NOT_ATTEMPTED}
    assert set(statuses[20:25]) == {S.DONE}
    assert set(statuses[25:]) == {S.UNKNOWN}


# Secrets and callables -----------------------------------------------------------


async def test_a_secret_is_never_written(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """Only its name is; to go on, the value is needed again."""
    canary = "hush-hush-canary"
    hub.faults(
        "POST /secrets", Fault.status(400, message=f"bad {canary}"), repo_id=IDS[3]
    )
    report = await client.bulk.add_secret(IDS, key="K", value=canary, journal=path)
    assert len(report.failed) == 1
    text = path.read_text()
    assert canary not in text
    assert '"key":"K"' in text
    with pytest.raises(sa.ConfigurationError, match=r"value of K again"):
        await client.bulk.resume(path)
    again = await client.bulk.resume(path, secrets={"K": canary})
    assert again.ok
    assert hub.count("POST", "/secrets") == 31
    assert canary not in path.read_text()


async def test_a_callable_is_needed_again(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """A function cannot be written down; what it left in doubt nobody can look up."""
    calls: list[str] = []

    async def tidy(client: sa.SpacesClient, repo_id: str) -> None:
        calls.append(repo_id)
        if len(calls) == 5:
            await asyncio.Event().wait()

    bulk = asyncio.create_task(
        client.bulk.run(tidy, IDS[:10], journal=path, concurrency=1)
    )
    while len(calls) < 5:
        await asyncio.sleep(0)
    bulk.cancel()
    await asyncio.wait((bulk,))
    with pytest.raises(sa.ConfigurationError, match="operation="):
        await client.bulk.resume(path)
    report = await client.bulk.resume(path, operation=tidy)
    assert [o.repo_id for o in report.unknown] == [IDS[4]]
    assert sorted(calls) == sorted(IDS[:10])
    report = await client.bulk.resume(path, operation=tidy, on_unknown="retry")
    assert report.ok
    assert len(calls) == 11


class Act:
    """A callable object, as a service may have one."""

    async def __call__(self, client: sa.SpacesClient, repo_id: str) -> None:
        """Do nothing."""

    async def method(self, client: sa.SpacesClient, repo_id: str) -> None:
        """Do nothing; another callable of the same name as the next one."""


async def method(client: sa.SpacesClient, repo_id: str) -> None:
    """Do nothing."""


async def act_on(client: sa.SpacesClient, repo_id: str, what: str) -> None:
    """Do what is asked for."""
    await getattr(client.lifecycle, what)(repo_id)


@pytest.mark.parametrize(
    "callable_",
    [
        lambda client, repo_id: client.lifecycle.restart(repo_id),
        functools.partial(act_on, what="restart"),
        Act(),
    ],
    ids=["lambda", "partial", "object"],
)
async def test_a_callable_without_a_name_of_its_own(
    client: sa.SpacesClient, hub: FakeHub, path: Path, callable_: Any
) -> None:
    """With a journal it has to be given one, or it would pass for another one."""
    with pytest.raises(sa.ConfigurationError, match="name="):
        await client.bulk.run(callable_, IDS[:3], journal=path)
    assert not path.exists()
    assert not hub.requests


async def test_a_journal_tells_callables_by_their_names(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """A partial goes on under its name; the journal of another one is refused."""
    pause = functools.partial(act_on, what="pause")
    restart = functools.partial(act_on, what="restart")
    report = await client.bulk.run(pause, IDS[:3], journal=path, name="pause all")
    assert report.operation == "pause all"
    others: list[tuple[Any, str | None]] = [(restart, "restart all"), (method, None)]
    for other, name in others:
        with pytest.raises(sa.ConfigurationError, match="another job"):
            await client.bulk.run(other, IDS[:3], journal=path, name=name)
        with pytest.raises(sa.ConfigurationError, match="another job"):
            await client.bulk.resume(path, operation=other, name=name)
    again = await client.bulk.resume(path, operation=pause, name="pause all")
    assert again.summary() == "pause all: 3 done (3 of them before)"
    assert hub.count("POST", "/pause") == 3


async def test_functions_of_one_name_are_told_apart(
    client: sa.SpacesClient, path: Path
) -> None:
    """Module and qualified name count, not the last part of it."""
    assert (await client.bulk.run(method, IDS[:3], journal=path)).ok
    with pytest.raises(sa.ConfigurationError, match=r"test_journal:method .*:Act.meth"):
        await client.bulk.run(Act().method, IDS[:3], journal=path)


async def test_a_name_is_for_callables(client: sa.SpacesClient, path: Path) -> None:
    """The package's own operations have their names."""
    with pytest.raises(sa.ConfigurationError, match="name is for a callable"):
        await client.bulk.run(operations.pause(), IDS[:3], name="stop")
    with pytest.raises(sa.ConfigurationError, match="name= is for a callable"):
        await client.bulk.resume(path, name="stop")


async def test_another_value_of_a_secret_is_refused(
    client: sa.SpacesClient, hub: FakeHub, path: Path
) -> None:
    """A bulk that goes on writes the value that it was begun with, or nothing."""
    hub.faults("POST /secrets", Fault.status(403), times=1)
    write = client.bulk.add_secret
    await write(IDS[:3], key="K", value="one-value", journal=path, concurrency=1)
    text = path.read_text()
    for go_on in (
        write(IDS[:3], key="K", value="other-value", journal=path),
        client.bulk.resume(path, secrets={"K": "other-value"}),
    ):
        with pytest.raises(sa.ConfigurationError, match="another secret value") as told:
            await go_on
        assert "other-value" not in str(told.value)
    assert path.read_text() == text
    assert (await client.bulk.resume(path, secrets={"K": "one-value"})).ok
    values = [hub.space(repo_id).secrets["K"].value for repo_id in IDS[:3]]
    assert values == ["one-value"] * 3


def test_a_proof_is_salted() -> None:
    """Equal values have different proofs, and each fits its value alone."""
    secret = Redacted("value")
    first, second = prove(secret), prove(secret)
    assert first != second
    assert is_proven(secret, first)
    assert is_proven(secret, second)
    assert not is_proven(Redacted("valu"), first)


@rows(IN_BULK)
def test_operations_are_made_of_what_is_written(row: Row) -> None:
    """Name and parameters go through JSON and give the same operation again."""
    operation = row.make()
    written = json.loads(json.dumps(operation.parameters))
    assert SECRET not in str(written)
    secrets = {"K": Redacted(SECRET), "L": Redacted(SECRET)}
    again = operations.rebuild(operation.name, written, secrets)
    assert again.parameters == operation.parameters
    assert again.hidden == operation.hidden
    assert _requests(again) == _requests(operation)
    with pytest.raises(sa.ConfigurationError, match="not made of"):
        operations.rebuild(operation.name, {**written, "hard": True}, secrets)


def _requests(operation: Any) -> list[Any]:
    """Return the requests with their true bodies, secret values included."""
    runtime = sa.SpaceRuntime(
        sa.SpaceStage.RUNNING, volumes=(sa.Volume.from_uri("hf://buckets/a/b:/data"),)
    )
    if isinstance(operation, Edit):
        operation = operation.make(runtime)
    steps = [operation]
    if isinstance(operation, Series):
        steps = [step for _, step in operation.steps]
    return [(step.preview("acme/a"), step.to("acme/a").body) for step in steps]


def test_the_error_keeps_where_it_was() -> None:
    """It copies like all errors of the package."""
    error = copy.copy(JournalError("no", path="/tmp/j"))  # noqa: S108  (a name)
    assert (str(error), error.path, error.report) == ("no", "/tmp/j", None)  # noqa: S108


@pytest.mark.parametrize("how", ["delete", "rename", "replace"])
async def test_a_journal_that_vanishes(
    client: sa.SpacesClient, hub: FakeHub, path: Path, how: str
) -> None:
    """Without its file a bulk sends nothing more: another one could begin beside it."""
    stream = client.bulk.stream(operations.restart(), IDS, journal=path, concurrency=1)
    with pytest.raises(JournalError, match="deleted or renamed") as told:
        async with stream as outcomes:
            await anext(outcomes)
            if how == "delete":
                path.unlink()
            elif how == "rename":
                path.rename(path.with_suffix(".old"))
            else:
                path.with_suffix(".new").write_text("another")
                path.with_suffix(".new").replace(path)
            async for _ in outcomes:
                pass
    assert told.value.report is stream.report
    assert stream.report.stopped_by == "journal"
    assert len(restarted(hub)) <= 3
    assert len(stream.report) == 30


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
async def test_eager_tasks_send_nothing_before_its_intent_is_durable(
    client: sa.SpacesClient, hub: FakeHub, path: Path, disk: Disk
) -> None:
    """A task that begins at once does not make a full disk look like a good one."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    try:
        disk.error, disk.after = errno.ENOSPC, 900
        with pytest.raises(JournalError, match="cannot be written"):
            await client.bulk.restart(IDS, journal=path, concurrency=4)
        disk.error = None
        known = state_of(path)
        assert set(restarted(hub)) <= {r for r, e in known.entries.items() if e.sent_at}
        assert (await client.bulk.restart(IDS, journal=path)).ok
        assert sorted(restarted(hub)) == sorted(IDS)
    finally:
        loop.set_task_factory(None)


# Each write -----------------------------------------------------------------------

TEN = IDS[:10]
KNOWN, REST = TEN[:5], TEN[5:]


@pytest_asyncio.fixture
async def ten() -> AsyncIterator[tuple[FakeHub, sa.SpacesClient]]:
    """An org of ten Spaces that build for ever, and a client of its owner's."""
    clock = ManualClock(auto=True)
    async with FakeHub(
        clock=clock, build_seconds=1e6, hardware_seconds=1e6, config_restarts=False
    ) as hub:
        add_spaces(hub, TEN)
        async with sa.SpacesClient(
            token=hub.token, endpoint=hub.url, clock=clock
        ) as client:
            yield hub, client


async def resume(client: sa.SpacesClient, path: Path, row: Row) -> sa.BulkReport[Any]:
    """Resume with all that the journal does not have, which is the secrets only."""
    if not row.make().hidden:
        return await client.bulk.resume(path)
    with pytest.raises(sa.ConfigurationError, match="K"):
        await client.bulk.resume(path)
    return await client.bulk.resume(path, secrets={"K": SECRET, "L": SECRET})


@rows(one_per_write(IN_BULK))
async def test_each_write_is_resumed(
    ten: tuple[FakeHub, sa.SpacesClient], path: Path, row: Row
) -> None:
    """A bulk that stopped after some Spaces is continued with the others."""
    hub, client = ten
    row.prepare(hub, *TEN)
    hub.faults(f"{row.method} *", Fault.status(403), after=3 * len(row.bodies))
    first = await row.bulk(client, TEN, journal=path, fail_fast=True, concurrency=1)
    assert [o.status for o in first] == [S.DONE] * 3 + [S.FAILED] + [
        S.NOT_ATTEMPTED
    ] * 6
    report = await resume(client, path, row)
    assert report.ok, report.summary()
    assert [o.from_journal for o in report] == [True] * 3 + [False] * 7
    row.check_done(hub, *TEN)
    assert row.sent_to(hub) == 10 * len(row.bodies) + 1
    if row.make().hidden:
        assert SECRET not in path.read_text()


@rows(IN_BULK)
async def test_what_each_write_left_in_doubt_is_looked_up(
    ten: tuple[FakeHub, sa.SpacesClient], path: Path, row: Row
) -> None:
    """What a killed bulk had sent is sent again only if the state says so.

    What neither can be told nor may be repeated stays unknown.
    """
    hub, client = ten
    row.prepare(hub, *TEN)
    operation, at = row.make(), client.clock.utcnow().timestamp()
    header = Header(operation.name, operation.parameters, operation.hidden, hub.url)
    records = [header.record(), {"type": "targets", "ids": TEN}, {"type": "complete"}]
    records += [intent(repo_id, at) for repo_id in TEN]
    path.write_bytes(b"".join(encode(r, n) for n, r in enumerate(records)))
    await client.clock.sleep(60)
    row.finish(hub, *KNOWN)
    report = await resume(client, path, row)
    sent = dict.fromkeys(TEN, 0)
    for request in hub.requests:
        if request.method != "GET":
            sent["/".join(request.path.split("/")[3:5])] = 1
    if row.id in {"restart", "factory_reboot", "delete"}:
        assert [o.repo_id for o in report.succeeded] == KNOWN
        assert [o.repo_id for o in report.unknown] == REST
        assert not any(sent.values())
        return
    assert report.ok, report.summary()
    row.check_done(hub, *TEN)
    assert {repo_id for repo_id, count in sent.items() if count} >= set(REST)
    if row.evidence_from != "nothing" and row.id != "set_visibility-private":
        assert not any(sent[repo_id] for repo_id in KNOWN)
    if row.evidence_from == "listing":
        assert hub.count("GET") == 1


# Torn down ------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 2, 4, 7, 9, 13, 17, 20])
def test_a_bulk_that_asyncio_run_tears_down(path: Path, after: int) -> None:
    """Whatever ends the program, the journal can be read and the report names all."""
    reports: list[sa.BulkReport[Any]] = []

    async def main() -> None:
        async with FakeHub(quota=Quota(10_000, 300.0)) as hub:
            for repo_id in IDS:
                hub.add_space(repo_id, hardware="t4-small")
            client = sa.SpacesClient(token=hub.token, endpoint=hub.url)

            async def bulk() -> None:
                async with (
                    client,
                    client.bulk.stream(
                        operations.restart(), IDS, concurrency=8, journal=path
                    ) as stream,
                ):
                    reports.append(stream.report)
                    async for _ in stream:
                        pass

            # Nobody waits for it: asyncio.run cancels all tasks when this one ends, the
            # one that writes the journal too.
            task = asyncio.create_task(bulk())
            while not task.done() and hub.count("POST", "/restart") < after:
                await asyncio.sleep(0)

    asyncio.run(main())
    assert [o.repo_id for o in reports[0]] == IDS
    _, state = read_state(path)
    for outcome in reports[0]:
        entry = state.entries[outcome.repo_id]
        assert entry.settled is outcome.ok
