"""Asking before something that is hard to undo."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from spaces_async.cli._text import harmless

if TYPE_CHECKING:
    import asyncio

    from spaces_async.cli._output import Output

__all__ = ["NoTerminalError", "confirm", "wake"]


class NoTerminalError(click.UsageError):
    """There is no terminal to ask at."""


async def confirm(output: Output, question: str) -> None:
    """Return if the answer is yes.

    Raises:
        NoTerminalError: There is no terminal to ask at.
        Exit: The answer was no.
    """
    if not sys.stdin.isatty():
        raise NoTerminalError(
            f"{question} There is no terminal to ask at: add --yes, or look with"
            " --dry-run first."
        )
    sys.stderr.write(f"{output.fitted(harmless(f'{question} [y/N]'))} ")
    sys.stderr.flush()
    answer = await _read_line()
    if answer.strip().lower() not in {"y", "yes"}:
        output.say("Nothing was sent.")
        raise click.exceptions.Exit(1)


async def _read_line() -> str:
    """Read a line from the terminal, so that Ctrl-C still works meanwhile."""
    import asyncio

    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(sys.stdin, wake, ready)
    except NotImplementedError:  # Windows
        return sys.stdin.readline()
    try:
        await ready
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()


def wake(ready: asyncio.Future[None]) -> None:
    """End the wait for a future, unless it is over."""
    if not ready.done():
        ready.set_result(None)
