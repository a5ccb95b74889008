"""Both parsers give the same for the same bytes; the writer has one form."""

from __future__ import annotations

import copy
import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spaces_async import SpaceHardware
from spaces_async._wire import json as wire_json
from spaces_async._wire.json import MAX_LEVELS, JsonError, dumps, loads, split_objects

Parser = Callable[[bytes], Any]

ORJSON: Final[Parser | None] = (
    importlib.import_module("orjson").loads
    if importlib.util.find_spec("orjson")
    else None
)
with_orjson = pytest.mark.skipif(ORJSON is None, reason="orjson is not installed")


@pytest.fixture(params=["stdlib", pytest.param("orjson", marks=with_orjson)])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test run as if orjson were installed, and as if it were not."""
    monkeypatch.setattr(
        wire_json, "_fast", ORJSON if request.param == "orjson" else None
    )


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    inner = b"" if opening == b"[" else b"1"
    return opening * levels + inner + closing * levels


def short(part: object) -> str:
    text = repr(part)
    return text if len(text) < 50 else f"{text[:40]}... ({len(text)})"


def seen(parse: Parser, body: bytes) -> str:
    """Return the value with its types, the order of its keys and the sign of 0."""
    try:
        return repr(parse(body))
    except JsonError as error:
        return f"refused: {error}"


VALUES: Final[list[tuple[bytes, Any]]] = [
    # Numbers: 64 bits are whole, what is larger is the nearest double.
    (b"0", 0),
    (b"-0", 0),
    (b"-0.0", -0.0),
    (b"-0e0", -0.0),
    (b"999999999999999999", 10**18 - 1),
    (b"9007199254740993", 2**53 + 1),
    (b"9223372036854775808", 2**63),
    (b"18446744073709551615", 2**64 - 1),
    (b"18446744073709551616", 2.0**64),
    (b"-9223372036854775808", -(2**63)),
    (b"-9223372036854775809", -(2.0**63)),
    (b"99999999999999999999", 1e20),
    (b"1" + b"0" * 308, 1e308),
    (b"1E+2", 100.0),
    (b"1e-400", 0.0),
    (b"-1e-400", -0.0),
    (b"0e99999999999999999999", 0.0),
    (b"5e-324", 5e-324),
    (b"2.2250738585072011e-308", 2.225073858507201e-308),
    (b"1.7976931348623158e308", sys.float_info.max),
    (b"0.1000000000000000055511151231257827", 0.1),
    (b"0." + b"1" * 5_000, 0.1111111111111111),
    (b"123456789012345678901234567890e-10", 1.2345678901234567e19),
    # Texts.
    (b'""', ""),
    (b'"\\u0000\\u001f"', "\0\x1f"),
    (b'"\x7f"', "\x7f"),
    (b'"\\ud83d\\ude00"', "\U0001f600"),
    (b'"\\uD83D\\uDE00\\uffff"', "\U0001f600\uffff"),
    (b'"\\\\ud800"', "\\ud800"),
    (b'"\\\\\\\\ud800 \\\\\\ud83d\\ude00"', "\\\\ud800 \\\U0001f600"),
    ('"é😀\u2028"'.encode(), "é😀\u2028"),
    (b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\/\b\f\n\r\t'),
    # Objects: the last of several equal keys, in the place of the first.
    (b'{"a":1,"b":2,"a":3}', {"a": 3, "b": 2}),
    (b'{"a":{"b":1},"\\u0061":{}}', {"a": {}}),
    (b'{"":0}', {"": 0}),
    (b'{"' + b"k" * 100_000 + b'":0}', {"k" * 100_000: 0}),
    (b'{"\\ud83d\\ude00":0}', {"\U0001f600": 0}),
    # The rest.
    (b" \t\r\n[ true , false , null ]\n", [True, False, None]),
    (b"[[],{}]", [[], {}]),
    (b"[" + b"[]," * 10_000 + b"[]]", [[]] * 10_001),
    (b'"' + b"[{" * 10_000 + b'"', "[{" * 10_000),
]


@pytest.mark.parametrize(("body", "value"), VALUES, ids=short)
@pytest.mark.usefixtures("parser")
def test_what_is_json_is_parsed(body: bytes, value: Any) -> None:
    """The value, its types, the order of keys and the sign of 0 are the same."""
    assert seen(loads, body) == repr(value)


REFUSED: Final[list[tuple[bytes, str]]] = [
    (b"", "invalid at character 0"),
    (b" \n", "invalid at character 2"),
    (b"NaN", "NaN and Infinity are not JSON"),
    (b"[Infinity]", "NaN and Infinity are not JSON"),
    (b'{"a":-Infinity}', "NaN and Infinity are not JSON"),
    (b"nan", "invalid at character 0"),
    (b"1e400", "a number is too large"),
    (b"-1e400", "a number is too large"),
    (b"1.7976931348623159e308", "a number is too large"),
    (b"9" * 309, "a number is too large"),
    (b"9" * 5_000, "a number is too large"),
    (b"-" + b"9" * 5_000, "a number is too large"),
    (b"01", "invalid at character 1"),
    (b"-", "invalid at character 0"),
    (b"1.", "invalid at character 1"),
    (b".5", "invalid at character 0"),
    (b"+1", "invalid at character 0"),
    (b"0x10", "invalid at character 1"),
    (b"1_0", "invalid at character 1"),
    ("\u0661".encode(), "invalid at character 0"),
    ("1\u0661".encode(), "invalid at character 1"),
    (b'"\\ud800"', "half of a surrogate pair at character 1"),
    (b'["ok","\\udc00"]', "half of a surrogate pair at character 7"),
    (b'"\\ud83d\\ud83d\\ude00"', "half of a surrogate pair at character 1"),
    (b'"\\ude00\\ud83d"', "half of a surrogate pair at character 1"),
    (b'"\\ud800\\u0041"', "half of a surrogate pair at character 1"),
    (b'"\\\\\\ud800"', "half of a surrogate pair at character 3"),
    (b'{"\\ud800":1}', "half of a surrogate pair at character 2"),
    (b'{"a":"\\ud800","a":1}', "half of a surrogate pair at character 6"),
    (b'"\\u12"', "invalid at character 2"),
    (b'"\\x41"', "invalid at character 1"),
    (b'"\x01"', "invalid at character 1"),
    (b'"\n"', "invalid at character 1"),
    (b'"\x00"', "invalid at character 1"),
    (b'"open', "invalid at character 0"),
    (b"'a'", "invalid at character 0"),
    (b"\xef\xbb\xbf{}", "byte order mark"),
    (b'{"a":1}'.decode().encode("utf-16"), "byte 0 is not UTF-8"),
    (b'{"a":1}'.decode().encode("utf-16-le"), "invalid at character 1"),
    (b'{"a":1}'.decode().encode("utf-32-be"), "invalid at character 0"),
    (b'"\xff"', "byte 1 is not UTF-8"),
    (b'"\xed\xa0\x80"', "byte 1 is not UTF-8"),
    (b'"\xc0\x80"', "byte 1 is not UTF-8"),
    (b'"\xf4\x90\x80\x80"', "byte 1 is not UTF-8"),
    (b'"\xc3', "byte 1 is not UTF-8"),
    (b"1 1", "invalid at character 2"),
    (b"{}x", "invalid at character 2"),
    (b"1\x00", "invalid at character 1"),
    (b"\x0b1", "invalid at character 0"),
    (b"\xc2\xa01", "invalid at character 0"),
    (b"{} // all", "invalid at character 3"),
    (b"<html></html>", "invalid at character 0"),
    (b"true1", "invalid at character 4"),
    (b"True", "invalid at character 0"),
    (b'{"a" 1}', "invalid at character 5"),
    (b"{1:2}", "invalid at character 1"),
    (b"[1 2]", "invalid at character 3"),
    (b"[" * 1_000_000, f"nested deeper than {MAX_LEVELS} levels"),
    (b'{"a":' * 200_000, f"nested deeper than {MAX_LEVELS} levels"),
]


@pytest.mark.parametrize(("body", "why"), REFUSED, ids=short)
@pytest.mark.usefixtures("parser")
def test_what_is_not_json_is_refused(body: bytes, why: str) -> None:
    """The message is ours, whichever parser is installed."""
    with pytest.raises(JsonError) as caught:
        loads(body)
    assert str(caught.value) == why


@pytest.mark.parametrize("body", [b"[1,]", b'{"a":1,}', b"[,1]", b"{,}"])
@pytest.mark.usefixtures("parser")
def test_a_trailing_comma_is_refused(body: bytes) -> None:
    """Which character is told depends on the version of Python."""
    with pytest.raises(JsonError, match=r"^invalid at character [1-7]$"):
        loads(body)


DEEP: Final = [(b"[", b"]"), (b'{"a":', b"}"), (b'[0,{"a":', b"},1]")]


@pytest.mark.parametrize(("opening", "closing"), DEEP, ids=["[", "{", "[{"])
@pytest.mark.usefixtures("parser")
def test_levels(opening: bytes, closing: bytes) -> None:
    """128 levels are parsed and can be walked; 129, 1,000 and more are refused."""
    each = (opening + closing).count(b"[") + (opening + closing).count(b"{")
    most = MAX_LEVELS // each
    deepest = loads(nested(most, opening, closing))
    assert repr(copy.deepcopy(deepest)) == repr(deepest)
    assert json.loads(json.dumps(deepest, indent=1)) == deepest
    for levels in (most + 1, 999, 1_000, 1_024, 1_025, 5_000):
        with pytest.raises(JsonError) as caught:
            loads(nested(levels, opening, closing))
        assert str(caught.value) == f"nested deeper than {MAX_LEVELS} levels"


@pytest.mark.usefixtures("parser")
def test_levels_beside_each_other_are_not_counted_together() -> None:
    """One page of a listing opens thousands of objects and nests a few."""
    page = [
        {"id": f"acme/{n}", "tags": [], "runtime": {"stage": "X"}} for n in range(999)
    ]
    assert loads(json.dumps(page).encode()) == page
    one_too_deep = [*page, loads(nested(MAX_LEVELS))]
    with pytest.raises(JsonError, match="nested deeper"):
        loads(json.dumps(one_too_deep).encode())


@pytest.mark.usefixtures("parser")
@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    "text", ["{", "}", "[", "]", "{}", "][", '"', "\\", '\\"[', "x"]
)
def test_brackets_in_strings_are_no_levels(text: str) -> None:
    """What stands in strings neither hides a level nor makes one, wherever it stands."""
    for inside in (text * 200, text):
        beside = json.dumps(inside).encode()
        for levels, allowed in ((MAX_LEVELS, True), (MAX_LEVELS + 1, False)):
            opening = b"[%b," % beside * levels
            closing = b",%b]" % beside * levels
            body = opening + b"1" + closing
            if allowed:
                assert loads(body) == json.loads(body)
            else:
                with pytest.raises(JsonError, match="nested deeper"):
                    loads(body)


def test_an_error_holds_nothing_of_the_answer() -> None:
    """Neither its text nor the errors behind it quote what was sent."""
    for body in (b'{"value":"canary" x', b'{"value":"canary\xff"', b'["canary",1e999]'):
        with pytest.raises(JsonError) as caught:
            loads(body)
        assert "canary" not in str(caught.value)
        assert caught.value.__context__ is None


TOKENS: Final = [
    *("[", "]", "{", "}", ",", ":", " ", "\n", '"', "\\", "0", "1", "-", ".", "e", "E"),
    *("true", "false", "null", "NaN", "Infinity", '"a"', '"a":', "[1]", '{"b":2}'),
    *("\\u", "\\ud83d", "\\ude00", "\\u0061", "\\\\", '\\"', "\\n", "/", "//"),
    *("18446744073709551616", "9" * 17, "9" * 19, "1e308", "1e309", "e-400", "0.1"),
    *(
        "\ufeff",
        "\x00",
        "\x1f",
        "\x7f",
        "é",
        "😀",
        "\u0663",
        "+",
        "'",
        "[" * 65,
        "]" * 65,
    ),
]
WHOLE: Final = st.integers(-(2**70), 2**70) | st.integers(2**63 - 9, 2**64 + 9)
DOCUMENT: Final = st.recursive(
    st.none()
    | st.booleans()
    | WHOLE
    | WHOLE.map(float)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(st.characters(exclude_categories=[]), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
).map(lambda value: json.dumps(value).encode())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a document with a piece cut out, and another one put in its place."""
    body = draw(DOCUMENT)
    start = draw(st.integers(0, len(body)))
    end = draw(st.integers(start, min(len(body), start + 4)))
    piece = draw(st.sampled_from(TOKENS).map(str.encode) | st.binary(max_size=3))
    return body[:start] + piece + body[end:]


