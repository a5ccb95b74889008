"""How a resource module puts a call together, and the few calls that several need."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from attrs import evolve, frozen

from spaces_async import _validate
from spaces_async._redacted import Redacted
from spaces_async._wire.calls import Action, Call, Done, nothing
from spaces_async._wire.converter import (
    DecodeError,
    JsonObject,
    decode_info,
    decode_infos,
    decode_object,
    decode_runtime,
    decode_runtime_with_volumes,
    decode_secrets,
    decode_variables,
    decoder,
    list_decoder,
    parse_json,
)
from spaces_async.errors import (
    BadRequestError,
    ConfigurationError,
    InvalidHardwareError,
    SpacesError,
)
from spaces_async.models import (
    SpaceHardware,
    SpaceInfo,
    SpaceRuntime,
    SpaceSecret,
    SpaceVariable,
)
from spaces_async.records import Account, HardwareFlavor

if TYPE_CHECKING:
    from spaces_async._core.session import HubSession

T = TypeVar("T")

GET_RUNTIME: Final = Action("get_runtime", "GET")
GET_APP_KEY: Final = Action("get_app_key", "GET")
READ_STARTUP: Final = Action("read_log", "GET")
GET_INFO: Final = Action("get_info", "GET")
LIST_SPACES: Final = Action("list_spaces", "GET")
GET_VARIABLES: Final = Action("get_variables", "GET")
GET_SECRETS: Final = Action("get_secrets", "GET")

_STARTUP: Final = re.compile(
    rb"===== Application Startup at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) ====="
)

APP_KEY_SECONDS: Final = 300
"""How long a key to the app of a Space is good for."""

PAGE_SIZE: Final = 500
"""Spaces for each page: what the Hub's own clients ask for; no maximum is documented."""

CUT_MARK: Final = " […cut: larger than 1 MiB]"
"""Ends a log line that was larger than the parser of the stream keeps."""

_CUT_LOG_EVENT: Final = re.compile(
    r'\s*\{\s*(?:"timestamp"\s*:\s*"[^"]*"\s*,\s*)?"data"\s*:\s*"'
    # An escape that the cut has split is left out.
    r'(?P<text>[^"\\]*(?:\\(?:u[0-9a-fA-F]{4}|[^u])[^"\\]*)*)'
)

WHOAMI: Final = Action("whoami", "GET")
LIST_FLAVORS: Final = Action("list_flavors", "GET")


def space_call(
    action: Action,
    repo_id: str,
    *path: str,
    decode: Callable[[bytes], T],
    query: Sequence[tuple[str, str]] = (),
    absent: Done[T] | None = None,
) -> Call[T]:
    """Make a read of one Space, after a check of its id.

    Args:
        action: What kind of call it is.
        repo_id: "owner/name".
        path: What follows the id in the path.
        decode: Makes the result of the response's body.
        query: Pairs of the query.
        absent: See `Call`.

    Raises:
        ConfigurationError: The id is malformed.
    """
    owner, name = _validate.repo_id(repo_id)
    return Call(
        action=action,
        segments=("spaces", owner, name, *path),
        query=tuple(query),
        decode=decode,
        repo_id=repo_id,
        absent=absent,
    )


def stream_call(
    action: Action, repo_id: str, *path: str, tail: int | None = None
) -> Call[None]:
    """Make the call that opens a stream of one Space, after a check of its id.

    Args:
        action: What kind of call it is.
        repo_id: "owner/name".
        path: What follows the id in the path.
        tail: Lines of a log to begin with; None leaves it to the Hub.

    Raises:
        ConfigurationError: The id is malformed.
    """
    query = () if tail is None else (("tail", str(tail)),)
    return space_call(action, repo_id, *path, decode=nothing, query=query)


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


def app_key_call(repo_id: str) -> Call[Redacted[str]]:
    """Make the call that asks for a short-lived key to the app of a Space."""
    return space_call(
        GET_APP_KEY,
        repo_id,
        "jwt",
        decode=_app_key,
        query=[("expires_in", str(APP_KEY_SECONDS))],
    )


def _app_key(body: bytes) -> Redacted[str]:
    token = decode_object(body).get("token")
    if not isinstance(token, str) or not token:
        raise DecodeError("the response has no key", ["$.token: missing"])
    return Redacted(token)


def volumes_call(repo_id: str) -> Call[SpaceRuntime]:
    """Do the same where the runtime's volumes must be readable."""
    decode = decode_runtime_with_volumes
    return space_call(GET_RUNTIME, repo_id, "runtime", decode=decode)


