"""The commands: a module for each section of `spaces-async --help`.

A command belongs to the section whose decorator it has, and stands in the help in the
order of definition, so a new one is added in one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spaces_async.cli.commands import configure, hub, look, make_and_remove, run

if TYPE_CHECKING:
    from spaces_async.cli._command import Section

__all__ = ["SECTIONS"]

SECTIONS: Final[tuple[Section, ...]] = (
    look.section,
    run.section,
    configure.section,
    make_and_remove.section,
    hub.section,
)
