"""A Hub in a thread of its own, and a test that uses it meanwhile from another one."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest

from spaces_async.testing import FakeHub, Fault, ManualClock
from spaces_async.testing._threads import HubThread, SnapshotDict, guarded


@contextmanager
def opened(
    hub: FakeHub, method: str, path: str, body: Any = None
) -> Iterator[http.client.HTTPResponse]:
    """Make a blocking call and let its body be read."""
    connection = http.client.HTTPConnection(hub.url.removeprefix("http://"), timeout=10)
    headers = {"Authorization": f"Bearer {hub.token}"}
    sent = None if body is None else json.dumps(body)
    try:
        connection.request(method, path, sent, headers)
        with connection.getresponse() as response:
            yield response
    finally:
        connection.close()


def call(hub: FakeHub, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Make a blocking call to its end."""
    with opened(hub, method, path, body) as response:
        return response.status, json.loads(response.read())


def data_of(response: http.client.HTTPResponse, count: int) -> list[str]:
    """Read the data of this many events."""
    found: list[str] = []
    while len(found) < count:
        name, _, value = response.readline().decode().rstrip("\n").partition(": ")
        if name == "data":
            found.append(value)
    return found


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def hub(clock: ManualClock) -> Iterator[FakeHub]:
    with FakeHub(clock=clock) as hub:
        hub.add_space("acme/demo")
        yield hub


def test_with_runs_it_in_a_thread() -> None:
    """No loop is needed; afterwards the thread has ended and the state is readable."""
    with FakeHub() as hub:
        space = hub.add_space("acme/demo", stage="PAUSED")
        assert call(hub, "POST", "/api/spaces/acme/demo/restart")[0] == 200
        assert space.stage == "BUILDING"
        assert "FakeHub" in [thread.name for thread in threading.enumerate()]
    assert space.stages == ["PAUSED", "BUILDING"]
    assert "FakeHub" not in [thread.name for thread in threading.enumerate()]


def test_an_outage_in_a_synchronous_test(hub: FakeHub) -> None:
    """Closed, it refuses connections; started again, it is what it was."""
    hub.space("acme/demo").likes = 7
    hub.close()
    hub.close()
    with pytest.raises(ConnectionRefusedError):
        call(hub, "GET", "/api/spaces/acme/demo")
    hub.start_in_thread()
    hub.start_in_thread()
    assert call(hub, "GET", "/api/spaces/acme/demo")[1]["likes"] == 7


async def test_an_outage_in_an_asynchronous_test(fake_hub: FakeHub) -> None:
    """`aclose` and `start` work from another loop, and the thread comes back."""
    fake_hub.add_space("acme/demo")
    url = f"{fake_hub.url}/api/spaces/acme/demo"
    async with aiohttp.ClientSession() as session:
        await fake_hub.aclose()
        await fake_hub.aclose()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
        await fake_hub.start()
        async with session.get(url) as response:
            assert response.status == 200
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("FakeHub") == 1


async def test_a_hub_of_this_loop_is_closed_in_it() -> None:
    """`close` would wait for the loop that waits for it: it says so instead."""
    async with FakeHub() as hub:
        with pytest.raises(RuntimeError, match=r"await aclose\(\) instead"):
            hub.close()


def test_a_taken_port_is_an_error_at_once(hub: FakeHub) -> None:
    """The second Hub starts no thread and can be closed all the same."""
    second = FakeHub(port=int(hub.url.rpartition(":")[2]))
    with pytest.raises(OSError, match="in use"):
        second.start_in_thread()
    second.close()


def test_a_manual_clock_is_moved_from_the_test(
    hub: FakeHub, clock: ManualClock
) -> None:
    """A delayed call goes on when the test's thread moves the clock."""
    hub.faults("POST /restart", Fault.delay(600))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(call, hub, "POST", "/api/spaces/acme/demo/restart")
        while not clock.sleeping:
            pass
        assert hub.space("acme/demo").restarts == 0
        clock.advance(600)
        assert answer.result(10)[0] == 200
    assert hub.space("acme/demo").restarts == 1


