"""How a resource module puts a call together, and the few calls that several need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from spaces_async import _validate
from spaces_async._redacted import Redacted
from spaces_async._wire.calls import Action, Call, Done, Doubt, Verdict, Verify
from spaces_async._wire.converter import (
    DecodeError,
    JsonObject,
    decode_runtime,
    decoder,
    dump_json,
    parse_json,
)
from spaces_async.errors import (
    BadRequestError,
    ConfigurationError,
    InvalidHardwareError,
    SpacesError,
)
from spaces_async.models import SpaceHardware, SpaceRuntime, SpaceVariable
from spaces_async.records import Account

if TYPE_CHECKING:
    from datetime import datetime

    from spaces_async._core.session import HubSession
    from spaces_async.models import SpaceSecret

T = TypeVar("T")

GET_RUNTIME: Final = Action("get_runtime", "GET")
_VISIBILITIES: Final = {v: v for v in ("public", "private", "protected")}

WHOAMI: Final = Action("whoami", "GET")

# What the Hub says of its clock is in whole seconds, and some time old.
_SKEW: Final = timedelta(seconds=2)
_MOMENT: Final = 5.0
"""More than all that the Hub's clock and ours may be apart in judging a write."""


class RecentWrites:
    """Which of our writes have ended a moment ago, whatever came of them.

    The Hub tells when something was last written, to about a second. That is no proof
    of a write that came right after another one of the same thing.
    """

    def __init__(self) -> None:
        self._ended: dict[tuple[str, str], float] = {}

    def holds(self, what: tuple[str, str], now: float) -> bool:
        """Whether it was written a moment ago; older writes are forgotten."""
        while self._ended:
            oldest = next(iter(self._ended))
            if now - self._ended[oldest] <= _MOMENT:
                break
            del self._ended[oldest]
        return what in self._ended

    def note(self, what: tuple[str, str], now: float) -> None:
        """Take down that a write of it has ended."""
        self._ended.pop(what, None)
        self._ended[what] = now


async def recent_writes(session: HubSession) -> RecentWrites:
    """Return which secrets were written with this session's token a moment ago."""
    account = session.shared.account(await session.ready())
    recent: RecentWrites = account.memory.setdefault("secrets written", RecentWrites())
    return recent


def judge_secret(
    secret: SpaceSecret | None, since: datetime | None, *, soon: bool
) -> Done[None] | Verdict:
    """Judge by what the Hub shows of a secret whether a lost write took effect.

    Args:
        secret: What it shows.
        since: When the write was sent, by the Hub's clock; None if nobody can tell.
        soon: Whether that was right after another write of the same secret.
    """
    if secret is None or secret.updated_at is None or since is None:
        return Verdict.NOT_DONE
    if secret.updated_at < since - _SKEW:
        return Verdict.NOT_DONE
    return Verdict.UNKNOWN if soon else Done(None)


def space_call(
    action: Action,
    repo_id: str,
    *path: str,
    decode: Callable[[bytes], T],
    query: Sequence[tuple[str, str]] = (),
    body: Redacted[bytes] | None = None,
    secrets: tuple[Redacted[str], ...] = (),
    verify: Verify[T] | None = None,
    recover: Callable[[], Awaitable[T]] | None = None,
    refine: Callable[[SpacesError], SpacesError] | None = None,
) -> Call[T]:
    """Make a call about one Space, after a look at its id.

    Args:
        action: What kind of call it is.
        repo_id: "owner/name".
        path: What follows the id in the path.
        decode: Makes the result of the answer's body.
        query: Pairs of the query.
        body: The JSON to send, from `json_body`.
        secrets: What must not come back in an error.
        verify: How to find out whether it took effect, after a lost answer.
        recover: How to get the result when the answer is broken.
        refine: Makes a more telling error of an error answer.

    Raises:
        ConfigurationError: The id is malformed.
    """
    owner, name = _validate.repo_id(repo_id)
    return Call(
        action=action,
        segments=("spaces", owner, name, *path),
        query=tuple(query),
        body=body,
        secrets=secrets,
        decode=decode,
        repo_id=repo_id,
        verify=verify,
        recover=recover,
        refine=refine,
    )


def json_body(
    data: Mapping[str, Any], **hidden: Redacted[Any] | None
) -> Redacted[bytes]:
    """Make the body of a call.

    Args:
        data: What may be seen.
        hidden: What may not, boxed; it goes beside the rest. None is left out.
    """
    shown = {name: box.reveal() for name, box in hidden.items() if box is not None}
    return Redacted(dump_json({**data, **shown}))


def entries(boxed: Redacted[Any], what: str) -> Redacted[list[dict[str, str]]] | None:
    """Check a list of variables or secrets and put it as it goes on the wire.

    Args:
        boxed: `{"KEY": "value"}` or `[{"key", "value", "description"}, ...]`.
        what: "variables" or "secrets", for errors; no value is ever shown.

    Raises:
        ConfigurationError: It has another form.
    """
    made = Redacted(_wire_entries(boxed))
    if made.reveal() is None:
        return None
    problem = _entries_problem(made)
    if problem is not None:
        raise ConfigurationError(f"{what}: {problem}")
    return cast("Redacted[list[dict[str, str]]]", made)


def values(
    *boxes: Redacted[list[dict[str, str]]] | None,
) -> tuple[Redacted[str], ...]:
    """Return the values in lists from `entries`, each in a box of its own."""
    return tuple(
        Redacted(entry["value"])
        for box in boxes
        if box is not None
        for entry in box.reveal()
        if "value" in entry
    )


