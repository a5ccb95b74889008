"""The token and the value of a secret are in nothing that a bulk leaves behind (#57).

What single calls leave behind, `test_faults.py` looks at, for each fault.
"""

from __future__ import annotations

import asyncio
import copy
import errno
import json
import logging
import os
import pickle
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio

import spaces_async as sa
from spaces_async._wire import responses
from spaces_async.bulk import BulkProgress, JournalError, operations
from spaces_async.bulk._journal import writer as journal
from spaces_async.testing import FakeHub, Fault, ManualClock
from tests.support.faults_bench import CANARIES, SECRET, TESTS

TOKEN: Final = "hf_canaryCanaryCanaryTOKEN"
IDS: Final = [f"acme/s{number}" for number in range(6)]


@pytest_asyncio.fixture
async def hub(hub: FakeHub) -> FakeHub:
    """A Hub that knows our token."""
    hub.add_token(TOKEN)
    for repo_id in IDS:
        hub.add_space(repo_id)
    return hub


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The root logger and asyncio's tell all, and asyncio looks for slow callbacks."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="asyncio")
    yield
    clean(caplog.text, *(repr(vars(record)) for record in caplog.records))


def clean(*texts: str | bytes) -> None:
    """See that no canary is in any of these."""
    for text in texts:
        shown = text.decode("latin-1") if isinstance(text, bytes) else text
        assert not [canary for canary in CANARIES if canary in shown]


def ours(trace: TracebackType | None) -> Iterator[tuple[Any, int]]:
    """Yield the frames of a traceback but for those of the tests, which know all."""
    for frame, line in traceback.walk_tb(trace):
        if not frame.f_code.co_filename.startswith(TESTS):
            yield frame, line


def printed(error: BaseException | None, seen: set[int] | None = None) -> list[str]:
    """Return all that the most talkative handler would print of an error."""
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return []
    seen.add(id(error))
    frames = traceback.StackSummary.extract(
        ours(error.__traceback__), capture_locals=True
    )
    texts = [str(error), repr(error), repr(vars(error)), *frames.format()]
    texts += getattr(error, "__notes__", ())
    parts = [error.__cause__, error.__context__]
    if isinstance(error, BaseExceptionGroup):
        group: BaseExceptionGroup[BaseException] = error
        parts += group.exceptions
    for part in parts:
        texts += printed(part, seen)
    return texts


def clean_error(error: BaseException) -> None:
    clean(*printed(error))
    if isinstance(error, sa.SpacesError):
        clean(pickle.dumps(error), repr(copy.copy(error)), repr(copy.deepcopy(error)))


def clean_report(report: sa.BulkReport[Any]) -> None:
    """See that a report, and the error that is made of it, show nothing."""
    clean(repr(report), report.summary(), json.dumps(report.to_dict()))
    clean(pickle.dumps(report))
    for outcome in report:
        clean(repr(outcome), json.dumps(outcome.to_dict()), pickle.dumps(outcome))
        if outcome.error is not None:
            clean_error(outcome.error)
    try:
        report.raise_for_failures()
    except sa.BulkError as error:
        clean_error(error)


def clean_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            clean(path.read_bytes())


ECHO: Final = f"bad value {SECRET} of {TOKEN}"
TROUBLES: Final = {
    "refused": Fault.status(400, message=ECHO),
    "server": Fault.status(500, message=ECHO),
    "not-allowed": Fault.status(401, message=ECHO),
    "redirect": Fault.status(307, headers={"Location": f"http://x.example/{SECRET}"}),
    "limited": Fault.status(429, message=ECHO, headers={"Retry-After": "100000"}),
    "lost": Fault.reset(acted=True),
    "torn": Fault.truncated(),
    "page": Fault.html(status=502),
    "silent": Fault.hang(acted=True),
}


def operations_with_secrets() -> dict[str, Any]:
    async def mine(client: sa.SpacesClient, repo_id: str) -> None:
        await client.config.add_secret(repo_id, "KEY", SECRET)

    return {
        "add_secret": operations.add_secret("KEY", SECRET, description="d"),
        "mine": mine,
    }


