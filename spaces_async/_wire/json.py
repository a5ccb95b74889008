"""The one JSON parser and the one JSON writer for what goes over the wire.

orjson parses where it is installed, the standard library where it is not. Both give
the same result for the same bytes, or both refuse them with the same message:

- The bytes are UTF-8 without a byte order mark.
- NaN and Infinity are refused, and so is a number that overflows a double, such as
  1e400. All other floats are the nearest double; -0.0 keeps its sign, -0 is 0.
- An integer from -2**63 to 2**64 - 1 is an `int`. A larger one is the nearest double.
- An escaped surrogate without its other half is refused: such a string cannot be
  encoded again.
- Of several equal keys of an object the last one counts, in the place of the first.
- More than 128 levels of nesting are refused. Code that walks what was parsed, such
  as `repr` or `copy.deepcopy`, then never meets Python's recursion limit.
- Control characters in strings, trailing commas, comments and anything after the value
  are refused.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_fast: Callable[[bytes], Any] | None
_fast_dumps: Callable[[Any], bytes] | None
try:
    import orjson
except ImportError:
    _fast = _fast_dumps = None
else:
    _fast, _fast_dumps = orjson.loads, orjson.dumps

MAX_LEVELS: Final = 128
_TOO_DEEP: Final = f"nested deeper than {MAX_LEVELS} levels"
_MIN_INTEGER: Final = -(2**63)
_MAX_INTEGER: Final = 2**64 - 1
_SAFE_DIGITS: Final = 18
"""An integer with at most this many characters fits into 64 bits."""
_MAX_DIGITS: Final = 20
"""An integer with more characters does not fit."""

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
# A whole pair, half of a pair, or any other escape. The last keeps the search from
# starting in the middle of an escape.
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>u[dD][89a-fA-F])|.)"
)


_NO_BRACKETS: Final = bytes(set(range(256)) - set(b'[]{}"'))


class JsonError(ValueError):
    """The bytes are not JSON, or the data cannot be written as JSON.

    The message never quotes them: they may hold the value of a secret.
    """


def loads(body: bytes, *, levels: int = MAX_LEVELS) -> Any:
    """Parse JSON.

    Args:
        body: The bytes.
        levels: How many levels of nesting are allowed.

    Raises:
        JsonError: The bytes are not JSON as the module's docstring defines it.
    """
    if _fast is None:
        return _loads_strictly(body, levels)
    try:
        value = _fast(body)
    except (ValueError, RecursionError):
        pass
    else:
        if _is_too_deep(body, value, levels):
            raise JsonError(_TOO_DEEP)
        return value
    # The standard library says why, so the message does not depend on the parser.
    return _loads_strictly(body, levels)


def split_objects(body: bytes) -> list[bytes]:
    """Cut an array of objects into the objects.

    Where one ends is guessed from how the first one begins, which is right for compact
    JSON whose objects begin alike. If each part is JSON, the guess was right: values
    with commas between them are the array. If one is not, nothing is known.

    Raises:
        JsonError: The guess cannot be right.
    """
    begin, end = body[: body.find(b":") + 1], body[-2:]
    if begin[:3] != b'[{"' or end != b"}]":
        raise JsonError("not an array of objects in compact JSON")
    first, *others = body[1:-1].split(b"," + begin[1:])
    return [first, *[begin[1:] + part for part in others]]


def dumps(data: Any) -> bytes:
    """Write compact JSON in UTF-8; keys keep their order.

    The standard library always writes it. A request of a few hundred bytes takes 2 µs,
    and with one writer there is nothing to keep equal.

    Raises:
        JsonError: A string holds half of a surrogate pair, a number is NaN or
            infinite, or a value has no form in JSON.
    """
    try:
        return _encode(data).encode()
    except UnicodeEncodeError:
        problem = "a string holds half of a surrogate pair"
    except (TypeError, ValueError, RecursionError):
        problem = "a value has no form in JSON"
    # Outside of the handler: the original error would keep the data alive.
    raise JsonError(problem)


def dumps_again(data: Any) -> bytes:
    """Write what `loads` has parsed, for this package itself to read.

    All of it has a form in JSON. The two writers may write a float differently, which
    does not matter here, and orjson takes a tenth of the time.
    """
    return dumps(data) if _fast_dumps is None else _fast_dumps(data)


def _loads_strictly(body: bytes, levels: int = MAX_LEVELS) -> Any:
    """Parse JSON with the standard library, and refuse what it alone would accept."""
    try:
        text = body.decode()
        value = _decode(text)
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8"
    except json.JSONDecodeError as error:
        bom = error.pos == 0 and body.startswith(b"\xef\xbb\xbf")
        problem = "byte order mark" if bom else f"invalid at character {error.pos}"
    except RecursionError:
        problem = _TOO_DEEP
    else:
        if _SURROGATE.search(text):
            for escape in _ESCAPE.finditer(text):
                if escape["half"]:
                    raise JsonError(
                        f"half of a surrogate pair at character {escape.start()}"
                    )
        if _is_too_deep(body, value, levels):
            raise JsonError(_TOO_DEEP)
        return value
    # Outside of the handler: the original error would keep the body alive.
    raise JsonError(problem)


def _is_too_deep(body: bytes, value: Any, levels: int) -> bool:
    """Return whether an array or object is below the deepest allowed level."""
    if body.count(b"[") + body.count(b"{") <= levels:
        return False
    return not _is_shallow(body, levels) and _has_more_levels(value, levels)


def _is_shallow(body: bytes, levels: int) -> bool:
    """Return True if the brackets alone show that JSON is not too deep.

    It takes a third of the time that a walk through all values takes. False shows
    nothing: there may be brackets in strings.
    """
    if b"\\" in body:
        # Then each quote that is left begins or ends a string.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = body.translate(None, _NO_BRACKETS).replace(b'""', b"")
    # The quote in front of a bracket in a string has no other beside it.
    if b'"' in brackets:
        return False
    for _ in range(levels // 2):  # each takes away one level or two
        if not brackets:
            return True
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return False


def _has_more_levels(value: Any, levels: int) -> bool:
    """Walk through what was parsed, level by level."""
    level: list[Any] = [[value]]
    for _ in range(levels + 1):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)  # pyright: ignore[reportUnknownVariableType]
            if type(child) is dict or type(child) is list  # pyright: ignore[reportUnknownArgumentType]
        ]
        if not level:
            return False
    return True


def _integer(digits: str) -> int | float:
    if len(digits) <= _SAFE_DIGITS:
        return int(digits)
    if (
        len(digits) <= _MAX_DIGITS
        and _MIN_INTEGER <= (number := int(digits)) <= _MAX_INTEGER
    ):
        return number
    return _double(digits)


def _double(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise JsonError("a number is too large")
    return number


def _refuse_constant(_name: str) -> NoReturn:
    raise JsonError("NaN and Infinity are not JSON")


_decode: Final = json.JSONDecoder(
    parse_int=_integer, parse_float=_double, parse_constant=_refuse_constant
).decode
_encode: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode
