"""The quota: no 429 that can be avoided, and no call that waits in vain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import spaces_async as sa
from spaces_async.observe import Event
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota


@asynccontextmanager
async def hub_and_client(
    quota: Quota, *, clock: ManualClock | None = None, **arguments: Any
) -> AsyncIterator[tuple[FakeHub, sa.SpacesClient, ManualClock]]:
    """A Hub with a small quota and a client on the same clock."""
    clock = clock or ManualClock(auto=True)
    settings = arguments.pop("settings", sa.ClientSettings())
    async with FakeHub(clock=clock, quota=quota, **arguments) as hub:
        hub.add_org("acme", members={"tester": "write"})
        hub.add_space("acme/demo")
        async with sa.SpacesClient(
            token=hub.token, endpoint=hub.url, clock=clock, settings=settings
        ) as client:
            yield hub, client, clock


def refused(hub: FakeHub) -> int:
    return sum(r.status == 429 for r in hub.requests)


async def many(client: sa.SpacesClient, count: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(client.lifecycle.get_runtime("acme/demo"))


@pytest.mark.unmeasured
@pytest.mark.parametrize("round_t", ["ceil", "floor"])
@pytest.mark.parametrize("spent", [0, 15, 20])
async def test_a_burst_waits_its_windows_out(round_t: str, spent: int) -> None:
    """100 calls and 20 a window: each window is used up and none is overdrawn."""
    async with hub_and_client(Quota(20, 300.0), round_t=round_t) as (
        hub,
        client,
        clock,
    ):
        if spent:
            hub.spend(spent)
        await many(client.with_options(timeouts=sa.Timeouts(total=None)), 100)
        # Only the probe may be refused, when others had used up the window before.
        assert refused(hub) == (1 if spent == 20 else 0)
        assert len(hub.requests) == 100 + refused(hub)
        windows = 5 if spent < 20 else 6
        assert clock.monotonic() < windows * 302.0


async def test_one_probe_goes_ahead() -> None:
    """Until the first response, one request is in flight, however many calls wait."""
    clock = ManualClock()
    async with hub_and_client(Quota(500, 300.0), clock=clock) as (hub, client, _):
        hub.faults("GET /runtime", Fault.hang(), times=1)
        calls = asyncio.create_task(many(client, 50))
        await clock.wait_for_sleepers(49)
        while not hub.in_flight:
            await asyncio.sleep(0)
        assert len(hub.requests) == 1
        calls.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls


async def test_one_refusal_stops_all_calls() -> None:
    """After a 429 nothing is sent until the window opens, and no attempt is used up."""
    async with hub_and_client(Quota(500, 300.0)) as (hub, client, clock):
        await client.lifecycle.get_runtime("acme/demo")
        hub.faults("GET /runtime", Fault.rate_limit(retry_after=55))
        before = clock.monotonic()
        only_two = client.with_options(retry=sa.RetryPolicy(max_attempts=2))
        await many(only_two, 1)
        assert clock.monotonic() - before >= 55.0
        assert refused(hub) == 1


async def test_a_wait_that_is_too_long_is_told_at_once() -> None:
    """A web request does not sleep for minutes: it fails with the time to come back."""
    policy = sa.RetryPolicy(max_rate_limit_wait=5.0)
    settings = sa.ClientSettings(retry=policy)
    async with hub_and_client(Quota(2, 300.0), settings=settings) as (
        hub,
        client,
        clock,
    ):
        await many(client, 2)
        with pytest.raises(sa.RateLimitError) as caught:
            await client.lifecycle.restart("acme/demo")
        error = caught.value
        assert (error.status, error.attempts, error.request_id) == (429, 0, None)
        assert error.retry_after == pytest.approx(301.0, abs=1.0)
        assert error.remaining == 0
        assert not error.outcome_unknown
        assert not isinstance(error, sa.ActionLimitError)
        assert len(hub.requests) == 2
        assert clock.slept == []


async def test_the_hubs_own_refusal_is_kept() -> None:
    """When the Hub itself refused, the error is the Hub's, with its request id."""
    settings = sa.ClientSettings(retry=sa.RetryPolicy(max_rate_limit_wait=5.0))
    async with hub_and_client(Quota(2, 300.0), settings=settings) as (hub, client, _):
        hub.spend(2)
        with pytest.raises(sa.RateLimitError, match="rate limit you") as caught:
            await client.lifecycle.get_runtime("acme/demo")
        assert (caught.value.request_id or "").startswith("Root=")
        assert caught.value.attempts == 1
        assert caught.value.retry_after == pytest.approx(300.0, abs=2.0)
        assert caught.value.bucket == "api"


