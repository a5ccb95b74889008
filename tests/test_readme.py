"""The README: short, in the order in which people ask, and its first program runs."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from spaces_async.testing import FakeHub
from tests.support.pages import ROOT, blocks
from tests.support.programs import strict_python
from tests.support.redis_server import RedisServer, needs_redis

README = (ROOT / "README.md").read_text("utf-8")
MOST_LINES = 200


def test_it_is_short() -> None:
    """A reader in a hurry reads it to its end."""
    assert len(README.splitlines()) <= MOST_LINES


def test_it_is_in_the_order_of_questions() -> None:
    """What it is, a picture, how to get it, the shell, Python, a service, tests."""
    assert README.index("\n![") < README.index("\n## ")
    titles = re.findall(r"^## (.*)$", README, re.MULTILINE)
    asked = ["Install", "In the shell", "In Python", "In a web backend"]
    assert titles[: len(asked)] == asked
    assert titles[-2:] == ["Tests with FakeHub", "Further reading"]


def test_it_links_each_page() -> None:
    """No page of the documentation is left out: it would not be found."""
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)", README))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} == linked


def test_the_first_commands_are_few() -> None:
    """The shell takes six lines."""
    shown = [block for block in blocks("bash") if block.page == "README.md"]
    assert len(shown[1].text.splitlines()) <= 6


async def test_the_first_program_runs(hub: FakeHub, tmp_path: Path) -> None:
    """It takes ten lines, and restarts what has failed."""
    hub.set_stage("acme/demo", "RUNTIME_ERROR")
    program = blocks("python")[0].text
    assert len([line for line in program.splitlines() if line.strip()]) <= 10
    script = tmp_path / "quick_start.py"
    script.write_text(program, "utf-8")
    process = await asyncio.create_subprocess_exec(
        *strict_python(str(script)),
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert out.decode().splitlines() == ["restart: 1 done"]
    assert not err
    assert hub.space("acme/demo").restarts == 1


@needs_redis
async def test_the_program_of_many_hosts_runs(hub: FakeHub, tmp_path: Path) -> None:
    """One host begins the run, another works on it; it takes fifteen lines."""
    ids = [f"acme/many-{number}" for number in range(8)]
    for repo_id in ids:
        hub.add_space(repo_id, stage="PAUSED")
    found = [b for b in blocks("python") if b.page == "README.md"]
    (program,) = (b.text for b in found if "bulk.work" in b.text)
    assert len([line for line in program.splitlines() if line.strip()]) <= 15
    server = RedisServer(tmp_path)
    await asyncio.to_thread(server.start)
    try:
        here = program.replace("redis://localhost:6379", server.url.rpartition("/")[0])
        assert here != program
        script = tmp_path / "hosts.py"
        script.write_text(here, "utf-8")
        hosts = [
            await asyncio.create_subprocess_exec(
                *strict_python(str(script), *given),
                env={**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token},
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            for given in (ids, [])
        ]
        told = [await host.communicate() for host in hosts]
        assert [host.returncode for host in hosts] == [0, 0], told
        assert told[0][0].decode().startswith("restart: 8 done")
        assert all(hub.space(repo_id).restarts == 1 for repo_id in ids)
    finally:
        await asyncio.to_thread(server.kill)
