"""The lines of a journal: written, checked, read back. Pure.

A journal is JSON lines. The first member of each line is a checksum of the rest, the
second its number, so that no line can be changed, lost or doubled unnoticed:

```
{"crc":"5c1f0b6e","n":0,"type":"header","schema":1,"operation":"restart",...}
{"crc":"...","n":1,"type":"targets","ids":["acme/a","acme/b"]}
{"crc":"...","n":2,"type":"complete"}
{"crc":"...","n":3,"type":"intent","id":"acme/a","at":1767225600.0,"before":{...}}
{"crc":"...","n":4,"type":"outcome","id":"acme/a","status":"done","attempts":1}
{"crc":"...","n":5,"type":"end"}
```

A run that is kept in a file as its store has two more: `run`, what holds for all hosts,
and `stop`, why it ended early. The end says that a bulk ended by itself, with an outcome
for each of its targets. An intent is durable before its call is sent, so a target without
an intent was never sent, and one with an intent and no outcome may have been.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import define, evolve, field, frozen

from spaces_async._lines import one_line
from spaces_async._redacted import Redacted
from spaces_async._wire.json import dumps_again
from spaces_async.bulk.report import SUCCESSES, OutcomeStatus, StopReason

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: Final = 1
CHUNK: Final = 500
"""Targets that are named in one line."""
UNHEALTHY: Final = "unhealthy"
"""Why an outcome is a failure although its write was done."""
HEALTHY: Final = "healthy"
"""The reason of an outcome whose Space was seen to get well."""

_TOLD: Final = ("error_type", "error", "reason")
_MAX_TOLD_CHARS: Final = 2000
_START: Final = b'{"crc":"'
_AFTER: Final = b'",'
_CRC: Final = slice(len(_START), len(_START) + 8)
_REST: Final = _CRC.stop + len(_AFTER)
_SETTLED: Final = frozenset({*SUCCESSES, OutcomeStatus.SKIPPED})
_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_CRC_OF_BRACE: Final = zlib.crc32(b"{")
_INTENT: Final = b'"type":"intent"'


class DamagedError(Exception):
    """A line that was not torn by a crash is not what was written.

    Attributes:
        line: Its number, from 1.
        problem: What is wrong with it.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(line, problem)
        self.line = line
        self.problem = problem

    def __str__(self) -> str:
        return f"line {self.line} {self.problem}"


@frozen
class Header:
    """The job that a journal is of.

    Attributes:
        operation: Name of the operation.
        parameters: What it can be rebuilt from; None for a callable.
        hidden: Names of parameters that are never written, such as a secret's value.
        endpoint: The Hub that it is for.
        function: What tells a callable from others; None for an operation of the
            package, and in a journal of a version that did not write it.
        rollout: Its waves and what it takes for healthy, as `_rollout_record` writes
            them; None if there are none, and in a journal of a version that did not
            write them. It is not part of the job: another run may take others.
        secret: The values of the hidden parameters, which are never written.
        proof: What tells whether these are the same; None if there are none.
    """

    operation: str
    parameters: Mapping[str, Any] | None
    hidden: tuple[str, ...]
    endpoint: str
    function: str | None = None
    rollout: Mapping[str, Any] | None = field(default=None, eq=False)
    secret: Redacted[str] | None = field(default=None, eq=False)
    proof: str | None = field(default=None, eq=False)

    def record(self) -> dict[str, Any]:
        """Return the header as a record."""
        return {
            "type": "header",
            "schema": SCHEMA,
            "operation": self.operation,
            "parameters": self.parameters,
            "hidden": list(self.hidden),
            "endpoint": self.endpoint,
            "function": self.function,
            "rollout": self.rollout,
            "proof": self.proof,
        }

    def is_same_job(self, found: Header) -> bool:
        """Return whether a journal is of this job, as far as its header tells."""
        if found.function is None:
            return evolve(self, function=None) == found
        return self == found

    @property
    def shown(self) -> str:
        """What it is, for people."""
        if self.function is not None:
            return one_line(f"{self.function} at {self.endpoint}")
        given = (self.parameters or {}).items()
        words = [f"{k}={v!r}" for k, v in given] + [f"{k}=***" for k in self.hidden]
        return one_line(f"{self.operation}({', '.join(words)}) at {self.endpoint}")


