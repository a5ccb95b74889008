"""The README: what it shows runs, and its tables are complete."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
from pathlib import Path

import pytest

import spaces_async
from spaces_async import SpacesClient
from spaces_async.bulk import operations
from spaces_async.testing import FakeHub
from tests.support.programs import strict_python

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
ROOMS = ("catalog", "lifecycle", "config", "hardware", "billing", "storage", "logs")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


async def test_the_quick_start_runs(hub: FakeHub, tmp_path: Path) -> None:
    """The first program of the README, as it stands, restarts what has failed."""
    hub.set_stage("acme/demo", "RUNTIME_ERROR")
    program = blocks("python")[0]
    assert len([line for line in program.splitlines() if line.strip()]) <= 12
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
    assert out.decode().splitlines() == ["acme/demo RUNTIME_ERROR", "restart: 1 done"]
    assert not err
    assert hub.space("acme/demo").restarts == 1


@pytest.mark.parametrize("block", blocks("python"), ids=range(len(blocks("python"))))
def test_every_program_is_python(block: str) -> None:
    """Nothing in the README is a syntax error."""
    compile(block, "README", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_every_operation_is_listed() -> None:
    """The table of operations names each public method of each room."""
    client = SpacesClient(token=False)
    table = README[README.index("## All operations") : README.index("## Errors")]
    for room in ROOMS:
        for name, _ in inspect.getmembers(getattr(client, room), callable):
            if not name.startswith("_"):
                assert re.search(rf"`(?:{room}\.)?{name}\b", table), f"{room}.{name}"


def test_every_write_of_a_bulk_is_listed() -> None:
    """The table of the bulk's methods has each write, with its parameters."""
    table = README[README.index("## Many Spaces") : README.index("| outcome |")]
    listed = re.findall(r"`(\w+)\(([^()`]*)\)`", table)
    wanted = {
        (name, ", ".join(f"{key}=" for key in inspect.signature(made).parameters))
        for name, made in operations.BY_NAME.items()
    }
    assert wanted == {entry for entry in listed if entry[0] != "run"}


def test_every_error_is_listed() -> None:
    """The table of errors names each error that can be met."""
    table = README[README.index("## Errors") : README.index("## Limits")]
    umbrellas = {"TransportError", "HubResponseError"}
    for name in spaces_async.errors.__all__:
        if name not in umbrellas:
            assert f"`{name}`" in table, name
