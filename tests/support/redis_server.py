"""A real Redis for tests: one that can be stopped, killed, and started again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from redis.exceptions import BusyLoadingError

from spaces_async._clock import Clock
from spaces_async._quota import redis_ledger
from spaces_async._quota.take_script import TAKE
from spaces_async._redis import RedisAwayError

SERVER: Final = (
    os.environ.get("REDIS_SERVER")
    or shutil.which("redis-server")
    or shutil.which("valkey-server")
)
"""The program. One that is asked for and cannot be started fails the tests."""

needs_redis: Final = pytest.mark.skipif(
    SERVER is None, reason="redis-server is not installed: apt-get install redis-server"
)

_START_SECONDS: Final = 30.0


class RedisServer:
    """A server of its own in a folder, on a free port and a Unix socket."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert SERVER is not None
        self._process = subprocess.Popen(
            [
                SERVER,
                *("--bind", "127.0.0.1", "--port", str(self.port)),
                *("--unixsocket", str(self.socket), "--dir", str(self.folder)),
                *("--save", "", "--appendonly", "no", "--loglevel", "warning"),
                *self.options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        end = time.monotonic() + _START_SECONDS
        while not self._accepts():
            assert self._process.poll() is None, "redis-server ended at its start"
            assert time.monotonic() < end, "redis-server does not answer"
            time.sleep(0.005)

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
            probe.sendall(b"PING\r\n")
            return bool(probe.recv(64))

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """Let it stand still: connections stay open, and nothing is answered."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a power cut does; what it held is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.socket.unlink(missing_ok=True)

    def log_size(self) -> int:
        """Return how long its log is with all that it has answered.

        With `everysec` it writes nothing while it is still syncing what came before.
        """
        with self.client() as client:
            raw: Any = client
            while raw.info("persistence").get("aof_buffer_length"):
                pass
        return log_size(self.folder)

    def lose(self, size: int) -> None:
        """End it and start it again, with what its log had when it was so long."""
        self.kill()
        cut_log(self.folder, size)
        self.start()
        with self.client() as client:
            while True:
                try:
                    client.ping()
                except BusyLoadingError:
                    continue
                return

    def client(self) -> redis.Redis:
        """A client of the test itself, which waits as long as it takes."""
        # redis-py 8.0 cannot speak the newer protocol through a socket file.
        return redis.Redis(
            unix_socket_path=str(self.socket), decode_responses=True, protocol=2
        )


def log_size(folder: Path) -> int:
    """Return how long the append-only file of the server in a folder is."""
    return sum(path.stat().st_size for path in _log_files(folder))


def cut_log(folder: Path, size: int) -> None:
    """Take from the append-only file what came after it was so long."""
    for path in _log_files(folder):
        os.truncate(path, min(size, path.stat().st_size))


def _log_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.incr.aof")) or sorted(folder.glob("appendonly.aof"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class TimedStore:
    """Runs the script on a real server, at the time of a test's clock.

    The script runs as it is, but for the line that reads the server's clock. Each
    exchange takes some time of the loop.

    Attributes:
        exchanges: How often the script ran.
        is_down: Whether the server cannot be reached.
        on_take: Called before each exchange, with the time.
    """

    on_take: Callable[[float], None] | None = None

    def __init__(
        self, server: RedisServer, clock: Clock | None, seconds: float
    ) -> None:
        self.exchanges = 0
        self.is_down = False
        self._clock = clock
        self._seconds = seconds
        self._client = server.client()
        time = "{ARGV[#ARGV - 1], ARGV[#ARGV]}"
        first = "redis.call('TIME')"
        assert TAKE.count(first) == 1
        timed = TAKE.replace(first, time).replace("#ARGV - 1, 2 do", "#ARGV - 3, 2 do")
        assert timed.count("#ARGV - 3") == 1
        self._run: Any = self._client.register_script(timed)

    async def run(self, _: str, keys: Sequence[str], *arguments: str | int) -> Any:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def run() -> None:
            # The loop stands still meanwhile. No frame of the package is below, so that
            # nobody takes this for a call of its own that blocks.
            if not answer.done():
                answer.set_result(self._take(loop, keys, arguments))

        loop.call_later(self._seconds / 2, run)
        values = await answer
        await asyncio.sleep(self._seconds / 2)
        if values is None:
            raise RedisAwayError("the test says so")
        return values

    def _take(
        self,
        loop: asyncio.AbstractEventLoop,
        keys: Sequence[str],
        arguments: Sequence[str | int],
    ) -> Any:
        now = loop.time() if self._clock is None else self._clock.monotonic()
        if self.on_take is not None:
            self.on_take(now)
        if self.is_down:
            return None
        self.exchanges += 1
        # No clock of a server begins at 0.
        seconds, rest = divmod(1_000_000 + now, 1)
        time = [str(round(seconds)), str(round(rest * 1_000_000))]
        return self._run(keys=list(keys), args=[*arguments, *time])

    async def aclose(self) -> None:
        """Nothing to do: all hosts share it."""

    async def abandon(self) -> None:
        """Nothing to do, either."""

    def flush(self) -> None:
        """Let the server forget everything, as one does that lost its memory."""
        self._client.flushall()

    def close(self) -> None:
        self._client.close()


def use_timed_store(
    patch: pytest.MonkeyPatch,
    server: RedisServer,
    clock: Clock | None = None,
    *,
    seconds: float = 0.001,
) -> TimedStore:
    """Let all ledgers in Redis use this store; return it.

    Args:
        patch: Undoes it.
        server: Runs the script.
        clock: The time; None is the running loop's.
        seconds: What an exchange takes, by the loop's time.
    """
    store = TimedStore(server, clock, seconds)
    patch.setattr(redis_ledger, "RedisServer", lambda *_, **__: store)
    return store