async def test_the_total_time_bounds_the_wait() -> None:
    """A call does not wait for a window that opens after its time is up."""
    async with hub_and_client(Quota(1, 300.0)) as (hub, client, clock):
        await many(client, 1)
        quick = client.with_options(timeouts=sa.Timeouts(total=10.0))
        with pytest.raises(sa.RateLimitError, match="10 s"):
            await quick.lifecycle.get_runtime("acme/demo")
        assert len(hub.requests) == 1
        assert clock.slept == []


async def test_an_action_limit_holds_back_only_its_kind() -> None:
    """A 429 with quota left is about one kind of call; all others go on."""
    async with hub_and_client(Quota(500, 300.0)) as (hub, client, clock):
        hub.faults("POST /restart", Fault.action_limit())
        with pytest.raises(sa.ActionLimitError, match="1 hour") as caught:
            await client.lifecycle.restart("acme/demo")
        assert caught.value.retry_after == pytest.approx(3600.0, abs=1.0)
        assert (caught.value.remaining or 0) > 0
        assert clock.monotonic() < 5.0
        await client.lifecycle.pause("acme/demo")
        with pytest.raises(sa.ActionLimitError, match="restart") as again:
            await client.lifecycle.restart("acme/demo")
        assert again.value.attempts == 0
        assert hub.count("POST", "/restart") == 1
        clock.advance(3600.0)
        await client.lifecycle.restart("acme/demo")


async def test_a_short_action_limit_is_waited_out() -> None:
    """An action limit within the allowed wait is waited for and then repeated."""
    async with hub_and_client(Quota(500, 300.0)) as (hub, client, clock):
        hub.faults("POST /restart", Fault.action_limit(retry_after=20))
        await client.lifecycle.restart("acme/demo")
        assert 20.0 <= clock.monotonic() < 25.0
        assert hub.count("POST", "/restart") == 2


async def test_each_token_has_its_own_quota() -> None:
    """A used up quota makes no other user wait."""
    async with hub_and_client(Quota(3, 300.0)) as (hub, client, clock):
        hub.add_user("alice", token="hf_alice")
        await many(client, 3)
        await many(client.with_token("hf_alice"), 3)
        assert clock.monotonic() < 5.0
        assert refused(hub) == 0


async def test_without_headers_the_pace_adapts() -> None:
    """A Hub that announces nothing is used anyway, and its refusals slow us down."""
    async with hub_and_client(Quota(500, 300.0), announce_quota=False) as (
        hub,
        client,
        clock,
    ):
        hub.faults("GET /runtime", Fault.status(429), times=3, after=30)
        await many(client, 100)
        assert refused(hub) == 3
        assert len(hub.requests) == 103
        assert 0.5 <= clock.monotonic() < 120.0


async def test_bulk_leaves_a_reserve_to_others() -> None:
    """While bulk work waits for the next window, a web request goes out at once."""
    settings = sa.ClientSettings(reserve=0.2)
    clock = ManualClock()
    async with hub_and_client(Quota(20, 300.0), settings=settings, clock=clock) as (
        hub,
        client,
        _,
    ):
        ids = [f"acme/s{n}" for n in range(40)]
        for repo_id in ids:
            hub.add_space(repo_id)
        async with client.bulk.stream(
            lambda c, r: c.lifecycle.get_runtime(r), ids, concurrency=8
        ) as outcomes:
            for _ in range(16):
                await anext(outcomes)
            assert len(hub.requests) == 16
            for _ in range(4):
                await client.lifecycle.get_runtime("acme/demo")
            assert len(hub.requests) == 20
        assert refused(hub) == 0


