"""Decodes the Hub's responses to records.

Strict where a wrong type would be a lie (cattrs alone takes "false" for True and a
list for a record), open where the Hub grows: unknown keys, stages and flavors decode
and stay readable in `.raw`. A key that is null counts as absent.

A value of another type costs its field and nothing else: the field is None, and the
record's `problems` says so. Only what a record is about must be readable, which are the
fields without a default: the stage of a runtime, the id of a Space. Records are read by
`quick` first; only what that refuses is read again, by `detailed`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import attrs

from spaces_async._html import RecordList
from spaces_async._wire import json, quick, shapes
from spaces_async._wire.raw import RawObject
from spaces_async._wire.shapes import expected
from spaces_async.models import SpaceInfo, SpaceRuntime, SpaceSecret, SpaceVariable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

logger = logging.getLogger(__name__)

T = TypeVar("T")
JsonObject = shapes.JsonObject

_MAX_ITEMS_NAMED: Final = 3


class DecodeError(ValueError):
    """The response is not JSON, or its JSON is not what the Hub documents.

    Attributes:
        problems: Each problem with its path, such as "$.devMode: …".
    """

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


def structure(data: Any, kind: type[T]) -> T:
    """Make a record from parsed JSON.

    Raises:
        DecodeError: What the record is about cannot be read.
    """
    try:
        return cast("T", quick.reader(kind)(data))
    except Exception:  # noqa: BLE001, S110  (any exception means another shape)
        pass
    record, problems = _salvage(data, kind)
    if record is None:
        raise _undocumented(problems)
    return record


def _salvage(data: Any, kind: type[T]) -> tuple[T | None, tuple[str, ...]]:
    """Read what can be read; return None if nothing can, and what is wrong."""
    # cattrs is needed only for what is odd and for what is written.
    from spaces_async._wire import detailed  # noqa: PLC0415

    record, problems = detailed.salvage(data, kind)
    read = None if record is detailed.UNREADABLE else cast("T", record)
    return read, detailed.told(problems)


def _undocumented(problems: Iterable[str]) -> DecodeError:
    return DecodeError("the response does not have the documented shape", problems)


def is_unreadable(runtime: SpaceRuntime, *names: str) -> bool:
    """Return whether a field is None only because it could not be read.

    Args:
        runtime: The runtime.
        names: Names of fields; any of them.
    """
    if not runtime.problems:
        return False
    paths = [f.path for f in shapes.fields(SpaceRuntime) if f.name in names]
    starts = {f"$.{'.'.join(path)}{end}" for path in paths for end in ":.["}
    # An unreadable "hardware" takes both of its parts with it.
    starts |= {f"$.{path[0]}:" for path in paths}
    return any(problem.startswith(tuple(starts)) for problem in runtime.problems)


def parse_json(body: bytes) -> Any:
    """Parse strict JSON, as `_wire.json` defines it.

    Raises:
        DecodeError: The body is not strict JSON.
    """
    try:
        return json.loads(body)
    except json.JsonError as error:
        problem = str(error)
    what = "is empty" if not body.strip() else "is not valid JSON"
    raise DecodeError(f"the response {what}", (problem,) if body.strip() else ())


def dump_json(data: Any) -> bytes:
    """Write plain data and records as JSON."""
    from spaces_async._wire import detailed  # noqa: PLC0415  (see `_salvage`)

    return json.dumps(detailed.unstructure(data))


def decode_object(body: bytes) -> JsonObject:
    """Decode a response that is a JSON object with any keys."""
    data = parse_json(body)
    if type(data) is dict:
        return data  # pyright: ignore[reportUnknownVariableType]
    raise _undocumented([f"$: {expected('an object', data)}"])


def decode_runtime(body: bytes) -> SpaceRuntime:
    """Decode the response of a call that returns a runtime."""
    raw = RawObject(body)
    try:
        return cast("SpaceRuntime", quick.reader(SpaceRuntime)(json.loads(body), raw))
    except Exception:  # noqa: BLE001, S110  (as in `structure`)
        pass
    data = decode_object(body)
    if "stage" not in data and "error" in data:
        raise DecodeError("the response is an error", [f"$.error: {data['error']}"])
    runtime = structure(data, SpaceRuntime)
    return attrs.evolve(runtime, raw=raw)


def decode_runtime_with_volumes(body: bytes) -> SpaceRuntime:
    """Do the same where the volumes matter: they must be readable."""
    runtime = decode_runtime(body)
    if is_unreadable(runtime, "volumes"):
        raise _undocumented(runtime.problems)
    return runtime


def decode_info(body: bytes) -> SpaceInfo:
    """Decode one Space's info."""
    return structure(decode_object(body), SpaceInfo)


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """Make a function that decodes a response that is one record."""
    return lambda body: structure(decode_object(body), kind)