BODY: Final = (
    DOCUMENT
    | damaged()
    | st.lists(st.sampled_from(TOKENS), max_size=12).map(
        lambda ts: "".join(ts).encode()
    )
    | st.from_regex(
        rb"-?[0-9]{1,22}(\.[0-9]{1,22})?([eE][-+]?[0-9]{1,3})?", fullmatch=True
    )
    | st.from_regex(
        rb'"(\\\\|\\u[dD][89a-fA-F][0-9a-f]{2}|\\u00[0-9a-f]{2}|x){0,5}"',
        fullmatch=True,
    )
    | st.binary(max_size=20)
)


@with_orjson
@settings(max_examples=1_000, deadline=None)
@given(BODY)
@example(nested(500))
@example(b'"\\ud83d\\u\\ude00"')
def test_both_parsers_give_the_same(body: bytes) -> None:
    """Each body is the same value for both, or both refuse it in the same words."""
    assert ORJSON is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire_json, "_fast", None)
        by_stdlib = seen(loads, body)
        patch.setattr(wire_json, "_fast", ORJSON)
        assert seen(loads, body) == by_stdlib
    # What orjson refuses is asked of the standard library again. That must never be
    # how a body gets through.
    try:
        ORJSON(body)
    except ValueError:
        assert by_stdlib.startswith("refused: ")