async def test_a_cancelled_waiter_harms_no_other() -> None:
    """Calls that wait behind a cancelled one are woken all the same."""
    clock = ManualClock()
    async with hub_and_client(Quota(5, 300.0), clock=clock) as (hub, client, _):
        await many(client, 5)
        tasks = [
            asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
            for _ in range(5)
        ]
        await clock.wait_for_sleepers(5)
        for task in tasks[::2]:
            task.cancel()
        clock.advance(305.0)
        results = await asyncio.wait(tasks, timeout=10)
        assert not results[1]
        assert [t.cancelled() for t in tasks] == [True, False, True, False, True]
        assert len(hub.requests) == 7


async def test_a_cancelled_probe_lets_the_next_one_probe() -> None:
    """No call waits for the response to a request that was cancelled."""
    clock = ManualClock()
    async with hub_and_client(Quota(5, 300.0), clock=clock) as (hub, client, _):
        hub.faults("GET /runtime", Fault.hang())
        probe = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        while not hub.in_flight:
            await asyncio.sleep(0)
        other = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        await clock.wait_for_sleepers(1)
        probe.cancel()
        async with asyncio.timeout(10):
            assert (await other).stage.is_running
        with pytest.raises(asyncio.CancelledError):
            await probe


async def test_a_call_that_is_cancelled_on_its_way_may_be_counted() -> None:
    """The last call of a window is cancelled: the next one waits, and is not refused."""
    async with hub_and_client(Quota(5, 300.0)) as (hub, client, clock):
        await many(client, 4)
        hub.faults("GET /runtime", Fault.hang())
        cut = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        while not hub.in_flight:
            await asyncio.sleep(0)
        assert hub.remaining() == 0
        cut.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut
        await client.lifecycle.get_runtime("acme/demo")
        assert refused(hub) == 0
        assert clock.monotonic() >= 300.0


async def test_a_call_that_was_not_sent_is_not_counted() -> None:
    """A call that is cancelled while it waits for a connection uses no quota."""
    settings = sa.ClientSettings(max_connections=1)
    clock = ManualClock()
    async with (
        hub_and_client(Quota(8, 300.0), settings=settings, clock=clock) as (
            hub,
            client,
            _,
        ),
        asyncio.timeout(10),
    ):
        for _ in range(5):
            await many(client, 1)
        hub.faults("GET /runtime", Fault.hang())
        group = asyncio.create_task(many(client, 3))
        account = client._session.shared.account(client._session._credentials.known)
        while not (hub.in_flight and account.governor._in_flight == 3):
            await asyncio.sleep(0)
        group.cancel()
        with pytest.raises(asyncio.CancelledError):
            await group
        # One was sent and may have been counted; two more are left for certain.
        await many(client, 2)
        assert len(hub.requests) == 8
        assert refused(hub) == 0
        assert clock.monotonic() == 0.0


async def test_a_slow_probe_is_followed_by_another() -> None:
    """A probe that takes long does not hold up all other calls."""
    clock = ManualClock()
    async with hub_and_client(Quota(50, 300.0), clock=clock) as (hub, client, _):
        hub.faults("GET /runtime", Fault.hang())
        slow = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        while not hub.in_flight:
            await asyncio.sleep(0)
        other = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        await clock.wait_for_sleepers(1)
        clock.advance(1.0)
        async with asyncio.timeout(10):
            assert (await other).stage.is_running
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow


async def test_waits_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """However many calls wait for a window, one warning says how long and why."""
    async with hub_and_client(Quota(5, 300.0)) as (_, client, _):
        await many(client.with_options(timeouts=sa.Timeouts(total=None)), 15)
    told = [r for r in caplog.records if "waiting" in r.message]
    assert [r.levelname for r in told] == ["WARNING"] * 2
    assert all(r.message.startswith("the quota is used up: waiting ") for r in told)


