"""The one converter between the Hub's JSON and the records.

It is strict about types: cattrs alone would accept "false" as True and a list as a
record. It is open to what the Hub may add: unknown keys, stages and flavors decode, and
`.raw` shows them. A key that is null counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar, cast, get_args

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from spaces_async._wire import json
from spaces_async.models import (
    Domain,
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
    HardwareFlavor,
    Membership,
    OrganizationMember,
    SpaceMetrics,
    SpaceSearchResult,
    SpaceTemplate,
    ZeroGpuQuota,
)

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
}
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


def _gated(value: Any, _type: Any) -> bool | str:
    if type(value) in (bool, str):
        return cast("bool | str", value)
    raise _expected("a boolean or a string", value)


def _prepare_runtime(data: JsonObject) -> JsonObject:
    hardware = data.get("hardware")
    if hardware is None:
        hardware = {}
    elif type(hardware) is not dict:
        raise ValueError(f"hardware: expected an object, got {_kind(hardware)}")
    return {
        **data,
        "hardware": hardware.get("current"),  # pyright: ignore[reportUnknownMemberType]
        "requestedHardware": hardware.get("requested"),  # pyright: ignore[reportUnknownMemberType]
        "raw": data,
    }


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
    if data.get("title") is None and isinstance(card, dict):
        prepared["title"] = card.get("title")  # pyright: ignore[reportUnknownMemberType]
    if data.get("shortDescription") is None:
        prepared["shortDescription"] = data.get("ai_short_description")
    return prepared


def _prepare_accelerator(data: JsonObject) -> JsonObject:
    quantity = data.get("quantity")
    return {**data, "quantity": None if quantity is None else str(quantity)}


def _keep_raw(data: JsonObject) -> JsonObject:
    return {**data, "raw": data}


_PREPARE: Final[dict[type, Callable[[JsonObject], JsonObject]]] = {
    SpaceRuntime: _prepare_runtime,
    SpaceInfo: _prepare_info,
    SpaceVariable: _keep_raw,
    SpaceSecret: _keep_raw,
    Accelerator: _prepare_accelerator,
    **dict.fromkeys(
        (
            HardwareFlavor,
            SpaceTemplate,
            SpaceSearchResult,
            ZeroGpuQuota,
            Membership,
            Account,
            OrganizationMember,
            SpaceMetrics,
        ),
        _keep_raw,
    ),
}


def _overrides(kind: type, *, omit: bool = False) -> dict[str, Any]:
    return {
        a.name: override(rename=_wire_name(kind, a.name), omit_if_default=omit)
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


def _make(*, detailed: bool) -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=detailed)
    converter.register_structure_hook(str, _exactly(str, "a string"))
    converter.register_structure_hook(bool, _exactly(bool, "a boolean"))
    converter.register_structure_hook(int, _integer)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(datetime, _instant)
    converter.register_structure_hook_func(
        lambda kind: kind == int | Literal["auto"] | None, _requested_replicas
    )
    converter.register_structure_hook_func(
        lambda kind: kind == bool | str | None, _gated
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


# The quick one decodes. What it refuses goes through the detailed one as well, which
# says what is wrong and where, but is slower.
_quick: Final = _make(detailed=False)
_detailed: Final = _make(detailed=True)

_PROBLEM: Final = re.compile(r"^(?P<what>.*) @ (?P<path>\$.*)$", re.DOTALL)


def _problems(error: Exception) -> list[str]:
    found: list[str] = []
    for line in cattrs.transform_error(error, format_exception=_describe):
        match = _PROBLEM.match(line)
        path = ".".join(map(_camel, match["path"].split("."))) if match else "$"
        path = path.replace("sleepTime", "gcTimeout")
        found.append(f"{path}: {match['what'] if match else line}")
    return found


def _describe(error: BaseException, _type: Any) -> str:
    if isinstance(error, KeyError):
        return f"{_camel(str(error.args[0]))} is missing"
    return str(error)


def structure(data: Any, kind: type[T]) -> T:
    """Make a record from parsed JSON.

    Raises:
        DecodeError: The JSON does not have the documented shape.
    """
    try:
        return _quick.structure(data, kind)
    except Exception:  # noqa: BLE001, S110  (any error of cattrs is about the data; explained below)
        pass
    try:
        _detailed.structure(data, kind)
    except Exception as error:  # noqa: BLE001  (any error of cattrs is about the data)
        problems = _problems(error)
    else:  # pragma: no cover  (the two accept the same data)
        problems = []
    raise DecodeError("the response does not have the documented shape", problems)


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
    return json.dumps(_quick.unstructure(data))


def decode_object(body: bytes) -> JsonObject:
    """Decode a response that is a JSON object with any keys."""
    data = parse_json(body)
    if type(data) is dict:
        return data  # pyright: ignore[reportUnknownVariableType]
    raise DecodeError(
        "the response does not have the documented shape",
        [f"$: expected an object, got {_kind(data)}"],
    )


def decode_runtime(body: bytes) -> SpaceRuntime:
    """Decode the response of a call that returns a runtime."""
    data = decode_object(body)
    if "stage" not in data and "error" in data:
        raise DecodeError("the response is an error", [f"$.error: {data['error']}"])
    return structure(data, SpaceRuntime)


def decode_info(body: bytes) -> SpaceInfo:
    """Decode one Space's info."""
    return structure(decode_object(body), SpaceInfo)


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """Make a function that decodes a response that is one record."""
    return lambda body: structure(decode_object(body), kind)


def list_decoder(
    kind: type[T], *, key: str | None = None
) -> Callable[[bytes], list[T]]:
    """Make a function that decodes an array of records.

    Args:
        kind: The record.
        key: The key of the array in the response; None if the response is the array.
    """

    def decode(body: bytes) -> list[T]:
        data = parse_json(body)
        if key is not None and type(data) is dict:
            data = data.get(key)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if type(data) is not list:  # pyright: ignore[reportUnknownArgumentType]
            raise DecodeError(
                "the response does not have the documented shape",
                [f"$: expected an array, got {_kind(data)}"],  # pyright: ignore[reportUnknownArgumentType]
            )
        return [structure(item, kind) for item in data]  # pyright: ignore[reportUnknownVariableType]

    return decode


def decode_infos(body: bytes) -> list[SpaceInfo]:
    """Decode one page of a listing."""
    return list_decoder(SpaceInfo)(body)


def _keyed(body: bytes, kind: type[T]) -> dict[str, T]:
    return {
        key: structure({"key": key, **entry} if type(entry) is dict else entry, kind)
        for key, entry in decode_object(body).items()
    }


def decode_variables(body: bytes) -> dict[str, SpaceVariable]:
    """Decode the map of all variables, which each call about them returns."""
    return _keyed(body, SpaceVariable)


def decode_secrets(body: bytes) -> dict[str, SpaceSecret]:
    """Decode the map of all secrets: their names, never their values."""
    return _keyed(body, SpaceSecret)
