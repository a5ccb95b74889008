"""A run in a journal: the protocol for one process at a time.

The file is a journal like any other, locked by the process that works on the run. There
is no lease to lose: what the process holds is free when it lets go of the lock, or dies.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from attrs import evolve

from spaces_async.bulk._journal.format import (
    CHUNK,
    Entry,
    body_of,
    body_of_outcome,
)
from spaces_async.bulk._journal.reader import read_file, read_state
from spaces_async.bulk._journal.writer import Journal
from spaces_async.bulk._store.job import Job, encode
from spaces_async.bulk._store.protocol import (
    Block,
    Counts,
    NotOursError,
    Result,
    Settlement,
    StoppedError,
    blocks_of,
)
from spaces_async.bulk._waves import Rollout
from spaces_async.bulk.report import TROUBLES, OutcomeStatus, StopReason
from spaces_async.errors import JournalError, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from spaces_async._clock import Clock
    from spaces_async.bulk._journal.format import State
    from spaces_async.bulk._store.url import Place

__all__ = ["FileStore"]


class FileStore:
    """A run in a journal file."""

    def __init__(self, place: Place, clock: Clock) -> None:
        """Make it; nothing is opened yet.

        Args:
            place: Where it is.
            clock: The source of time.
        """
        self.shown = place.shown
        self.counts = Counts()
        self.hold_seconds = 0.0
        self._clock = clock
        self._path = place.server.reveal()
        self._journal: Journal | None = None
        self._job: Job | None = None
        self._rollout: Rollout | None = None
        self._free: list[Sequence[str]] = []
        self._held: dict[str, tuple[Block, Sequence[str]]] = {}
        self._claims = 0
        self._started: set[str] = set()

    async def find(self) -> Job | None:
        """Return the job of the run; None if there is none, or it is not whole yet."""
        try:
            state = await asyncio.to_thread(read_file, self._path)
        except JournalError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        if state.run is None and state.is_blank:
            return None  # A process was killed before the run was written.
        if state.run is None:
            raise StoreError(
                f"{self._path} is a journal, but not the store of a run",
                path=self.shown,
            )
        if not state.complete:
            return None
        try:
            self._job = Job.read(state.run)
        except ValueError as error:
            raise StoreError(
                f"the run {self.shown} cannot be used: {error}", path=self.shown
            ) from None
        self._count(state)
        return self._job

    async def begin(self, job: Job, repo_ids: Sequence[str]) -> bool:
        """Begin the run with these Spaces; False if there is one."""
        journal = self._journal = await Journal.open(self._path, job.header)
        if journal.state.complete:
            return False
        lines = [body_of({"type": "run", "job": encode(job.record())})]
        for at in range(0, len(repo_ids), CHUNK):
            named = list(repo_ids[at : at + CHUNK])
            lines.append(body_of({"type": "targets", "ids": named}))
        await journal.add_durably(*lines, body_of({"type": "complete"}))
        state = journal.state
        state.complete, state.run = True, encode(job.record())
        state.entries = {repo_id: Entry() for repo_id in repo_ids}
        self._job = job
        self._prepare(journal)
        return True

    async def claim(
        self, known: Collection[str], *, only_lost: bool = False
    ) -> Block | None:
        """Take the next block."""
        journal = await self._opened()
        # What was let go of is there again.
        for key in [key for key in self._held if key not in known]:
            _, ids = self._held.pop(key)
            self._free.insert(0, ids)
        while self._free and not self.counts.is_over and not only_lost:
            ids = self._free.pop(0)
            entries = {
                i: e for i in ids if (e := journal.state.entries[i]).status is None
            }
            if not entries:
                continue
            self._claims += 1
            copies = {i: evolve(entry) for i, entry in entries.items()}
            block = Block(ids[0], self._claims, copies, self._started & entries.keys())
            self._held[block.key] = block, ids
            return block
        return None

    async def renew(self, blocks: Sequence[Block]) -> Collection[Block]:
        """Return the blocks that are not held any more."""
        return [block for block in blocks if not self._holds(block)]

    async def start(self, block: Block, repo_id: str) -> float:
        """Start a Space, if the waves let it."""
        rollout = self._rollout
        self._require(block)
        if rollout is None or repo_id in self._started:
            return 0.0
        now = self._clock.monotonic()
        if not rollout.may_start(now):
            begins = rollout.begins
            return max(0.05, 0.0 if begins is None else begins - now)
        rollout.started += 1
        self._started.add(repo_id)
        self.counts = evolve(self.counts, started=rollout.started)
        return 0.0

    async def intend(
        self, block: Block, repo_id: str, before: Mapping[str, Any] | None
    ) -> None:
        """Announce a write, which may be sent then."""
        journal = await self._opened()
        self._require(block)
        entry = journal.state.entries[repo_id]
        if entry.status is not None:
            raise NotOursError
        at = self._clock.utcnow()
        await journal.intend(repo_id, at, before)
        entry.announce(at.timestamp(), before)

    async def settle(self, ends: Sequence[Settlement]) -> Collection[Settlement]:
        """Record outcomes, each once; return those whose block is not held any more."""
        journal, job = await self._opened(), self._job
        assert job is not None  # noqa: S101  (`_opened` sees to it)
        refused: list[Settlement] = []
        lines: list[bytes] = []
        for end in ends:
            entry = journal.state.entries[end.repo_id]
            if entry.status is not None or not self._holds(end.block):
                known = (entry.status, entry.attempts) == (end.status, end.attempts)
                if not known:
                    refused.append(end)
                continue
            entry.settle(end.status, end.attempts, end.told.get("reason"))
            self._add_end(end.status)
            journal.state.told[end.repo_id] = end.told
            lines.append(
                body_of_outcome(end.repo_id, end.status, end.attempts, end.told)
            )
            if self._rollout is not None:
                now = self._clock.monotonic()
                troubled = end.status in TROUBLES
                self._rollout.finish(now, None, healthy=not troubled, troubled=troubled)
        most, reason = job.most_failures
        if self.counts.stop is None and most and self.counts.troubled >= most:
            # In one batch with the outcomes: as soon as the count has it the bulk ends,
            # and cancels who waits here.
            lines.append(self._stop(journal, reason))
        if self.counts.finished == self.counts.total:
            lines.append(body_of({"type": "end"}))
        if lines:
            await journal.add_durably(*lines)
        return refused

    def _add_end(self, status: OutcomeStatus) -> None:
        counts = self.counts
        by_status = {**counts.by_status, status: counts.by_status.get(status, 0) + 1}
        self.counts = evolve(
            counts,
            finished=counts.finished + 1,
            troubled=counts.troubled + (status in TROUBLES),
            by_status=by_status,
        )

    async def release(self) -> None:
        """Leave the run: what this process holds is free."""
        while self._held:
            _, (_, ids) = self._held.popitem()
            self._free.insert(0, ids)

    async def read_counts(self) -> Counts:
        """Return how far the run is, in full."""
        if self._journal is None:
            self._existing(await self.find())
        return self.counts

    async def cancel(
        self,
        reason: StopReason,
        *,
        unless_others: float = 0.0,  # noqa: ARG002  (there is no other host)
    ) -> None:
        """End the run early. The first reason counts."""
        journal = await self._opened()
        if not self.counts.is_over:
            await journal.add_durably(self._stop(journal, reason))

    def _stop(self, journal: Journal, reason: StopReason) -> bytes:
        """End the run early; return the line that says so."""
        self.counts = evolve(self.counts, stop=reason)
        journal.state.stop = reason
        return body_of({"type": "stop", "reason": str(reason)})

    async def results(self) -> AsyncIterator[Result]:
        """Yield what is known of each Space, in the order of the targets."""
        if self._journal is not None:
            state = self._journal.state
        else:
            # Who only looks needs no lock, which the process that works on it has.
            _, state = await asyncio.to_thread(read_state, self._path)
        for repo_id, entry in state.entries.items():
            yield Result(repo_id, entry, state.told.get(repo_id, {}))

    async def aclose(self) -> None:
        """Make all durable, and let go of the file."""
        self._held.clear()
        if self._journal is not None:
            await self._journal.aclose()
            self._journal = None

    async def _opened(self) -> Journal:
        """Return the journal, locked by this process.

        Raises:
            JournalError: Another process works on the run, or it cannot be read.
        """
        if self._journal is None:
            job = self._existing(self._job or await self.find())
            self._journal = await Journal.open(self._path, job.header)
            self._prepare(self._journal)
        return self._journal

    def _existing(self, job: Job | None) -> Job:
        if job is None:
            raise StoreError(f"there is no run {self.shown}", path=self.shown)
        return job

    def _prepare(self, journal: Journal) -> None:
        job, entries = self._job, journal.state.entries
        assert job is not None  # noqa: S101  (see the callers)
        self._free = blocks_of(list(entries))
        self._count(journal.state)
        self._started = {i for i, e in entries.items() if e.sent_at or e.status}
        if job.paces:
            done = [e for e in entries.values() if e.status is not None]
            self._rollout = Rollout(
                len(entries),
                job.ends or (len(entries),),
                bool(job.ends),
                job.max_unavailable,
                job.max_failures,
                job.pause_between,
                started=len(self._started),
            )
            while self._rollout.wave < len(job.ends) - 1 and (
                len(done) >= self._rollout.ends[self._rollout.wave]
            ):
                self._rollout.wave += 1
            self._rollout.finished = len(done)
            self._rollout.troubled = self.counts.troubled

    def _count(self, state: State) -> None:
        ends = Counter(e.status for e in state.entries.values() if e.status is not None)
        self.counts = Counts(
            len(state.entries),
            self.counts.started,
            sum(ends.values()),
            sum(ends[status] for status in TROUBLES),
            state.stop,
            {status: ends[status] for status in OutcomeStatus},
        )

    def _holds(self, block: Block) -> bool:
        held = self._held.get(block.key)
        return held is not None and held[0].fence == block.fence

    def _require(self, block: Block) -> None:
        if not self._holds(block):
            raise NotOursError
        if self.counts.stop is not None:
            raise StoppedError
