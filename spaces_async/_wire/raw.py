"""The JSON object of a response, kept as the bytes that were received."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Self

from spaces_async._wire import json


class RawObject(Mapping[str, Any]):
    """A JSON object that is parsed again each time it is asked for something.

    A runtime takes 300 bytes as it was received and 2 KB as a dict, and a bulk keeps
    one for each Space. Few are ever looked at, so nothing parsed is kept: the object
    never grows, and threads can share it.
    """

    __slots__ = ("_body", "_keys")

    def __init__(self, body: bytes, keys: tuple[str, ...] = ()) -> None:
        """Keep an object.

        Args:
            body: The JSON of one object, which was parsed before.
            keys: The keys that lead to the object in it.
        """
        self._body = body
        self._keys = keys

    def part(self, keys: tuple[str, ...]) -> RawObject:
        """Return an object that is in this one."""
        return RawObject(self._body, self._keys + keys)

    def _parsed(self) -> dict[str, Any]:
        value = json.loads(self._body)
        for key in self._keys:
            value = value[key]
        return value  # type: ignore[no-any-return]

    def __getitem__(self, key: str) -> Any:
        return self._parsed()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed())

    def __len__(self) -> int:
        return len(self._parsed())

    # The mixin methods would parse once for each key.
    def keys(self) -> KeysView[str]:
        return self._parsed().keys()

    def values(self) -> ValuesView[Any]:
        return self._parsed().values()

    def items(self) -> ItemsView[str, Any]:
        return self._parsed().items()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, RawObject):
            same = self._body == other._body and self._keys == other._keys
            return same or self._parsed() == other._parsed()
        if isinstance(other, Mapping):
            return self._parsed() == other
        return NotImplemented

    # It equals dicts, which have no hash.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._parsed())

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type[RawObject], tuple[bytes, tuple[str, ...]]]:
        return RawObject, (self._body, self._keys)
