"""The job of a run as a store keeps it: written, checked, read back. Pure.

What comes out of a store is checked like any input: somebody else may have written it.
"""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import field, frozen

from spaces_async import _validate
from spaces_async._wire.json import loads
from spaces_async.bulk._journal.format import (
    Entry,
    Header,
    header_of,
    shortened,
    told_in,
)
from spaces_async.bulk._rollout_record import PACING, options_of
from spaces_async.bulk._store.protocol import Result
from spaces_async.bulk._waves import Pacing
from spaces_async.bulk.health import Healthy
from spaces_async.bulk.report import OutcomeStatus, StopReason
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Job",
    "digest_of",
    "encode",
    "read_ids",
    "read_instant",
    "read_intent",
    "read_result",
]

SCHEMA: Final = 1
MIN_LEASE_SECONDS: Final = 0.5
MAX_LEASE_SECONDS: Final = 86_400.0
_ON_UNKNOWN: Final = ("verify", "retry", "skip")
_MAX_COUNT: Final = 10**9
_MAX_MILLISECONDS: Final = 32_503_680_000_000
"""The year 3000."""
_MAX_DIGITS: Final = 20
_STATUSES: Final = frozenset(OutcomeStatus)

encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@frozen(kw_only=True)
class Job:
    """What a run does, and what holds for all of its hosts.

    Attributes:
        header: The operation, its waves and what it takes for healthy, as a journal has
            them.
        digest: Tells whether a list of targets is that of the run.
        lease: Seconds that a block is held for.
        on_unknown: As in `BulkOptions`.
        only_changes: Whether to leave out what is so already.
        record_before: Whether the state before each write is recorded.
        ends: How many Spaces have been started by the end of each wave; empty without
            waves.
        max_unavailable: Spaces on their way to health at the same time; None is no
            limit.
        max_failures: After so many failures the run ends; None is no limit.
        fail_fast: Whether it ends after the first.
        has_check: Whether a function of the user's judges health; from the header.
        healthy: What has to be so after each write; None if nothing has to; from the
            header.
        pause_between: Seconds between two waves; from the header.
    """

    header: Header
    digest: str
    lease: float
    on_unknown: str = "verify"
    only_changes: bool = False
    record_before: bool = True
    ends: tuple[int, ...] = field(default=(), converter=tuple[int, ...])
    max_unavailable: int | None = None
    max_failures: int | None = None
    fail_fast: bool = False
    has_check: bool = field(init=False)
    healthy: Healthy | None = field(init=False)
    pause_between: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        found = options_of(self.header.rollout)
        has_check = (self.header.rollout or {}).get("healthy") is True
        healthy = Healthy() if has_check else found.get("healthy") or None
        note = partial(object.__setattr__, self)
        note("has_check", has_check)
        note("healthy", healthy)
        note("pause_between", float(found.get("pause_between", 0.0)))

    @property
    def paces(self) -> bool:
        """Whether a Space has to be started before anything is done to it."""
        return bool(self.ends) or self.max_unavailable is not None

    @property
    def most_failures(self) -> tuple[int, StopReason]:
        """After how many failures the run ends, and what that is called; 0 is never."""
        most, reason = self.max_failures or 0, StopReason.MAX_FAILURES
        if self.ends:
            most, reason = most or 1, StopReason.UNHEALTHY
        if self.fail_fast and most != 1:
            return 1, StopReason.FAIL_FAST
        return most, reason

    def record(self) -> dict[str, Any]:
        """Return the job as a record."""
        return {
            "schema": SCHEMA,
            "header": self.header.record(),
            "digest": self.digest,
            "lease": self.lease,
            "on_unknown": self.on_unknown,
            "only_changes": self.only_changes,
            "record_before": self.record_before,
            "ends": list(self.ends),
            "max_unavailable": self.max_unavailable,
            "max_failures": self.max_failures,
            "fail_fast": self.fail_fast,
        }

    @classmethod
    def read(cls, text: str) -> Job:
        """Read a job back.

        Raises:
            ValueError: This package cannot have written it.
        """
        try:
            return _job(cast("dict[str, Any]", loads(text.encode())))
        except (KeyError, TypeError, AttributeError, UnicodeEncodeError):
            why = "a field is missing"
        except (ConfigurationError, ValueError) as error:
            why = str(error)
        raise ValueError(f"its job record was not written by this version ({why})")