async def test_a_short_wait_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """What takes less than ten seconds is told to those who ask for it."""
    async with hub_and_client(Quota(5, 6.0)) as (_, client, _):
        with caplog.at_level(logging.INFO, logger="spaces_async"):
            await many(client, 10)
    (told,) = [r for r in caplog.records if "waiting" in r.message]
    assert told.levelname == "INFO"


async def test_calls_that_are_kept_for_others_are_not_called_used_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A bulk leaves some calls for what is interactive, and says so while it waits."""
    async with hub_and_client(Quota(100, 300.0)) as (hub, client, _):
        ids = [f"acme/s{number}" for number in range(100)]
        for repo_id in ids:
            hub.add_space(repo_id)
        assert (await client.bulk.restart(ids)).ok
    told = [r.message for r in caplog.records if "waiting" in r.message]
    assert told
    assert all("calls left in the quota are kept for other calls" in t for t in told)


def waits_to(waits: list[sa.QuotaWait]) -> sa.Observer:
    """Return an observer that keeps the waits for the quota."""

    def note(event: Event) -> None:
        if isinstance(event, sa.QuotaWait):
            waits.append(event)

    return note


async def test_waits_are_reported() -> None:
    """An observer learns how long a call waits and why; if it fails, nothing does."""
    waits: list[sa.QuotaWait] = []
    note = waits_to(waits)

    def fail(event: Event) -> None:
        raise ValueError("a bug of the service")

    settings = sa.ClientSettings(observer=[fail, note])
    async with hub_and_client(Quota(5, 300.0), settings=settings) as (hub, client, _):
        await many(client, 6)
        hub.faults("POST /restart", Fault.action_limit(retry_after=20))
        await client.lifecycle.restart("acme/demo")
    assert [(w.reason, w.action) for w in waits] == [
        ("window", "get_runtime"),
        ("action", "restart"),
    ]
    assert waits[0].seconds == pytest.approx(300.0, abs=5.0)
    assert waits[1].seconds == pytest.approx(20.0, abs=0.1)


async def test_a_wait_that_turns_out_longer_is_reported_again() -> None:
    """Calls that do not fit into the next window either are reported twice."""
    waits: list[sa.QuotaWait] = []
    settings = sa.ClientSettings(observer=waits_to(waits))
    async with hub_and_client(Quota(5, 300.0), settings=settings) as (_, client, _):
        patient = client.with_options(timeouts=sa.Timeouts(total=None))
        await many(patient, 12)
    assert len(waits) == 7 + 2
    assert all(280 < wait.seconds < 310 for wait in waits)


async def test_queued_calls_report_at_once_that_nothing_is_left() -> None:
    """Queued calls report their wait as soon as the last responses of a window arrive."""
    waits: list[sa.QuotaWait] = []
    settings = sa.ClientSettings(observer=waits_to(waits))
    clock = ManualClock()
    async with (
        hub_and_client(Quota(5, 300.0), settings=settings, clock=clock) as (
            _,
            client,
            _,
        ),
        asyncio.timeout(10),
    ):
        calls = asyncio.create_task(many(client, 12))
        while len(waits) < 7:
            await asyncio.sleep(0)
        assert clock.monotonic() == 0.0
        calls.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls


async def test_a_slow_call_does_not_hold_up_the_next_window() -> None:
    """A call that began in the last window and hangs does not block the new one."""
    clock = ManualClock()
    async with hub_and_client(Quota(500, 300.0), clock=clock) as (hub, client, _):
        await many(client, 3)
        hub.faults("GET /runtime", Fault.hang())
        slow = asyncio.create_task(
            client.with_options(
                timeouts=sa.Timeouts(attempt=None)
            ).lifecycle.get_runtime("acme/demo")
        )
        while not hub.in_flight:
            await asyncio.sleep(0)
        clock.advance(302.0)
        async with asyncio.timeout(10):
            await client.lifecycle.get_runtime("acme/demo")
        assert clock.slept == []
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow


async def test_a_call_that_must_not_wait_does_not_queue_for_long() -> None:
    """The last call of the quota hangs: `max_rate_limit_wait=0` fails in two seconds."""
    settings = sa.ClientSettings(retry=sa.RetryPolicy(max_rate_limit_wait=0.0))
    clock = ManualClock()
    async with hub_and_client(Quota(2, 300.0), settings=settings, clock=clock) as (
        hub,
        client,
        _,
    ):
        await many(client, 1)
        hub.faults("GET /runtime", Fault.hang())
        slow = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        while not hub.in_flight:
            await asyncio.sleep(0)
        quick = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        for _ in range(2):
            await clock.wait_for_sleepers(1)
            clock.advance(1.0)
        with pytest.raises(sa.RateLimitError, match="requests in flight") as caught:
            await quick
        assert caught.value.attempts == 0
        assert (caught.value.retry_after or 0) >= 1.0
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow


async def test_a_response_from_in_front_of_the_hub_says_nothing_about_its_quota() -> (
    None
):
    """After a bare 502 the Hub's quota is respected as if nothing had come."""
    settings = sa.ClientSettings(retry=sa.RetryPolicy.off(max_rate_limit_wait=0.0))
    async with hub_and_client(Quota(4, 300.0), settings=settings) as (hub, client, _):
        bare = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
        hub.faults("GET /runtime", Fault.raw(bare))
        with pytest.raises(sa.HubServerError):
            await client.lifecycle.get_runtime("acme/demo")
        calls = [client.lifecycle.get_runtime("acme/demo") for _ in range(16)]
        tasks = [asyncio.ensure_future(call) for call in calls]
        await asyncio.wait(tasks)
        assert sum(task.exception() is None for task in tasks) == 3
        assert refused(hub) == 0


