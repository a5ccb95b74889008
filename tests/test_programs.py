"""The programs and commands of the README and the pages: each of them runs."""

from __future__ import annotations

import ast
import asyncio
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import CodeType
from typing import Any, Final

import pytest
from fastapi.testclient import TestClient

from spaces_async import SpacesClient
from spaces_async.testing import FakeHub, Fault
from tests.day.story import fill
from tests.support.pages import Block, Prompt, blocks, lines_of
from tests.support.programs import strict_python
from tests.support.virtual_shell import VirtualShell

PYTHON: Final = [b for b in blocks("python") if not b.is_shared]
"""Those about many hosts run with a Redis: `tests/test_readme.py`, `tests/cli/test_store.py`."""
TESTS: Final = [
    b for b in PYTHON if re.search(r"^(async )?def test_", b.text, re.MULTILINE)
]
SERVICES: Final = [b for b in PYTHON if "FastAPI(" in b.text]
PROGRAMS: Final = [
    b for b in PYTHON if "asyncio.run(" in b.text and b not in (*TESTS, *SERVICES)
]
PARTS: Final = [b for b in PYTHON if b not in (*TESTS, *SERVICES, *PROGRAMS)]

BASH: Final = [b for b in blocks("bash") if b.page != "docs/day.md" and not b.is_shared]
"""Those of the day are played one after the other, in tests/day."""

_NOT_OURS: Final = ("pip", "make", "export HF_TOKEN", "eval", "_SPACES_ASYNC_COMPLETE")
"""An install, a login, and what a user's own shell does."""
_ENDLESS: Final = ("--watch", "spaces-async demo", "spaces-async exporter")
"""What ends with a key or a signal, or has a Hub of its own."""


def place(block: Block) -> str:
    return block.place


def code_of(text: str, block: Block) -> CodeType:
    """Compile a program, so that a traceback shows its place on the page."""
    padded = "\n" * (block.line - 1) + text
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: CodeType = compile(padded, block.page, "exec", flags, dont_inherit=True)
    return code


def fill_as_the_pages(hub: FakeHub) -> None:
    """Add each owner and each Space that a page names."""
    fill(hub)
    for name in ("demo", "chat", "a", "b"):
        hub.add_space(
            f"acme/{name}",
            sdk="docker" if name == "b" else "gradio",
            variables={"OLD": "1"},
            secrets={"API_KEY": "old"},
        )
    hub.add_space("acme-labs/one")
    hub.add_org("me", members={"tester": "admin"})


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualShell]:
    """A shell in an empty folder, on a Hub with what the pages name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("API_KEY", "the-new-one")
    start = datetime(2026, 3, 9, 9, tzinfo=UTC)
    with VirtualShell(start, tmp_path / "state", build_seconds=5) as shell:
        fill_as_the_pages(shell.hub)
        monkeypatch.setenv("GITHUB_SHA", shell.hub.space("acme/demo").head_sha)
        yield shell


@pytest.mark.parametrize("block", PROGRAMS, ids=place)
def test_whole_programs_run(block: Block, shell: VirtualShell) -> None:
    """A program that has `asyncio.run` runs as it stands."""
    shell.run_program(code_of(block.text, block), {"__name__": "__main__"})
    assert shell.hub.requests


@pytest.mark.parametrize("name", sorted({block.page for block in PARTS}))
def test_parts_of_programs_run(name: str, shell: VirtualShell) -> None:
    """The parts of a page run one after the other, given a client and what they name."""
    hub = shell.hub
    names: dict[str, Any] = {
        "targets": ["acme/a", "acme/b"],
        "key": "the-new-one",
        "users_token": hub.token,
    }
    for block in PARTS:
        if block.page != name:
            continue
        names["client"] = SpacesClient(token=hub.token, endpoint=hub.url)
        endless = "follow=True" in block.text
        text = block.text
        if endless:  # a log goes on for ever, until the reader leaves it
            indented = "".join(f"    {line}" for line in text.splitlines(keepends=True))
            names["timeout"] = asyncio.timeout
            text = f"async with timeout(3600):\n{indented}"
        try:
            printed = shell.run_program(code_of(text, block), names)
        except TimeoutError:
            assert endless
        else:
            assert "Traceback" not in printed
        finally:
            closing = code_of("await client.aclose()", block)
            shell.run_program(closing, names)


@pytest.mark.parametrize("block", BASH, ids=place)
def test_commands_run(block: Block, shell: VirtualShell) -> None:
    """Each command of ours ends with 0; what asks is answered with yes."""
    prompt = Prompt(shell, os.environ, answer="y")
    for line in lines_of(block.text):
        if line.startswith(_NOT_OURS) or any(words in line for words in _ENDLESS):
            continue
        for ended in prompt.run(line):
            if "There are no ids on stdin" in ended.err:
                continue  # a filter before it let nothing through
            assert ended.code == 0, f"{ended.command}\n{ended.out}{ended.err}"
        # What is paused on purpose is restarted by no example: it would cost.
        assert shell.hub.space("acme/old-demo").restarts == 0, line
        shell.pass_time(60)


def test_what_is_left_out_is_little() -> None:
    """Nearly all commands of the pages are run."""
    lines = [line for block in BASH for line in lines_of(block.text)]
    ours = [line for line in lines if "spaces-async " in line]
    endless = [line for line in ours if any(words in line for words in _ENDLESS)]
    assert len(ours) > 40
    assert len(endless) <= 4


def test_the_service_of_the_readme_serves(
    fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It restarts a Space with the caller's token, and with no other."""
    (block,) = SERVICES
    monkeypatch.setenv("HF_ENDPOINT", fake_hub.url)
    fake_hub.add_space("acme/demo", stage="RUNTIME_ERROR")
    names: dict[str, Any] = {}
    exec(code_of(block.text, block), names)  # noqa: S102  (the page is ours)
    authorization = {"Authorization": f"Bearer {fake_hub.token}"}
    with TestClient(names["app"]) as service:
        path = "/spaces/acme/demo/restart"
        assert service.post(path).status_code == 422
        assert fake_hub.space("acme/demo").restarts == 0
        answer = service.post(path, headers=authorization)
    assert answer.status_code == 200, answer.text
    assert answer.json()["stage"] == "BUILDING"
    assert fake_hub.space("acme/demo").restarts == 1