def _job(record: Mapping[str, Any]) -> Job:
    if record["schema"] != SCHEMA:
        raise ValueError(f"its schema is {shortened(record['schema'])}, not {SCHEMA}")
    header = header_of(record["header"])
    names = [header.operation, header.endpoint, *header.hidden, record["digest"]]
    if header.function is not None:
        names.append(header.function)
    if not all(type(name) is str and name.isprintable() for name in names):
        raise ValueError("a name in it is malformed")
    if header.parameters is not None and not isinstance(header.parameters, dict):
        raise ValueError("its parameters are malformed")
    lease, rollout = record["lease"], header.rollout
    _validate.seconds(lease, "lease")
    if rollout is not None:
        Pacing.make(**{name: rollout[name] for name in PACING})
        if not isinstance(rollout["healthy"], bool | dict):
            raise ValueError("its health is malformed")
    if not MIN_LEASE_SECONDS <= lease <= MAX_LEASE_SECONDS:
        raise ValueError("its lease is out of range")
    if record["on_unknown"] not in _ON_UNKNOWN:
        raise ValueError("its on_unknown is unknown")
    ends = [_count(end) for end in record["ends"]]
    if ends != sorted(set(ends)):
        raise ValueError("its waves do not grow")
    return Job(
        header=header,
        digest=record["digest"],
        lease=float(lease),
        on_unknown=record["on_unknown"],
        only_changes=_validate.flag(record["only_changes"], "only_changes"),
        record_before=_validate.flag(record["record_before"], "record_before"),
        ends=tuple(ends),
        max_unavailable=_limit(record["max_unavailable"]),
        max_failures=_limit(record["max_failures"]),
        fail_fast=_validate.flag(record["fail_fast"], "fail_fast"),
    )


def _count(value: Any) -> int:
    if type(value) is not int or not 0 < value <= _MAX_COUNT:
        raise ValueError("a count in it is out of range")
    return value


def _limit(value: Any) -> int | None:
    return None if value is None else _count(value)


def digest_of(repo_ids: Iterable[str]) -> str:
    """Return what is the same for the same targets, in any order."""
    return hashlib.sha256("\n".join(sorted(repo_ids)).encode()).hexdigest()


def read_ids(text: str) -> list[str]:
    """Read the Spaces of a block back.

    Raises:
        ValueError: The text is not a list of Spaces.
    """
    ids = loads(text.encode())
    if not isinstance(ids, list):
        raise ValueError("a block in it is not a list")  # noqa: TRY004  (of the store)
    found = cast("list[str]", ids)
    try:
        for repo_id in found:
            _validate.repo_id(repo_id)
    except ConfigurationError:
        raise ValueError("a Space id in it is malformed") from None
    return found


def read_intent(text: str) -> Entry:
    """Read an announcement back: two instants, and the state before.

    Args:
        text: Such as "1767225600000 1767225600500 {...}": when the first one came whose
            effect is not known, and the last one, in milliseconds by the store's clock.

    Raises:
        ValueError: The text is not an announcement.
    """
    since, _, rest = text.partition(" ")
    at, _, before = rest.partition(" ")
    state = loads(before.encode())
    if not (state is None or isinstance(state, dict)):
        raise ValueError("a state before in it is malformed")
    kept = cast("dict[str, Any] | None", state)
    return Entry(sent_at=read_instant(at), doubt_since=read_instant(since), before=kept)


def read_instant(text: str) -> float:
    """Read an instant back, in milliseconds, as a Unix time.

    Raises:
        ValueError: The text is not an instant.
    """
    # `int` would quote what it cannot read, which may come from anyone.
    value = int(text) if text.isdecimal() and len(text) < _MAX_DIGITS else -1
    if not 0 <= value <= _MAX_MILLISECONDS:
        raise ValueError("a timestamp in it is out of range")
    return value / 1000


def read_result(
    repo_id: str, intent: str | None, end: str | None, suspect: str = ""
) -> Result:
    """Read back what is known of a Space.

    Args:
        repo_id: The Space.
        intent: Its announcement; None: there was none.
        end: Its outcome; None: it has none.
        suspect: Since when something may have been sent of which nothing is known, in
            milliseconds; "": nothing can have been.

    Raises:
        ValueError: A text is not what it should be.
    """
    entry = Entry() if intent is None else read_intent(intent)
    if end is None:
        if intent is None and suspect:
            entry.sent_at = entry.doubt_since = read_instant(suspect)
        return Result(repo_id, entry, {})
    record = cast("dict[str, Any]", loads(end.encode()))
    try:
        attempts = record["attempts"]
        if type(attempts) is not int or not 0 <= attempts <= _MAX_COUNT:
            raise ValueError("a number of attempts in it is out of range")
        if record["status"] not in _STATUSES:
            raise ValueError("a status in it is unknown")
        told = told_in(record)
        entry.settle(OutcomeStatus(record["status"]), attempts, told.get("reason"))
    except (KeyError, TypeError, AttributeError):
        raise ValueError("a field in it is missing") from None
    return Result(repo_id, entry, told)
