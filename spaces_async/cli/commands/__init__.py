"""The commands: a module for each section of `spaces-async --help`.

A command belongs to the section whose decorator it has. Its name also stands here, so
that the shell imports only the module of the command that runs. The help shows the
commands in this order.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import click

    from spaces_async.cli._command import Section

__all__ = ["SECTIONS", "Commands", "Contents"]


class Contents(NamedTuple):
    """A section of the main help.

    Attributes:
        title: Its title.
        module: The module with its commands.
        names: Their names.
    """

    title: str
    module: str
    names: tuple[str, ...]


SECTIONS: Final = (
    Contents(
        "Look",
        "look",
        (
            *("list", "status", "costs", "info", "wait", "logs", "events"),
            "exporter",
        ),
    ),
    Contents(
        "Run",
        "run",
        (
            "restart",
            "wake",
            "unpause",
            "pause",
            "sweep",
            "hardware",
            "sleep-time",
            "replicas",
            "dev-mode",
        ),
    ),
    Contents(
        "Earlier runs",
        "runs",
        ("runs", "resume", "retry-failed", "undo", "work", "cancel"),
    ),
    Contents(
        "Configure",
        "configure",
        ("variables", "secrets", "volumes", "storage", "visibility"),
    ),
    Contents(
        "Make and remove",
        "make_and_remove",
        ("create", "duplicate", "move", "delete"),
    ),
    Contents(
        "The Hub",
        "hub",
        (
            *("search", "templates", "flavors", "quota", "rate-limit", "whoami"),
            "demo",
        ),
    ),
)


class Commands(MutableMapping[str, "click.Command"]):
    """All commands by name; the module of one is imported when it is asked for."""

    def __init__(self) -> None:
        self._modules = {name: s.module for s in SECTIONS for name in s.names}
        self._made: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._made:
            module = import_module(f"{__name__}.{self._modules[name]}")
            section: Section = module.section
            self._made.update(section.commands)
        return self._made[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._modules.setdefault(name, "")
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._modules[name]
        self._made.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)
