"""Asking before something that is hard to undo."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import click

from spaces_async.cli._errors import USAGE
from spaces_async.cli._text import harmless

if TYPE_CHECKING:
    import asyncio

    from spaces_async.cli._output import Output

__all__ = ["NoTerminalError", "confirm", "confirm_number", "wake"]


class NoTerminalError(click.ClickException):
    """There is no terminal to ask at. How a command is used in general is no help."""

    exit_code = USAGE


async def confirm(output: Output, question: str) -> None:
    """Return if the answer is yes.

    Raises:
        NoTerminalError: There is no terminal to ask at.
        Exit: The answer was no.
    """
    answer = await _answer(output, f"{question} [y/N]", question, "--yes")
    if answer.lower() not in {"y", "yes"}:
        _end(output)


async def confirm_number(
    output: Output, question: str, number: int, *, instead: str
) -> None:
    """Return if the answer is that number, which no one types without reading it.

    Args:
        output: Where to ask.
        question: The question.
        number: The only answer that is a yes.
        instead: The options that answer in a script.

    Raises:
        NoTerminalError: There is no terminal to ask at.
        Exit: The answer was another one.
    """
    prompt = f"{question} Type {number} to go on:"
    answer = await _answer(output, prompt, question, instead)
    if answer != str(number):
        _end(output)


def _end(output: Output) -> NoReturn:
    output.say("Nothing was sent.")
    raise click.exceptions.Exit(1)


async def _answer(output: Output, prompt: str, question: str, instead: str) -> str:
    if not sys.stdin.isatty():
        raise NoTerminalError(
            f"{question} There is no terminal to ask at: add {instead}, or look with"
            " --dry-run first."
        )
    sys.stderr.write(f"{output.fitted(harmless(prompt))} ")
    sys.stderr.flush()
    return (await _read_line()).strip()


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
