"""The quick pass: a function for each record that reads what is as documented.

The functions are generated from the records' fields and `shapes` when one is needed
first, as cattrs does, but as one straight function for each record: no call for each
field, no copy of the object. They are as strict as the detailed pass. Where they raise,
whatever it is, nothing is known but that the detailed pass has to look.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from spaces_async._record import blank
from spaces_async._wire import shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spaces_async._wire.shapes import Field

# The usual type of a value, which is taken as it is. What else fits is left to the hook.
_USUAL: Final[dict[Any, type]] = {
    **{kind: kind for kind in (str, bool, int, float)},
    int | Literal["auto"] | None: int,
    bool | str | None: bool,
}
_EMPTY: Final[dict[str, Any]] = {}


Reader = Callable[..., Any]


class OddError(Exception):
    """The value is not as documented."""


@cache
def hook(kind: Any) -> Callable[[Any], Any]:
    """Return a function that reads a value of any type that a field may have."""
    inner = shapes.without_none(kind)
    if inner is not kind:
        read = hook(inner)
        return lambda value: None if value is None else read(value)
    if shapes.is_record(kind):
        return reader(kind)
    if shapes.is_mapping(kind):
        return shapes.object_of
    if shapes.is_sequence(kind):
        item = hook(get_args(kind)[0])
        return lambda value: tuple([item(v) for v in _array(value)])
    if shapes.is_tuple(kind):
        items = [hook(item) for item in get_args(kind)]

        def read_pair(value: Any) -> tuple[Any, ...]:
            pairs = zip(items, _array(value), strict=True)
            return tuple([read(v) for read, v in pairs])

        return read_pair
    leaf = shapes.LEAVES[kind]
    return lambda value: leaf(value, kind)


def _array(value: Any) -> list[Any]:
    if type(value) is list:
        return value  # pyright: ignore[reportUnknownVariableType]
    raise OddError


class _Writer:
    """Writes the function of one record."""

    def __init__(self, kind: type[Any]) -> None:
        self._kind = kind
        self._names: dict[str, Any] = {
            "Odd": OddError,
            "empty": _EMPTY.get,
            "instant": datetime.fromisoformat,
            "kind": kind,
            "new": blank(kind),
        }
        self._holders: set[str] = set()

    def build(self) -> Reader:
        """Return the function."""
        source = "\n".join(self._lines())
        # All that is written here are names from the tables and from attrs.
        exec(compile(source, f"<reads {self._kind.__name__}>", "exec"), self._names)  # noqa: S102
        made: Reader = self._names["read"]
        return made

    def _named(self, value: Any) -> str:
        """Return a name under which the function finds a value."""
        name = f"v{len(self._names)}"
        self._names[name] = value
        return name

    def _lines(self) -> Iterator[str]:
        yield "def read(data, raw=None):"
        yield " get = data.get"  # raises for all but an object
        yield " record = new()"
        for field in shapes.fields(self._kind):
            yield from self._find(field)
            yield from self._check(field)
            yield f" record.{field.name} = v"
        if shapes.has(self._kind, "raw"):
            yield " record.raw = data if raw is None else raw"
        if shapes.has(self._kind, "problems"):
            yield " record.problems = ()"
        yield " record.__class__ = kind"
        yield " return record"

    def _find(self, field: Field) -> Iterator[str]:
        """Write how the value becomes `v`; None if it is absent."""
        *holders, key = field.path
        if holders:
            (holder,) = holders
            if holder not in self._holders:
                self._holders.add(holder)
                yield f" get_{holder} = get({holder!r})"
                yield f" get_{holder} = empty if get_{holder} is None else get_{holder}.get"
            yield f" v = get_{holder}({key!r})"
        else:
            yield f" v = get({key!r})"
        if field.elsewhere is not None:
            *holders, key = field.elsewhere
            yield " if v is None:"
            if holders:
                (holder,) = holders
                yield f"  v = get({holder!r})"
                yield f"  v = v.get({key!r}) if type(v) is dict else None"
            else:
                yield f"  v = get({key!r})"
        if field.derive is not None:
            yield " if v is None:"
            yield f"  v = {self._named(field.derive)}(data)"

    def _check(self, field: Field) -> Iterator[str]:
        """Write how `v` becomes the value of the field."""
        if field.required:
            yield " if v is None: raise Odd"
            yield " else:"
        elif field.default is None:
            yield " if v is not None:"
        else:
            yield " if v is None:"
            yield f"  v = {self._named(field.default)}"
            yield " else:"
        if field.form is not None:
            yield f"  v = {self._named(field.form)}(v)"
        yield from self._read(field)

    def _read(self, field: Field) -> Iterator[str]:
        """Write how a value that is there is read."""
        kind = field.type
        if kind in shapes.ENUMS:
            # A known word is a look into a dict; what has no hash raises.
            members = self._named(kind._value2member_map_.get)
            yield f"  v = {members}(v) or {self._leaf(kind)}"
        elif shapes.is_mapping(kind):
            yield "  if type(v) is not dict: raise Odd"
        elif shapes.is_sequence(kind):
            item = get_args(kind)[0]
            yield "  if type(v) is not list: raise Odd"
            if item is str:
                yield "  for item in v:"
                yield "   if type(item) is not str: raise Odd"
                yield "  v = tuple(v)"
            else:
                yield f"  v = tuple([{self._named(hook(item))}(item) for item in v])"
        elif shapes.is_record(kind) and shapes.has(kind, "raw"):
            part = f"None if raw is None else raw.part({field.path!r})"
            yield f"  v = {self._named(reader(kind))}(v, {part})"
        elif kind is datetime:
            # The Hub sends a zone. What has none is left to the detailed pass.
            yield "  v = instant(v)"
            yield "  if v.tzinfo is None: raise Odd"
        elif kind in shapes.LEAVES:
            usual = _USUAL.get(kind)
            odd = "" if usual is None else f"if type(v) is not {usual.__name__}: "
            yield f"  {odd}v = {self._leaf(kind)}"
        else:
            yield f"  v = {self._named(hook(kind))}(v)"

    def _leaf(self, kind: Any) -> str:
        return f"{self._named(shapes.LEAVES[kind])}(v, {self._named(kind)})"


def _make_reader(kind: type[Any]) -> Reader:
    return _Writer(kind).build()


reader: Final = cast("Callable[[type[Any]], Reader]", cache(_make_reader))
"""Returns the function that makes a record of a parsed object.

It takes the object, and what is kept as `raw` if not the object (a `RawObject`). It
raises any exception if the object is not as documented.
"""
