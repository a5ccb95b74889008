"""Server-sent events, and taking up a log where it broke off."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async._follow.resume import ReplayFilter
from spaces_async._wire.sse import Event, EventParser, EventTooLargeError

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
    """A line or an event without end does not fill the memory."""
    for chunk in (b"data: " + b"x" * 100, b"data: x\n" * 20):
        parser = EventParser(max_event=64)
        with pytest.raises(EventTooLargeError):
            list(parser.feed(chunk))


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


def test_lines_without_time_go_by_their_place() -> None:
    """Where the Hub gives no timestamps, as many are skipped as were seen."""
    replay = ReplayFilter()
    assert [replay.is_new(None, t) for t in "ab"] == [True, True]
    replay.reconnected()
    assert [replay.is_new(None, t) for t in "abb"] == [False, False, True]