WRITTEN: Final[list[tuple[Any, bytes]]] = [
    ({"b": 1, "a": [True, False, None]}, b'{"b":1,"a":[true,false,null]}'),
    ({"key": "é😀\u2028/"}, '{"key":"é😀\u2028/"}'.encode()),
    ('\0\x1f\x7f\b\f\n\r\t"\\', b'"\\u0000\\u001f\x7f\\b\\f\\n\\r\\t\\"\\\\"'),
    (("a", ("b",)), b'["a",["b"]]'),
    (SpaceHardware.CPU_BASIC, b'"cpu-basic"'),
    (SpaceHardware("novel"), b'"novel"'),
    ({SpaceHardware.CPU_BASIC: 1}, b'{"cpu-basic":1}'),
    (type("Text", (str,), {})("x"), b'"x"'),
    (-(2**63), b"-9223372036854775808"),
    ({}, b"{}"),
]


@pytest.mark.parametrize(("data", "body"), WRITTEN, ids=short)
def test_one_form_is_written(data: Any, body: bytes) -> None:
    """Compact, UTF-8, keys in their order; enumerations as the words they are."""
    assert dumps(data) == body


@pytest.mark.parametrize(
    "data",
    ["\ud800", {"\udfff": 1}, math.nan, [math.inf], {1, 2}, object(), {(1, 2): 3}],
    ids=["text", "key", "nan", "inf", "set", "object", "pair"],
)
def test_what_has_no_form_is_not_written(data: Any) -> None:
    """It is an error without the data, not JSON that the Hub cannot read."""
    with pytest.raises(JsonError) as caught:
        dumps(["canary", data])
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


