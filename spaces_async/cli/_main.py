"""The main command, and how its errors become messages and exit codes."""

from __future__ import annotations

import io
import os
import shutil
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async._version import __version__
from spaces_async.cli._aliases import ALIASES
from spaces_async.cli._command import Group, common_options, examples
from spaces_async.cli._errors import FAILED, INTERRUPTED, code_of, sentence
from spaces_async.cli._text import harmless, wrapped
from spaces_async.cli.commands import SECTIONS, Commands
from spaces_async.errors import SpacesError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

__all__ = ["cli", "main"]

_EPILOG: Final = "\n\n".join(
    [
        (
            "IDS are 'owner/name'; - reads them from stdin. --org NAME takes all Spaces of"
            " a user or org instead; --stage, --sdk, --hardware, --match, --exclude,"
            " --paid and others narrow that down. The options above also work after the"
            " name of a command."
        ),
        examples(
            "spaces-async status --org acme --stage failed",
            "spaces-async restart --org acme --stage failed --wait",
            "spaces-async logs -f acme/demo acme/chat",
            "spaces-async secrets add acme/demo --from-env API_KEY",
            "spaces-async demo       try it: needs no token and no network",
        ),
        (
            "\b\nExit codes: 0 all done (or already so), 1 some or all failed,\n"
            "2 wrong usage, 3 authentication or permission, 4 rate limited\n"
            "beyond --max-wait, 130 interrupted."
        ),
        (
            "\b\nTab completion of commands, stages, flavors, orgs and ids:\n"
            '  bash  eval "$(_SPACES_ASYNC_COMPLETE=bash_source spaces-async)"\n'
            '  zsh   eval "$(_SPACES_ASYNC_COMPLETE=zsh_source spaces-async)"\n'
            "  fish  _SPACES_ASYNC_COMPLETE=fish_source spaces-async | source"
        ),
        "Other names: " + ", ".join(f"{a} ({of})" for a, of in ALIASES.items()) + ".",
    ]
)

_NAME_COLUMNS: Final = max(len(name) for section in SECTIONS for name in section.names)
_HELP_MARGIN_COLUMNS: Final = 6
"""What click puts before the names and between the two columns."""


class _Main(Group):
    """Lists its commands by section."""

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the sections, with the same width of the first column in each."""
        width = formatter.width - _HELP_MARGIN_COLUMNS - _NAME_COLUMNS
        for section in SECTIONS:
            with formatter.section(section.title):
                formatter.write_dl(
                    [
                        (
                            f"{name:<{_NAME_COLUMNS}}",
                            self.commands[name].get_short_help_str(width),
                        )
                        for name in section.names
                    ]
                )


@click.group(
    "spaces-async",
    cls=_Main,
    commands=Commands(),
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


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: Arguments; None takes those of the process, which must end afterwards:
            once interrupted, it ignores further signals.

    Returns:
        The exit code.
    """
    _replace_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        # Text from a Space may not fit the terminal's encoding.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with nullcontext() if args is None else _signals_restored():
            code = _run(args)
            sys.stdout.flush()
    except BrokenPipeError:
        code = FAILED
    except OSError as error:
        # Where other files cannot be read or written is said in its own place.
        why = error.strerror or type(error).__name__
        _complain(f"Error: stdout cannot be written: {why}.")
        code = FAILED
    except SystemExit as error:
        # click and rich exit like this when stdout is a closed pipe.
        code = error.code if isinstance(error.code, int) else FAILED
    if code == FAILED:
        _detach_closed_stdout()
    return code


def _replace_missing_streams() -> None:
    """Let what goes to a stream that was closed at the start (`>&-`) go nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # For as long as the process lives.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def _signals_restored() -> AbstractContextManager[None]:
    from spaces_async.cli._signals import signals_restored

    return signals_restored()


def _run(args: Sequence[str] | None) -> int:
    try:
        result = cli.main(args, prog_name="spaces-async", standalone_mode=False)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        _complain(shown.getvalue().removesuffix("\n"))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        # The terminal's line has a "^C" in it; after an Abort click has ended it.
        _complain(
            "Interrupted." if isinstance(error, click.Abort) else "\nInterrupted."
        )
        return INTERRUPTED
    except SpacesError as error:
        _complain(f"Error: {sentence(error)}")
        return code_of(error)
    return result if isinstance(result, int) else 0


def _complain(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"{_for_terminal(text)}\n")


def _for_terminal(text: str) -> str:
    """Make a message harmless, and break it at words for a terminal."""
    lines = [harmless(line) for line in text.split("\n")]
    if sys.stderr.isatty():
        columns = shutil.get_terminal_size().columns
        lines = [wrapped(line, columns) for line in lines]
    return "\n".join(lines)


def _detach_closed_stdout() -> None:
    """Keep the interpreter's last flush from failing as the one before did."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