def test_streams_hear_of_what_the_test_changes(hub: FakeHub) -> None:
    """A stage and a line that the test's thread sets arrive at once, each of them."""
    space = hub.space("acme/demo")
    stages = ["PAUSED", "RUNTIME_ERROR", "RUNNING"] * 20
    with opened(hub, "GET", "/api/spaces/acme/demo/events") as events:
        assert data_of(events, 1) == ["RUNNING"]
        for stage in stages:
            space.set_stage(stage)
        assert data_of(events, len(stages)) == stages
    texts = [f"line {number}\n" for number in range(100)]
    with opened(hub, "GET", "/api/spaces/acme/demo/logs/run") as lines:
        for text in texts:
            space.log(text)
        assert [json.loads(line)["data"] for line in data_of(lines, 100)] == texts


def test_tests_and_calls_at_the_same_time(hub: FakeHub) -> None:
    """What the test reads and changes while calls come is never half of something."""
    stop = threading.Event()

    def clients() -> int:
        calls = 0
        while not (calls and stop.is_set()):
            status, _ = call(hub, "GET", "/api/spaces?limit=1000&full=true")
            assert status == 200
            body = {"key": f"K{calls}", "value": "1"}
            status, variables = call(
                hub, "POST", "/api/spaces/acme/demo/variables", body
            )
            assert (status, f"K{calls}" in variables) == (200, True)
            calls += 1
        return calls

    space = hub.space("acme/demo")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(clients)
        try:
            for number in range(300):
                hub.add_space(f"acme/s{number}", variables={"A": "1"})
                hub.faults("GET /runtime", Fault.status(500)).remove()
                space.configure({f"T{number}": "1"}, {})
                assert len(list(hub.spaces.values())) == number + 2
                assert all(request.status != 500 for request in hub.requests)
                assert hub.count("GET", "/api/spaces") <= len(hub.requests)
                assert {f"T{number}"} <= set(space.variables)
                if number % 2:
                    space.restart()
                else:
                    assert space.stage in {"BUILDING", "RUNNING"}
        finally:
            stop.set()
        calls = running.result(10)
    assert calls
    expected = {f"T{n}" for n in range(300)} | {f"K{n}" for n in range(calls)}
    assert set(space.variables) == expected
    assert space.restarts == 150


def test_the_lock_keeps_calls_away(hub: FakeHub) -> None:
    """A call that comes while the test holds `hub.lock` is answered afterwards."""
    with ThreadPoolExecutor() as pool:
        with hub.lock:
            answer = pool.submit(call, hub, "POST", "/api/spaces/acme/demo/pause")
            while not hub.in_flight:
                pass
            assert hub.space("acme/demo").pauses == 0
        assert answer.result(10)[0] == 200
    assert hub.space("acme/demo").pauses == 1


def test_a_snapshot_dict() -> None:
    """It may be changed while it is iterated over, and is a dict in all else."""
    numbers = SnapshotDict({1: "a", 2: "b"})
    for views in (numbers, numbers.keys(), numbers.values(), numbers.items()):
        for entry in views:
            numbers[len(numbers) + 1] = str(entry)
    assert type(numbers.copy()) is dict
    assert len(numbers) == 10
    assert (numbers.pop(1), numbers.get(1), 2 in numbers) == ("a", None, True)


def test_methods_are_guarded() -> None:
    """A guarded method holds the lock of its object, and keeps its name."""

    class Thing:
        lock = threading.Lock()

        @guarded
        def locked(self) -> bool:
            """Whether the lock is held."""
            return self.lock.locked()

    assert Thing().locked()
    assert Thing.locked.__name__ == "locked"
    assert not Thing.lock.locked()


@pytest.mark.parametrize("phase", ["start", "stop"])
def test_what_ends_the_thread_is_raised(phase: str) -> None:
    """An error of the server does not end unseen in its thread."""

    async def fail() -> None:
        raise ValueError("broken")

    async def work() -> None:
        pass

    thread = HubThread()
    thread.start(fail if phase == "start" else work, fail if phase == "stop" else work)
    thread.stop()
    with pytest.raises(ValueError, match="broken"):
        thread.join()
    thread.stop()


def test_a_thread_that_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test is told after a while instead of waiting for ever."""
    monkeypatch.setattr("spaces_async.testing._threads._STOP_SECONDS", 0.01)

    async def work() -> None:
        pass

    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    thread = HubThread()
    thread.start(work, hang)
    thread.stop()
    with pytest.raises(RuntimeError, match=r"did not stop within 0\.01 seconds"):
        thread.join()
    with pytest.raises(RuntimeError, match="stopped before Future completed"):
        thread.ended.result(10)
