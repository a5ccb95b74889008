"""The arithmetic of limits: parsing of headers and the quota window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async._quota.window import Window
from spaces_async._wire.ratelimit import (
    MAX_WAIT_SECONDS,
    Quota,
    parse_quota,
    parse_retry_after,
    parse_wait_hint,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
POLICY = '"fixed window";"api";q=500;w=300'


def test_the_documented_headers_are_read() -> None:
    """Both headers are read as the Hub documents them, invalid as the second is."""
    quota = parse_quota('"api";r=489;t=189', POLICY)
    assert quota == Quota("api", remaining=489, reset=189.0, limit=500, window=300.0)


@given(
    bucket=st.text(st.characters(exclude_characters='",;'), max_size=5),
    left=st.integers(0, 10**16),
    seconds=st.integers(0, 10**16),
)
def test_the_usual_form_is_read_as_any_other(
    bucket: str, left: int, seconds: int
) -> None:
    """A space, which no part of the Hub sends, changes nothing."""
    usual = parse_quota(f'"{bucket}";r={left};t={seconds}', POLICY)
    assert usual == parse_quota(f'"{bucket}"; r={left};t={seconds}', POLICY)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "api;r=1;t=1",
        '"api"',
        '"api";r=489',
        '"api";t=189',
        '"api";r=-1;t=5',
        '"api";r=1.5;t=5',
        '"api";r=1e3;t=5',
        '"api";r=12345678901234567890;t=5',
        "garbage;;;===",
        '"api',
    ],
)
def test_what_is_malformed_is_ignored(header: str | None) -> None:
    """A header that cannot be understood counts as absent."""
    assert parse_quota(header, POLICY) is None


def test_of_several_buckets_api_is_taken_and_else_the_scarcest() -> None:
    """Our calls are all in the bucket "api"; without it the scarcest one rules."""
    both = '"pages";r=1;t=9, "api";r=7;t=8'
    assert parse_quota(both, None) == Quota("api", remaining=7, reset=8.0)
    others = '"pages";r=5;t=9, "resolvers";r=2;t=8'
    assert parse_quota(others, None) == Quota("resolvers", remaining=2, reset=8.0)


def test_a_policy_of_another_bucket_does_not_count() -> None:
    """The limit is that of the bucket that the response is about."""
    quota = parse_quota('"api";r=1;t=2', '"fixed window";"pages";q=100;w=300')
    assert quota is not None
    assert quota.limit is None


def test_an_absurd_reset_is_clamped() -> None:
    """No header makes a call wait longer than a day."""
    quota = parse_quota('"api";r=0;t=1000000000000', None)
    assert quota is not None
    assert quota.reset == MAX_WAIT_SECONDS


@given(st.text(), st.text())
def test_any_text_is_survived(rate_limit: str, policy: str) -> None:
    """No header makes the parser fail or return nonsense."""
    quota = parse_quota(rate_limit, policy)
    assert quota is None or (
        quota.remaining >= 0 and 0 <= quota.reset <= MAX_WAIT_SECONDS
    )


@given(
    st.integers(0, 10**6), st.integers(0, 10**5), st.integers(1, 10**6), st.text("; ")
)
def test_blanks_do_not_matter(r: int, t: int, q: int, blanks: str) -> None:
    """Blanks and stray semicolons between parameters change nothing."""
    quota = parse_quota(f'"api";{blanks}r={r};t={t}', f'"x";"api";q={q};w=300')
    if ";" not in blanks:
        assert quota == Quota("api", r, min(float(t), MAX_WAIT_SECONDS), q, 300.0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("-5", 0.0),
        ("1e34", MAX_WAIT_SECONDS),
        ("inf", MAX_WAIT_SECONDS),
        ("nan", None),
        ("", None),
        ("soon", None),
        ("١٢", None),
        ("Sat, 99 Foo 2026 12:00:00 GMT", None),
        ("Sat, 21 Nov 2026 12:00:30 -0000", None),
        (None, None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Seconds are taken, clamped to a day; what makes no sense counts as absent."""
    assert parse_retry_after(header, date=None, now=NOW) == seconds