@pytest.mark.unmeasured
@pytest.mark.parametrize("name", operations_with_secrets())
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_bulk_shows_no_secret(
    hub: FakeHub, tmp_path: Path, name: str, trouble: str
) -> None:
    """Report, outcomes, errors, pickles, progress, logs and journal: in none of them."""
    for route in ("POST *", "GET *"):
        hub.faults(route, TROUBLES[trouble], repo_id=IDS[1], times=None)
        hub.faults(route, TROUBLES[trouble], repo_id=IDS[4], times=None)
    heard: list[BulkProgress] = []
    reports: list[sa.BulkReport[Any]] = []
    settings = sa.ClientSettings(
        timeouts=sa.Timeouts(read=0.1),
        retry=sa.RetryPolicy(
            max_attempts=2, wait_initial=0.001, wait_max=0.002, max_rate_limit_wait=1
        ),
    )
    operation = operations_with_secrets()[name]
    path = tmp_path / "journal"
    async with sa.SpacesClient(
        token=TOKEN,
        endpoint=hub.url,
        settings=settings,
        clock=ManualClock(datetime.now(UTC), auto=True),
    ) as client:
        for concurrency in (1, 3):
            report = await client.bulk.run(
                operation,
                IDS,
                concurrency=concurrency,
                progress=heard.append,
                journal=path,
                max_rate_limit_wait=1,
            )
            clean_report(report)
            reports.append(report)
        clean(repr(client), repr(operation), repr(client.bulk))
    assert reports[0].failed or reports[0].unknown or trouble in {"lost", "torn"}
    clean(*map(repr, heard))
    clean_files(tmp_path)


async def test_a_journal_asks_for_the_value_again(hub: FakeHub, tmp_path: Path) -> None:
    """It is in no file, so whoever resumes passes it; what asks for it shows nothing."""
    path = tmp_path / "journal"
    fault = hub.faults("POST /secrets", Fault.status(400, message=ECHO), times=None)
    async with sa.SpacesClient(token=TOKEN, endpoint=hub.url) as client:
        report = await client.bulk.add_secret(
            IDS, key="KEY", value=SECRET, journal=path
        )
        clean_report(report)
        with pytest.raises(
            sa.ConfigurationError, match="needs the value of KEY again"
        ) as told:
            await client.bulk.resume(path)
        clean_error(told.value)
        fault.remove()
        again = await client.bulk.resume(path, secrets={"KEY": SECRET})
        assert again.ok
        clean_report(again)
        other = operations.add_secret("OTHER", SECRET)
        with pytest.raises(sa.ConfigurationError, match="another job") as refused:
            await client.bulk.resume(path, operation=other)
        clean_error(refused.value)
    clean_files(tmp_path)


async def test_an_iterator_that_raises(hub: FakeHub, tmp_path: Path) -> None:
    """`BulkInterruptedError` carries the report, and nothing that must not be shown."""

    def targets() -> Iterator[str]:
        yield from IDS[:3]
        raise RuntimeError("no more")

    hub.faults("POST /secrets", Fault.status(400, message=ECHO), times=1)
    async with sa.SpacesClient(token=TOKEN, endpoint=hub.url) as client:
        with pytest.raises(sa.BulkInterruptedError) as told:
            await client.bulk.add_secret(
                targets(), key="KEY", value=SECRET, journal=tmp_path / "journal"
            )
    clean_error(told.value)
    assert told.value.report is not None
    clean_report(told.value.report)
    clean_files(tmp_path)


