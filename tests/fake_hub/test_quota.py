"""The quota: fixed windows, announced with every answer."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spaces_async.testing import FakeHub, ManualClock, Quota, QuotaWindow

GAPS = st.lists(st.floats(0, 400, allow_nan=False), min_size=1, max_size=60)


@example(0, 2.0, 2.2250738585072014e-308, [0.0, 1.0])
@settings(max_examples=200)
@given(st.integers(0, 6), st.floats(0.5, 300), st.none() | st.floats(-500, 500), GAPS)
def test_no_window_allows_more_than_its_limit(
    limit: Any, window: Any, phase: Any, gaps: Any
) -> None:
    """Between two bounds at most `limit` calls pass, and the announced end is exact."""
    meter = QuotaWindow(Quota(limit, window, phase))
    now, passed = 0.0, dict[float, int]()
    for gap in gaps:
        now += gap
        allowed = meter.take(now)
        assert meter.started is not None
        assert 0 < meter.resets_in(now) <= window * (1 + 1e-9) + 1e-9
        passed[meter.started] = passed.get(meter.started, 0) + allowed
        assert meter.remaining(now) == limit - passed[meter.started]
        assert allowed or meter.remaining(now) == 0
    assert all(count <= limit for count in passed.values())
    starts = sorted(passed)
    assert all(b - a >= window * (1 - 1e-9) for a, b in pairwise(starts))


@pytest.mark.parametrize(("rounding", "t"), [("ceil", 190), ("floor", 189)])
def test_headers_are_written_as_the_hub_does(rounding: Any, t: Any) -> None:
    """The bytes are those of the documentation; t is rounded either way."""
    meter = QuotaWindow(Quota(500, 300.0))
    for _ in range(11):
        meter.take(0.0)
    assert meter.headers(110.5, rounding) == {
        "RateLimit": f'"api";r=489;t={t}',
        "RateLimit-Policy": '"fixed window";"api";q=500;w=300',
    }


@pytest.fixture
async def small() -> Any:
    clock = ManualClock()
    async with FakeHub(
        clock=clock, quota=Quota(2, 60.0), anonymous_quota=Quota(1, 60.0)
    ) as hub:
        yield hub, clock


async def test_an_empty_window_refuses_without_acting(small: Any) -> None:
    """A 429 has r=0, t, the Hub's words, no Retry-After, and changes nothing."""
    hub, clock = small
    space = hub.add_space("acme/demo")
    headers = {"Authorization": f"Bearer {hub.token}"}
    async with aiohttp.ClientSession(hub.url, headers=headers) as session:
        statuses: list[int] = []
        last: Any = None
        body: Any = None
        for _ in range(3):
            async with session.post("/api/spaces/acme/demo/pause") as response:
                statuses.append(response.status)
                last, body = response.headers, await response.json()
        assert statuses == [200, 200, 429]
        assert space.pauses == 2
        assert re.fullmatch(r'"api";r=0;t=60', last["RateLimit"])
        assert "Retry-After" not in last
        assert "hit the quota of 2 api requests per 1 minutes" in body["error"]
        assert hub.remaining() == 0
        clock.advance(60)
        async with session.post("/api/spaces/acme/demo/pause") as response:
            assert response.status == 200
    assert [request.acted for request in hub.requests] == [True, True, False, True]


async def test_users_have_windows_of_their_own(small: Any) -> None:
    """Two tokens of one user share a quota; other users and strangers have theirs."""
    hub, _ = small
    hub.add_token("hf_second")
    hub.add_user("alice", token="hf_alice")
    async with aiohttp.ClientSession(hub.url) as session:
        seen = []
        for token in (hub.token, "hf_second", "hf_second", "hf_alice", None, None):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with session.get("/api/spaces", headers=headers) as response:
                seen.append(response.status)
    assert seen == [200, 200, 429, 200, 200, 429]


async def test_another_program_can_use_the_quota_up(small: Any) -> None:
    """`spend` takes from the same window."""
    hub, _ = small
    hub.spend(5)
    assert hub.remaining() == 0
    assert hub.remaining(user=None) == 1


async def test_a_hub_may_keep_its_quota_to_itself() -> None:
    """Without announcement both headers are missing, also from the 429."""
    async with (
        FakeHub(announce_quota=False, anonymous_quota=Quota(1)) as hub,
        aiohttp.ClientSession(hub.url) as session,
    ):
        for status in (200, 429):
            async with session.get("/api/spaces") as response:
                assert response.status == status
                assert not any(
                    name.startswith("RateLimit") for name in response.headers
                )


async def test_whoami_has_a_strict_limit_of_its_own() -> None:
    """Its 429 leaves quota over: r is above 0."""
    async with FakeHub(clock=ManualClock(), whoami_quota=Quota(1)) as hub:
        headers = {"Authorization": f"Bearer {hub.token}"}
        async with aiohttp.ClientSession(hub.url, headers=headers) as session:
            for status, left in ((200, 999), (429, 998)):
                async with session.get("/api/whoami-v2") as response:
                    assert response.status == status
                    assert f'"api";r={left};' in response.headers["RateLimit"]
