"""The detailed pass: reads what can be read of a response that is not as documented.

cattrs reads the values, and refuses what is of another type. A value that it refuses
costs its field and nothing else. It takes ten times as long as the quick pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

import cattrs
from cattrs.gen import make_dict_unstructure_fn, override

from spaces_async._wire import quick, shapes
from spaces_async._wire.shapes import expected
from spaces_async.models import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spaces_async._wire.shapes import Field, JsonObject

UNREADABLE: Final = object()
MAX_ITEMS_NAMED: Final = 3
_MAX_ITEMS_LOST: Final = 1000
"""An array with more unreadable items is none: the work on it stays bounded."""

Problem = tuple[str, str]
"""Where it is, seen from the value, and what is wrong."""


def _make() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    for kind, hook in shapes.LEAVES.items():
        if isinstance(kind, type):
            converter.register_structure_hook(kind, hook)
        else:
            converter.register_structure_hook_func(_is(kind), hook)
    converter.register_structure_hook_func(
        shapes.is_mapping, lambda value, _type: shapes.object_of(value)
    )
    _register_arrays(converter)
    out: dict[str, Any] = {
        field.name: override(rename=field.wire, omit_if_default=True)
        for field in shapes.fields(Volume)
    }
    converter.register_unstructure_hook(
        Volume, make_dict_unstructure_fn(Volume, converter, **out)
    )
    return converter


def _is(kind: Any) -> Callable[[Any], bool]:
    return lambda other: bool(other == kind)


def _register_arrays(converter: cattrs.Converter) -> None:
    """Accept only JSON arrays as tuples; cattrs would split a string."""

    @converter.register_structure_hook_factory(shapes.is_tuple)
    def _make_pair(kind: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
        items = get_args(kind)

        def structure(value: Any, _type: Any) -> tuple[Any, ...]:
            if type(value) is not list or len(value) != len(items):  # pyright: ignore[reportUnknownArgumentType]
                raise expected(f"an array of {len(items)}", value)  # pyright: ignore[reportUnknownArgumentType]
            pairs = zip(value, items, strict=True)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            return tuple(converter.structure(v, item) for v, item in pairs)  # pyright: ignore[reportUnknownVariableType]

        return structure


_converter: Final = _make()


def unstructure(data: Any) -> Any:
    """Make plain data of data with records in it."""
    return _converter.unstructure(data)


def salvage(value: Any, kind: Any) -> tuple[Any, list[Problem]]:
    """Read what can be read of a value.

    Returns:
        What was read, `UNREADABLE` if nothing can be; and what is wrong with it.
    """
    if shapes.is_record(kind):
        return _salvage_record(value, kind)
    if shapes.is_sequence(kind):
        return _salvage_array(value, get_args(kind)[0])
    try:
        return _converter.structure(value, kind), []
    except Exception as error:  # noqa: BLE001  (any exception means another shape)
        return UNREADABLE, [("", str(error))]


def _salvage_array(value: Any, kind: Any) -> tuple[Any, list[Problem]]:
    if type(value) is not list:
        return UNREADABLE, [("", str(expected("an array", value)))]
    read: list[Any] = []
    problems: list[Problem] = []
    odd = 0
    read_quickly = quick.hook(kind)
    for number, item in enumerate(value):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        try:
            read.append(read_quickly(item))
            continue
        except Exception:  # noqa: BLE001, S110  (any exception means another shape)
            pass
        found, wrong = salvage(item, kind)
        if found is not UNREADABLE:
            read.append(found)
        if wrong:
            odd += 1
            if odd <= MAX_ITEMS_NAMED:
                problems += [(f"[{number}]{place}", what) for place, what in wrong]
            elif odd > _MAX_ITEMS_LOST:
                return UNREADABLE, [*problems, ("", "too many unreadable items")]
    if odd > MAX_ITEMS_NAMED:
        problems.append(("", f"{odd - MAX_ITEMS_NAMED} more unreadable items"))
    return tuple(read), problems


def _salvage_record(value: Any, kind: type[Any]) -> tuple[Any, list[Problem]]:
    if type(value) is not dict:
        return UNREADABLE, [("", str(expected("an object", value)))]
    data: JsonObject = value  # pyright: ignore[reportUnknownVariableType]
    sent, problems = _find_all(data, kind)
    read: dict[str, Any] = {}
    for field in shapes.fields(kind):
        one, place = sent[field.name]
        if one is None:
            if field.required:
                return UNREADABLE, [*problems, ("", f"{field.wire} is missing")]
            continue
        found, wrong = salvage(one, field.type)
        if wrong and field.whole:
            found = UNREADABLE
        problems += [(f".{place}{inner}", what) for inner, what in wrong]
        if found is not UNREADABLE:
            read[field.name] = found
        elif field.required:
            return UNREADABLE, problems
    if shapes.has(kind, "raw"):
        read["raw"] = data
    if shapes.has(kind, "problems"):
        read["problems"] = told(problems)
    return kind(**read), problems


def _find_all(
    data: JsonObject, kind: type[Any]
) -> tuple[dict[str, tuple[Any, str]], list[Problem]]:
    """Return the value of each field and its place, and what stands in their way."""
    sent: dict[str, tuple[Any, str]] = {}
    problems: dict[Problem, None] = {}
    for field in shapes.fields(kind):
        try:
            sent[field.name] = _find(data, field)
        except ValueError as error:
            # It takes several fields with it, and is one problem.
            problems[f".{field.path[0]}", str(error)] = None
            sent[field.name] = (None, "")
    return sent, list(problems)


def _find(data: JsonObject, field: Field) -> tuple[Any, str]:
    """Return the value of a field, None if it is absent; and its place."""
    value: Any = data
    for key in field.path:
        value = None if value is None else shapes.object_of(value).get(key)
    place = ".".join(field.path)
    if value is None and field.elsewhere is not None:
        value, place = data, ".".join(field.elsewhere)
        for key in field.elsewhere:
            value = value.get(key) if isinstance(value, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if value is None and field.derive is not None:
        value = field.derive(data)
    if value is not None and field.form is not None:
        value = field.form(value)
    return value, place  # pyright: ignore[reportUnknownVariableType]


def told(problems: Iterable[Problem]) -> tuple[str, ...]:
    """Return problems as records and errors name them."""
    return tuple(f"${place}: {what}" for place, what in problems)