def list_decoder(
    kind: type[T],
    *,
    key: str | None = None,
    level: int = logging.WARNING,
    apart: bool = False,
) -> Callable[[bytes], list[T]]:
    """Make a function that decodes an array of records.

    Args:
        kind: The record.
        key: The key of the array in the response; None if the response is the array.
        level: See `structure_list`.
        apart: For long listings: each object is parsed on its own, and its record keeps
            the bytes of it. That takes half of the memory, and no dict of a page lives
            long enough to be looked at by the garbage collector.
    """

    def decode(body: bytes) -> list[T]:
        if apart:
            try:
                return RecordList(_structure_all(_objects(body), kind, level))
            except json.JsonError:
                pass  # The whole shows what is wrong, if anything is.
        data = parse_json(body)
        if key is not None and type(data) is dict:
            data = data.get(key)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return RecordList(structure_list(data, kind, level=level))

    return decode


def _objects(body: bytes) -> Iterator[tuple[Any, RawObject]]:
    for part in json.split_objects(body):
        yield json.loads(part, levels=json.MAX_LEVELS - 1), RawObject(part)


def structure_list(
    data: Any, kind: type[T], *, level: int = logging.WARNING
) -> list[T]:
    """Make records of a parsed array; those that cannot be read are left out.

    Args:
        data: The array.
        kind: The record.
        level: Of the one log record that tells of what could not be read.

    Raises:
        DecodeError: It is no array, or none of its records can be read.
    """
    if type(data) is not list:
        raise _undocumented([f"$: {expected('an array', data)}"])
    items: list[Any] = data  # pyright: ignore[reportUnknownVariableType]
    return _structure_all(((item, None) for item in items), kind, level)


def _structure_all(
    items: Iterable[tuple[Any, RawObject | None]], kind: type[T], level: int
) -> list[T]:
    """Make records of parsed objects and of what is kept of each as it was received."""
    records: list[T] = []
    odd: list[str] = []
    left_out: list[str] = []
    read = quick.reader(kind)
    for number, (item, raw) in enumerate(items):
        try:
            records.append(read(item, raw))
            continue
        except Exception:  # noqa: BLE001, S110  (as in `structure`)
            pass
        record, told = _salvage(item, kind)
        if record is None:
            left_out.append(f"number {number} ({_few(told)})")
            continue
        records.append(record)
        if told:
            odd.append(f"{_name(record, kind)} ({_few(told)})")
    if left_out and not records:
        # The response is odd then, and not a record of it: no empty listing.
        raise _undocumented([f"$: no record can be read: {_few(left_out)}"])
    parts: list[str] = []
    if left_out:
        parts.append(f"{len(left_out)} left out as unreadable: {_few(left_out)}")
    if odd:
        parts.append(f"{len(odd)} with unreadable fields: {_few(odd)}")
    if parts:
        text = ". ".join(parts)
        total = len(records) + len(left_out)
        logger.log(level, "of a page of %d %s: %s", total, kind.__name__, text)
    return records


def _few(items: list[str] | tuple[str, ...]) -> str:
    more = len(items) - _MAX_ITEMS_NAMED
    few = "; ".join(items[:_MAX_ITEMS_NAMED])
    return f"{few}; {more} more" if more > 0 else few


def _name(record: Any, kind: type[Any]) -> str:
    """Return what a record is called, on one line and not too long."""
    first = shapes.fields(kind)[0]
    return ascii(getattr(record, first.name))[:100]


decode_infos: Final = list_decoder(SpaceInfo, apart=True)
"""Decode one page of a listing."""

decode_polled_infos: Final = list_decoder(SpaceInfo, apart=True, level=logging.DEBUG)
"""Do the same for a listing that is read every few seconds."""


def _keyed(body: bytes, kind: type[T]) -> dict[str, T]:
    made: dict[str, T] = {}
    for key, entry in decode_object(body).items():
        data = {"key": key, **entry} if type(entry) is dict else entry  # pyright: ignore[reportUnknownVariableType]
        try:
            made[key] = structure(data, kind)
        except DecodeError as error:
            place = f"$.{key[:100]}"
            problems = [place + problem.removeprefix("$") for problem in error.problems]
        else:
            continue
        raise _undocumented(problems)
    return made


def decode_variables(body: bytes) -> dict[str, SpaceVariable]:
    """Decode the map of all variables, where their values matter."""
    variables = decode_written_variables(body)
    for key, variable in variables.items():
        for problem in variable.problems:
            if problem.startswith("$.value:"):
                raise _undocumented([f"$.{key[:100]}{problem.removeprefix('$')}"])
    return variables


def decode_written_variables(body: bytes) -> dict[str, SpaceVariable]:
    """Decode the map of all variables as the response of a write.

    The write was done, whatever the response says about another variable.
    """
    return _keyed(body, SpaceVariable)


def decode_secrets(body: bytes) -> dict[str, SpaceSecret]:
    """Decode the map of all secrets: their names, never their values."""
    return _keyed(body, SpaceSecret)
