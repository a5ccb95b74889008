"""Help with headings, other names of commands, what is proposed, and Tab."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from spaces_async._words import closest
from spaces_async.cli import _completion
from spaces_async.cli._aliases import ALIASES
from spaces_async.cli.commands import SECTIONS
from spaces_async.testing import FakeHub

Spaces = Callable[..., Any]

SHARED = ("Which Spaces:", "How:", "Safety:")
NAMES = [name for section in SECTIONS for name in section.names]


def test_own_options_come_first(spaces: Spaces) -> None:
    """What a command has of its own stands before what all have, below headings."""
    shown = spaces("restart", "--help").out
    places = [shown.index(f"\n{heading}\n") for heading in ("Options:", *SHARED)]
    assert places == sorted(places)
    assert shown.index("--factory") < shown.index("--org")
    assert places[1] < shown.index("--stage") < places[2]
    assert places[2] < shown.index("--concurrency") < places[3]
    assert places[3] < shown.index("--dry-run")
    # With nothing of its own, --help does not stand in front of what is looked for.
    listed = spaces("list", "--help").out
    assert listed.index("Which Spaces:") < listed.index("--help")


def test_what_guards_a_deletion_is_about_safety(spaces: Spaces) -> None:
    """`--count` stands beside `--yes`, which needs it."""
    shown = spaces("delete", "--help").out
    assert shown.index("Safety:") < shown.index("--count N") < shown.index("--yes  ")
    # What a number may be is told when it is wrong.
    assert "x>=1" not in shown
    assert "<=x" not in shown
    assert "[default: 16]" in shown


@pytest.mark.parametrize("command", ["resume", "retry-failed", "undo"])
def test_last_says_which_run(spaces: Spaces, command: str) -> None:
    """It chooses no Spaces."""
    shown = spaces(command, "--help").out
    assert "\nWhich run:\n  --last" in shown
    assert "Which Spaces:" not in shown


def test_headings_are_bold_on_a_terminal(
    spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe gets no codes, nor does a terminal that knows none."""
    assert "\x1b" not in spaces("restart", "--help").out
    assert (
        "\x1b[1mWhich Spaces:\x1b[0m" in spaces("restart", "--help", terminal=True).out
    )
    assert "\x1b[1mUsage: \x1b[0m" in spaces("--help", terminal=True).out


@pytest.mark.parametrize(("name", "command"), ALIASES.items())
def test_aliases(spaces: Spaces, name: str, command: str) -> None:
    """An alias is the command, and its help has the command's name."""
    shown = spaces(name, "--help")
    assert shown.code == 0
    assert shown.out == spaces(command, "--help").out
    assert f"Usage: spaces-async {command}" in shown.out


def test_aliases_in_groups(org: FakeHub, spaces: Spaces) -> None:
    """`ls` and `rm` work in groups, too; a command of that name comes first."""
    assert "Usage: spaces-async variables list" in spaces("variables", "ls", "-h").out
    assert "Usage: spaces-async secrets delete" in spaces("secrets", "rm", "-h").out
    assert "Usage: spaces-async volumes ls" in spaces("volumes", "ls", "-h").out
    assert spaces("ls", "--org", "acme").out == spaces("list", "--org", "acme").out


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("statsu", "status"),
        ("lst", "list"),
        ("unpase", "unpause"),
        ("un-pause", "unpause"),
        ("paus", "pause"),
        ("start", "restart"),
        ("remove", "delete"),
        ("show", "info"),
        ("Rate_Limit", "rate-limit"),
        ("hardwear", "hardware"),
    ],
)
def test_did_you_mean(hub: FakeHub, spaces: Spaces, typed: str, meant: str) -> None:
    """A misspelt command is not run; the one that was meant is named."""
    result = spaces(typed, "acme/demo")
    assert result.code == 2
    assert f"did you mean {meant!r}?" in result.err
    assert hub.requests == []


@pytest.mark.parametrize(
    "typed", ["unrestart", "undelete", "unwake", "nolist", "xyzzy"]
)
def test_never_the_opposite(spaces: Spaces, typed: str) -> None:
    """What negates a command is no slip for it."""
    result = spaces(typed)
    assert result.code == 2
    meant = result.err.partition("did you mean")[2]
    assert typed.removeprefix("un").removeprefix("no") not in meant


@pytest.mark.parametrize(
    ("typed", "words", "meant"),
    [
        ("unprotected", ["protected"], None),
        ("protcted", ["protected", "unprotected"], "protected"),
        ("pause", ["unpause"], None),
        ("unpaused", ["pause", "unpause"], "unpause"),
        ("stopp", ["start", "stop"], "stop"),
        ("add", ["remove"], None),
        ("not_paid", ["paid"], None),
        ("node", ["nodes", "mode"], "nodes"),
        ("notes", ["note"], "note"),
    ],
)
def test_closest(typed: str, words: list[str], meant: str | None) -> None:
    """The nearest word is proposed, unless it says the opposite."""
    assert closest(typed, words) == meant


def test_no_opposite_option(spaces: Spaces) -> None:
    """A negated option is no slip for the one it negates."""
    assert "--yes" not in spaces("restart", "a/b", "--unyes").err
    assert "--dry-run" in spaces("restart", "a/b", "--dry-rnu").err
    unpaid = spaces("list", "--org", "acme", "--unpaid").err
    assert "'--paid'" not in unpaid


# Tab ---------------------------------------------------------------------------------


Proposed = Callable[..., list[str]]


