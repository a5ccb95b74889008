"""The sections of the help, and what operations are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

from spaces_async.bulk import operations
from spaces_async.bulk.operations import BY_NAME
from spaces_async.cli import commands
from spaces_async.cli._main import cli
from spaces_async.cli._wording import described, question, title
from spaces_async.cli.commands import SECTIONS, Contents

Spaces = Callable[..., Any]


def test_each_section_is_a_module() -> None:
    """The modules of `commands` are the sections, so a command is easy to find."""
    modules = sorted(p.stem for p in Path(commands.__path__[0]).glob("[a-z]*.py"))
    found = [import_module(f"spaces_async.cli.commands.{name}") for name in modules]
    assert modules == sorted(section.module for section in SECTIONS)
    assert all(module.section.commands for module in found)


@pytest.mark.parametrize("section", SECTIONS, ids=[s.module for s in SECTIONS])
def test_a_section_names_the_commands_of_its_module(section: Contents) -> None:
    """The names by which a module is found are those that it defines, in their order."""
    module = import_module(f"spaces_async.cli.commands.{section.module}")
    assert section.names == tuple(module.section.commands)
    assert section.names == tuple(c.name for c in module.section.commands.values())


def test_the_help_lists_every_command_once(spaces: Spaces) -> None:
    """In the order of the sections; nothing is left out of either list."""
    listed = [name for section in SECTIONS for name in section.names]
    assert sorted(listed) == sorted(cli.commands)
    out = spaces("--help").out
    places = [out.index(f"\n  {name} ") for name in listed]
    assert places == sorted(places)
    assert [s.title for s in SECTIONS] == re.findall(
        r"^(Look|Run|Earlier runs|Configure|Make and remove|The Hub):$",
        out,
        re.MULTILINE,
    )


def paths(
    group: click.Group, before: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    yield before
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from paths(command, (*before, name))
        else:
            yield (*before, name)


@pytest.mark.parametrize("path", list(paths(cli)), ids=" ".join)
def test_help_fits_a_terminal(
    spaces: Spaces, monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...]
) -> None:
    """At 80 columns no line is wider, and no command in a list has half a sentence."""
    monkeypatch.setenv("COLUMNS", "80")
    result = spaces(*path, "--help")
    assert result.code == 0
    # The examples are for copying and are not wrapped.
    text, _, shown = result.out.partition("Example")
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert [line for line in shown.splitlines() if len(line) > 88] == []
    _, _, listed = text.partition("Commands:" if path else "Look:")
    if "[OPTIONS] COMMAND [ARGS]..." in text:
        assert listed
        assert [line for line in listed.splitlines() if line.endswith("...")] == []


@pytest.mark.parametrize(
    ("operation", "asks"),
    [
        (operations.pause(), "Pause 2 Spaces of acme?"),
        (operations.restart(), "Restart 2 Spaces of acme?"),
        (
            operations.restart(factory_reboot=True),
            "Restart 2 Spaces of acme (factory reboot: yes)?",
        ),
        (
            operations.request_hardware("t4-small", sleep_time=-1),
            (
                "Request hardware for 2 Spaces of acme (flavor: t4-small, sleep time:"
                " never)?"
            ),
        ),
        (operations.set_sleep_time(7200), "Set sleep time for 2 Spaces of acme (2h)?"),
        (
            operations.set_dev_mode(False),
            "Set dev mode for 2 Spaces of acme (enabled: no)?",
        ),
        (
            operations.add_secrets({"A": "canary", "B": "canary"}),
            "Add secrets for 2 Spaces of acme (secrets: A, B)?",
        ),
        (
            operations.add_secret("A", "canary"),
            "Add secret for 2 Spaces of acme (key: A)?",
        ),
        (
            operations.set_volumes([f"hf://acme/model-{n}:/m{n}" for n in range(9)]),
            (
                "Set volumes for 2 Spaces of acme (volumes: hf://acme/model-0:/m0,"
                " hf://acme/model-1:/m1, hf://acme/m...)?"
            ),
        ),
    ],
)
def test_questions(operation: Any, asks: str) -> None:
    """A question says what would be done, from the operation alone."""
    assert question(operation, "2 Spaces of acme") == asks


@pytest.mark.parametrize("name", list(BY_NAME))
def test_an_operation_without_parameters_is_just_named(name: str) -> None:
    """What a journal says of an operation has no name of the library in it."""
    assert described(name, {}) == name.replace("_", " ").capitalize()


def test_an_undo_of_an_undo_has_a_title() -> None:
    """It says what is undone, however often."""
    assert title("undo pause") == "Undo pause"
    assert title("undo undo set_sleep_time") == "Undo the undo of set sleep time"