@define
class Entry:
    """What a journal says about one Space.

    Attributes:
        sent_at: When its call was last announced, as a Unix time; None: never.
        doubt_since: When the first call was announced whose effect is not known yet.
        status: How it ended; None: it has not.
        attempts: Requests that were sent for it.
        before: The state before the write, by the step that it is about; None if it
            was not recorded.
        unhealthy: Whether it was done, and failed because the Space did not get well.
        healthy: Whether the Space was seen to get well after the last write.
    """

    sent_at: float | None = None
    status: OutcomeStatus | None = None
    attempts: int = 0
    doubt_since: float | None = None
    before: dict[str, Any] | None = None
    unhealthy: bool = False
    healthy: bool = False

    def announce(self, at: float, before: Mapping[str, Any] | None) -> None:
        """Take an intent in.

        Args:
            at: When it was announced.
            before: The state before; None if it was not recorded.
        """
        if not self.in_doubt:
            self.doubt_since = at
            if not self.unhealthy:
                self.before = None
        if before:
            # The first one counts: a later one may show what this bulk did.
            self.before = {**before, **(self.before or {})}
        self.sent_at, self.status, self.healthy = at, None, False

    def settle(self, status: OutcomeStatus, attempts: int, reason: str | None) -> None:
        """Take an outcome in.

        Args:
            status: How it ended.
            attempts: Requests that were sent for it since the outcome before.
            reason: Why it ended so, as it was written.
        """
        self.status = status
        self.attempts += attempts
        # What was done once stays so, whatever a later attempt comes to.
        self.unhealthy |= reason == UNHEALTHY
        self.healthy = reason == HEALTHY

    @property
    def changed(self) -> bool:
        """Whether the Space was changed, or may have been."""
        return self.status is OutcomeStatus.DONE or self.unhealthy or self.in_doubt

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to do."""
        return self.status in _SETTLED

    @property
    def in_doubt(self) -> bool:
        """Whether it may have been sent, with an effect that is not known."""
        if self.status is None:
            return self.sent_at is not None
        return self.status is OutcomeStatus.UNKNOWN


@define
class State:
    """What the lines of a journal add up to.

    Attributes:
        header: The job that it is of; None if it has no line yet.
        entries: Each target, in order of first appearance.
        complete: Whether these are all the targets of the job.
        ended: Whether the last bulk ended by itself, with failures or without.
        lines: How many lines there are.
        run: What holds for all hosts of a run; None if the journal is not a store.
        stop: Why the run ended early; None if it did not.
        told: What is told of each Space that is not done, and if this is the store of
            a run of each that ended.
    """

    header: Header | None = None
    entries: dict[str, Entry] = field(factory=dict[str, Entry])
    complete: bool = False
    ended: bool = False
    lines: int = 0
    run: str | None = None
    stop: StopReason | None = None
    told: dict[str, Mapping[str, str]] = field(factory=dict[str, Mapping[str, str]])

    @property
    def is_blank(self) -> bool:
        """Whether no target has been named yet."""
        return not self.complete and not self.entries

    @property
    def settled(self) -> bool:
        """Whether all targets are named, and nothing is left to do about them."""
        settled = all(entry.settled for entry in self.entries.values())
        return self.complete and bool(self.entries) and settled

    @property
    def finished(self) -> bool:
        """Whether the job is over, with failures or without: a new one starts from scratch."""
        return (self.ended and bool(self.entries)) or self.settled

    @property
    def in_doubt(self) -> Iterator[tuple[str, float]]:
        """Which calls may have been sent, and when they were announced."""
        for repo_id, entry in self.entries.items():
            if entry.in_doubt:
                yield repo_id, entry.doubt_since or 0.0

    def apply(self, record: Mapping[str, Any]) -> None:  # noqa: C901  (a table)
        """Take a record in.

        Raises:
            KeyError: It lacks something.
            TypeError: Something of it is of another kind.
            ValueError: Something of it is not known here.
        """
        kind = record["type"]
        if (kind == "header") is not (self.header is None):
            raise ValueError("is out of place")
        self.ended = kind == "end"
        match kind:
            case "end":
                pass
            case "header":
                self.header = header_of(record)
            case "targets":
                for repo_id in record["ids"]:
                    self.entries.setdefault(str(repo_id), Entry())
            case "complete":
                self.complete = True
            case "run":
                self.run = str(record["job"])
            case "stop":
                self.stop = StopReason(record["reason"])
            case "intent":
                self.entries[record["id"]].announce(
                    float(record["at"]), record.get("before")
                )
            case "outcome":
                status = OutcomeStatus(record["status"])
                self.entries[record["id"]].settle(
                    status, int(record["attempts"]), record.get("reason")
                )
                self.told.pop(record["id"], None)
                # A long journal has no room for what is told of each success.
                kept = self.run is not None or status not in _SETTLED
                if kept and (told := told_in(record)):
                    self.told[record["id"]] = told
            case _:
                raise ValueError(f"is of an unknown kind: {shortened(kind)}")


def header_of(record: Mapping[str, Any]) -> Header:
    """Read a header back.

    Raises:
        KeyError: It lacks something.
        TypeError: Something of it is of another kind.
        ValueError: It is of another version of the package.
    """
    if record["schema"] != SCHEMA:
        raise ValueError(
            f"says schema {shortened(record['schema'])}; this version of the package writes and"
            f" reads {SCHEMA}"
        )
    return Header(
        str(record["operation"]),
        cast("Mapping[str, Any] | None", record["parameters"]),
        tuple(record["hidden"]),
        str(record["endpoint"]),
        record.get("function"),
        rollout=record.get("rollout"),
        proof=record.get("proof"),
    )


def body_of(record: Mapping[str, Any]) -> bytes:
    """Write a record as the body of a line: all that follows the number."""
    return _json(record)[1:].encode()


def body_of_intent(
    repo_id: str, at: float, before: Mapping[str, Any] | None = None
) -> bytes:
    """Write the body of an intent.

    Args:
        repo_id: The Space.
        at: When it was announced, as a Unix time.
        before: The state before, as JSON; None if it is not recorded.
    """
    more = b"" if before is None else b',"before":%b' % dumps_again(before)
    return b'%b,"id":%b,"at":%.3f%b}' % (_INTENT, dumps_again(repo_id), at, more)


def body_of_outcome(
    repo_id: str, status: str, attempts: int, told: Mapping[str, str]
) -> bytes:
    """Write the body of an outcome.

    Args:
        repo_id: The Space.
        status: How it ended.
        attempts: Requests that were sent for it.
        told: What is told of its error, and why it failed; nothing if it did not.
    """
    more = b"," + body_of(told) if told else b"}"
    return b'"type":"outcome","id":%b,"status":%b,"attempts":%d%b' % (
        dumps_again(repo_id),
        dumps_again(str(status)),
        attempts,
        more,
    )


def told_in(record: Mapping[str, Any]) -> dict[str, str]:
    """Read back what is told of an outcome, without what a terminal would obey."""
    return {
        name: one_line(text[:_MAX_TOLD_CHARS])
        for name in _TOLD
        if isinstance(text := record.get(name), str)
    }


def shortened(value: Any) -> str:
    """Show the beginning of a value that someone else may have written."""
    return f"{value!r:.40}"


def is_intent(body: bytes) -> bool:
    """Return whether the body of a line is that of an intent."""
    return body.startswith(_INTENT)


def line_of(body: bytes, number: int) -> bytes:
    """Write the line of that number with a body, and its end."""
    rest = b'"n":%d,%b' % (number, body)
    return b'{"crc":"%08x",%b\n' % (zlib.crc32(rest, _CRC_OF_BRACE), rest)


def encode(record: Mapping[str, Any], number: int) -> bytes:
    """Write a record as line of that number, with its end."""
    return line_of(body_of(record), number)


def decode(line: bytes, number: int) -> dict[str, Any]:
    """Read a line back, without its end.

    Raises:
        ValueError: It is not what was written there.
    """
    rest = b"{" + line[_REST:]
    written = line.startswith(_START) and line[_CRC.stop : _REST] == _AFTER
    if not written or line[_CRC] != b"%08x" % zlib.crc32(rest):
        raise ValueError("is damaged: its checksum does not fit")
    record = json.loads(rest)
    if not isinstance(record, dict):
        raise ValueError("is damaged: it is no object")  # noqa: TRY004  (of the file)
    found = cast("dict[str, Any]", record)
    if found.get("n") != number:
        raise ValueError(f"is out of place: it says number {found.get('n')}")
    return found


def read(data: bytes) -> tuple[State, int]:
    """Read a whole journal.

    A last line without its end was torn when the writer died. It was never durable, so
    what it announces was never sent: it does not count.

    Returns:
        What it adds up to, and how many bytes of it count.

    Raises:
        DamagedError: Any other line is not what was written.
    """
    state = State()
    length = data.rfind(b"\n") + 1
    for number, line in enumerate(data[:length].split(b"\n")[:-1]):
        try:
            state.apply(decode(line, number))
        except (KeyError, TypeError) as error:
            raise DamagedError(number + 1, f"lacks something: {error}") from None
        except ValueError as error:
            raise DamagedError(number + 1, str(error)) from None
        state.lines += 1
    _refuse_bad_end(data[length:], state.lines)
    return state, length


def _refuse_bad_end(torn: bytes, number: int) -> None:
    """Tell what a crash has left from what was changed, or was never a journal."""
    if not torn.strip(b"\0"):
        return
    if torn[: len(_START)] != _START[: len(torn)]:
        raise DamagedError(number + 1, "is not a line of a journal")
    try:
        decode(torn[:-1], number)
    except ValueError:
        return
    raise DamagedError(number + 1, "is damaged: it does not end as it should")