def test_a_date_counts_from_the_date_of_the_same_answer() -> None:
    """A wrong clock here or there does not change the wait."""
    until = format_datetime(NOW + timedelta(seconds=90), usegmt=True)
    date = format_datetime(NOW, usegmt=True)
    wrong = NOW + timedelta(days=3)
    assert parse_retry_after(until, date=date, now=wrong) == 90.0
    assert parse_retry_after(until, date=None, now=NOW) == 90.0
    assert parse_retry_after(until, date="garbage", now=NOW) == 90.0
    assert parse_retry_after(date, date=until, now=NOW) == 0.0


@given(st.text())
def test_any_retry_after_is_finite(header: str) -> None:
    """Whatever the header says, the wait is a number from 0 to a day."""
    seconds = parse_retry_after(header, date=None, now=NOW)
    assert seconds is None or 0.0 <= seconds <= MAX_WAIT_SECONDS


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("... (256 per hour). Try again in about 1 hour.", 3600.0),
        ("Retry again in 30 seconds", 30.0),
        ("try again in a minute", 60.0),
        ("Try again in an hour", 3600.0),
        ("Try again in about 2 days", MAX_WAIT_SECONDS),
        ("Try again later", None),
        ("", None),
    ],
)
def test_the_message_of_an_action_limit(message: str, seconds: float | None) -> None:
    """The Hub says in words how long an action is limited."""
    assert parse_wait_hint(message) == seconds


# --- the window -------------------------------------------------------------------


def test_an_unknown_window_says_nothing() -> None:
    """Before the first response nothing is known."""
    assert Window().available(0) is None


def test_requests_in_flight_are_subtracted() -> None:
    """A request in flight may not be counted yet."""
    window = Window()
    window.note(Quota("api", 10, 60.0, 500, 300.0), sent=0.0, received=0.2)
    assert window.available(3) == 7


def test_the_lowest_number_and_the_earliest_end_count() -> None:
    """Responses overtake each other: the lowest `r` and the earliest end of all hold."""
    window = Window()
    window.note(Quota("api", 8, 60.0), sent=0.0, received=0.5)
    window.note(Quota("api", 9, 60.0), sent=0.0, received=0.1)
    assert window.left == 8
    assert window.ends == 0.1 + 60.0 + 1.0


def test_a_later_window_replaces_the_earlier_one() -> None:
    """A response whose window certainly ends later opens a new window."""
    window = Window()
    window.note(Quota("api", 0, 2.0), sent=0.0, received=0.1)
    window.note(Quota("api", 499, 300.0), sent=2.0, received=2.1)
    assert window.left == 499
    assert window.ends == 2.1 + 300.0 + 1.0


def test_a_window_that_has_ended_is_forgotten_but_its_size_is_kept() -> None:
    """After its end nothing is known of what is left."""
    window = Window()
    window.note(Quota("api", 3, 10.0, 500, 300.0), sent=0.0, received=0.0)
    assert not window.forget_if_over(10.9)
    assert window.forget_if_over(11.0)
    assert window.available(0) is None
    assert window.limit == 500


def test_the_reserve_is_a_share_of_the_whole_window() -> None:
    """Bulk work leaves a share of the quota, not of what is left of it."""
    window = Window()
    window.note(Quota("api", 60, 10.0, 500, 300.0), sent=0.0, received=0.0)
    assert window.available(0, reserve=0.1) == 10
    assert window.available(0) == 60


@given(
    st.lists(
        st.tuples(
            st.floats(0, 290),  # when it is sent, in the window
            st.floats(0, 5),  # its latency
            st.booleans(),  # t rounded up or down
        ),
        min_size=1,
        max_size=30,
    )
)
def test_the_window_never_ends_too_early(
    calls: list[tuple[float, float, bool]],
) -> None:
    """Whatever the latency and the rounding, the known end is not before the real."""
    end = 300.0
    window = Window()
    served = 0
    for sent, latency, up in sorted(calls):
        served += 1
        at_hub = sent + latency / 2
        left = end - at_hub
        reset = float(int(left) + 1) if up else float(int(left))
        window.note(
            Quota("api", 500 - served, reset), sent=sent, received=sent + latency
        )
    assert window.ends is not None
    assert window.ends >= end
    assert window.left == 500 - served
