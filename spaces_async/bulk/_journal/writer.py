"""The journal of a bulk on disk: what was going to be sent, and the outcome.

Writing happens in a thread, beside the event loop. A line is durable when `fsync` has
returned; an intent has to be, before its write is sent. Lines that come while a batch is
on its way to the disk form the next batch (group commit), so that many workers share one
`fsync`.

Worked example: 16 workers announce 16 writes at the same time. The first line starts a
batch of one; while that is being synced, 15 more lines arrive. They are the next batch,
and its one `fsync` lets 15 workers go on. Two syncs instead of sixteen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from attrs import evolve

from spaces_async.bulk._journal.format import (
    CHUNK,
    HEALTHY,
    UNHEALTHY,
    DamagedError,
    Header,
    State,
    body_of,
    body_of_intent,
    body_of_outcome,
    is_intent,
    line_of,
    read,
)
from spaces_async.bulk._journal.proof import is_proven, prove
from spaces_async.bulk._journal.reader import (
    JournalPath,
    file_name,
    unreadable,
)
from spaces_async.errors import ConfigurationError, JournalError, SpacesError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Coroutine,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from datetime import datetime

    from spaces_async.bulk.report import Outcome

__all__ = ["Journal", "check_free", "set_aside_if_finished", "told_of"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_KEPT_JOURNALS: Final = 9
_PIECE_BYTES: Final = 256 * 1024
"""Bytes of a write, so that a batch with all targets takes no more memory."""
_MAX_RESTARTS: Final = 2
_RELEASED_AT_ONCE: Final = 4

# What is read back is the size of the file, so its time stamps need not be durable.
_sync = getattr(os, "fdatasync", os.fsync)


class _File:
    """A file that lines are added to. Each method blocks."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._opened: os.stat_result | None = None
        self._closed = False
        self._length = self._lines = 0

    def open(self) -> State:
        """Open or make the file, lock it, read it, and cut a torn line off.

        Raises:
            OSError: It cannot be opened or read, or has been closed before.
            BlockingIOError: Another process has it open.
            DamagedError: It is not what was written.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        with self._lock:
            if self._closed:
                raise OSError("the journal was closed before it was open")
            fd = os.open(self._path, flags, 0o600)
            try:
                _lock(fd)
                self._refuse_if_renamed(fd)
                state, self._length = read(_read_all(fd))
                self._lines = state.lines
                os.ftruncate(fd, self._length)
                if not state.lines:
                    _sync_folder(self._path)
            except BaseException:
                os.close(fd)
                raise
            self._fd = fd
        return state

    def append(self, records: Sequence[bytes]) -> None:
        """Make records durable, each a line with its number, or leave all as it was.

        Args:
            records: The bodies of their lines.

        Raises:
            OSError: They are not durable.
        """
        with self._lock:
            length = self._length
            if self._fd is None:
                raise OSError("the journal is closed")
            if not self._is_in_place(self._fd):
                raise OSError("the file was deleted or renamed while it was in use")
            try:
                for piece in _pieces(records, self._lines):
                    length += len(piece)
                    left = memoryview(piece)
                    while left:
                        left = left[os.write(self._fd, left) :]
                _sync(self._fd)
            except BaseException:
                # If this fails too, the next reader finds a torn line.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, self._length)
                raise
            self._length = length
            self._lines += len(records)

    def _is_in_place(self, fd: int) -> bool:
        """Return whether the name still leads to the file.

        Otherwise another bulk could begin a journal of that name beside this one.
        """
        try:
            there = os.stat(self._path)  # noqa: PTH116  (any path-like)
        except FileNotFoundError:
            return False
        if self._opened is None:
            # It stays the same while it is open: one call less for each batch.
            self._opened = os.fstat(fd)
        return os.path.samestat(there, self._opened)

    def _refuse_if_renamed(self, fd: int) -> None:
        """Refuse a file that lost its name between its opening and its lock."""
        if not self._is_in_place(fd):
            raise BlockingIOError("it was renamed while it was opened")

    def close(self) -> None:
        """Close the file, and with it the lock."""
        with self._lock:
            self._closed = True
            fd, self._fd = self._fd, None
            if fd is not None:
                os.close(fd)


def _pieces(bodies: Sequence[bytes], number: int) -> Iterator[bytes]:
    """Yield lines, many at a time; the first has that number."""
    piece = bytearray()
    for body in bodies:
        piece += line_of(body, number)
        number += 1
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def check_free(path: JournalPath) -> None:
    """Return if no bulk has the journal open, or if there is none. It blocks.

    Raises:
        JournalError: A bulk has it open.
    """
    name = file_name(path)
    try:
        with open(name, "rb") as file:  # noqa: PTH123  (any path-like)
            _lock(file.fileno(), shared=True)
    except BlockingIOError as error:
        raise unreadable(name, error) from error
    except OSError:
        return  # the next reader says why it cannot be opened


def set_aside_if_finished(path: JournalPath) -> str | None:
    """Rename a finished journal, so that its name is free for a new one. It blocks.

    It gets the end `.1`, an older one `.2` and so on; what was `.9` is deleted.

    Returns:
        Its new name; None if there is none, or none that is finished.

    Raises:
        JournalError: Another bulk has it open, or it cannot be read or renamed.
    """
    name = file_name(path)
    try:
        with open(name, "rb") as file:  # noqa: PTH123  (any path-like)
            # While it is locked no bulk can begin to write to it.
            _lock(file.fileno())
            state, _ = read(file.read())
            if state.header is None or not state.finished:
                return None
            for number in range(_KEPT_JOURNALS, 0, -1):
                newer = f"{name}.{number - 1}" if number > 1 else name
                with contextlib.suppress(FileNotFoundError):
                    os.replace(newer, f"{name}.{number}")  # noqa: PTH105
            _sync_folder(name)
    except FileNotFoundError:
        return None
    except (OSError, DamagedError) as error:
        raise unreadable(name, error) from error
    return f"{name}.1"


def _lock(fd: int, *, shared: bool = False) -> None:
    if sys.platform == "win32":  # pragma: no cover
        raise OSError("a journal needs the file locks of a POSIX system")
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    fcntl.flock(fd, kind | fcntl.LOCK_NB)


def _read_all(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    chunks: list[bytes] = []
    while size > 0 and (chunk := os.pread(fd, size, sum(map(len, chunks)))):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _sync_folder(path: str) -> None:
    """Make the name of a new file durable."""
    fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY)  # noqa: PTH120
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Journal:
    """A journal that a bulk writes.

    What a bulk adds is not kept here: the bulk knows its targets by itself.

    Attributes:
        path: Where it is.
        state: What it held when it was opened; only `complete` and `ended` go on.
        error: Why nothing more can be written; None if it can.
    """

    def __init__(self, path: str, file: _File, state: State) -> None:
        self.path = path
        self.state = state
        self.error: JournalError | None = None
        self._file = file
        # The bodies of the next batch's lines, and those who wait for it.
        self._pending: list[bytes] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._writer: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: JournalPath, header: Header) -> Self:
        """Open or begin the journal of a job, and lock it.

        Raises:
            JournalError: It cannot be read, written or locked.
            ConfigurationError: It belongs to another job.
        """
        name = file_name(path)
        file = _File(name)
        try:
            state = await in_thread(file.open)
        except (OSError, DamagedError, RuntimeError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError from None
            raise unreadable(name, error) from error
        except asyncio.CancelledError:
            # Closed before this ends: the next bulk would find it locked.
            await _close(file)
            raise
        journal = cls(name, file, state)
        try:
            await journal._begin(header)
        except BaseException:
            # What failed is told by the error that is raised already.
            with contextlib.suppress(JournalError):
                await to_its_end(journal.aclose)
            raise
        return journal

    async def _begin(self, header: Header) -> None:
        found = self.state.header
        if found is None:
            if header.secret is not None:
                proof = await asyncio.to_thread(prove, header.secret)
                header = evolve(header, proof=proof)
            self.state.header = header
            await self._add_durably(body_of(header.record()))
            return
        if not header.is_same_job(found):
            raise ConfigurationError(
                f"the journal {self.path} belongs to another job, {found.shown}; this"
                f" is {header.shown}"
            )
        if header.secret is None or found.proof is None:
            return
        if not await asyncio.to_thread(is_proven, header.secret, found.proof):
            raise ConfigurationError(
                f"the journal {self.path} was begun with another secret value for"
                f" {header.shown}: some Spaces have that one; a new value needs a new"
                " journal"
            )

    def name(self, repo_ids: Sequence[str]) -> None:
        """Record targets, each once; those that were there at first are left out."""
        there = self.state.entries
        new = [r for r in repo_ids if r not in there] if there else repo_ids
        for start in range(0, len(new), CHUNK):
            named = new[start : start + CHUNK]
            self._add(body_of({"type": "targets", "ids": named}))

    def complete(self) -> None:
        """Record that the targets named so far are all."""
        if not self.state.complete:
            self.state.complete = True
            self._add(body_of({"type": "complete"}))

    def end(self) -> None:
        """Record that the bulk ended by itself, if that is news."""
        if self.state.complete and not self.state.ended:
            self._add(body_of({"type": "end"}))
            self.state.ended = True

    def intend(
        self, repo_id: str, at: datetime, before: Mapping[str, Any] | None
    ) -> Awaitable[None]:
        """Record that a call is going to be sent; wait for it until that is durable.

        Args:
            repo_id: The Space.
            at: The time.
            before: The state before, as JSON; None if it is not recorded.

        Raises:
            JournalError: It is not, so nothing may be sent.
        """
        if self.error is not None:
            raise self.error  # Its write will not be sent.
        return self._add_durably(body_of_intent(repo_id, at.timestamp(), before))

    def note(self, outcome: Outcome[Any], *, private: bool) -> None:
        """Record the outcome of a Space; it becomes durable with the next batch.

        Args:
            outcome: The outcome.
            private: Whether even the text of an error must not be written.
        """
        told = told_of(outcome, private=private)
        self._add(
            body_of_outcome(outcome.repo_id, outcome.status, outcome.attempts, told)
        )

    async def add_durably(self, *bodies: bytes) -> None:
        """Add lines to the next batch, and wait until they are durable.

        Raises:
            JournalError: The lines are not durable.
        """
        if self.error is not None:
            raise self.error
        for body in bodies[:-1]:
            self._add(body)
        await self._add_durably(bodies[-1])

    async def aclose(self) -> None:
        """Make everything durable that can be, and let the file go.

        Raises:
            JournalError: Something is not durable.
        """
        # A writer that is cancelled starts another one for those who wait.
        while (writer := self._writer) is not None and not writer.done():
            await asyncio.wait((writer,))
        # A cancel is passed on when they are written: they must not be written again.
        left, self._pending = self._pending, []
        try:
            if left:
                # The disk may have room again; these are outcomes that are known.
                await in_thread(self._file.append, left)
                self.error = None
        except Exception as error:  # noqa: BLE001  (as in `_write`)
            self._fail(error)
        finally:
            await _close(self._file)
        if self.error is not None:
            raise self.error

    def _add(self, body: bytes) -> None:
        """Add a line to the next batch."""
        self.state.ended = False
        self._pending.append(body)
        self._start()

    def _start(self) -> None:
        # One that is cancelled before its first turn has no `finally`.
        if self.error is None and (self._writer is None or self._writer.done()):
            # Eager tasks begin to write before this returns, and take the batch.
            writer = asyncio.create_task(self._write())
            self._writer = None if writer.done() else writer

    def _add_durably(self, body: bytes) -> asyncio.Future[None]:
        """Add a line to the next batch; wait for it until that is durable.

        Raises:
            JournalError: The line is not durable.
        """
        # Each has a future of its own: one that is cancelled cancels no other's.
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._add(body)
        return waiter

    async def _write(self) -> None:
        try:
            while self._pending and self.error is None:
                bodies, self._pending = self._pending, []
                waiting, self._waiting = self._waiting, []
                try:
                    await in_thread(self._file.append, bodies)
                except asyncio.CancelledError:
                    _settle(waiting, None)  # It comes when they are durable.
                    raise
                except Exception as error:  # noqa: BLE001  (no thread, for example)
                    self._fail(error)
                    # What was not sent need not be announced any more.
                    left = [*bodies, *self._pending]
                    self._pending = [body for body in left if not is_intent(body)]
                    _settle([*waiting, *self._waiting], self.error)
                    self._waiting = []
                else:
                    await _release(waiting)
        finally:
            self._writer = None
            if self._waiting:
                # It was cancelled, and what came meanwhile is waited for.
                self._start()

    def _fail(self, error: Exception) -> None:
        logger.error("the journal %s cannot be written: %s", self.path, error)
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        self.error = JournalError(
            f"the journal {self.path} cannot be written, so nothing more was sent:"
            f" {why}; fix that, then resume",
            path=self.path,
        )
        self.error.__cause__ = error


async def _close(file: _File) -> None:
    try:
        await in_thread(file.close)
    except RuntimeError:
        # There is no thread to be had. Nothing is being written, so it is quick.
        file.close()


def told_of(outcome: Outcome[Any], *, private: bool) -> dict[str, str]:
    """Return what is written down of the error of an outcome.

    Args:
        outcome: The outcome.
        private: Whether even the text of an error must not be written.
    """
    error = outcome.error
    told: dict[str, str] = {}
    if error is not None:
        told["error_type"] = type(error).__name__
        # The text of other errors may hold anything.
        if isinstance(error, SpacesError) and not private:
            told["error"] = str(error)
    if outcome.reason in {HEALTHY, UNHEALTHY}:
        told["reason"] = outcome.reason
    return told


async def _release(waiting: list[asyncio.Future[None]]) -> None:
    """Let those who wait go on: some in this turn of the event loop, some in the next.

    All at once would hold the loop up while each of them builds and sends its request,
    and all of that would be in memory before the first response frees any.
    """
    try:
        while len(waiting) > _RELEASED_AT_ONCE:
            _settle(waiting[:_RELEASED_AT_ONCE], None)
            del waiting[:_RELEASED_AT_ONCE]
            await asyncio.sleep(0)
    finally:
        _settle(waiting, None)


def _settle(
    waiting: Iterable[asyncio.Future[None]], error: JournalError | None
) -> None:
    for waiter in waiting:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
            waiter.exception()  # It need not be awaited by anything.


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Do something in a thread and wait for its end; a cancel is passed on afterwards.

    A thread cannot be cancelled, and only its end says what it has done.
    """
    loop = asyncio.get_running_loop()
    doing = asyncio.ensure_future(loop.run_in_executor(None, function, *args))
    cancelled = await _wait_for(doing)
    result = doing.result()
    if cancelled is not None:
        raise cancelled
    return result


async def to_its_end(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Wait for something that has to be done, and pass a cancel on afterwards.

    A web framework may cancel again in each turn of the loop until a task has ended,
    so the work is done in a task of its own. `asyncio.run` cancels that, too, when it
    ends early: then the work starts again, so it must be safe to repeat.
    """
    doing = asyncio.ensure_future(work())
    cancelled = await _wait_for(doing)
    for _ in range(_MAX_RESTARTS):
        if not doing.cancelled():
            break
        doing = asyncio.ensure_future(work())
        cancelled = await _wait_for(doing) or cancelled
    if cancelled is not None:
        if not doing.cancelled():
            doing.exception()  # The cancel goes before it.
        raise cancelled
    doing.result()


async def _wait_for(doing: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait until it is done, whatever happens, and return the cancel that came."""
    cancelled: asyncio.CancelledError | None = None
    while not doing.done():
        try:
            await asyncio.wait((doing,))
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled
