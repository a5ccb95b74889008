"""Server-sent events, and taking up a log where it broke off."""

from __future__ import annotations

import itertools
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async._follow.resume import MAX_REMEMBERED_LINES, ReplayFilter
from spaces_async._operations.requests import CUT_MARK, log_event
from spaces_async._wire.sse import Event, EventParser

STREAM = (
    b'data: {"data":"one\\n","timestamp":"2026-06-20T01:09:43Z"}\n\n'
    b": keep-alive\r\n\r\n"
    b"event: stage\rdata: RUNNING\r\r"
    b"data\n\n"
    b"data: a\ndata:  b\ndata:c\n\n"
    b"id: 7\nretry: 1\nevent: x\n\n"
    + "data: \u00e9\u4e2d\U0001f600\r\n\r\n".encode()
    + b"data: never ended\n"
)
EVENTS = [
    Event("message", '{"data":"one\\n","timestamp":"2026-06-20T01:09:43Z"}'),
    Event("stage", "RUNNING"),
    Event("message", ""),
    Event("message", "a\n b\nc"),
    Event("message", "\u00e9\u4e2d\U0001f600"),
]


def parse(chunks: list[bytes]) -> list[Event]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_the_whole_stream_at_once() -> None:
    """Comments, fields without value, several lines, any line end; no end, no event."""
    assert parse([STREAM]) == EVENTS


def test_every_single_cut() -> None:
    """Wherever the bytes are cut in two, the events are the same."""
    for cut in range(len(STREAM) + 1):
        assert parse([STREAM[:cut], STREAM[cut:]]) == EVENTS
    assert parse([STREAM[i : i + 1] for i in range(len(STREAM))]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM))))
def test_any_cuts(cuts: list[int]) -> None:
    """The same for any number of cuts, with empty pieces."""
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(places)]
    assert parse(pieces) == EVENTS


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_bytes_and_any_cut_agree(chunks: list[bytes]) -> None:
    """Whatever the bytes are, how they are cut changes nothing."""
    assert parse(chunks) == parse([b"".join(chunks)])


@given(st.text(), st.sampled_from(["\n", "\r", "\r\n"]))
def test_any_text_survives(text: str, end: str) -> None:
    """A text sent line by line comes back whole."""
    clean = text.replace("\r", "").encode("utf-8", "ignore").decode()
    lines = "".join(f"data: {line}{end}" for line in clean.split("\n"))
    assert parse([f"{lines}{end}".encode()]) == [Event("message", clean)]


def test_a_mark_at_the_beginning_is_no_text() -> None:
    """A byte order mark is skipped, also when it comes in pieces."""
    assert parse([b"\xef", b"\xbb\xbfdata: x\n\n"]) == [Event("message", "x")]


def test_an_event_has_a_cap() -> None:
    """A line or an event without end does not fill the memory; the next one comes."""
    for large in (b"data: " + b"x" * 1000, b"data: x\n" * 200, b"data\n" * 2000):
        for size in (1, 7, 100_000):
            parser = EventParser(max_event=64)
            stream = large + b"\n\ndata: next\n\n"
            found = [
                event
                for start in range(0, len(stream), size)
                for event in parser.feed(stream[start : start + size])
            ]
            assert [event.is_cut for event in found] == [True, False]
            assert len(found[0].data) <= 64
            assert found[1] == Event("message", "next")


@given(st.lists(st.integers(0, 500)))
def test_a_cut_event_is_the_same_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    """A large line, a large comment and a character on the limit: all cuts agree."""
    large = b"data: " + "\u4e2d".encode() * 40 + b"\r\n\r\n"
    stream = large + b":" + b"c" * 100 + b"\n" + large + b"data: x\n\n"
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    parser = EventParser(max_event=64)
    found = [
        event
        for begin, end in itertools.pairwise(places)
        for event in parser.feed(stream[begin:end])
    ]
    cut = Event("message", "\u4e2d" * (58 // 3), is_cut=True)
    assert found == [cut, cut, Event("message", "x")]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ('{"data":"a\\n\\u00e9', "a\n\u00e9"),
        ('{"data":"a\\u00', "a"),
        ('{"data":"a\\', "a"),
        ('{"timestamp":"2026-01-01T00:00:00Z", "data": "a', "a"),
        ("no JSON", "no JSON"),
    ],
)
def test_a_cut_log_line_keeps_its_beginning(data: str, text: str) -> None:
    """The text up to the cut, without the JSON around it, and a mark."""
    said = log_event(data, is_cut=True)
    assert said is not None
    assert said.text == f"{text}{CUT_MARK}"


def test_keep_alives_do_not_add_up() -> None:
    """A quiet stream of comments lives for ever."""
    parser = EventParser(max_event=64)
    for _ in range(1000):
        assert list(parser.feed(b": keep-alive\n")) == []
    assert list(parser.feed(b"data: x\n\n")) == [Event("message", "x")]


START = datetime(2026, 6, 20, tzinfo=UTC)
log_lines = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("abc")), min_size=1, max_size=30
)


def numbered(steps: list[tuple[int, str]]) -> list[tuple[datetime, str]]:
    """A log: instants that do not go back, texts that repeat."""
    now, lines = START, []
    for step, text in steps:
        now += timedelta(seconds=step * 4)
        lines.append((now, text))
    return lines


def read_in_pieces(
    lines: list[tuple[datetime, str]], breaks: list[int], *, forgotten: int = 0
) -> list[tuple[datetime, str]]:
    """What is taken for new when the stream breaks and is replayed."""
    replay = ReplayFilter()
    seen: list[tuple[datetime, str]] = []
    for end in [*sorted(min(b, len(lines)) for b in breaks), len(lines)]:
        # The Hub keeps the newest lines; it may have dropped some that were seen.
        begin = min(forgotten, len(seen))
        seen += [line for line in lines[begin:end] if replay.is_new(*line)]
        replay.reconnected()
    return seen


@given(log_lines, st.lists(st.integers(0, 30), max_size=4))
def test_no_line_is_lost_and_none_comes_twice(
    steps: list[tuple[int, str]], breaks: list[int]
) -> None:
    """However often it breaks, also where the same text comes twice in an instant."""
    lines = numbered(steps)
    assert read_in_pieces(lines, breaks) == lines


@given(log_lines, st.lists(st.integers(0, 30), max_size=4), st.integers(0, 5))
def test_what_the_hub_forgets_harms_nothing(
    steps: list[tuple[int, str]], breaks: list[int], forgotten: int
) -> None:
    """The same where the Hub's buffer has dropped lines that were seen.

    Only for lines that differ: of two equal ones nobody can tell which was dropped.
    """
    lines = list(dict.fromkeys(numbered(steps)))
    assert read_in_pieces(lines, breaks, forgotten=forgotten) == lines


def test_a_tail_stays_a_tail() -> None:
    """What a tail left out at first does not come after a reconnect."""
    lines = [(START + timedelta(seconds=n), str(n)) for n in range(6)]
    replay = ReplayFilter()
    seen = [line for line in lines[3:5] if replay.is_new(*line)]
    replay.reconnected()
    seen += [line for line in lines if replay.is_new(*line)]
    assert seen == lines[3:]


@pytest.mark.parametrize(
    "strange", [timedelta(days=3650), timedelta(minutes=5), timedelta(days=-700_000)]
)
@pytest.mark.parametrize("forgotten", [0, 5])
def test_one_line_with_a_strange_time_costs_no_other_line(
    strange: timedelta, forgotten: int
) -> None:
    """A wrong clock for one line: after a reconnect nothing is lost or repeated."""
    lines = [(START + timedelta(seconds=n), str(n)) for n in range(40)]
    lines.insert(10, (START + strange, "strange"))
    assert read_in_pieces(lines, [20, 30], forgotten=forgotten) == lines


def test_what_is_remembered_is_bounded() -> None:
    """Neither a line from the future nor a flood in one instant lets memory grow."""
    replay = ReplayFilter()
    tracemalloc.start()
    assert replay.is_new(START + timedelta(days=3650), "future")
    for n in range(3 * MAX_REMEMBERED_LINES):
        assert replay.is_new(START, f"{n}")
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 250 * MAX_REMEMBERED_LINES


def test_lines_that_were_forgotten_are_not_repeated() -> None:
    """More lines than are remembered, all replayed: only the new one is new."""
    count = 2 * MAX_REMEMBERED_LINES
    lines = [(START + timedelta(milliseconds=n), str(n)) for n in range(count)]
    replay = ReplayFilter()
    assert all(replay.is_new(*line) for line in lines)
    replay.reconnected()
    new = (START + timedelta(days=1), "new")
    assert [line for line in [*lines, new] if replay.is_new(*line)] == [new]


def test_new_lines_without_a_time_are_not_lost() -> None:
    """The Hub's buffer has moved on: as many new lines as were seen before come."""
    replay = ReplayFilter()
    assert all(replay.is_new(None, f"old {n}") for n in range(50))
    replay.reconnected()
    assert all(replay.is_new(None, f"new {n}") for n in range(50))


def test_lines_without_time_go_by_their_place() -> None:
    """Where the Hub gives no timestamps, as many are skipped as were seen."""
    replay = ReplayFilter()
    assert [replay.is_new(None, t) for t in "ab"] == [True, True]
    replay.reconnected()
    assert [replay.is_new(None, t) for t in "abb"] == [False, False, True]
