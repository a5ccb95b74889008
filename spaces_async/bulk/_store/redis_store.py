"""A run in Redis: the protocol over the scripts."""

from __future__ import annotations

import logging
import os
import re
import socket
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from attrs import evolve

from spaces_async._redis import RedisAwayError, RedisRefusedError, RedisServer
from spaces_async._wire.json import JsonError, dumps_again
from spaces_async.bulk._journal.format import Entry
from spaces_async.bulk._store import scripts
from spaces_async.bulk._store.group_commit import GroupCommit
from spaces_async.bulk._store.job import (
    Job,
    encode,
    read_ids,
    read_result,
)
from spaces_async.bulk._store.protocol import (
    Block,
    Counts,
    NotOursError,
    Result,
    Settlement,
    StoppedError,
    StoreAwayError,
    blocks_of,
)
from spaces_async.bulk.report import TROUBLES, OutcomeStatus, StopReason
from spaces_async.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence

    from spaces_async._clock import Clock
    from spaces_async.bulk._store.url import Place

    # A block, its fence, the Space and the state before, as JSON.
    Intent = tuple[str, int, str, str]

__all__ = ["RedisStore"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

STORE_SECONDS: Final = 2.0
"""How long Redis may take to connect, and to answer."""

SYNC_SECONDS: Final = 2.0
"""With `appendfsync everysec` Redis may lose what it was told in this time."""

LOADING_SECONDS: Final = 30.0
"""A host that begins a run and falls silent for so long is lost."""

_BLOCKS_AT_ONCE: Final = 64
_INTENTS_AT_ONCE: Final = 100
_HEADS: Final = 7
"""What each answer begins with."""

_WORDLESS: Final = re.compile(r"[^A-Za-z0-9.-]")


class RedisStore:
    """A run in Redis or Valkey."""

    def __init__(self, place: Place, clock: Clock) -> None:
        """Make it; nothing is opened yet.

        Args:
            place: Where it is.
            clock: This host's, into which instants are translated.

        Raises:
            ConfigurationError: redis-py cannot use the URL.
        """
        self.shown = place.shown
        self.counts = Counts()
        self.hold_seconds = 0.0
        self._clock = clock
        self._server = RedisServer(place.server, "store", seconds=STORE_SECONDS)
        # A cluster keeps all keys with the same braces on one server.
        start = f"spaces_async:run:1:{{{place.name}}}"
        self._keys = [f"{start}:{name}" for name in scripts.KEYS]
        where = _WORDLESS.sub("-", socket.gethostname())[:64]
        self._host = f"{where}:{os.getpid()}:{os.urandom(6).hex()}"
        self._job: Job | None = None
        self._announced = GroupCommit(self._intend, most=_INTENTS_AT_ONCE)

    async def find(self) -> Job | None:
        """Return the job of the run; None if there is none, or it is not whole yet."""
        state, text, survives = await self._ask(
            self._server.fields(self._keys[0], "state", "job", "survives")
        )
        if state != "ready":
            return None
        try:
            self._job = Job.read(text or "")
        except ValueError as error:
            self._refuse(str(error), error)
        self.hold_seconds = SYNC_SECONDS if survives == "all but seconds" else 0.0
        await self.read_counts()
        return self._job

    async def begin(self, job: Job, repo_ids: Sequence[str]) -> bool:
        """Begin the run with these Spaces; False if there is one, or comes to be."""
        text = encode(job.record())
        word = await self._run(
            scripts.BEGIN, self._host, text, _milliseconds(LOADING_SECONDS)
        )
        if word != ["yours"]:
            return False
        found = [encode(list(block)) for block in blocks_of(repo_ids)]
        for at in range(0, len(found), _BLOCKS_AT_ONCE):
            some = found[at : at + _BLOCKS_AT_ONCE]
            if await self._run(scripts.LOAD, self._host, at, *some) != ["ok"]:
                return False
        survives = await self._ask(self._server.survives())
        if survives == "nothing":
            logger.warning(
                "the Redis of %s keeps no append-only file, or does not sync it"
                " (appendfsync): when it is restarted, all Spaces without an outcome are"
                " in doubt",
                self.shown,
            )
        if await self._ask(self._server.evicts()):
            logger.warning(
                "the Redis of %s deletes keys when its memory is full, so it may lose"
                " this run: set maxmemory-policy to noeviction",
                self.shown,
            )
        ready = await self._run(
            scripts.READY, self._host, len(repo_ids), survives, len(found)
        )
        return ready == ["ok"]

    async def claim(
        self, known: Collection[str], *, only_lost: bool = False
    ) -> Block | None:
        """Take a block that no other host holds."""
        found = await self._raw(
            scripts.CLAIM,
            self._host,
            self._lease_milliseconds,
            int(not only_lost),
            *known,
        )
        word, now = str(found[0]), int(found[1])
        if word != "block":
            return None
        try:
            key, fence, suspect, ids = found[_HEADS : _HEADS + 4]
            entries = dict[str, Entry]()
            intents, ends = found[_HEADS + 4], found[_HEADS + 5]
            started = set[str]()
            told = zip(read_ids(ids), intents, ends, found[_HEADS + 6], strict=True)
            for repo_id, intent, end, is_started in told:
                if end is not None:
                    continue
                if is_started:
                    started.add(repo_id)
                entry = read_result(repo_id, intent, None, suspect).entry
                entries[repo_id] = self._translated(entry, now)
            if not entries:
                raise ValueError("a block in it has nothing to do")  # noqa: TRY301
            return Block(str(key), int(fence), entries, started)
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            self._refuse(_told(error), error)

    def _translated(self, entry: Entry, now: int) -> Entry:
        """Translate the server's instants into those of this host's wall clock."""
        ahead = self._clock.utcnow().timestamp() - now / 1000
        return evolve(
            entry,
            sent_at=None if entry.sent_at is None else entry.sent_at + ahead,
            doubt_since=None
            if entry.doubt_since is None
            else entry.doubt_since + ahead,
        )

    async def renew(self, blocks: Sequence[Block]) -> Collection[Block]:
        """Hold blocks for one more lease; return those that have passed to another."""
        lost = await self._run(scripts.RENEW, self._host, *_claims_of(blocks))
        return [block for block in blocks if block.key in lost[1:]]

    async def start(self, block: Block, repo_id: str) -> float:
        """Start a Space, if the waves let it."""
        job = self._known_job
        found = await self._run(
            scripts.START,
            self._host,
            block.key,
            block.fence,
            repo_id,
            job.max_unavailable or 0,
            *job.ends,
        )
        self._require_go(found[0])
        if found[0] == "go":
            return 0.0
        return max(0.05, int(found[1]) / 1000)

    async def intend(
        self, block: Block, repo_id: str, before: Mapping[str, Any] | None
    ) -> None:
        """Announce a write, which may be sent then."""
        intent = block.key, block.fence, repo_id, dumps_again(before).decode()
        self._require_go(await self._announced.ask(intent))

    async def _intend(self, intents: Sequence[Intent]) -> Sequence[str]:
        """Announce some writes; return whether each may be sent: go, lost or stopped."""
        told = [value for intent in intents for value in intent]
        found = await self._run(scripts.INTEND, self._host, *told)
        return [str(word) for word in found[1:]]

    async def settle(self, ends: Sequence[Settlement]) -> Collection[Settlement]:
        """Record outcomes, each once; return those whose block has passed to another."""
        job = self._known_job
        most, why = job.most_failures
        told: list[str | int] = []
        for end in ends:
            record = {"status": str(end.status), "attempts": end.attempts, **end.told}
            told += [
                end.block.key,
                end.block.fence,
                end.repo_id,
                int(end.status in TROUBLES),
                str(end.status),
                # It names the host: only a repeat of the same host is the same outcome.
                encode({**record, "host": self._host}),
            ]
        refused = await self._run(
            scripts.SETTLE,
            self._host,
            most,
            str(why),
            _milliseconds(job.pause_between),
            len(job.ends),
            *job.ends,
            *told,
        )
        return [end for end in ends if end.repo_id in refused[1:]]

    async def release(self) -> None:
        """Leave the run: other hosts may have at once what this one holds."""
        # An announcement that came after it would hold a block for a whole lease.
        await self._announced.aclose()
        await self._run(scripts.RELEASE, self._host, self._lease_milliseconds)

    async def read_counts(self) -> Counts:
        """Return how far the run is, in full."""
        found = await self._run(scripts.COUNT, self._lease_milliseconds)
        fields = dict(zip(found[1::2], found[2::2], strict=False))
        try:
            by_status = {
                status: int(fields.get(f"is:{status}", 0)) for status in OutcomeStatus
            }
            hosts = {
                name.partition(":")[2]: int(value)
                for name, value in fields.items()
                if name.startswith("host:")
            }
        except ValueError as error:
            self._refuse("a count in it is out of range", error)
        return evolve(self.counts, by_status=by_status, hosts=hosts)

    async def cancel(self, reason: StopReason, *, unless_others: float = 0.0) -> None:
        """End the run early, on all hosts. The first reason counts."""
        recent = _milliseconds(unless_others)
        await self._run(scripts.CANCEL, str(reason), self._host, recent)

    async def results(self) -> AsyncIterator[Result]:
        """Yield what is known of each Space, in the order of the targets."""
        at = ""
        while True:
            found = await self._raw(scripts.PAGE, at, _BLOCKS_AT_ONCE)
            now, page = int(found[1]), found[_HEADS:]
            for key, ids, intents, ends, suspect in page:
                at = str(key)
                try:
                    told = zip(read_ids(ids), intents, ends, strict=True)
                    for repo_id, intent, end in told:
                        result = read_result(repo_id, intent, end, suspect)
                        if result.entry.in_doubt:
                            entry = self._translated(result.entry, now)
                            result = evolve(result, entry=entry)
                        yield result
                except (ValueError, TypeError) as error:
                    self._refuse(_told(error), error)
            if len(page) < _BLOCKS_AT_ONCE:
                return

    async def aclose(self) -> None:
        """Close the connections."""
        try:
            await self._announced.aclose()
        finally:
            await self._server.aclose()

    @property
    def _known_job(self) -> Job:
        if self._job is None:
            raise StoreError(
                f"the run {self.shown} has not been found", path=self.shown
            )
        return self._job

    @property
    def _lease_milliseconds(self) -> int:
        return _milliseconds(self._known_job.lease)

    def _require_go(self, word: str) -> None:
        if word == "lost":
            raise NotOursError
        if word == "stopped":
            raise StoppedError

    async def _run(self, script: str, *arguments: str | int) -> list[Any]:
        """Run a script; return its word, and what comes after the counts."""
        found = await self._raw(script, *arguments)
        return [found[0], *found[_HEADS:]]

    async def _raw(self, script: str, *arguments: str | int) -> list[Any]:
        """Run a script, and take the counts out of its answer.

        Raises:
            StoreAwayError: Redis cannot be reached, or cannot answer now.
            StoreError: The run is gone, or Redis refuses.
        """
        found = await self._ask(self._server.run(script, self._keys, *arguments))
        if found[:1] == ["gone"]:
            raise StoreError(
                f"the run {self.shown} is not there any more", path=self.shown
            )
        try:
            stop, total, started, finished, troubled = found[2:_HEADS]
        except ValueError as error:
            self._refuse("its answer is not that of a script of this package", error)
        try:
            reason = StopReason(stop) if stop else None
        except ValueError as error:
            self._refuse("it ended for a reason that is unknown here", error)
        self.counts = Counts(total, started, finished, troubled, reason)
        return found

    async def _ask(self, asking: Awaitable[T]) -> T:
        try:
            return await asking
        except RedisRefusedError as error:
            self._refuse(str(error), error)
        except RedisAwayError as error:
            raise StoreAwayError(str(error)) from None

    def _refuse(self, why: str, error: Exception) -> NoReturn:
        del error  # Its text may hold anything.
        raise StoreError(
            f"the run {self.shown} cannot be used: {why}", path=self.shown
        ) from None


def _told(error: Exception) -> str:
    """Say what is wrong with something that was read, in words of our own."""
    if isinstance(error, JsonError) or not isinstance(error, ValueError):
        return "it holds what this package cannot have written"
    return str(error)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _claims_of(blocks: Sequence[Block]) -> list[str | int]:
    return [value for block in blocks for value in (block.key, block.fence)]
