"""What the shell imports before a command runs, and which event loop it runs in."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from spaces_async.cli._output import Output
from spaces_async.cli._signals import NO_UVLOOP, loop_factory, run
from spaces_async.testing import FakeHub

SECTION_MODULES = "spaces_async.cli.commands."


def loaded_by(*args: str) -> set[str]:
    """Return the modules that a command loads."""
    code = (
        "import contextlib, io, sys; from spaces_async.__main__ import main\n"
        f"sys.argv = ['spaces-async', *{args!r}]\n"
        "with contextlib.redirect_stdout(io.StringIO()): main()\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {*done.stdout.split()}


@pytest.mark.parametrize(
    "args", [("--help",), ("list", "--help"), ("secrets", "add", "--help")]
)
def test_a_help_needs_no_client(args: tuple[str, ...]) -> None:
    """A help is there at once: it loads only what describes the commands."""
    loaded = loaded_by(*args)
    assert not loaded & {"aiohttp", "asyncio", "attr", "cattrs", "rich", "uvloop"}
    assert "spaces_async.testing" not in loaded


def test_only_the_module_of_the_command_is_loaded() -> None:
    """The other sections are not even imported."""
    sections = {m for m in loaded_by("list", "--help") if m.startswith(SECTION_MODULES)}
    assert sections == {f"{SECTION_MODULES}look"}


def test_a_command_loads_no_test_hub(hub: FakeHub) -> None:
    """What only `demo` uses is not loaded for others."""
    hub.add_space("acme/demo")
    loaded = loaded_by("pause", "acme/demo", "--dry-run", "-q")
    assert "aiohttp" in loaded
    assert not {
        m for m in loaded if m.startswith(("spaces_async.testing", "aiohttp.web"))
    }


async def loop_module() -> str:
    return type(asyncio.get_running_loop()).__module__


@pytest.mark.parametrize(("switch", "module"), [("", "uvloop"), ("1", "asyncio")])
def test_a_command_runs_in_uvloop(
    monkeypatch: pytest.MonkeyPatch, switch: str, module: str
) -> None:
    """It is taken where it is installed; an environment variable says otherwise."""
    pytest.importorskip("uvloop", reason="it has no wheels for all Pythons")
    monkeypatch.setenv(NO_UVLOOP, switch)
    assert run(loop_module(), Output()).partition(".")[0] == module


def test_without_uvloop_a_command_runs_in_asyncio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing needs it."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is None
    assert run(loop_module(), Output()).partition(".")[0] == "asyncio"