SENT: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=9,
)


@with_orjson
@given(SENT)
def test_the_writer_writes_as_orjson_does(data: Any) -> None:
    """The bytes on the wire are those of every release so far; they parse again."""
    orjson = pytest.importorskip("orjson")
    body = dumps(data)
    assert body == orjson.dumps(data)
    assert loads(body) == data


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "b", ',{"a":']), SENT, max_size=3),
        max_size=4,
    ),
    st.sampled_from([(",", ":"), (", ", ": ")]),
)
def test_objects_are_cut_where_they_end(
    items: list[dict[str, Any]], separators: tuple[str, str]
) -> None:
    """If each part of an array is JSON, the parts are its objects; else nothing is said."""
    body = json.dumps(items, ensure_ascii=False, separators=separators).encode()
    try:
        parts = [loads(part) for part in split_objects(body)]
    except JsonError:
        return
    assert parts == loads(body)


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b'[{"a":1}]', [b'{"a":1}']),
        (b'[{"a":1},{"a":2,"b":[]}]', [b'{"a":1}', b'{"a":2,"b":[]}']),
        (b'[{"a":1},{"b":2}]', [b'{"a":1},{"b":2}']),
        (b'[{"a":",{\\"a\\":"}]', [b'{"a":",{\\"a\\":"}']),
    ],
)
def test_cuts(body: bytes, parts: list[bytes]) -> None:
    """Objects that begin as the first one does are told apart."""
    assert split_objects(body) == parts


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"[1]", b' [{"a":1}]', b'[{"a":1}] ', b'[{"a":1},1]']
)
def test_what_is_not_cut(body: bytes) -> None:
    """Anything but objects in compact JSON is left whole."""
    with pytest.raises(JsonError):
        split_objects(body)


def test_the_package_works_without_the_extra_speed() -> None:
    """Without orjson and uvloop it imports without a warning, decodes and encodes."""
    code = (
        "import sys; sys.modules['orjson'] = sys.modules['uvloop'] = None\n"
        "import spaces_async\n"
        "from spaces_async._wire.converter import decode_runtime, dump_json\n"
        "assert decode_runtime(dump_json({'stage': 'PAUSED'})).stage == 'PAUSED'\n"
        "from spaces_async._wire import json; assert json._fast is None"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