@pytest.mark.parametrize("page", ["README.md", "docs/web-backends.md"])
@pytest.mark.parametrize(
    ("repo_id", "token", "fault", "status"),
    [
        ("acme/missing", None, None, 404),
        ("acme/demo", "hf_another", None, 401),
        ("acme/demo", "hf two words", None, 400),
        ("acme/..demo", None, None, 400),
        ("acme/demo", None, Fault.status(403), 403),
        ("acme/demo", None, Fault.redirect("https://a.example/"), 502),
    ],
    ids=[
        "missing",
        "token",
        "malformed-token",
        "malformed-id",
        "forbidden",
        "redirect",
    ],
)
def test_errors_are_statuses(  # noqa: PLR0917  (one argument for each part of a case)
    fake_hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    page: str,
    repo_id: str,
    token: str | None,
    fault: Fault | None,
    status: int,
) -> None:
    """A caller's mistake is a 4xx with a message, trouble of the Hub is a 502."""
    (block,) = SERVICES
    monkeypatch.setenv("HF_ENDPOINT", fake_hub.url)
    fake_hub.add_space("acme/demo", stage="RUNTIME_ERROR")
    if fault is not None:
        fake_hub.faults("POST /restart", fault)
    names: dict[str, Any] = {}
    exec(code_of(block.text, block), names)  # noqa: S102  (the page is ours)
    if page != block.page:
        (handler,) = [b for b in PARTS if b.page == page and "answer_errors" in b.text]
        exec(code_of(handler.text, handler), names)  # noqa: S102
        names["answer_errors"](names["app"])
    given = fake_hub.token if token is None else token
    with TestClient(names["app"]) as service:
        answer = service.post(
            f"/spaces/{repo_id}/restart", headers={"Authorization": f"Bearer {given}"}
        )
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert given not in answer.text
    assert ("request_id" in answer.json()) == (page != block.page)


async def test_the_tests_of_the_pages_pass(tmp_path: Path) -> None:
    """In a project of their own the tests of the pages pass; no fixture is missing."""
    assert len(TESTS) == 2
    for number, block in enumerate(TESTS):
        (tmp_path / f"test_{number}.py").write_text(block.text, "utf-8")
    # No mode is set, as where they are pasted.
    scope = "asyncio_default_fixture_loop_scope=function"
    options = ("-p", "no:cacheprovider", "-o", scope)
    process = await asyncio.create_subprocess_exec(
        *strict_python("-m", "pytest", "-q", *options, str(tmp_path)),
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    assert "3 passed" in out.decode()
