"""`migrate_from_hfapi.py` and `follow_logs.py`, run as their users run them."""

from __future__ import annotations

import asyncio
import difflib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from spaces_async.testing import FakeHub, Fault, seed_org
from tests.support.programs import strict_python

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MIGRATE = EXAMPLES / "migrate_from_hfapi.py"
FOLLOW = EXAMPLES / "follow_logs.py"


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """A Hub with two failed Spaces and two that run."""
    async with FakeHub() as hub:
        hub.add_space("acme/good").log("all is well\n")
        hub.add_space("acme/better").log("\x1b[31mred\x1b[0m\x07 alert")
        hub.add_space("acme/crashed", stage="RUNTIME_ERROR")
        hub.add_space("acme/broken", stage="RUNTIME_ERROR")
        yield hub


async def start(script: Path, *argv: str, cwd: Path, hub: FakeHub) -> Process:
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    env |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HOME": str(cwd)}
    return await asyncio.create_subprocess_exec(
        *strict_python(str(script), *argv),
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def end(process: Process) -> tuple[int | None, str, str]:
    try:
        async with asyncio.timeout(30):
            out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return process.returncode, out.decode(), err.decode()


def asked(hub: FakeHub) -> list[str]:
    lines = [f"{r.method} {r.path}" for r in hub.requests]
    hub.requests.clear()
    # The official client asks once which agents there are, to know its own caller.
    return [line for line in lines if line != "GET /api/agent-harnesses"]


async def test_migrating_changes_nothing_but_the_waiting(
    hub: FakeHub, tmp_path: Path
) -> None:
    """Before and after print and send the same."""
    told: list[str] = []
    sent: list[list[str]] = []
    for way in ("before", "after"):
        status, out, err = await end(
            await start(MIGRATE, "acme", "--way", way, cwd=tmp_path, hub=hub)
        )
        assert (status, err) == (0, "")
        told.append(out)
        sent.append(asked(hub))
        for name in ("acme/crashed", "acme/broken"):
            hub.set_stage(name, "RUNTIME_ERROR")
    assert told[0] == told[1]
    assert sorted(told[0].split("\n")) == [
        "",
        "acme/broken BUILDING",
        "acme/crashed BUILDING",
    ]
    assert sent[0] == sent[1]


async def test_bulk_is_what_comes_then(hub: FakeHub, tmp_path: Path) -> None:
    """All failed Spaces at once, through the client beneath."""
    status, out, err = await end(
        await start(MIGRATE, "acme", "--way", "then", cwd=tmp_path, hub=hub)
    )
    assert (status, err) == (0, "")
    assert sorted(out.split()) == ["BUILDING"] * 2 + ["acme/broken", "acme/crashed"]


async def test_errors_are_those_of_this_package(hub: FakeHub, tmp_path: Path) -> None:
    """A refusal is one line and status 2."""
    hub.faults("POST /restart", Fault.status(403))
    status, _, err = await end(await start(MIGRATE, "acme", cwd=tmp_path, hub=hub))
    assert status == 2
    assert err.startswith("error: POST ")
    assert err.count("\n") == 1


def test_three_lines_differ() -> None:
    """The function `after` is `before` but for making the client and two keywords."""
    source = MIGRATE.read_text("utf-8")

    def body(start: str) -> list[str]:
        text = source.partition(start)[2].partition("\n\n\n")[0]
        lines = [line.strip() for line in text.splitlines()]
        return lines[next(n for n, line in enumerate(lines) if "HfApi()" in line) :]

    old, new = body("def before("), body("async def after(")
    changed = [line for line in difflib.ndiff(old, new) if line.startswith("+ ")]
    assert changed == [
        "+ async with AsyncHfApi() as api:",
        '+ async for space in api.list_spaces(author=org, expand=["runtime"]):',
        "+ runtime = await api.restart_space(space.id)",
    ]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
async def test_following_logs_until_ctrl_c(hub: FakeHub, tmp_path: Path) -> None:
    """Lines of all running Spaces come as they are written; Ctrl-C leaves nothing."""
    process = await start(FOLLOW, "acme", cwd=tmp_path, hub=hub)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            seen = {(await process.stdout.readline()).decode()[9:] for _ in range(2)}
            assert seen == {"acme/good   all is well\n", "acme/better red alert\n"}
            hub.space("acme/good").log("something new")
            fresh = (await process.stdout.readline()).decode()
            assert fresh.endswith("acme/good   something new\n")
    finally:
        process.send_signal(signal.SIGINT)
    assert await end(process) == (130, "", "")
    async with asyncio.timeout(20):
        while hub.in_flight or hub.connections:
            await asyncio.sleep(0)
    assert hub.count("GET", "/logs/run") == 2


async def test_following_logs_of_nothing(hub: FakeHub, tmp_path: Path) -> None:
    """An org without a running Space is told in a line, with status 1."""
    hub.add_space("idle/one", stage="PAUSED")
    ended = await end(await start(FOLLOW, "idle", cwd=tmp_path, hub=hub))
    assert ended == (1, "", "idle has no running Spaces\n")


async def test_following_logs_that_may_not_be_read(
    hub: FakeHub, tmp_path: Path
) -> None:
    """A refusal is one line and status 2."""
    hub.faults("GET /logs/run", Fault.status(403), times=None)
    status, out, err = await end(await start(FOLLOW, "acme", cwd=tmp_path, hub=hub))
    assert (status, out) == (2, "")
    assert err.startswith("error: GET ")
    assert err.count("\n") == 1


async def test_following_logs_of_the_seeded_hub(tmp_path: Path) -> None:
    """The command of its docstring shows lines, without a word on stderr."""
    async with FakeHub() as hub:
        seed_org(hub, "acme", 40)
        process = await start(FOLLOW, "acme", "--most", "8", cwd=tmp_path, hub=hub)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(20):
                seen = [(await process.stdout.readline()).decode() for _ in range(16)]
        finally:
            process.send_signal(signal.SIGINT)
        assert await end(process) == (130, "", "")
    assert sum("Running on local URL" in line for line in seen) == 8