async def test_a_refused_stream_is_asked_for_again_when_the_hub_says() -> None:
    """`Retry-After` of a stream's 429 holds calls back, and stands on the error."""
    async with hub_and_client(Quota(500, 300.0)) as (hub, client, clock):
        limit = Fault.rate_limit(retry_after=60)
        hub.faults("GET /logs/run", limit)
        once = client.with_options(retry=sa.RetryPolicy.off())
        async with once.logs.stream_logs("acme/demo") as lines:
            with pytest.raises(sa.RateLimitError) as caught:
                await anext(lines)
        assert caught.value.retry_after == pytest.approx(60.0, abs=1.0)
        before = clock.monotonic()
        await client.lifecycle.get_runtime("acme/demo")
        assert 59.0 <= clock.monotonic() - before <= 62.0
        before = clock.monotonic()
        hub.faults("GET /events", limit)
        async with client.logs.stream_events("acme/demo") as events:
            await anext(events)
        assert 59.0 <= clock.monotonic() - before <= 62.0


async def test_closing_a_client_ends_its_waits() -> None:
    """A call that waits for the quota fails at once when the client is closed."""
    clock = ManualClock()
    async with hub_and_client(Quota(2, 300.0), clock=clock) as (_, client, _):
        await many(client, 2)
        waiting = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        await clock.wait_for_sleepers(1)
        await client.aclose()
        async with asyncio.timeout(10):
            with pytest.raises(sa.ClientClosedError):
                await waiting


async def test_the_longer_of_two_holds_counts() -> None:
    """All calls are held for a moment and one kind for an hour: that kind for an hour."""
    settings = sa.ClientSettings(retry=sa.RetryPolicy(max_rate_limit_wait=30.0))
    async with hub_and_client(Quota(500, 300.0), settings=settings) as (
        hub,
        client,
        clock,
    ):
        hub.faults("POST /restart", Fault.action_limit())
        with pytest.raises(sa.ActionLimitError):
            await client.lifecycle.restart("acme/demo")
        hub.faults(
            "GET /runtime", Fault.raw(b"HTTP/1.1 429 No\r\nRetry-After: 9\r\n\r\n")
        )
        reading = asyncio.create_task(client.lifecycle.get_runtime("acme/demo"))
        with pytest.raises(sa.ActionLimitError):
            await client.lifecycle.restart("acme/demo")
        await reading
        assert clock.monotonic() < 60.0
