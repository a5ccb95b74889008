"""Asking before something is done that is hard to undo."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from spaces_async.cli._output import Output

__all__ = ["ask", "settle"]


async def ask(output: Output, question: str) -> None:
    """Return if the answer is yes.

    Raises:
        UsageError: There is nobody to ask.
        Exit: The answer was no.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{question} There is no terminal to ask at: add --yes, or look with"
            " --dry-run first."
        )
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    answer = await _read_line()
    if answer.strip().lower() not in {"y", "yes"}:
        output.say("Nothing was sent.")
        raise click.exceptions.Exit(1)


async def _read_line() -> str:
    """Read a line from the terminal so that Ctrl-C gets through meanwhile."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(sys.stdin, settle, ready)
    except NotImplementedError:  # Windows
        return sys.stdin.readline()
    try:
        await ready
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()


def settle(ready: asyncio.Future[None]) -> None:
    """Let whoever waits for it go on."""
    if not ready.done():
        ready.set_result(None)