def startup_call(repo_id: str) -> Call[datetime | None]:
    """Make the call that reads from the log when the app was started last.

    The log of a run begins with a banner, "===== Application Startup at 2026-06-20
    01:09:43 =====", in UTC. The result is None where there is none.
    """
    call = space_call(READ_STARTUP, repo_id, "logs", "run", decode=_last_startup)
    return evolve(call, replays=True)


def _last_startup(body: bytes) -> datetime | None:
    found = _STARTUP.findall(body)
    if not found:
        return None
    try:
        return datetime.fromisoformat(found[-1].decode()).replace(tzinfo=UTC)
    except ValueError:
        return None


def info_call(repo_id: str, *expand: str) -> Call[SpaceInfo]:
    """Make the call that reads some fields of a Space's info."""
    query = [("expand", field) for field in expand]
    return space_call(GET_INFO, repo_id, decode=decode_info, query=query)


def info_or_none_call(repo_id: str, *expand: str) -> Call[SpaceInfo | None]:
    """Do the same, with None for a Space that does not exist."""
    call = cast("Call[SpaceInfo | None]", info_call(repo_id, *expand))
    return evolve(call, absent=Done(None))


def flavors_call() -> Call[list[HardwareFlavor]]:
    """Return the call that lists the flavors."""
    return Call(
        action=LIST_FLAVORS,
        segments=("spaces", "hardware"),
        decode=list_decoder(HardwareFlavor),
    )


def listing_call(
    author: str, *expand: str, limit: int = PAGE_SIZE
) -> Call[list[SpaceInfo]]:
    """Make the call that lists the Spaces of an owner, a page each.

    Args:
        author: User or org.
        expand: Fields to return besides the id.
        limit: Spaces for each page.
    """
    query = [("author", _validate.name(author, "author")), ("limit", str(limit))]
    return Call(
        action=LIST_SPACES,
        segments=("spaces",),
        query=(*query, *(("expand", field) for field in expand)),
        decode=decode_infos,
    )


def variables_call(repo_id: str) -> Call[dict[str, SpaceVariable]]:
    """Make the call that reads all variables of a Space."""
    return space_call(GET_VARIABLES, repo_id, "variables", decode=decode_variables)


def secrets_call(repo_id: str) -> Call[dict[str, SpaceSecret]]:
    """Make the call that reads the names of all secrets of a Space."""
    return space_call(GET_SECRETS, repo_id, "secrets", decode=decode_secrets)


def whoami_call(*, remembered: bool = True) -> Call[Account]:
    """Make the call that reads who the token belongs to.

    Args:
        remembered: Send it once for each token: the Hub limits it strictly.
    """
    return Call(
        action=WHOAMI,
        segments=("whoami-v2",),
        decode=decoder(Account),
        remembered=remembered,
    )


async def complete_id(session: HubSession, repo_id: str) -> str:
    """Put the caller's own name before a bare name."""
    owner, name = _validate.repo_id_or_name(repo_id)
    if owner is None:
        owner = (await session.send(whoami_call())).name
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
    return {
        "visibility": one_of(
            visibility, {v: v for v in _validate.VISIBILITIES}, "visibility"
        )
    }


@frozen
class LogEvent:
    """What a log event says.

    Attributes:
        text: The line, without its line feed.
        timestamp: When it was written, as the Hub wrote it; None if it does not say.
    """

    text: str
    timestamp: object = None


def log_event(data: str, *, is_cut: bool = False) -> LogEvent | None:
    """Read a log event; None if it has no text.

    Args:
        data: The data of the event.
        is_cut: Whether its end is missing. The text that is there is kept, and gets a
            mark.
    """
    if not data:
        return None  # keep-alive
    if is_cut:
        return LogEvent(f"{_beginning_of_text(data)}{CUT_MARK}")
    try:
        payload = parse_json(data.encode())
    except DecodeError:
        return LogEvent(data)
    if not isinstance(payload, dict):
        return LogEvent(data)
    text, timestamp = payload.get("data"), payload.get("timestamp")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(text, str):
        return LogEvent(data)
    return LogEvent(text.removesuffix("\n"), timestamp)  # pyright: ignore[reportUnknownArgumentType]


def _beginning_of_text(data: str) -> str:
    match = _CUT_LOG_EVENT.match(data)
    if match is None:
        return data
    try:
        return str(parse_json(f'"{match["text"]}"'.encode()))
    except (DecodeError, UnicodeEncodeError):
        return data


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
