"""Time limits to the second: all calls of a client share one timer of the loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spaces_async as sa
from spaces_async._wire.alarms import Alarm, Alarms
from spaces_async._wire.watch import Late, Watch
from spaces_async.testing import FakeHub, Fault
from tests.support.virtual import play

SLACK = 0.05
BODY = b'{"stage":"RUNNING"}'


@pytest.mark.parametrize("read", [0.5, 1.0, 1.5, 20.0])
def test_silence_before_the_headers_ends_a_call_after_the_read_limit(
    monkeypatch: pytest.MonkeyPatch, read: float
) -> None:
    """Also where it is longer than the second after which headers count as late."""

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with FakeHub() as hub:
            hub.add_space("acme/demo")
            hub.faults("GET /runtime", Fault.hang())
            settings = sa.ClientSettings(
                timeouts=sa.Timeouts(read=read, attempt=100.0, total=100.0),
                retry=sa.RetryPolicy.off(),
            )
            async with sa.SpacesClient(
                token=hub.token, endpoint=hub.url, settings=settings
            ) as client:
                before = loop.time()
                with pytest.raises(sa.RequestTimeoutError) as caught:
                    await client.lifecycle.get_runtime("acme/demo")
                assert caught.value.phase == "read"
                assert read <= loop.time() - before <= read + SLACK

    play(monkeypatch, scene, measured=True)


@pytest.mark.parametrize("pause", [1.2, 1.9])
def test_interim_responses_are_no_silence(
    monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    """Each packet starts the limit on silence anew, also after the first second."""

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(pause)
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(pause)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        writer.write(head + BODY)
        await writer.drain()
        writer.close()

    async def scene() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 8000)
        settings = sa.ClientSettings(
            timeouts=sa.Timeouts(read=2.0), retry=sa.RetryPolicy.off()
        )
        async with (
            server,
            sa.SpacesClient(
                token=False, endpoint="http://127.0.0.1:8000", settings=settings
            ) as client,
        ):
            assert (await client.lifecycle.get_runtime("acme/demo")).stage == "RUNNING"

    play(monkeypatch, scene, measured=True)


class Bell(Alarm):
    """Notes when it rings."""

    def __init__(self) -> None:
        self.rung: list[float] = []

    def ring(self) -> None:
        self.rung.append(asyncio.get_running_loop().time())


INSTANTS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 50), st.booleans()), max_size=20
)


@given(plan=INSTANTS)
def test_each_alarm_rings_once_at_its_instant_and_none_that_was_dropped(
    plan: list[tuple[int, int, bool]],
) -> None:
    """Whenever alarms are set and dropped, one timer is enough for all of them."""

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        alarms, bells = Alarms(), [Bell() for _ in plan]
        start = loop.time()

        async def set_one(bell: Bell, after: int, wait: int, dropped: bool) -> None:
            await asyncio.sleep(after)
            alarms.set(bell, loop.time() + wait)
            if dropped:
                await asyncio.sleep(wait / 2)
                alarms.drop(bell)

        async with asyncio.TaskGroup() as group:
            for bell, (after, wait, dropped) in zip(bells, plan, strict=True):
                group.create_task(set_one(bell, after, wait, dropped))
        await asyncio.sleep(101)
        for bell, (after, wait, dropped) in zip(bells, plan, strict=True):
            expected = (
                [] if dropped else [pytest.approx(start + after + wait, abs=0.01)]
            )
            assert bell.rung == expected

    with pytest.MonkeyPatch.context() as monkeypatch:
        play(monkeypatch, scene, measured=True)


def test_a_limit_ends_only_its_own_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancelled block stays cancelled, even at the instant at which its limit ends."""

    async def scene() -> None:
        alarms = Alarms()

        def limited_to(seconds: float | None) -> Watch:
            watch = Watch(alarms)
            watch.seconds = seconds
            return watch

        with pytest.raises(TimeoutError), limited_to(3.0):
            await asyncio.sleep(10)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        with limited_to(None):
            await asyncio.sleep(10)

        async def limited() -> None:
            with limited_to(5.0):
                await asyncio.sleep(10)

        inner = asyncio.create_task(limited())
        asyncio.get_running_loop().call_later(5.0, inner.cancel)
        await asyncio.wait((inner,))
        assert inner.cancelled()

    play(monkeypatch, scene, measured=True)


class Silence(Watch):
    """Notes when the silence is limited."""

    def __init__(self, alarms: Alarms, late: Late | None = None) -> None:
        super().__init__(alarms, late)
        self.limited: list[tuple[float, float, float]] = []

    def limit_silence(self, seconds: float, silent: float) -> None:
        self.limited.append((asyncio.get_running_loop().time(), seconds, silent))


class Look:
    """Notes when it begins."""

    seconds = 3.0

    def __init__(self) -> None:
        self.begun: list[float] = []

    def begin(self, task: asyncio.Task[Any]) -> None:
        assert task is asyncio.current_task() or not task.done()
        self.begun.append(asyncio.get_running_loop().time())


@pytest.mark.parametrize("connecting", [0.0, 0.5, 1.5, 2.5, 4.0])
def test_what_is_due_in_an_exchange_is_done_once_and_in_time(
    monkeypatch: pytest.MonkeyPatch, connecting: float
) -> None:
    """However long it takes to connect: the silence counts from the sending, and only
    headers that are late are waited for with a limit; a look counts from the start."""

    async def scene() -> None:
        look = Look()
        watch = Silence(Alarms(), look)
        watch.seconds, watch.silence = 9.0, 30.0
        start = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError), watch:
            await asyncio.sleep(connecting)
            watch.note_connection()
            await asyncio.sleep(20)
        now = asyncio.get_running_loop().time()
        assert now == pytest.approx(start + 9.0, abs=0.01)
        assert look.begun == [pytest.approx(start + 3.0, abs=0.01)]
        ((limited_at, seconds, silent),) = watch.limited
        assert limited_at == pytest.approx(start + connecting + 1.0, abs=0.01)
        assert seconds == 30.0
        assert silent == pytest.approx(1.0, abs=0.01)
        assert watch.sent

    play(monkeypatch, scene, measured=True)
