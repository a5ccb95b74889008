"""What all records, outcomes and reports have in common: JSON data and a short repr."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Final, cast

import attrs

_MAX_REPR_CHARS: Final = 300

_short: Final = reprlib.Repr()
_short.maxlevel = 3
_short.maxtuple = _short.maxlist = _short.maxdict = 4
_short.maxstring = 80
_short.maxother = 120


class JsonData:
    """Something that becomes JSON with `to_dict()`.

    FastAPI's `jsonable_encoder` makes a dict of what it does not know, and pydantic
    asks the class for its schema: so an endpoint can return a record, with or without
    a return annotation. Neither package is needed here. An endpoint annotated with `Any`
    or `dict[str, Any]` returns `to_dict()`: pydantic does not look for a class there.
    """

    __slots__ = ()

    def to_dict(self, *, raw: bool = False) -> dict[str, Any]:
        """Return plain data for JSON."""
        raise NotImplementedError

    def keys(self) -> Iterable[str]:
        """Return the keys of `to_dict()`, so that `dict(record)` is the same."""
        return self.to_dict().keys()

    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> Any:
        # pydantic documents that its core schemas are plain dicts.
        return {
            "type": "is-instance",
            "cls": cls,
            "serialization": {"type": "function-plain", "function": cls.to_dict},
        }

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: object, _handler: object) -> Any:
        return {"type": "object", "title": cls.__name__}


class Record(JsonData):
    """A frozen attrs class with `to_dict()` and a repr of one line."""

    __slots__ = ("__weakref__",)

    # With `__getitem__` alone Python would iterate over record[0], record[1], ...
    __iter__: ClassVar[None] = None
    __contains__: ClassVar[None] = None

    def to_dict(self, *, raw: bool = False) -> dict[str, Any]:
        """Return plain data for JSON: enumerations as strings, times in ISO 8601.

        Args:
            raw: Add the whole JSON object that the Hub sent, where there is one.
        """
        names = (a.name for a in attrs.fields(type(self)))  # type: ignore[arg-type]
        return {
            name: plain(getattr(self, name)) for name in names if raw or name != "raw"
        }

    def __getitem__(self, key: str) -> Any:
        if type(self).to_dict is Record.to_dict and key != "raw":
            # One field alone; else a `dict(record)` would make them all for each.
            if key in attrs.fields_dict(type(self)):  # type: ignore[arg-type]
                return plain(getattr(self, key))
            raise KeyError(key)
        return super().__getitem__(key)

    def __repr__(self) -> str:
        fields: list[tuple[str, Any]] = []
        for a in attrs.fields(type(self)):  # type: ignore[arg-type]
            value = getattr(self, a.name)
            if a.name != "raw" and not _is_default(value, a.default):
                fields.append((a.name, value))
        return short_repr(type(self).__name__, fields)


def blank(kind: type[Any]) -> type[Any]:
    """Return a class whose instances can become records of a kind.

    It has the same slots, without what keeps a record frozen. An instance is filled,
    and then gets the record's class: a fifth of the time that `kind(...)` takes, which
    has to get around `__setattr__` for each field. Converters and validators do not
    run: each value has to have the type of its field.
    """
    members: dict[str, Any] = {"__slots__": kind.__slots__, "__module__": __name__}
    if "__orig_bases__" in vars(kind):
        members["__orig_bases__"] = kind.__orig_bases__  # of a generic record
    return type(f"Blank{kind.__name__}", kind.__bases__, members)


def _is_default(value: object, default: object) -> bool:
    # Only simple values are compared: what a user's code returned may be anything.
    if value is None:
        return True
    return type(value) in (bool, int, float, tuple) and value == default


def short_repr(name: str, fields: Iterable[tuple[str, object]]) -> str:
    """Return a repr of one line, cut where it gets long.

    Args:
        name: Name of the class.
        fields: Names and values of what it shows, the most telling first.
    """
    line, comma = f"{name}(", ""
    for field, value in fields:
        shown = value.value if isinstance(value, Enum) else value
        # Whatever a foreign repr returns, it stays on the line.
        text = " ".join(_short.repr(shown).splitlines())
        part = f"{comma}{field}={text}"
        if len(line) + len(part) > _MAX_REPR_CHARS - len(", ...)"):
            return f"{line}{comma}...)"
        line, comma = line + part, ", "
    return f"{line})"


def plain(value: Any, *, raw: bool = False) -> Any:
    """Return a value as data that `json.dumps` takes.

    Args:
        value: The value; what JSON has no form for becomes a string.
        raw: See `Record.to_dict`.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, JsonData):
        return value.to_dict(raw=raw)
    if isinstance(value, Mapping):
        entries: Mapping[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return {str(key): plain(entry, raw=raw) for key, entry in entries.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = cast("Iterable[Any]", value)
        return [plain(item, raw=raw) for item in items]
    if isinstance(value, Decimal):
        return float(value)  # JSON has one kind of number
    if isinstance(value, datetime):
        # As everywhere here, a time without a zone is UTC.
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return str(value)


def holds_records(value: object) -> bool:
    """Return whether a value is a record, or a collection of nothing else."""
    if isinstance(value, Mapping):
        entries: Mapping[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return all(isinstance(entry, Record) for entry in entries.values())
    if isinstance(value, list | tuple):
        items = cast("Iterable[Any]", value)
        return all(isinstance(item, Record) for item in items)
    return isinstance(value, Record)
