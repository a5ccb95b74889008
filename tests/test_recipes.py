"""The recipes: each does what its text says, as it stands on the page."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from spaces_async.testing import FakeHub
from tests.day.story import fill
from tests.support.pages import ROOT, Prompt, lines_of
from tests.support.virtual_shell import Ended, VirtualShell

PAGE: Final = ROOT / "docs" / "recipes.md"
RECIPES: Final = dict(
    re.findall(
        r"^## (.+?)\n(.*?)(?=^## |\Z)",
        PAGE.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)
EVENING: Final = datetime(2026, 3, 9, 20, tzinfo=UTC)
MORNING: Final = datetime(2026, 3, 10, 7, tzinfo=UTC)
DEMOS: Final = [
    f"acme/{word}-demo" for word in ("avatar", "captions", "chat", "depth", "vision")
]


def block(recipe: str, language: str, number: int = 0) -> str:
    """Return a program or the commands of a recipe."""
    found: list[str] = re.findall(
        rf"^```{language}\n(.*?)^```$", RECIPES[recipe], re.MULTILINE | re.DOTALL
    )
    return found[number]


def stages(hub: FakeHub) -> dict[str, str]:
    return {repo_id: str(space.stage) for repo_id, space in hub.spaces.items()}


def value(hub: FakeHub, repo_id: str, key: str) -> str | None:
    found = hub.space(repo_id).variables.get(key)
    return None if found is None else found.value


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualShell]:
    """A shell without a terminal, in an empty folder, and an org of 13 Spaces."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with VirtualShell(EVENING, tmp_path / "state", build_seconds=30) as shell:
        fill(shell.hub)
        yield shell


def run(shell: VirtualShell, line: str) -> list[Ended]:
    return Prompt(shell, os.environ, answer=None).run(line)


def run_program(shell: VirtualShell, text: str) -> str:
    names: dict[str, Any] = {"__name__": "__main__"}
    return shell.run_program(compile(text, PAGE, "exec"), names)


def test_the_recipes_are_those_that_people_search_for() -> None:
    """Six recipes, and each has a program, commands or a file."""
    assert list(RECIPES) == [
        "Pause at night, undo in the morning",
        "Rotate a key",
        "Find what costs",
        "CI that waits for a commit",
        "Roll out with a canary",
        "Migrate from `HfApi`",
    ]
    assert all("```" in text for text in RECIPES.values())


def test_a_night_by_cron(shell: VirtualShell) -> None:
    """Two nights: what runs is paused, and in the morning all is as it was."""
    lines = block("Pause at night, undo in the morning", "cron").splitlines()
    assert [line.split()[1] for line in lines] == ["20", "7"]
    evening, morning = (line.split(maxsplit=5)[5] for line in lines)
    before = stages(shell.hub)
    assert before["acme/ocr-demo"] == "SLEEPING"
    assert before["acme/old-demo"] == "PAUSED"
    for day in range(2):
        (paused,) = run(shell, evening)
        assert (paused.code, "done" in paused.out) == (0, True), paused.err
        running = {i for i, stage in stages(shell.hub).items() if stage == "RUNNING"}
        assert running == {"acme/docs", "acme/prod-chat", "acme/prod-search"}
        assert stages(shell.hub)["acme/ocr-demo"] == "SLEEPING"
        if day == 0:
            shell.pass_until(MORNING)
        (woken,) = run(shell, morning)
        assert woken.code == 0, woken.err
        shell.pass_time(3600)
        assert stages(shell.hub) == before


def test_a_night_that_breaks_off(shell: VirtualShell) -> None:
    """Where the evening was cut short, the morning brings back what was paused."""
    lines = block("Pause at night, undo in the morning", "cron").splitlines()
    evening, morning = (line.split(maxsplit=5)[5] for line in lines)
    before = stages(shell.hub)
    run(shell, f"{evening} --match 'chat-*' --max-failures 1")
    assert stages(shell.hub)["acme/chat-demo"] == "PAUSED"
    (woken,) = run(shell, morning)
    assert woken.code == 0
    shell.pass_time(3600)
    assert stages(shell.hub) == before


