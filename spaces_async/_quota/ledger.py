"""What the processes of one host tell each other of a quota: a small file.

Each token has a place in the file with what is left, when the window ends and how many
calls of each process are under way. Whoever wants to know or to change it locks the
file for some microseconds; nobody waits for the lock, so no event loop ever stands
still for it. The lock is the kernel's, which frees it when its holder dies, and the
claims of a process that was killed fall soon after. The file names no token, only
hashes.

Times are those of the monotonic clock, which all processes of a host share.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import stat
import sys
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define, evolve

from spaces_async._quota.state import QuotaState
from spaces_async._quota.window import Window
from spaces_async._wire.ratelimit import MAX_WAIT_SECONDS
from spaces_async.errors import ConfigurationError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from spaces_async._redacted import Token

R = TypeVar("R")

logger = logging.getLogger(__name__)

_MAGIC: Final = b"spaces_async ledger 1\n"
_PLACE: Final = 4096
_PLACES: Final = 1024
_NEIGHBOURS: Final = 8
_TRIES: Final = 20
"""How often the lock is tried at once: others hold it for microseconds."""

_SKEW: Final = 60.0
"""Another process may have written after we looked at the clock."""

_MOST_LOST: Final = 64
"""Lost calls that are remembered at most; they have room for about two hundred."""

_MOST: Final = 10**9
_MOST_PID: Final = 2**31 - 1

AFTER_DEATH: Final = 5.0
"""Seconds for which the claims of a process that is gone still count."""

PATIENCE: Final = 2.0
"""Seconds for which another process may keep the file locked, before we go alone."""

CLAIM_LIFE: Final = 300.0
"""Seconds after which a claim falls, whatever became of its call."""


@define
class _Entry:
    """One token's place.

    Attributes:
        key: Whose it is.
        at: When it was written.
        state: What is known.
        claims: Calls under way, by process, and until when they count.
        shortened: Whether some of them count less long than is written.
    """

    key: str
    at: float
    state: QuotaState
    claims: dict[str, tuple[int, float]]
    shortened: bool = False


class Ledger:
    """The file, opened when it is first needed."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is opened yet.

        Raises:
            ConfigurationError: This system has no file locks of the kind needed.
        """
        if sys.platform == "win32":
            raise ConfigurationError("a ledger needs file locks, which Windows lacks")
        self._path = path
        self._file: int | None = None
        self._pid = 0
        self._complained = False
        self._closed = False
        self._locked_since: float | None = None

    def page(self, origin: str, token: Token | None) -> Page:
        """Return the place of one token at one endpoint."""
        secret = "" if token is None else token.reveal()
        text = f"spaces_async\n{origin}\n{secret}"
        return Page(self, hashlib.sha256(text.encode()).hexdigest()[:32])

    def close(self) -> None:
        """Close the file for good."""
        self._closed = True
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def open(self) -> int | None:
        """Return the file's descriptor; None after `close`.

        Raises:
            ConfigurationError: It cannot be opened, or is not a ledger.
        """
        if self._closed:
            return None
        if self._file is not None:
            # After a fork the lock would be the parent's, too: each process opens its
            # own. A file that was deleted is another one for those who come later.
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
            self._require_ours(file)
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

    def _require_ours(self, file: int) -> None:
        """Take a file that is new or a ledger; everything else stays as it is."""
        if stat.S_ISREG(os.fstat(file).st_mode):
            head = os.pread(file, len(_MAGIC), 0)
            if head == _MAGIC:
                return
            # A beginning that was torn, or emptied under a process that uses it.
            if _MAGIC.startswith(head) or not head.strip(b"\0"):
                os.pwrite(file, _MAGIC, 0)
                return
        raise ConfigurationError(
            f"{str(self._path)!r} is no ledger of this package: name a file of its own"
        )

    def lock(self, now: float) -> int | None:
        """Lock the file; return its descriptor, or None if that cannot be now."""
        file = self.open()
        if file is not None and _lock(file):
            self._locked_since = None
            return file
        if self._locked_since is None:
            self._locked_since = now
        return None

    def is_locked_for_a_moment(self, now: float) -> bool:
        """Whether it is locked, and not for so long that we go on without it."""
        if self._closed or self._locked_since is None:
            return False
        if now - self._locked_since < PATIENCE:
            return True
        self.complain(f"locked by another process for {PATIENCE:.0f} s")
        return False

    def complain(self, why: str) -> None:
        """Say once that the file cannot be used; calls go on without it."""
        if not self._complained:
            self._complained = True
            logger.warning("the ledger cannot be used: %s; pacing without it", why)


class Page:
    """One token's place in the ledger."""

    def __init__(self, ledger: Ledger, key: str) -> None:
        self._ledger = ledger
        self._key = key
        start = int(key[:8], 16)
        self._offsets = [
            (1 + (start + n) % _PLACES) * _PLACE for n in range(_NEIGHBOURS)
        ]

    @contextmanager
    def open(self, now: float) -> Generator[QuotaState | None]:
        """Lock the file and open the place; what is changed in it is written back.

        Args:
            now: The time.

        Yields:
            What is known; None if the file is locked by another process, or fails.
        """
        file = self._ledger.lock(now)
        if file is None:
            yield None
            return
        try:
            try:
                offset, entry = self._find(file, now)
            except OSError as error:
                self._ledger.complain(str(error.strerror))
                yield None
                return
            before = _facts(entry.state)
            yield entry.state
            if entry.shortened or _facts(entry.state) != before:
                _claim(entry, now)
                entry.at = now
                self._write(file, offset, _encode(entry))
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    def is_locked_for_a_moment(self, now: float) -> bool:
        """Whether the file is locked, and not for so long that we go on without it."""
        return self._ledger.is_locked_for_a_moment(now)

    def _find(self, file: int, now: float) -> tuple[int, _Entry]:
        """Return our place, else the first free one, else the one unused for longest."""
        found: list[tuple[float, int]] = []
        for offset in self._offsets:
            entry = _decode(os.pread(file, _PLACE, offset), now)
            if entry is not None and entry.key == self._key:
                return offset, entry
            used = -math.inf if entry is None or _is_idle(entry, now) else entry.at
            found.append((used, offset))
        _, offset = min(found)
        return offset, _Entry(self._key, now, QuotaState(), {})

    def _write(self, file: int, offset: int, data: bytes) -> None:
        if len(data) > _PLACE:
            self._ledger.complain("too many processes share one token")
            return
        try:
            os.pwrite(file, data, offset)
        except OSError as error:
            self._ledger.complain(str(error.strerror))


