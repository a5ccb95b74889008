"""The ledger of the processes of one host: a small file.

Programs that share a token without a ledger can only estimate each other. With a ledger
they count. Each token has a slot in the file, with what is left, when the window ends,
and the claims: how many requests each process has in flight.

**A decision** is made under the lock: lock the file, read the slot, decide, write the
slot if something has changed, unlock. For example, 10 calls are left. Process A claims
6. When process B reads the slot, it sees `left` 10 and the claim, so at most 4 requests
of its own may go out. It writes its claim of 4 before it unlocks. A response to A says
that 9 are left: A lowers its claim to 5 and writes both in one step.

**The lock** is the kernel's (`flock`). It is held for microseconds, and no process
waits for it: after a few attempts the call queues and tries again some 50 ms later. So
an event loop never stops for it. If another process keeps the lock for seconds, calls
go on without the ledger.

**A process that dies** loses its lock at once, because the kernel frees it. Its claims
stay in the slot. A reader that finds no process with the name of a claim brings the
claim's expiry forward to 5 s from now: what the process sent may still be on its way to
the Hub. A claim of a live process expires after 300 s, so that no error can block the
quota for longer.

The file names no token, only hashes. Times are those of the monotonic clock, which all
processes of a host share. docs/pacing.md describes the layout of the file.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import stat
import sys
import zlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define, evolve

from spaces_async._quota.ledger import Others, page_name, poll_delay
from spaces_async._quota.state import QuotaState
from spaces_async._quota.window import Window
from spaces_async._wire.ratelimit import MAX_WAIT_SECONDS
from spaces_async.errors import ConfigurationError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from spaces_async._quota.ledger import Governed
    from spaces_async._redacted import Token

R = TypeVar("R")

logger = logging.getLogger(__name__)

_MAGIC: Final = b"spaces_async ledger 1\n"
_SLOT_BYTES: Final = 4096
_SLOTS: Final = 1024
_SLOTS_PER_TOKEN: Final = 8
"""A token can be in any of so many adjacent slots."""

_LOCK_ATTEMPTS: Final = 20
"""Attempts to lock the file, without a pause: others hold it for microseconds."""

_CLOCK_SKEW_SECONDS: Final = 60.0
"""Another process may have written the slot after this one read the clock."""

_MAX_LOST: Final = 64
"""Lost requests that a slot remembers. It has room for about two hundred."""

_MAX_CALLS: Final = 10**9
_MAX_PID: Final = 2**31 - 1

DEAD_CLAIM_SECONDS: Final = 5.0
"""How long the claims of a process that is gone still count."""

MAX_LOCKED_SECONDS: Final = 2.0
"""How long another process may keep the file locked before calls go on without it."""

MAX_CLAIM_SECONDS: Final = 300.0
"""How long a claim counts if its process never lowers it."""

POLL_SECONDS: Final = 0.05
"""How often the file is read while calls queue. Other processes cannot wake them."""


@define
class _Entry:
    """The content of one slot.

    Attributes:
        key: Hash of the endpoint and the token.
        written: When it was written.
        state: What is known about the quota.
        claims: Requests in flight, by process, and when each claim expires.
        has_earlier_expiry: Whether some claims expire earlier than the file says.
    """

    key: str
    written: float
    state: QuotaState
    claims: dict[str, tuple[int, float]]
    has_earlier_expiry: bool = False


@define
class _Opened:
    """A slot while the file is locked.

    Attributes:
        file: Descriptor of the file.
        offset: Where the slot is.
        entry: Its content, which may be changed.
        before: What was persisted of it.
    """

    file: int
    offset: int
    entry: _Entry
    before: tuple[object, ...]


class FileLedger:
    """The file. It is opened when it is first needed."""

    def __init__(self, path: Path, rng: random.Random) -> None:
        """Keep the path; nothing is opened yet.

        Args:
            path: The file.
            rng: Spreads the readings of several processes.

        Raises:
            ConfigurationError: This system does not have the file locks needed.
        """
        if sys.platform == "win32":
            raise ConfigurationError("a ledger needs file locks, which Windows lacks")
        self._path = path
        self._rng = rng
        self._file: int | None = None
        self._pid = 0
        self._has_warned = False
        self._closed = False
        self._locked_since: float | None = None

    def page(self, origin: str, token: Token | None) -> FilePage:
        """Return the page of one token at one endpoint."""
        return FilePage(self, page_name(origin, token), self._rng)

    async def aclose(self) -> None:
        """Close the file for good."""
        await self.abandon()

    async def abandon(self) -> None:
        """Close the file for good, from any event loop."""
        self._closed = True
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def open(self) -> int | None:
        """Return the file's descriptor; None after it was closed.

        Raises:
            ConfigurationError: The file cannot be opened, or is not a ledger.
        """
        if self._closed:
            return None
        if self._file is not None:
            # After a fork, parent and child would share one lock, so the child opens
            # the file anew. So does a process whose file was deleted: later processes
            # make a new file.
            if self._pid == os.getpid() and os.fstat(self._file).st_nlink:
                return self._file
            os.close(self._file)
            self._file = None
        self._pid = os.getpid()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            file = os.open(self._path, flags, 0o600)
        except (OSError, ValueError) as error:
            raise self._unusable(error) from None
        try:
            self._check_is_ledger(file)
        except OSError as error:
            os.close(file)
            raise self._unusable(error) from None
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return file

    def _unusable(self, error: OSError | ValueError) -> ConfigurationError:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return ConfigurationError(
            f"the ledger {str(self._path)!r} cannot be opened: {why}"
        )

    def _check_is_ledger(self, file: int) -> None:
        """Accept a ledger or an empty file; leave any other file as it is.

        Raises:
            ConfigurationError: It is another file.
        """
        if stat.S_ISREG(os.fstat(file).st_mode):
            head = os.pread(file, len(_MAGIC), 0)
            if head == _MAGIC:
                return
            # The first line was written in part, or the file was emptied while in use.
            if _MAGIC.startswith(head) or not head.strip(b"\0"):
                os.pwrite(file, _MAGIC, 0)
                return
        raise ConfigurationError(
            f"{str(self._path)!r} is not a ledger of this package; choose another path"
        )

    def lock(self, now: float) -> int | None:
        """Lock the file; return its descriptor, or None if it is locked or closed."""
        file = self.open()
        if file is not None and _try_lock(file):
            self._locked_since = None
            return file
        if self._locked_since is None:
            self._locked_since = now
        return None

    def is_briefly_locked(self, now: float) -> bool:
        """Whether another process has it locked, but not for longer than allowed."""
        if self._closed or self._locked_since is None:
            return False
        if now - self._locked_since < MAX_LOCKED_SECONDS:
            return True
        self.warn_once(f"locked by another process for {MAX_LOCKED_SECONDS:.0f} s")
        return False

    def warn_once(self, why: str) -> None:
        """Log, the first time only, that calls go on without the file."""
        if not self._has_warned:
            self._has_warned = True
            logger.warning("the ledger cannot be used: %s; pacing without it", why)


class FilePage:
    """What the file says about one token."""

    spans_hosts = False

    def __init__(self, ledger: FileLedger, key: str, rng: random.Random) -> None:
        self._ledger = ledger
        self._key = key
        self._rng = rng
        self._governor: Governed | None = None
        self._poll: asyncio.TimerHandle | None = None
        self._opened: _Opened | None = None
        first = int(key[:8], 16)
        # The first line of the file has a slot to itself.
        self._offsets = [
            (1 + (first + n) % _SLOTS) * _SLOT_BYTES for n in range(_SLOTS_PER_TOKEN)
        ]

    def attach(self, governor: Governed) -> None:
        """Say whose page this is."""
        self._governor = governor

    def others(self, now: float) -> Others:  # noqa: ARG002  (see `LedgerPage`)
        """Return what is known of others while the file cannot be read: nothing."""
        return Others()

    def look_soon(self) -> None:
        """Have the governor look again in a moment. A file tells no one when it changes."""
        if self._poll is None:
            delay = poll_delay(self._rng.uniform, POLL_SECONDS)
            self._poll = asyncio.get_running_loop().call_later(delay, self._look)

    def close(self) -> None:
        """Look no more."""
        if self._poll is not None:
            self._poll.cancel()

    def _look(self) -> None:
        self._poll = None
        if self._governor is not None:
            self._governor.ledger_changed()

    def open(self, now: float) -> QuotaState | None:
        """Lock the file and read the token's slot.

        Returns:
            What is known; None if another process locks the file, or if the disk fails.
        """
        file = self._ledger.lock(now)
        if file is None:
            return None
        try:
            offset, entry = self._find(file, now)
        except BaseException as error:
            fcntl.flock(file, fcntl.LOCK_UN)
            if not isinstance(error, OSError):
                raise
            self._ledger.warn_once(str(error.strerror))
            return None
        self._opened = _Opened(file, offset, entry, _persisted(entry.state))
        return entry.state

    def put_back(self, now: float, *, keep: bool) -> None:
        """Write the slot if something has changed, and unlock the file."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        entry = opened.entry
        try:
            is_changed = _persisted(entry.state) != opened.before
            if keep and (is_changed or entry.has_earlier_expiry):
                _update_claim(entry, now)
                entry.written = now
                self._write(opened.file, opened.offset, _encode(entry))
        finally:
            fcntl.flock(opened.file, fcntl.LOCK_UN)

    def is_briefly_locked(self, now: float) -> bool:
        """Whether another process has it locked, but not for longer than allowed."""
        return self._ledger.is_briefly_locked(now)

    def _find(self, file: int, now: float) -> tuple[int, _Entry]:
        """Return the token's slot, or else a free one, or else the oldest one."""
        candidates: list[tuple[float, int]] = []
        for offset in self._offsets:
            entry = _decode(os.pread(file, _SLOT_BYTES, offset), now)
            if entry is not None and entry.key == self._key:
                return offset, entry
            if entry is None or _is_idle(entry, now):
                candidates.append((-math.inf, offset))
            else:
                candidates.append((entry.written, offset))
        _, offset = min(candidates)
        return offset, _Entry(self._key, now, QuotaState(is_ledgers=True), {})

    def _write(self, file: int, offset: int, data: bytes) -> None:
        if len(data) > _SLOT_BYTES:
            self._ledger.warn_once("too many processes share one token")
            return
        try:
            os.pwrite(file, data, offset)
        except OSError as error:
            self._ledger.warn_once(str(error.strerror))