async def test_a_disk_that_is_full(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`JournalError` does not show what was going to be sent either."""
    path = tmp_path / "journal"

    def full(_fd: int) -> None:
        if path.stat().st_size > 600:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(journal, "_sync", full)
    async with sa.SpacesClient(token=TOKEN, endpoint=hub.url) as client:
        with pytest.raises(JournalError) as told:
            await client.bulk.add_secret(IDS, key="KEY", value=SECRET, journal=path)
    clean_error(told.value)
    assert told.value.report is not None
    clean_report(told.value.report)
    clean_files(tmp_path)


@pytest.mark.parametrize("turns", [1, 3, 10, 30, 60])
async def test_a_bulk_that_is_cancelled(
    hub: FakeHub, tmp_path: Path, turns: int
) -> None:
    """The frames that a cancel passes through hold neither the token nor the value."""
    hub.faults("POST /secrets", Fault.hang(), times=None)
    async with sa.SpacesClient(token=TOKEN, endpoint=hub.url) as client:
        bulk = asyncio.create_task(
            client.bulk.add_secret(
                IDS, key="KEY", value=SECRET, journal=tmp_path / "journal"
            )
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        clean(repr(bulk), *map(repr, asyncio.all_tasks()))
        bulk.cancel()
        with pytest.raises(asyncio.CancelledError) as told:
            await bulk
    clean_error(told.value)
    clean_files(tmp_path)


async def test_an_operation_is_no_pickle_of_its_secret(hub: FakeHub) -> None:
    """Who sends an operation to another process does not send the value by accident."""
    operation = operations.add_secret("KEY", SECRET)
    clean(str(operation.preview(IDS[0])), repr(operation.parameters), repr(operation))
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(operation)


def test_the_command_starts_no_process() -> None:
    """What a child was started with, others could read: the package starts none."""
    names = {"subprocess", "os.system", "os.exec", "os.spawn", "os.posix_spawn"}
    package = Path(sys.modules["spaces_async"].__file__ or "").parent
    for path in package.rglob("*.py"):
        text = path.read_text("utf-8")
        assert not [name for name in names if name in text], path


PLACES: Final[dict[str, type]] = {
    "write_headers": aiohttp.http_writer.StreamWriter,
    "start": aiohttp.ClientResponse,
    "readany": aiohttp.StreamReader,
}


def interrupt(kind: type[BaseException], original: Any) -> Any:
    """Return a method of aiohttp that raises where this task calls it, as Ctrl-C may.

    FakeHub's tasks call the original: it runs in the same loop.
    """
    ours = asyncio.current_task()

    async def method(*arguments: Any) -> Any:
        if asyncio.current_task() is ours:
            raise kind
        return await original(*arguments)

    return method


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", [*PLACES, "scrub"])
def test_an_interrupt_shows_no_frame_with_a_secret(
    place: str, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of a request leaves without aiohttp's frames."""

    async def main() -> None:
        async with FakeHub() as hub:
            hub.add_token(TOKEN)
            hub.add_space(IDS[0])
            hub.faults("POST /secrets", Fault.status(400))
            async with sa.SpacesClient(token=TOKEN, endpoint=hub.url) as client:
                if place == "scrub":
                    monkeypatch.setattr(responses, "STARS", Interrupting(kind))
                else:
                    owner = PLACES[place]
                    method = interrupt(kind, getattr(owner, place))
                    monkeypatch.setattr(owner, place, method)
                try:
                    await client.config.add_secret(IDS[0], "KEY", SECRET)
                finally:
                    monkeypatch.undo()

    with pytest.raises(kind) as caught:
        asyncio.run(main())
    frames = caught.value.__traceback__
    shown = traceback.TracebackException(
        type(caught.value), caught.value, frames, capture_locals=True
    )
    clean("".join(shown.format()))


class Interrupting:
    """Interrupts where the text that replaces a secret is used."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def encode(self) -> bytes:
        raise self.kind


async def test_a_link_that_echoes_the_token(hub: FakeHub) -> None:
    """The token in a link to the next page is in no error and in no local variable."""
    link = {"Link": f'<https://elsewhere.example/x?cursor={TOKEN}>; rel="next"'}
    hub.faults("GET /api/spaces", Fault.status(200, body="[]", headers=link))
    async with sa.SpacesClient(token=TOKEN, endpoint=hub.url) as client:
        with pytest.raises(sa.UnexpectedResponseError) as caught:
            _ = [info async for info in client.catalog.list_spaces()]
    shown = traceback.TracebackException(
        type(caught.value), caught.value, caught.tb.tb_next, capture_locals=True
    )
    text = "".join(shown.format())
    assert "elsewhere.example" in text
    clean(text)