def _lock(file: int) -> bool:
    for _ in range(_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        return True
    return False


def _facts(state: QuotaState) -> tuple[object, ...]:
    """Return what is written down, to see whether it was changed."""
    window = evolve(state.window)
    known = dict(state.holds), list(state.lost), state.excused
    return window, state.in_flight, state.probing_since, known


def _claim(entry: _Entry, now: float) -> None:
    """Write down how many calls of this process are under way."""
    calls = max(0, entry.state.in_flight)
    own = _me()
    if calls > entry.claims.get(own, (0, 0.0))[0]:
        entry.claims[own] = calls, now + CLAIM_LIFE
    elif calls:
        entry.claims[own] = calls, entry.claims[own][1]
    else:
        entry.claims.pop(own, None)


def _is_idle(entry: _Entry, now: float) -> bool:
    ends = entry.state.window.ends
    return not entry.claims and not entry.state.holds and (ends is None or ends <= now)


_names: dict[int, str] = {}


def _me() -> str:
    """Name this process: its id, and something that no earlier one had with it."""
    pid = os.getpid()
    name = _names.get(pid)
    if name is None:
        name = _names[pid] = f"{pid}.{os.urandom(3).hex()}"
    return name


def _is_alive(name: str) -> bool:
    """Whether a process lives that has made a claim.

    Raises:
        ValueError: It is no name of a process.
    """
    pid = int(name.partition(".")[0])
    if not 0 < pid <= _MOST_PID:
        raise ValueError("no process")
    if pid == os.getpid():
        return name == _me()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def _encode(entry: _Entry) -> bytes:
    state, window = entry.state, entry.state.window
    value = {
        "key": entry.key,
        "at": entry.at,
        "left": window.left,
        "ends": window.ends,
        "limit": window.limit,
        "known_since": _finite(window.known_since),
        "not_before": _finite(window.not_before),
        "excused": state.excused,
        "probing_since": state.probing_since,
        "holds": state.holds,
        "lost": state.lost[-_MOST_LOST:],
        "claims": entry.claims,
    }
    text = json.dumps(value, separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _decode(data: bytes, now: float) -> _Entry | None:
    """Read a place; None if nothing was ever written there, or it is damaged.

    What was written in the future is from before the machine was started again.
    """
    check, _, text = data.partition(b"\n")[0].partition(b" ")
    try:
        if int(check, 16) != zlib.crc32(text):
            return None
        return _entry(json.loads(text), now)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _entry(value: dict[str, Any], now: float) -> _Entry:
    """Make an entry of what was read; nothing of it is taken on trust.

    Raises:
        ValueError: It cannot have been written by this package at this time.
    """
    claims: dict[str, tuple[int, float]] = {}
    shortened = False
    for name, (calls, until) in value["claims"].items():
        written = ends = _instant(until, now)
        if not _is_alive(name):
            # What a process has sent before it died is still on its way.
            ends = min(ends, now + AFTER_DEATH)
        shortened = shortened or ends < written
        if ends > now:
            claims[name] = _count(calls), ends
    own = claims.get(_me(), (0, 0.0))[0]
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
        others=sum(calls for calls, _ in claims.values()) - own,
        excused=_count(value["excused"]),
        probing_since=_maybe(_instant, value["probing_since"], now),
        holds={str(kind): _instant(at, now) for kind, at in value["holds"].items()},
        lost=[_instant(at, now) for at in value["lost"]],
    )
    at = _instant(value["at"], now)
    if at > now + _SKEW or (window.left is None) != (window.ends is None):
        raise ValueError("from another time")
    return _Entry(str(value["key"]), at, state, claims, shortened)


def _maybe(read: Callable[..., R], value: Any, *args: Any) -> R | None:
    return None if value is None else read(value, *args)


def _count(value: Any) -> int:
    if isinstance(value, int) and 0 <= value <= _MOST:
        return value
    raise ValueError("no number of calls")


def _instant(value: Any, now: float) -> float:
    # No wait is longer than a day (see `_ratelimit`).
    if (
        isinstance(value, int | float)
        and -math.inf < value <= now + _SKEW + MAX_WAIT_SECONDS
    ):
        return float(value)
    raise ValueError("no instant of this machine's clock")