@pytest.mark.parametrize("language", ["bash", "python"])
def test_a_key_is_rotated_where_it_is(
    shell: VirtualShell, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    """The Spaces that have the key get the new value; no other gets the key."""
    for repo_id in DEMOS[:2]:
        shell.hub.add_space(f"{repo_id}-2", secrets={"API_KEY": "old", "OTHER": "1"})
    shell.hub.add_space("acme/without", secrets={"OTHER": "1"})
    text = block("Rotate a key", language)
    printed = ""
    if language == "python":
        printed = run_program(shell, text)
    else:
        monkeypatch.setenv("API_KEY", "")  # what `export` changes comes back
        for line in lines_of(text):
            for ended in run(shell, line):
                assert ended.code == 0, ended.err
                printed += ended.out + ended.err
    keys = {i: s.secrets["API_KEY"].value for i, s in shell.hub.spaces.items() if "API_KEY" in s.secrets}  # fmt: skip
    assert keys == dict.fromkeys([f"{i}-2" for i in DEMOS[:2]], "the-new-one")
    assert "the-new-one" not in printed
    if language == "bash":
        assert "acme/without\tAPI_KEY" in printed


def test_what_costs_is_found_and_ended(shell: VirtualShell) -> None:
    """`costs` names what is unused, `sweep` pauses that, and the rest learns to sleep."""
    told: list[Ended] = []
    for number in range(2):
        for line in lines_of(block("Find what costs", "bash", number)):
            told += run(shell, line)
    assert [ended.code for ended in told] == [0, 0, 0, 0], told
    assert Path("costs.csv").read_text("utf-8").startswith("id,")
    found = stages(shell.hub)
    assert found["acme/tables-lab"] == found["acme/captions-demo"] == "PAUSED"
    assert found["acme/prod-chat"] == found["acme/chat-demo"] == "RUNNING"
    hub = shell.hub
    assert hub.space("acme/chat-demo").sleep_time == 3600
    assert hub.space("acme/prod-chat").sleep_time is None


def commit(shell: VirtualShell, *, fails: bool) -> str:
    """Push a commit that is being built, and return it."""
    space = shell.hub.add_space("acme/demo")
    space.fails_with = "BUILD_ERROR" if fails else None
    space.failure_message = "pip failed"
    space.head_sha = "c0ffee" + space.head_sha[6:]
    space.build()
    return space.head_sha


@pytest.mark.parametrize("fails", [False, True], ids=["green", "red"])
@pytest.mark.parametrize("language", ["yaml", "python"])
def test_a_job_waits_for_its_commit(
    shell: VirtualShell, monkeypatch: pytest.MonkeyPatch, language: str, *, fails: bool
) -> None:
    """It is green when the commit runs, and red with the end of the log if it fails."""
    sha = commit(shell, fails=fails)
    text = block("CI that waits for a commit", language)
    assert shell.hub.space("acme/demo").running_sha != sha
    if language == "yaml":
        (line,) = re.findall(r"run: (spaces-async .*)", text)
        (ended,) = run(shell, line.replace("${{ github.sha }}", sha))
        assert ended.code == (1 if fails else 0), ended.err
        told = ended.out + ended.err
    else:
        monkeypatch.setenv("GITHUB_SHA", sha)
        told = ""
        if fails:
            with pytest.raises(SystemExit) as red:
                run_program(shell, text)
            told = str(red.value)
        else:
            run_program(shell, text)
    if fails:
        assert "pip failed" in told
    else:
        assert shell.hub.space("acme/demo").stage == "RUNNING"
        assert shell.hub.space("acme/demo").running_sha == sha


MODELS: Final = {"bash": "acme/large-v2", "python": "acme/large-v3"}


def roll_out(shell: VirtualShell, language: str) -> list[int]:
    text = block("Roll out with a canary", language)
    if language == "python":
        run_program(shell, text)
        return []
    (line,) = lines_of(text)
    return [ended.code for ended in run(shell, line)]


@pytest.mark.parametrize("language", MODELS)
def test_a_roll_out_that_is_well(shell: VirtualShell, language: str) -> None:
    """All running demos get the new model, one first; nothing is undone."""
    assert roll_out(shell, language) in ([0], [])
    for repo_id in DEMOS:
        assert value(shell.hub, repo_id, "MODEL_ID") == MODELS[language]
    for repo_id in ("acme/music-demo", "acme/prod-chat"):
        assert value(shell.hub, repo_id, "MODEL_ID") is None


@pytest.mark.parametrize("language", MODELS)
def test_a_canary_that_does_not_answer(shell: VirtualShell, language: str) -> None:
    """Its app runs and answers 500: no other Space is changed, and it is changed back."""
    hub = shell.hub
    canary = hub.space(DEMOS[0])
    canary.app_status = 500
    hub.space(DEMOS[0]).variables.clear()
    assert roll_out(shell, language) in ([1, 0], [])
    written = [r.path for r in hub.requests if r.method == "POST" and "variables" in r.path]  # fmt: skip
    assert written == [f"/api/spaces/{DEMOS[0]}/variables"]
    assert all(value(hub, repo_id, "MODEL_ID") is None for repo_id in DEMOS)


def test_the_migrated_job_restarts(shell: VirtualShell) -> None:
    """The three lines that change restart what they list."""
    run_program(shell, block("Migrate from `HfApi`", "python"))
    restarted = {i for i, space in shell.hub.spaces.items() if space.restarts}
    assert restarted == {i for i in shell.hub.spaces if i != "acme/docs"}