def _wire_entries(boxed: Redacted[Any]) -> Any:
    given = boxed.reveal()
    if given is None or isinstance(given, str | bytes):
        return given
    if isinstance(given, Mapping):
        by_key: Mapping[Any, Any] = given  # pyright: ignore[reportUnknownVariableType]
        return [{"key": k, "value": v} for k, v in by_key.items()]
    if isinstance(given, Iterable):
        items: Iterable[Any] = given  # pyright: ignore[reportUnknownVariableType]
        return [_wire_entry(item) for item in items]
    return given


def _wire_entry(item: Any) -> Any:
    if isinstance(item, SpaceVariable):
        item = {"key": item.key, "value": item.value, "description": item.description}
    if isinstance(item, Mapping):
        entry: Mapping[Any, Any] = item  # pyright: ignore[reportUnknownVariableType]
        return {k: v for k, v in entry.items() if v is not None}
    return item


def _entries_problem(made: Redacted[Any]) -> str | None:
    if not isinstance(made.reveal(), list):
        return "must be {'KEY': 'value'} or [{'key': ..., 'value': ...}]"
    for number in range(len(made.reveal())):
        entry = Redacted(made.reveal()[number])
        if not isinstance(entry.reveal(), dict):
            return f"entry {number} is no object with 'key' and 'value'"
        if not {"key"} <= set(entry.reveal()) <= {"key", "value", "description"}:
            return f"entry {number} may have 'key', 'value' and 'description' only"
        try:
            _validate.key(entry.reveal()["key"])
            for part in entry.reveal().values():
                _validate.secret(Redacted(part))
        except ConfigurationError as error:
            return f"entry {number}: {error}"
    return None


def runtime_call(repo_id: str) -> Call[SpaceRuntime]:
    """Make the call that reads a Space's runtime: the cheapest look at its state."""
    return space_call(GET_RUNTIME, repo_id, "runtime", decode=decode_runtime)


def runtime_shows(
    session: HubSession, repo_id: str, done: Callable[[SpaceRuntime], bool]
) -> Verify[SpaceRuntime]:
    """Make a verification that reads the runtime and looks for the wanted state."""

    async def verify(_doubt: Doubt) -> Done[SpaceRuntime] | Verdict:
        runtime = await session.send(runtime_call(repo_id))
        return Done(runtime) if done(runtime) else Verdict.NOT_DONE

    return verify


def recover_runtime(
    session: HubSession, repo_id: str
) -> Callable[[], Awaitable[SpaceRuntime]]:
    """Make a recovery that reads the runtime."""
    return lambda: session.send(runtime_call(repo_id))


async def whoami(session: HubSession) -> Account:
    """Return who the token belongs to; asked once, since its limit is strict."""
    return await session.remember(
        Call(action=WHOAMI, segments=("whoami-v2",), decode=decoder(Account))
    )


async def complete_id(session: HubSession, repo_id: str) -> str:
    """Put the caller's own name before a bare name."""
    owner, name = _validate.repo_id_or_name(repo_id)
    if owner is None:
        owner = (await whoami(session)).name
    return f"{owner}/{name}"


def visibility(private: bool | None, visibility: str | None) -> JsonObject:  # noqa: FBT001  (None is most of it)
    """Say who sees a Space, as the Hub and its official client now write it.

    Returns:
        `{"visibility": ...}`, or nothing if both are None.
    """
    if private is not None and visibility is not None:
        raise ConfigurationError("pass private or visibility, not both")
    if private is not None:
        private = _validate.flag(private, "private")
        return {"visibility": "private" if private else "public"}
    if visibility is None:
        return {}
    return {"visibility": one_of(visibility, _VISIBILITIES, "visibility")}


async def applied() -> None:
    """Recover a write whose status said it all: its body would have told nothing."""


def log_text(data: str) -> list[str]:
    """Return the text of a log event, if it has one."""
    try:
        payload = parse_json(data.encode())
    except DecodeError:
        return [data] if data else []
    text = payload.get("data") if isinstance(payload, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return [text.removesuffix("\n")] if isinstance(text, str) else []


def name_hardware(flavor: str | None) -> Callable[[SpacesError], SpacesError]:
    """Make a refinement: a refused flavor becomes an `InvalidHardwareError`."""

    def refine(error: SpacesError) -> SpacesError:
        if flavor is None or not isinstance(error, BadRequestError):
            return error
        message = error.message.lower()
        about_flavor = "flavor" in message or "hardware" in message
        known = SpaceHardware(flavor).is_known
        if "static" in message or (known and not about_flavor):
            return error
        refined = InvalidHardwareError(
            f"the Hub refuses the flavor {flavor!r}: {error.message}; flavors known to"
            f" this package: {', '.join(SpaceHardware)}",
            flavor=flavor,
            known_flavors=tuple(str(known) for known in SpaceHardware),
            status=error.status,
            code=error.code,
            request_id=error.request_id,
            method=error.method,
            url=error.url,
            attempts=error.attempts,
            body=error.body,
            outcome_unknown=error.outcome_unknown,
        )
        for note in getattr(error, "__notes__", ()):
            refined.add_note(note)
        return refined

    return refine


def one_of(value: str, allowed: Mapping[str, str], what: str) -> str:
    """Translate a word by a table, or refuse it."""
    try:
        return allowed[value]
    except (KeyError, TypeError):
        words = ", ".join(dict.fromkeys(allowed))
        raise ConfigurationError(
            f"{what} must be one of {words}, not {value!r}"
        ) from None
