"""Values from the command line: variables, volumes, and secrets from safer places."""

from __future__ import annotations

import os
import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async._redacted import Redacted
from spaces_async.cli._command import apply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spaces_async.models import Volume

__all__ = ["VISIBILITIES", "pairs", "read_volumes", "split", "with_secrets"]

VISIBILITIES: Final = ("public", "private", "protected")
"""As in `_validate`, which a help need not load; a test compares them."""

Secrets = dict[str, Redacted[str]]


def pairs(entries: Iterable[str], option: str) -> dict[str, str]:
    """Parse `KEY=VALUE` entries.

    Raises:
        UsageError: One has another form; its value is not shown.
        ConfigurationError: A key is malformed.
    """
    found: dict[str, str] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals:
            raise click.UsageError(f"{option} takes KEY=VALUE; there is no '='.")
        _add(found, key, value)
    return found


def split(words: Iterable[str]) -> list[str]:
    """Split the values of an option that may be repeated or comma-separated."""
    return [w for word in words for w in (p.strip() for p in word.split(",")) if w]


def read_volumes(uris: Iterable[str]) -> tuple[Volume, ...]:
    """Parse volumes and check that they can be mounted together.

    Raises:
        ConfigurationError: They cannot, or one is malformed.
    """
    from spaces_async import _validate
    from spaces_async.models import Volume

    return _validate.volumes([Volume.from_uri(uri) for uri in uris])


def with_secrets(prefix: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options for secrets; it gets them as `secrets`.

    Args:
        prefix: How the options begin; "" makes `--set`, `--from-env`, ...
    """
    literal = f"--{prefix.rstrip('-')}" if prefix else "--set"
    options: list[Callable[[Any], Any]] = [
        click.option(
            literal,
            "literal",
            multiple=True,
            metavar="KEY=VALUE",
            help="A value in the command itself: other users see it in `ps`, and it"
            " stays in the shell's history. Prefer the next three.",
        ),
        click.option(
            f"--{prefix}from-env",
            "from_env",
            multiple=True,
            metavar="KEY[=NAME]",
            help="The value of the environment variable NAME. Default: of KEY.",
        ),
        click.option(
            f"--{prefix}from-file",
            "from_file",
            multiple=True,
            metavar="KEY=PATH",
            help="The text of a file, without the newline at its end.",
        ),
        click.option(
            f"--{prefix}from-stdin",
            "from_stdin",
            metavar="KEY",
            help="The text of stdin, in the same way; a terminal prompts for it, hidden.",
        ),
        click.option(
            "--allow-empty",
            is_flag=True,
            help="Take an empty value from the environment, a file or stdin.",
        ),
    ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def command(
            *args: Any,
            literal: tuple[str, ...],
            from_env: tuple[str, ...],
            from_file: tuple[str, ...],
            from_stdin: str | None,
            allow_empty: bool,
            **given: Any,
        ) -> Any:
            found: Secrets = {}
            _literals(found, literal)
            _environment(found, from_env)
            _files(found, from_file)
            if from_stdin is not None:
                if "-" in click.get_current_context().params.get("ids", ()):
                    raise click.UsageError(
                        "stdin cannot give both the ids and a secret."
                    )
                _add(found, from_stdin, _stdin(from_stdin))
            if not allow_empty:
                _refuse_empty(found, [entry.partition("=")[0] for entry in literal])
            return function(*args, secrets=found, **given)

        return apply(command, options)

    return decorate


def _refuse_empty(found: Secrets, literal: Iterable[str]) -> None:
    """Refuse what is more likely a command that failed than a value.

    Raises:
        UsageError: A value that the user has not written down is empty.
    """
    empty = [key for key, value in found.items() if not value.reveal()]
    if refused := [key for key in empty if key not in set(literal)]:
        raise click.UsageError(
            f"The value of {', '.join(refused)} is empty: check where it comes from, or"
            " add --allow-empty."
        )


def _add(found: dict[str, Any], key: str, value: object) -> None:
    from spaces_async import _validate

    _validate.key(key)
    if key in found:
        raise click.UsageError(f"{key} is given twice.")
    found[key] = value


def _literals(found: Secrets, entries: Iterable[str]) -> None:
    for entry in entries:
        key, equals, _ = entry.partition("=")
        if not equals:
            # Not shown: an entry without a key may be the value.
            raise click.UsageError("A secret is given as KEY=VALUE; there is no '='.")
        _add(found, key, Redacted(entry[len(key) + 1 :]))


def _environment(found: Secrets, entries: Iterable[str]) -> None:
    for entry in entries:
        key, equals, name = entry.partition("=")
        name = name if equals else key
        if name not in os.environ:
            raise click.UsageError(f"The environment variable {name!r} is not set.")
        _add(found, key, Redacted(os.environ[name]))


def _files(found: Secrets, entries: Iterable[str]) -> None:
    for entry in entries:
        key, equals, path = entry.partition("=")
        if not equals or not path:
            raise click.UsageError("The file of a secret is given as KEY=PATH.")
        try:
            # Bytes, since reading as text would change line ends.
            _add(found, key, _stripped(Redacted(Path(path).read_bytes().decode())))
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise click.UsageError(f"{path} cannot be read: {why}.") from None


def _stdin(key: str) -> Redacted[str]:
    if sys.stdin.isatty():
        return Redacted(click.prompt(f"Value of {key}", hide_input=True, err=True))
    return _stripped(Redacted(sys.stdin.read()))


def _stripped(text: Redacted[str]) -> Redacted[str]:
    """Remove one newline at the end, which editors and `echo` add."""
    end = "\r\n" if text.reveal().endswith("\r\n") else "\n"
    return Redacted(text.reveal().removesuffix(end))
