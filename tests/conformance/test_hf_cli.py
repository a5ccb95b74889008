"""The commands `hf spaces …` of the official client take FakeHub for the Hub.

`tests/fake_hub/test_official_client.py` proves the same of the methods of `HfApi`.
Left out are the commands that read or write files (`card`, `hot-reload`, `ls` with an
id): FakeHub serves no files.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from attrs import frozen

from spaces_async.testing import FakeHub, FakeSpace

DEMO = "acme/demo"


@frozen
class Ended:
    """What became of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@frozen
class Hf:
    """Runs `hf spaces …` against a FakeHub."""

    hub: FakeHub
    home: Path

    async def __call__(self, line: str, *more: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "huggingface_hub.cli.hf", "spaces"),
            *(*line.split(), *more),
            env={
                **os.environ,
                "HF_ENDPOINT": self.hub.url,
                "HF_TOKEN": self.hub.token,
                "HF_HOME": str(self.home),
                "HF_HUB_DISABLE_UPDATE_CHECK": "1",
                "NO_COLOR": "1",
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(30):
                out, err = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    async def json(self, line: str) -> Any:
        """Run a command that succeeds, and return what it prints."""
        ended = await self(line, "--format", "json")
        assert ended.status == 0, ended.err
        return ended.json

    async def all(self, *lines: str) -> list[Ended]:
        """Run commands that change nothing, at the same time."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self(line)) for line in lines]
        return [task.result() for task in tasks]


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """A Hub on which nothing takes any time."""
    async with FakeHub(build_seconds=0, start_seconds=0, hardware_seconds=0) as hub:
        hub.add_space(DEMO, hardware="t4-small", title="Remove backgrounds")
        hub.add_space("acme/other", sdk="docker", stage="PAUSED")
        yield hub


@pytest.fixture
def space(hub: FakeHub) -> FakeSpace:
    return hub.space(DEMO)


@pytest.fixture
def hf(hub: FakeHub, tmp_path: Path) -> Hf:
    return Hf(hub, tmp_path)


async def test_list(hf: Hf) -> None:
    """`list` shows the Spaces of an org with what was asked to be expanded."""
    line = "list --author acme --expand runtime,sdk --sort created_at --limit 5"
    rows = {row["id"]: row for row in await hf.json(line)}
    stages = {repo_id: row["runtime"]["stage"] for repo_id, row in rows.items()}
    assert stages == {DEMO: "RUNNING", "acme/other": "PAUSED"}
    assert rows["acme/other"]["sdk"] == "docker"


async def test_info(hf: Hf) -> None:
    """`info` shows a Space, and says of a missing one that it is missing."""
    there, missing, no_branch = await hf.all(
        f"info {DEMO} --format json",
        "info acme/none",
        f"info {DEMO} --revision nowhere",
    )
    info = there.json
    assert (info["id"], info["author"]) == (DEMO, "acme")
    assert info["host"] == "https://acme-demo.hf.space"
    assert info["runtime"]["hardware"] == "t4-small"
    assert (missing.status, missing.out) == (1, "")
    assert "Space 'acme/none' not found." in missing.err
    assert "Revision 'nowhere' not found" in no_branch.err


async def test_search(hf: Hf) -> None:
    """`search` finds the running ones, and the others only when asked."""
    running, nothing, paused = await hf.all(
        "search backgrounds --description --format json",
        "search other --sdk docker --format json",
        "search other --sdk docker --include-non-running --format json",
    )
    (found,) = running.json
    assert (found["id"], found["stage"]) == (DEMO, "RUNNING")
    assert nothing.json == []
    (found,) = paused.json
    assert found["stage"] == "PAUSED"


async def test_offers(hf: Hf) -> None:
    """`templates`, `hardware` and `zero-gpu quota` show what the Hub offers."""
    templates, hardware, quota = await hf.all(
        "templates --format json", "hardware --format json", "zero-gpu quota --quiet"
    )
    by_name = {row["name"]: row for row in templates.json}
    assert by_name["JupyterLab"]["preferred_private"]
    flavors = {row["name"]: row for row in hardware.json}
    assert flavors["cpu-basic"]["cost/hour"] == "free"
    assert flavors["t4-small"]["accelerator"] == "1x T4 (16 GB)"
    assert float(quota.out) == 210


async def test_pause_restart_wait(hf: Hf, space: FakeSpace) -> None:
    """`wait` succeeds with a Space that runs, and with no other."""
    assert (await hf.json(f"wait {DEMO}"))["stage"] == "RUNNING"
    assert (await hf.json(f"pause {DEMO}"))["stage"] == "PAUSED"
    paused = await hf(f"wait {DEMO} --timeout 1m")
    assert paused.status == 1
    assert "is not running (stage='PAUSED')" in paused.err
    await hf.json(f"restart {DEMO}")
    assert (await hf.json(f"wait {DEMO}"))["stage"] == "RUNNING"
    assert (await hf.json(f"restart {DEMO} --factory-reboot"))["factory_reboot"]
    assert (space.pauses, space.restarts, space.factory_reboots) == (1, 1, 1)


async def test_waiting_too_long(hf: Hf, hub: FakeHub) -> None:
    """`wait --timeout` gives up on a Space that goes on building."""
    hub.set_stage(DEMO, "BUILDING")
    late = await hf(f"wait {DEMO} --timeout 0")
    assert late.status == 1
    assert "Timed out" in late.err


async def test_secrets(hf: Hf, space: FakeSpace) -> None:
    """`secrets` shows names and never values."""
    assert (await hf.json(f"secrets add {DEMO} -s A=1 -s B=2"))["keys"] == ["A", "B"]
    listed = await hf.json(f"secrets ls {DEMO}")
    assert [row["key"] for row in listed] == ["A", "B"]
    assert all(set(row) == {"key", "updated_at"} for row in listed)
    await hf.json(f"secrets delete {DEMO} A --yes")
    assert {key: each.value for key, each in space.secrets.items()} == {"B": "2"}


async def test_variables(hf: Hf, space: FakeSpace) -> None:
    """`variables` shows names and values."""
    await hf.json(f"variables add {DEMO} -e A=1 -e B=2")
    listed = await hf.json(f"variables ls {DEMO}")
    assert {row["key"]: row["value"] for row in listed} == {"A": "1", "B": "2"}
    await hf.json(f"variables delete {DEMO} A --yes")
    assert set(space.variables) == {"B"}


async def test_volumes(hf: Hf) -> None:
    """`volumes set` replaces them all; a second `delete` is refused."""
    volumes = "-v hf://models/acme/m:/models -v hf://buckets/acme/b:/data"
    await hf.json(f"volumes set {DEMO} {volumes}")
    listed = {row["mount_path"]: row for row in await hf.json(f"volumes ls {DEMO}")}
    assert {path: row["read_only"] for path, row in listed.items()} == {
        "/models": True,
        "/data": False,
    }
    await hf.json(f"volumes delete {DEMO} --yes")
    assert await hf.json(f"volumes ls {DEMO}") == []
    again = await hf(f"volumes delete {DEMO} --yes")
    assert again.status == 1
    assert "Bad request" in again.err


async def test_settings(hf: Hf, space: FakeSpace) -> None:
    """`settings` asks for hardware and sets the sleep time."""
    line = f"settings {DEMO} --hardware t4-medium --sleep-time 300"
    told = await hf.json(line)
    assert (told["hardware"], told["sleep_time"]) == ("t4-medium", 300)
    assert (await hf.json(f"settings {DEMO} --sleep-time 600"))["sleep_time"] == 600
    assert (space.requested_hardware, space.sleep_time) == ("t4-medium", 600)


async def test_logs(hf: Hf, space: FakeSpace) -> None:
    """`logs` prints what is there and ends: at a line that is later than its call."""
    space.log("step 1", kind="build")
    space.log("step 2", kind="build")
    space.log("hello\n")
    space.log("\x1b[31mworld\x1b[0m")
    space.log("later", timestamp=space.created_at + timedelta(hours=1))
    build, run = await hf.all(f"logs {DEMO} --build --tail 1", f"logs {DEMO}")
    assert (build.status, build.out.split("\n")) == (0, ["step 2", ""])
    assert run.status == 0
    assert run.out.split() == ["hello", "\x1b[31mworld\x1b[0m"]


async def test_dev_mode(hf: Hf, space: FakeSpace) -> None:
    """`dev-mode` switches it on, waits, and tells where to connect; `--stop` ends it."""
    on = await hf(f"dev-mode {DEMO}")
    assert on.status == 0
    assert "acme-demo@ssh.hf.space" in on.out
    assert space.dev_mode
    ssh = await hf(f"ssh {DEMO} --dry-run")
    assert "acme-demo@ssh.hf.space" in ssh.out + ssh.err
    off = await hf(f"dev-mode {DEMO} --stop")
    assert "Dev mode disabled" in off.out
    assert not space.dev_mode


async def test_a_static_space_is_refused(hf: Hf, hub: FakeHub) -> None:
    """The Hub's 400 reaches whoever typed the command, in its words."""
    hub.add_space("acme/page", sdk="static")
    lines = ("pause acme/page", "restart acme/page", "dev-mode acme/page")
    for refused in await hf.all(*lines):
        assert refused.status == 1
        assert "static" in refused.err.lower()


async def test_somebody_elses_space_is_refused(hf: Hf, hub: FakeHub) -> None:
    """A write to a Space of strangers is forbidden; a look at it is not."""
    hub.add_user("stranger", token="hf_stranger")
    hub.add_space("stranger/demo", creator="stranger")
    refused = await hf("pause stranger/demo")
    assert refused.status == 1
    assert "403" in refused.err
    assert (await hf.json("info stranger/demo"))["author"] == "stranger"