def _try_lock(file: int) -> bool:
    for _ in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        return True
    return False


def _persisted(state: QuotaState) -> tuple[object, ...]:
    """Return a copy of what is written to the file, to find out what has changed."""
    window = evolve(state.window)
    known = dict(state.holds), list(state.lost), state.carried_over, state.requests
    return window, state.in_flight, state.probing_since, known


def _update_claim(entry: _Entry, now: float) -> None:
    """Set this process's claim to its requests in flight.

    Its expiry moves only when the claim grows. So a permit that is never released stops
    counting some time after the last request.
    """
    in_flight = max(0, entry.state.in_flight)
    own = _process_name()
    claimed, expires = entry.claims.get(own, (0, 0.0))
    if in_flight > claimed:
        entry.claims[own] = in_flight, now + MAX_CLAIM_SECONDS
    elif in_flight:
        entry.claims[own] = in_flight, expires
    else:
        entry.claims.pop(own, None)


def _is_idle(entry: _Entry, now: float) -> bool:
    ends = entry.state.window.ends
    return not entry.claims and not entry.state.holds and (ends is None or ends <= now)


_process_names: dict[int, str] = {}


def _process_name() -> str:
    """Return the name of this process.

    It has a random part, because the system may reuse the id of a process that is gone.
    """
    pid = os.getpid()
    name = _process_names.get(pid)
    if name is None:
        name = _process_names[pid] = f"{pid}.{os.urandom(3).hex()}"
    return name


