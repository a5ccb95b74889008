"""A real Redis for the runs that are kept in one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.support.redis_server import SERVER, RedisServer

_numbers = itertools.count()


@pytest.fixture(scope="session")
def run_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for all tests of this process; each has runs of its own."""
    if SERVER is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def new_run(run_server: RedisServer) -> Callable[[], str]:
    """Makes the URL of a run that nobody has."""
    return lambda: f"redis://127.0.0.1:{run_server.port}/1/run-{next(_numbers)}"
