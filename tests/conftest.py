"""What holds for every test: a clean environment, no blocking call, nothing left."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, cast

import pytest
import pytest_asyncio
from blockbuster import blockbuster_ctx
from hypothesis import settings
from pytest_asyncio import is_async_test

from spaces_async import SpacesClient, logs
from spaces_async._follow import stage_wait
from spaces_async._wire import json as wire_json
from spaces_async.testing import FakeHub, ManualClock

pytest.register_assert_rewrite("tests.support")

# A shell that starts a job in the background lets it ignore SIGINT, and so do all its
# children: the tests that interrupt a program would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# In debug mode asyncio keeps a stack for each task and handle, which takes a quarter of
# the time. Set it to 10 where a warning has to say where its task was made.
asyncio.constants.DEBUG_STACK_DEPTH = 0  # type: ignore[attr-defined]

# It also warns of each step that takes long. On a busy machine that says nothing about
# the package, and a test that reads the log would take it for a warning of ours.
logging.getLogger("asyncio").addFilter(lambda record: "took" not in str(record.msg))

# The same examples in every run: what fails here fails everywhere, and what passed
# passes again. The long forms look for new ones.
# How long one takes is the machine's affair.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("new", print_blob=True, deadline=None)
settings.load_profile("new" if os.environ.get("SOAK") else "same")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let every test run without orjson, or as in a program with eager tasks."""
    parser.addoption(
        "--stdlib-json", action="store_true", help="parse as if orjson were missing"
    )
    parser.addoption(
        "--eager-tasks", action="store_true", help="let tasks begin at once, from 3.12"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--stdlib-json"):
        wire_json._fast = None
    if config.getoption("--eager-tasks"):
        eager = getattr(asyncio, "eager_task_factory", None)
        if eager is None:
            raise pytest.UsageError("--eager-tasks needs Python 3.12")
        make_loop: Any = asyncio.BaseEventLoop.__init__

        def make_eager_loop(loop: Any) -> None:
            make_loop(loop)
            loop.set_task_factory(eager)

        cast("Any", asyncio.BaseEventLoop).__init__ = make_eager_loop


_numbers = itertools.count()
_OURS = ("HF_", "HUGGINGFACE", "HUGGING_FACE")


@pytest.fixture(autouse=True)
def clean_environment(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test sees the token, the proxies or the settings of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(_OURS) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    # The programs that tests start are not measured: what they run is run in tests, too.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    no_token = tmp_path_factory.getbasetemp() / "no-token-here"
    monkeypatch.setenv("HF_TOKEN_PATH", str(no_token))
    # Each has runs of its own.
    state = tmp_path_factory.getbasetemp() / f"state-{next(_numbers)}"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))


@pytest.fixture(autouse=True)
def same_jitter() -> None:
    """Pauses are as long in every run, as far as chance has a say; see above."""
    if not os.environ.get("SOAK"):
        random.seed(0)


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a log shows after half a second of silence, and not after 2 or 5 s."""
    monkeypatch.setattr(logs, "_REPLAY_SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(stage_wait, "_LOG_TAIL_SILENCE_SECONDS", 0.5)


@pytest.fixture(autouse=True, scope="session")
def no_blocking_call() -> Iterator[None]:
    """A blocking call of the package inside the event loop fails the test."""
    with blockbuster_ctx("spaces_async") as guard:
        # Coverage locks its data for a moment when a thread runs a file first.
        lock = guard.functions["threading.Lock.acquire"]
        lock.can_block_in("coverage/collector.py", "lock_data")
        # In virtual time the disk's thread works while the loop stands still.
        lock.can_block_in("tests/support/virtual.py", "later")
        # uvloop joins the threads of its executor in its last step, when nothing else runs.
        lock.can_block_in("asyncio/runners.py", "close")
        # The loop says that there is something to read. A terminal is never made
        # non-blocking: it is the same one for the shell that started the command.
        guard.functions["os.read"].can_block_in("cli/_keys.py", "_read")
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each test that has a loop, and no other, be followed by a look at its tasks.

    A fixture that is used everywhere would start a loop for every test.
    """
    for item in items:
        if not isinstance(item, pytest.Function) or not is_async_test(item):
            continue
        names = item.fixturenames  # the rows of a table share it
        if "no_stray_task" not in names:
            names.insert(0, "no_stray_task")
        if "no_debug_mode" not in names and item.get_closest_marker("unmeasured"):
            names.append("no_debug_mode")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Take no coverage of a test that says so."""
    if not pyfuncitem.get_closest_marker("unmeasured"):
        return (yield)
    traced = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(traced)


@pytest_asyncio.fixture
async def no_debug_mode() -> None:
    """For a test that makes so many tasks that their tracebacks take most of its time."""
    asyncio.get_running_loop().set_debug(False)


@pytest_asyncio.fixture
async def no_stray_task() -> AsyncIterator[None]:
    """A task that outlives its test fails it."""
    before = asyncio.all_tasks()
    yield
    # A cancelled or just finished task needs a turn to leave the list.
    for _ in range(3):
        await asyncio.sleep(0)
    stray = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not stray, f"tasks outlive the test: {stray}"


@pytest.fixture
def clock() -> ManualClock:
    """Time that passes as soon as somebody waits for it."""
    return ManualClock(auto=True)


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """A FakeHub with an org `acme` of the default user's and one Space."""
    async with FakeHub(build_seconds=0.2, start_seconds=0.1) as hub:
        hub.add_org("acme", members={"tester": "write"})
        hub.add_space("acme/demo", stage="RUNNING", hardware="cpu-basic")
        yield hub


@pytest_asyncio.fixture
async def client(hub: FakeHub) -> AsyncIterator[SpacesClient]:
    """A client of the default user's."""
    async with SpacesClient(token=hub.token, endpoint=hub.url) as client:
        yield client