def _is_alive(name: str) -> bool:
    """Return whether the process with that name is running.

    Raises:
        ValueError: The name is not that of a process.
    """
    pid = int(name.partition(".")[0])
    if not 0 < pid <= _MAX_PID:
        raise ValueError("not a process id")
    if pid == os.getpid():
        return name == _process_name()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's process
    return True


def _encode(entry: _Entry) -> bytes:
    state, window = entry.state, entry.state.window
    value = {
        "key": entry.key,
        "written": entry.written,
        "left": window.left,
        "ends": window.ends,
        "limit": window.limit,
        "known_since": _finite(window.known_since),
        "not_before": _finite(window.not_before),
        "carried_over": state.carried_over,
        "probing_since": state.probing_since,
        "holds": state.holds,
        "requests": state.requests,
        "lost": state.lost[-_MAX_LOST:],
        "claims": entry.claims,
    }
    text = json.dumps(value, separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _decode(data: bytes, now: float) -> _Entry | None:
    """Decode a slot; None if it is empty, damaged or from before the last boot."""
    check, _, text = data.partition(b"\n")[0].partition(b" ")
    try:
        if int(check, 16) != zlib.crc32(text):
            return None
        return _make_entry(json.loads(text), now)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _make_entry(value: dict[str, Any], now: float) -> _Entry:
    """Make an entry of parsed JSON. Every value is checked.

    Raises:
        ValueError: This package cannot have written it since the last boot.
    """
    claims: dict[str, tuple[int, float]] = {}
    has_earlier_expiry = False
    for name, (in_flight, until) in value["claims"].items():
        expires = _instant(until, now)
        if not _is_alive(name) and expires > now + DEAD_CLAIM_SECONDS:
            # Requests that the process sent before it died may still be on their way.
            expires = now + DEAD_CLAIM_SECONDS
            has_earlier_expiry = True
        if expires > now:
            claims[name] = _count(in_flight), expires
    own = claims.get(_process_name(), (0, 0.0))[0]
    window = Window(
        left=_maybe(_count, value["left"]),
        ends=_maybe(_instant, value["ends"], now),
        limit=_maybe(_count, value["limit"]),
    )
    if value["known_since"] is not None:
        window.known_since = _instant(value["known_since"], now)
    if value["not_before"] is not None:
        window.not_before = _instant(value["not_before"], now)
    state = QuotaState(
        window=window,
        in_flight=own,
        others_in_flight=sum(in_flight for in_flight, _ in claims.values()) - own,
        carried_over=_count(value["carried_over"]),
        probing_since=_maybe(_instant, value["probing_since"], now),
        holds={str(kind): _instant(end, now) for kind, end in value["holds"].items()},
        requests=_count(value["requests"]),
        lost=[_count(last) for last in value["lost"]],
        is_ledgers=True,
    )
    written = _instant(value["written"], now)
    if written > now + _CLOCK_SKEW_SECONDS:
        # The monotonic clock starts again from zero at each boot.
        raise ValueError("written before the last boot")
    if (window.left is None) != (window.ends is None):
        raise ValueError("half a window")
    return _Entry(str(value["key"]), written, state, claims, has_earlier_expiry)


def _maybe(read: Callable[..., R], value: Any, *args: Any) -> R | None:
    return None if value is None else read(value, *args)


def _count(value: Any) -> int:
    if isinstance(value, int) and 0 <= value <= _MAX_CALLS:
        return value
    raise ValueError("not a number of calls")


def _instant(value: Any, now: float) -> float:
    # No wait is longer than MAX_WAIT_SECONDS, so no instant is later than this.
    latest = now + _CLOCK_SKEW_SECONDS + MAX_WAIT_SECONDS
    if isinstance(value, int | float) and -math.inf < value <= latest:
        return float(value)
    raise ValueError("not an instant since the last boot")
