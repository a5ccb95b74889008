"""The one converter between the Hub's JSON and the records.

Strict where a wrong type would be a lie (cattrs alone takes "false" for True and a
list for a record), open where the Hub grows: unknown keys, stages and flavors decode
and stay readable in `.raw`. A key that is null counts as absent.

A value of another type costs its field and nothing else: the field is None, and the
record's `problems` says so. Only what a record is about must be readable, which are the
fields without a default: the stage of a runtime, the id of a Space. Records are decoded
strictly first, which is quick; only what that refuses is read field by field.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from spaces_async._wire import json
from spaces_async._wire.raw import RawObject
from spaces_async.models import (
    Domain,
    FileName,
    HotReloading,
    Replicas,
    SpaceHardware,
    SpaceInfo,
    SpaceRuntime,
    SpaceSdk,
    SpaceSecret,
    SpaceStage,
    SpaceStorage,
    SpaceVariable,
    Volume,
    VolumeType,
)
from spaces_async.records import (
    Accelerator,
    Account,
    BillingPeriod,
    BillingUsage,
    HardwareFlavor,
    Membership,
    OrganizationMember,
    SpaceMetrics,
    SpaceSearchResult,
    SpaceTemplate,
    UsageLine,
    ZeroGpuQuota,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")
JsonObject = dict[str, Any]

# Fields whose name on the wire is not ours in camelCase.
_RENAMED: Final[dict[type, dict[str, str]]] = {
    SpaceRuntime: {"sleep_time": "gcTimeout"},
    HardwareFlavor: {
        "unit_cost_usd": "unitCostUSD",
        "unit_cost_micro_usd": "unitCostMicroUSD",
    },
    SpaceSearchResult: {
        "ai_short_description": "ai_short_description",
        "ai_category": "ai_category",
    },
    SpaceMetrics: {name.name: name.name for name in attrs.fields(SpaceMetrics)},
    UsageLine: {
        "unit_cost_micro_usd": "unitCostMicroUSD",
        "total_cost_micro_usd": "totalCostMicroUSD",
    },
    BillingPeriod: {"id": "_id", "start": "periodStart", "end": "periodEnd"},
}
# What the card tells where the response itself does not.
_FROM_CARD: Final = {"title": "title", "sdkVersion": "sdk_version"}

# Where a value stands in the response, if not under its own name.
_PLACES: Final[dict[tuple[type, str], str]] = {
    (SpaceRuntime, "hardware"): "hardware.current",
    (SpaceRuntime, "requested_hardware"): "hardware.requested",
    (BillingUsage, "spaces"): "usage.Spaces",
}

# Arrays that are None as a whole if one item cannot be read. Volumes are read to be
# written again with one more: those that were left out would be unmounted.
_WHOLE: Final = frozenset({(SpaceRuntime, "volumes")})

_ENUMS: Final = (SpaceStage, SpaceHardware, SpaceSdk, SpaceStorage, VolumeType)
_RECORDS: Final = (
    Domain,
    HotReloading,
    Replicas,
    SpaceRuntime,
    SpaceInfo,
    SpaceVariable,
    SpaceSecret,
    Volume,
    Accelerator,
    HardwareFlavor,
    SpaceTemplate,
    SpaceSearchResult,
    ZeroGpuQuota,
    Membership,
    Account,
    OrganizationMember,
    SpaceMetrics,
    UsageLine,
    BillingPeriod,
    BillingUsage,
)


class DecodeError(ValueError):
    """The response is not JSON, or its JSON is not what the Hub documents.

    Attributes:
        problems: Each problem with its path, such as "$.devMode: …".
    """

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _wire_name(kind: type, name: str) -> str:
    return _RENAMED.get(kind, {}).get(name) or _camel(name)


def _expected(what: str, value: object) -> ValueError:
    return ValueError(f"expected {what}, got {_kind(value)}")


def _kind(value: object) -> str:
    names: dict[type, str] = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        type(None): "null",
    }
    return names.get(type(value), "a number")


def _exactly(kind: type[T], what: str) -> Callable[[Any, Any], T]:
    def structure(value: Any, _type: Any) -> T:
        if type(value) is kind:
            return value
        raise _expected(what, value)

    return structure


def _integer(value: Any, _type: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise _expected("a whole number", value)


def _number(value: Any, _type: Any) -> float:
    if type(value) in (int, float):
        return float(value)
    raise _expected("a number", value)


def _instant(value: Any, _type: Any) -> datetime:
    if type(value) is str:
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    raise _expected("an ISO 8601 date and time", value)


def _open_enum(value: Any, kind: Any) -> Any:
    if type(value) is str:
        return kind(value)
    raise _expected("a string", value)


def _object(value: Any) -> JsonObject:
    if type(value) is dict:
        return value  # pyright: ignore[reportUnknownVariableType]
    raise _expected("an object", value)


def _requested_replicas(value: Any, _type: Any) -> int | str | None:
    return "auto" if value == "auto" else _integer(value, int)


def _flag_or_text(value: Any, _type: Any) -> bool | str:
    if type(value) in (bool, str):
        return cast("bool | str", value)
    raise _expected("a boolean or a string", value)


def _prepare_runtime(data: JsonObject) -> JsonObject:
    hardware = data.get("hardware")
    if hardware is None:
        hardware = {}
    elif type(hardware) is not dict:
        raise _expected("an object", hardware)
    return {
        **data,
        "hardware": hardware.get("current"),  # pyright: ignore[reportUnknownMemberType]
        "requestedHardware": hardware.get("requested"),  # pyright: ignore[reportUnknownMemberType]
        "raw": data,
    }


def _file_name(value: Any, _type: Any) -> FileName:
    if type(value) is not str:
        raise _expected("a string", value)
    return FileName(value)


def _ids(values: Any, key: str) -> Any:
    """Take a list of texts, or of objects that name themselves."""
    if not isinstance(values, list):
        return values
    return [v.get(key, v) if isinstance(v, dict) else v for v in values]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _prepare_info(data: JsonObject) -> JsonObject:
    card = data.get("cardData")
    prepared = {
        **data,
        "siblings": _ids(data.get("siblings"), "rfilename"),
        "models": _ids(data.get("models"), "id"),
        "datasets": _ids(data.get("datasets"), "id"),
        "raw": data,
    }
    if data.get("author") is None and isinstance(data.get("id"), str):
        owner, slash, _ = data["id"].partition("/")
        prepared["author"] = owner if slash else None
    if isinstance(card, dict):
        for wire, key in _FROM_CARD.items():
            if data.get(wire) is None:
                prepared[wire] = card.get(key)  # pyright: ignore[reportUnknownMemberType]
    if data.get("shortDescription") is None:
        prepared["shortDescription"] = data.get("ai_short_description")
    return prepared


def _prepare_accelerator(data: JsonObject) -> JsonObject:
    quantity = data.get("quantity")
    return {**data, "quantity": None if quantity is None else str(quantity)}


def _prepare_usage(data: JsonObject) -> JsonObject:
    usage = data.get("usage")
    # An owner without paid Spaces has no such lines; one without `usage` has no bill.
    lines = usage.get("Spaces", []) if isinstance(usage, dict) else usage  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return {**data, "spaces": lines, "raw": data}


def _has_raw(record: type) -> bool:
    return "raw" in attrs.fields_dict(record)


def _keep_raw(data: JsonObject) -> JsonObject:
    return {**data, "raw": data}


_PREPARE: Final[dict[type, Callable[[JsonObject], JsonObject]]] = {
    **{record: _keep_raw for record in _RECORDS if _has_raw(record)},
    SpaceRuntime: _prepare_runtime,
    SpaceInfo: _prepare_info,
    Accelerator: _prepare_accelerator,
    BillingUsage: _prepare_usage,
}


def _overrides(kind: type, *, omit: bool = False) -> dict[str, Any]:
    return {
        a.name: override(omit=True)
        if a.name == "problems"
        else override(rename=_wire_name(kind, a.name), omit_if_default=omit)
        for a in attrs.fields(kind)
    }


def _register_record(converter: cattrs.Converter, kind: type[Any]) -> None:
    build = make_dict_structure_fn(
        kind, converter, _cattrs_forbid_extra_keys=False, **_overrides(kind)
    )
    prepare = _PREPARE.get(kind)

    def structure(value: Any, _type: Any) -> Any:
        data = _object(value)
        if prepare is not None:
            data = prepare(data)
        return build({k: v for k, v in data.items() if v is not None}, kind)

    converter.register_structure_hook(kind, structure)


def _register_arrays(converter: cattrs.Converter) -> None:
    """Accept only JSON arrays as tuples; cattrs would split a string."""

    @converter.register_structure_hook_factory(_is_tuple)
    def _make(kind: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
        items = get_args(kind)
        if len(items) == 2 and items[1] is Ellipsis:  # noqa: PLR2004  (a pair)
            item = items[0]

            def structure(value: Any, _type: Any) -> tuple[Any, ...]:
                if type(value) is not list:
                    raise _expected("an array", value)
                return tuple(converter.structure(v, item) for v in value)  # pyright: ignore[reportUnknownVariableType]

            return structure

        def structure_pair(value: Any, _type: Any) -> tuple[Any, ...]:
            if type(value) is not list or len(value) != len(items):  # pyright: ignore[reportUnknownArgumentType]
                raise _expected(f"an array of {len(items)}", value)  # pyright: ignore[reportUnknownArgumentType]
            pairs = zip(value, items, strict=True)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            return tuple(converter.structure(v, item) for v, item in pairs)  # pyright: ignore[reportUnknownVariableType]

        return structure_pair


def _is_tuple(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is tuple


def _make() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    converter.register_structure_hook(str, _exactly(str, "a string"))
    converter.register_structure_hook(FileName, _file_name)
    converter.register_structure_hook(bool, _exactly(bool, "a boolean"))
    converter.register_structure_hook(int, _integer)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(datetime, _instant)
    converter.register_structure_hook_func(
        lambda kind: kind == int | Literal["auto"] | None, _requested_replicas
    )
    converter.register_structure_hook_func(
        lambda kind: kind == bool | str | None, _flag_or_text
    )
    converter.register_structure_hook_func(
        lambda kind: getattr(kind, "__origin__", None) is Mapping,
        lambda value, _type: _object(value),
    )
    for enum in _ENUMS:
        converter.register_structure_hook(enum, _open_enum)
    _register_arrays(converter)
    for record in _RECORDS:
        attrs.resolve_types(record)
        _register_record(converter, record)
    converter.register_unstructure_hook(
        Volume,
        make_dict_unstructure_fn(Volume, converter, **_overrides(Volume, omit=True)),
    )
    return converter


_strict: Final = _make()


@attrs.frozen
class _Field:
    """How a field is read where the whole record cannot be.

    Attributes:
        name: Its name.
        wire: Its key in the prepared response.
        place: Where it stands in the response as it came.
        type: Its type.
        required: Whether a record makes no sense without it.
        whole: Whether it is None if any part of it cannot be read.
    """

    name: str
    wire: str
    place: str
    type: Any
    required: bool
    whole: bool


def _fields(kind: type[Any]) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            name=a.name,
            wire=(wire := _wire_name(kind, a.name)),
            place=_PLACES.get((kind, a.name), wire),
            type=_without_none(a.type),
            required=a.default is attrs.NOTHING,
            whole=(kind, a.name) in _WHOLE,
        )
        for a in attrs.fields(kind)
        if a.name not in ("raw", "problems")
    )


def _without_none(kind: Any) -> Any:
    """Take `None` out of `X | None`."""
    if get_origin(kind) in (Union, UnionType):
        kinds = [k for k in get_args(kind) if k is not NoneType]
        if len(kinds) == 1:
            return kinds[0]
    return kind


_FIELDS: Final = {record: _fields(record) for record in _RECORDS}
_UNREADABLE: Final = object()
_MAX_ITEMS_NAMED: Final = 3
_MAX_ITEMS_LOST: Final = 1000
"""An array with more unreadable items is none: the work on it stays bounded."""

_Problem = tuple[str, str]
"""Where it is, seen from the value, and what is wrong."""


def _salvage(value: Any, kind: Any) -> tuple[Any, list[_Problem]]:
    """Read what can be read of a value; return `_UNREADABLE` if nothing can."""
    if kind in _FIELDS:
        return _salvage_record(value, kind)
    if _is_tuple(kind) and get_args(kind)[1:] == (Ellipsis,):
        return _salvage_array(value, get_args(kind)[0])
    try:
        return _strict.structure(value, kind), []
    except Exception as error:  # noqa: BLE001  (whatever cattrs raises, it is a shape)
        return _UNREADABLE, [("", str(error))]


def _salvage_array(value: Any, kind: Any) -> tuple[Any, list[_Problem]]:
    if type(value) is not list:
        return _UNREADABLE, [("", str(_expected("an array", value)))]
    read: list[Any] = []
    problems: list[_Problem] = []
    odd = 0
    structure = _strict.get_structure_hook(kind)
    for number, item in enumerate(value):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        try:
            read.append(structure(item, kind))
            continue
        except Exception:  # noqa: BLE001, S110  (whatever cattrs raises, it is a shape)
            pass
        found, wrong = _salvage(item, kind)
        if found is not _UNREADABLE:
            read.append(found)
        if wrong:
            odd += 1
            if odd <= _MAX_ITEMS_NAMED:
                problems += [(f"[{number}]{place}", what) for place, what in wrong]
            elif odd > _MAX_ITEMS_LOST:
                return _UNREADABLE, [*problems, ("", "too many unreadable items")]
    if odd > _MAX_ITEMS_NAMED:
        problems.append(("", f"{odd - _MAX_ITEMS_NAMED} more unreadable items"))
    return tuple(read), problems


def _salvage_record(value: Any, kind: type[Any]) -> tuple[Any, list[_Problem]]:
    if type(value) is not dict:
        return _UNREADABLE, [("", str(_expected("an object", value)))]
    data: JsonObject = value  # pyright: ignore[reportUnknownVariableType]
    prepared, problems = _prepare_odd(data, kind)
    fields: dict[str, Any] = {}
    for field in _FIELDS[kind]:
        sent = prepared.get(field.wire)
        if sent is None:
            if field.required:
                return _UNREADABLE, [*problems, ("", f"{field.wire} is missing")]
            continue
        found, wrong = _salvage(sent, field.type)
        if wrong and field.whole:
            found = _UNREADABLE
        place = _place(field, kind, data)
        problems += [(f".{place}{inner}", what) for inner, what in wrong]
        if found is not _UNREADABLE:
            fields[field.name] = found
        elif field.required:
            return _UNREADABLE, problems
    names = attrs.fields_dict(kind)
    if _has_raw(kind):
        fields["raw"] = data
    if "problems" in names:
        fields["problems"] = _told(problems)
    return kind(**fields), problems


def _prepare_odd(data: JsonObject, kind: type) -> tuple[JsonObject, list[_Problem]]:
    prepare = _PREPARE.get(kind, _keep_raw)
    try:
        return prepare(data), []
    except ValueError as error:
        # Of all that is prepared, only the hardware of a runtime can be so odd.
        problem = (".hardware", str(error))
        return prepare({**data, "hardware": None}), [problem]


def _place(field: _Field, kind: type, data: JsonObject) -> str:
    if kind is SpaceInfo and data.get(field.wire) is None:
        if field.wire in _FROM_CARD:
            return f"cardData.{_FROM_CARD[field.wire]}"
        if field.wire == "shortDescription":
            return "ai_short_description"
    return field.place


def _told(problems: Iterable[_Problem]) -> tuple[str, ...]:
    return tuple(f"${place}: {what}" for place, what in problems)


def structure(data: Any, kind: type[T]) -> T:
    """Make a record from parsed JSON.

    Raises:
        DecodeError: What the record is about cannot be read.
    """
    try:
        return _strict.structure(data, kind)
    except Exception:  # noqa: BLE001, S110  (whatever cattrs raises, it is a shape)
        pass
    record, problems = _salvage(data, kind)
    if record is _UNREADABLE:
        raise _undocumented(_told(problems))
    return cast("T", record)


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
    places = [f.place for f in _FIELDS[SpaceRuntime] if f.name in names]
    starts = {f"$.{place}{end}" for place in places for end in ":.["}
    # An unreadable "hardware" takes both of its parts with it.
    starts |= {f"$.{place.partition('.')[0]}:" for place in places}
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
    return json.dumps(_strict.unstructure(data))


def decode_object(body: bytes) -> JsonObject:
    """Decode a response that is a JSON object with any keys."""
    data = parse_json(body)
    if type(data) is dict:
        return data  # pyright: ignore[reportUnknownVariableType]
    raise _undocumented([f"$: {_expected('an object', data)}"])


def decode_runtime(body: bytes) -> SpaceRuntime:
    """Decode the response of a call that returns a runtime."""
    data = decode_object(body)
    if "stage" not in data and "error" in data:
        raise DecodeError("the response is an error", [f"$.error: {data['error']}"])
    runtime = structure(data, SpaceRuntime)
    # The record is new, and a changed copy of it (attrs.evolve) takes 7 us.
    object.__setattr__(runtime, "raw", RawObject(body))
    return runtime


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
    kind: type[T], *, key: str | None = None, level: int = logging.WARNING
) -> Callable[[bytes], list[T]]:
    """Make a function that decodes an array of records.

    Args:
        kind: The record.
        key: The key of the array in the response; None if the response is the array.
        level: See `structure_list`.
    """

    def decode(body: bytes) -> list[T]:
        data = parse_json(body)
        if key is not None and type(data) is dict:
            data = data.get(key)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return structure_list(data, kind, level=level)

    return decode


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
        raise _undocumented([f"$: {_expected('an array', data)}"])
    records: list[T] = []
    odd: list[str] = []
    left_out: list[str] = []
    for number, item in enumerate(data):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        try:
            records.append(_strict.structure(item, kind))
            continue
        except Exception:  # noqa: BLE001, S110  (whatever cattrs raises, it is a shape)
            pass
        record, problems = _salvage(item, kind)
        told = _told(problems)
        if record is _UNREADABLE:
            left_out.append(f"number {number} ({_few(told)})")
            continue
        records.append(record)
        if told:
            odd.append(f"{_name(record)} ({_few(told)})")
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


def _name(record: Any) -> str:
    """Return what a record is called, on one line and not too long."""
    first = next(iter(_FIELDS[type(record)]))
    return ascii(getattr(record, first.name))[:100]


decode_infos: Final = list_decoder(SpaceInfo)
"""Decode one page of a listing."""

decode_polled_infos: Final = list_decoder(SpaceInfo, level=logging.DEBUG)
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
