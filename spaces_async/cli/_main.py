"""The main command, and what becomes of its errors."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async._version import __version__
from spaces_async.cli import (
    _interrupt,
    config,
    demo,
    logs,
    lookup,
    modes,
    read,
    repository,
    resume,
    volumes,
    write,
)
from spaces_async.cli._command import Group, common_options, examples
from spaces_async.cli._errors import FAILED, INTERRUPTED, code_of, sentence
from spaces_async.errors import SpacesError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_EPILOG = "\n\n".join(
    [
        (
            "IDS are 'owner/name'; - reads them from stdin. --org NAME takes all Spaces of"
            " a user or org instead, --stage, --sdk, --hardware and --match fewer of them."
            " The options above also work after the name of a command."
        ),
        examples(
            "spaces-async status --org acme --stage failed",
            "spaces-async restart --org acme --stage failed --wait",
            "spaces-async logs -f acme/demo acme/chat",
            "spaces-async secrets add acme/demo --from-env API_KEY",
            "spaces-async demo       try it: needs no token and no network",
        ),
        (
            "\b\nExit codes: 0 all done, 1 some or all failed, 2 wrong usage,\n"
            "3 authentication or permission, 4 rate limited beyond --max-wait,\n"
            "130 interrupted."
        ),
        (
            "\b\nTab completion, for bash (zsh and fish alike):\n"
            '  eval "$(_SPACES_ASYNC_COMPLETE=bash_source spaces-async)"'
        ),
    ]
)


_SECTIONS: Final[dict[str, tuple[click.Command, ...]]] = {
    "Look": (
        read.list_spaces,
        read.status,
        lookup.info,
        read.wait,
        logs.logs,
        logs.events,
    ),
    "Run": (
        write.restart,
        write.pause,
        write.hardware,
        write.sleep_time,
        modes.replicas,
        modes.dev_mode,
        resume.resume,
    ),
    "Configure": (
        config.variables,
        config.secrets,
        volumes.volumes,
        write.storage,
        modes.visibility,
    ),
    "Make and remove": (
        repository.create,
        repository.duplicate,
        repository.move,
        repository.delete,
    ),
    "The Hub": (
        lookup.search,
        lookup.templates,
        lookup.flavors,
        lookup.quota,
        demo.demo,
    ),
}


_WIDEST: Final = max(len(str(c.name)) for cs in _SECTIONS.values() for c in cs)


class _Main(Group):
    """Lists its commands by what they are for."""

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """Write a section for each group of commands."""
        for title, commands in _SECTIONS.items():
            names = [str(command.name) for command in commands]
            # As wide everywhere, so that the sections stand under one another.
            width = formatter.width - 6 - _WIDEST
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (f"{n:<{_WIDEST}}", self.commands[n].get_short_help_str(width))
                        for n in names
                    ]
                )


@click.group(
    "spaces-async",
    cls=_Main,
    params=[*common_options(hidden=False)],
    epilog=_EPILOG,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 88,
    },
)
@click.version_option(__version__, message="spaces-async %(version)s")
@click.pass_context
def cli(ctx: click.Context, /, **common: Any) -> None:
    """Look after Hugging Face Spaces: one, several, or a whole org.

    Results go to stdout, everything else to stderr.
    """
    ctx.obj = common


for _commands in _SECTIONS.values():
    for _command in _commands:
        cli.add_command(_command)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: Arguments; None takes those of the process, which is to end then: after
            an interrupt it hears no other signal.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        # What a Space says of itself may not fit the terminal's encoding.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with nullcontext() if args is None else _interrupt.signals_kept():
            code = _run(args)
            sys.stdout.flush()
    except BrokenPipeError:
        code = FAILED
    except SystemExit as error:
        # So click and rich end when nobody reads stdout any more.
        code = error.code if isinstance(error.code, int) else FAILED
    if code == FAILED:
        _give_up_stdout_if_closed()
    return code


def _run(args: Sequence[str] | None) -> int:
    try:
        result = cli.main(args, prog_name="spaces-async", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt, asyncio.CancelledError) as error:
        # At a terminal the line has a "^C" in it; click has ended it for its own.
        _complain(
            "Interrupted." if isinstance(error, click.Abort) else "\nInterrupted."
        )
        return INTERRUPTED
    except SpacesError as error:
        _complain(f"Error: {sentence(error)}")
        return code_of(error)
    return result if isinstance(result, int) else 0


def _complain(text: str) -> None:
    with suppress(BrokenPipeError):
        sys.stderr.write(f"{text}\n")


def _give_up_stdout_if_closed() -> None:
    """Let the interpreter's last flush go nowhere, not into a closed pipe."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
