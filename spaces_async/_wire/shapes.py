"""What the Hub's JSON looks like: where each field stands, and what each value may be.

Two passes read it: `quick` reads what is as documented, `detailed` whatever is not. Both
take all they know of the wire from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, cast, get_args, get_origin

import attrs

from spaces_async.models import (
    FileName,
    SpaceHardware,
    SpaceInfo,
    SpaceRuntime,
    SpaceSdk,
    SpaceStage,
    SpaceStorage,
    VolumeType,
)
from spaces_async.records import (
    Accelerator,
    BillingPeriod,
    BillingUsage,
    HardwareFlavor,
    SpaceMetrics,
    SpaceSearchResult,
    UsageLine,
)

JsonObject = dict[str, Any]
Hook = Callable[[Any, Any], Any]
"""Reads a value of a type; raises ValueError if it is of another."""

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

# Where a value stands in the response, if not under its own name. What it stands in
# must be an object, if it is there.
_PATHS: Final[dict[tuple[type, str], tuple[str, str]]] = {
    (SpaceRuntime, "hardware"): ("hardware", "current"),
    (SpaceRuntime, "requested_hardware"): ("hardware", "requested"),
    (BillingUsage, "spaces"): ("usage", "Spaces"),
}

# Where else a value is looked for, if it is not in its place. Card data is what authors
# wrote: whatever it is, the response is fine.
_ELSEWHERE: Final[dict[tuple[type, str], tuple[str, ...]]] = {
    (SpaceInfo, "title"): ("cardData", "title"),
    (SpaceInfo, "sdk_version"): ("cardData", "sdk_version"),
    (SpaceInfo, "short_description"): ("ai_short_description",),
}

# Arrays that are None as a whole if one item cannot be read. Volumes are read to be
# written again with one more: those that were left out would be unmounted.
_WHOLE: Final = frozenset({(SpaceRuntime, "volumes")})

ENUMS: Final = (SpaceStage, SpaceHardware, SpaceSdk, SpaceStorage, VolumeType)


def _owner(data: JsonObject) -> str | None:
    name = data.get("id")
    if not isinstance(name, str):
        return None
    owner, slash, _ = name.partition("/")
    return owner if slash else None


def _no_lines(data: JsonObject) -> list[Any] | None:
    """An owner without paid Spaces has no such lines; one without `usage` has no bill."""
    return [] if isinstance(data.get("usage"), dict) else None


# What follows from the rest of the object, if it is not in its place.
_DERIVED: Final[dict[tuple[type, str], Callable[[JsonObject], Any]]] = {
    (SpaceInfo, "author"): _owner,
    (BillingUsage, "spaces"): _no_lines,
}


def _ids(key: str) -> Callable[[Any], Any]:
    """Take a list of texts, or of objects that name themselves."""

    def read(values: Any) -> Any:
        if not isinstance(values, list):
            return values
        return [v.get(key, v) if isinstance(v, dict) else v for v in values]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    return read


# What is made of a value before its type is looked at.
_FORMS: Final[dict[tuple[type, str], Callable[[Any], Any]]] = {
    (SpaceInfo, "siblings"): _ids("rfilename"),
    (SpaceInfo, "models"): _ids("id"),
    (SpaceInfo, "datasets"): _ids("id"),
    (Accelerator, "quantity"): str,
}


@attrs.frozen
class Field:
    """How a field of a record is found and read.

    Attributes:
        name: Its name.
        wire: Its key in an object that has it under its own name.
        path: The keys that lead to it.
        elsewhere: Where else it is looked for; None is nowhere.
        derive: Makes it of the rest of the object, if it is found nowhere.
        form: Makes of a value what the type is about.
        type: Its type, without None.
        default: Its default.
        whole: Whether it is None if any part of it cannot be read.
    """

    name: str
    wire: str
    path: tuple[str, ...]
    elsewhere: tuple[str, ...] | None
    derive: Callable[[JsonObject], Any] | None
    form: Callable[[Any], Any] | None
    type: Any
    default: Any
    whole: bool

    @property
    def required(self) -> bool:
        """Whether a record makes no sense without it."""
        return self.default is attrs.NOTHING


def _read_fields(kind: type[Any]) -> tuple[Field, ...]:
    attrs.resolve_types(kind)
    return tuple(_field(kind, a) for a in attrs.fields(kind) if a.name not in _OURS)


fields: Final = cast("Callable[[type[Any]], tuple[Field, ...]]", cache(_read_fields))
"""Returns the fields of a record that are read from the wire."""
_OURS: Final = ("raw", "problems")


def _field(kind: type[Any], attribute: attrs.Attribute[Any]) -> Field:
    name = attribute.name
    at = (kind, name)
    wire = _RENAMED.get(kind, {}).get(name) or _camel(name)
    return Field(
        name=name,
        wire=wire,
        path=_PATHS.get(at, (wire,)),
        elsewhere=_ELSEWHERE.get(at),
        derive=_DERIVED.get(at),
        form=_FORMS.get(at),
        type=without_none(attribute.type),
        default=attribute.default,
        whole=at in _WHOLE,
    )


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def without_none(kind: Any) -> Any:
    """Take `None` out of `X | None`; leave a union of more as it is."""
    if get_origin(kind) in (Union, UnionType):
        kinds = [k for k in get_args(kind) if k is not NoneType]
        if len(kinds) == 1:
            return kinds[0]
    return kind


def has(kind: type[Any], name: str) -> bool:
    """Return whether a record has a field."""
    return name in attrs.fields_dict(kind)


def is_record(kind: Any) -> bool:
    """Return whether a type is a record."""
    return isinstance(kind, type) and attrs.has(kind)


def is_tuple(kind: Any) -> bool:
    """Return whether a type is a tuple: an array on the wire."""
    return get_origin(kind) is tuple


def is_sequence(kind: Any) -> bool:
    """Return whether a type is a tuple of any length."""
    return is_tuple(kind) and get_args(kind)[1:] == (Ellipsis,)


def is_mapping(kind: Any) -> bool:
    """Return whether a type is an object that is kept as it is."""
    return get_origin(kind) is Mapping


def expected(what: str, value: object) -> ValueError:
    """Return the error for a value of another type."""
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


def _text(value: Any, _type: Any) -> str:
    if type(value) is str:
        return value
    raise expected("a string", value)


def _flag(value: Any, _type: Any) -> bool:
    if type(value) is bool:
        return value
    raise expected("a boolean", value)


def _integer(value: Any, _type: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise expected("a whole number", value)


def _number(value: Any, _type: Any) -> float:
    if type(value) in (int, float):
        return float(value)
    raise expected("a number", value)


def _instant(value: Any, _type: Any) -> datetime:
    if type(value) is str:
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    raise expected("an ISO 8601 date and time", value)


def _open_enum(value: Any, kind: Any) -> Any:
    if type(value) is str:
        return kind(value)
    raise expected("a string", value)


def _file_name(value: Any, _type: Any) -> FileName:
    if type(value) is not str:
        raise expected("a string", value)
    return FileName(value)


def _requested_replicas(value: Any, _type: Any) -> int | str | None:
    return "auto" if value == "auto" else _integer(value, int)


def _flag_or_text(value: Any, _type: Any) -> bool | str:
    if type(value) in (bool, str):
        return cast("bool | str", value)
    raise expected("a boolean or a string", value)


def object_of(value: Any) -> JsonObject:
    """Return a value that is an object; raise ValueError if it is none."""
    if type(value) is dict:
        return value  # pyright: ignore[reportUnknownVariableType]
    raise expected("an object", value)


LEAVES: Final[dict[Any, Hook]] = {
    str: _text,
    FileName: _file_name,
    bool: _flag,
    int: _integer,
    float: _number,
    datetime: _instant,
    int | Literal["auto"] | None: _requested_replicas,
    bool | str | None: _flag_or_text,
    **dict.fromkeys(ENUMS, _open_enum),
}
"""The values that are neither objects nor arrays, and how each is read."""