@pytest.fixture
def proposed(spaces: Spaces, monkeypatch: pytest.MonkeyPatch) -> Proposed:
    """Return what Tab proposes for the last of some words."""
    # A busy machine is slower than anyone would wait at a prompt.
    monkeypatch.setattr(_completion, "_SECONDS", 30.0)

    def propose(*words: str, shell: str = "bash") -> list[str]:
        monkeypatch.setenv("_SPACES_ASYNC_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(("spaces-async", *words)))
        index = words[-1] if shell == "fish" else str(len(words))
        monkeypatch.setenv("COMP_CWORD", index)
        result = spaces()
        assert result.err == ""
        if shell == "zsh":  # three lines each: kind, word, help
            return list(result.lines[1::3])
        lines = result.out.split()
        return [line.partition(",")[2].partition("\t")[0] for line in lines]

    return propose


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_ids(org: FakeHub, proposed: Proposed, shell: str) -> None:
    """The Spaces of an owner are proposed once its name is typed."""
    assert sorted(proposed("restart", "acme/ru", shell=shell)) == [
        *("acme/run-1", "acme/run-2")
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("status", "--stage", "BUILDING,pau"), ["BUILDING,PAUSED"]),
        (("hardware", "t4"), ["t4-small", "t4-medium"]),
        (("list", "--hardware", "t4-s"), ["t4-small"]),
        (("list", "--sdk", "do"), ["docker"]),
        (("wait", "--for", "sleep"), ["SLEEPING"]),
        (("status", "--sort", "r"), ["rate"]),
        (("unp",), ["unpause"]),
        (("status", "--org", "a"), ["acme"]),
        (("status", "acme/run-1", "acme/run"), ["acme/run-2"]),
        (("status", "acme/bad-1", "bo"), []),
        (("status", "--org", "acme", "acme/"), []),
        (("--anonymous", "status", "--org", "a"), []),
    ],
)
def test_words(
    org: FakeHub, proposed: Proposed, words: tuple[str, ...], expected: list[str]
) -> None:
    """Stages, flavors, SDKs, orgs and ids are proposed where they can stand."""
    assert proposed(*words) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_runs(
    proposed: Proposed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shell: str
) -> None:
    """The names of runs that a command takes are proposed, and files if it takes any."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = tmp_path / "spaces-async" / "runs"
    folder.mkdir(parents=True)
    for name in ("20260101T000000Z-pause", "20260202T000000Z-restart"):
        (folder / f"{name}.jsonl").touch()
    (folder / "20260303T000000Z-nightly.store").touch()
    for command in ("work", "cancel"):
        assert proposed(command, "2", shell=shell) == ["20260303T000000Z-nightly"]
    for command in ("resume", "retry-failed", "undo"):
        assert proposed(command, "202602", shell=shell) == [
            *("20260202T000000Z-restart", "202602")  # the last is what is typed: files
        ]
    for command in ("undo", "work"):
        assert proposed(command, "--last", "2", shell=shell) == []


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "nonsense"])
def test_tab_is_silent_without_a_hub(
    proposed: Proposed, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """Where nothing can be asked, nothing is proposed and nothing is written."""
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert proposed("restart", "acme/") == []


def test_the_parser_needs_no_client() -> None:
    """Words of ours are proposed at once: no aiohttp is loaded for them."""
    code = (
        "import sys\nfrom spaces_async.__main__ import main\n"
        "try:\n main()\nfinally:\n assert 'aiohttp' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "_SPACES_ASYNC_COMPLETE": "bash_complete",
            "COMP_WORDS": "spaces-async hardware t4",
            "COMP_CWORD": "2",
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "AssertionError" not in done.stderr


# What the aliases of other tools became ----------------------------------------------


def test_wake_and_unpause(org: FakeHub, spaces: Spaces) -> None:
    """They restart only what does not run: never what runs, starts or has failed."""
    org.add_space("acme/nap", stage="SLEEPING")
    result = spaces("unpause", "acme/off", "acme/nap", "acme/run-1")
    assert result.lines == ["acme/off\tdone\tRUNNING"]
    assert "acme/nap is SLEEPING: left alone." in result.err
    assert "acme/run-1 is RUNNING: left alone." in result.err
    woken = spaces("wake", "--org", "acme", "--yes").lines
    assert woken == ["acme/nap\tdone\tRUNNING"]
    assert "nothing to do" in spaces("wake", "--org", "acme", "--yes").err
    refused = spaces("wake", "--org", "acme", "--stage", "failed")
    assert refused.code == 2
    assert org.space("acme/run-1").restarts == org.space("acme/bad-1").restarts == 0


def test_whoami(hub: FakeHub, spaces: Spaces) -> None:
    """It names the account and its orgs, and never the token."""
    hub.add_space("acme/demo")
    shown = spaces("whoami")
    assert "name\ttester" in shown.lines
    assert "orgs\tacme" in shown.lines
    assert hub.token not in shown.out
    assert spaces("whoami", "--anonymous").code == 3


def test_rate_limit(hub: FakeHub, spaces: Spaces) -> None:
    """One call tells what is left of the quota, and when the window ends."""
    shown = spaces("rate-limit")
    assert shown.lines[0] == "left\t999 of 1000 calls"
    assert re.match(r"new window\tin (5m|4m 5\ds)", shown.lines[1])
    assert len(hub.requests) == 1
    assert "limit" in click.unstyle(spaces("rate-limit", "--json").out)


@pytest.mark.parametrize("name", ["whoami", "rate-limit"])
def test_they_are_listed(name: str) -> None:
    """What takes the place of an alias is a command of the help."""
    assert name in NAMES
