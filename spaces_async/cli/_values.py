"""Values from the command line: variables, volumes, and secrets from safer places."""

from __future__ import annotations

import os
import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from spaces_async._redacted import Redacted
from spaces_async.cli._command import apply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from spaces_async.models import Volume

__all__ = [
    "VISIBILITIES",
    "GivenSecrets",
    "pairs",
    "read_volumes",
    "split",
    "variables_of",
    "with_env_file",
    "with_new_value",
    "with_secrets",
    "with_secrets_of_run",
]

VISIBILITIES: Final = ("public", "private", "protected")
"""As in `_validate`, which a help need not load; a test compares them."""

Secrets = dict[str, Redacted[str]]


class GivenSecrets(NamedTuple):
    """The secrets that a command about an earlier run is given again.

    Attributes:
        values: Those that were named.
        of_file: Those of an --env-file, which may have more than the run needs.
    """

    values: Secrets
    of_file: Secrets


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

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def command(*args: Any, secrets: GivenSecrets, **given: Any) -> Any:
            found = dict(secrets.values)
            for key, value in secrets.of_file.items():
                _add(found, key, value)
            return function(*args, secrets=found, **given)

        return _with_secrets(command, prefix)

    return decorate


def with_secrets_of_run(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do the same for a command about an earlier run, which knows what it needs."""
    return _with_secrets(function, "")


def _with_secrets(function: Callable[..., Any], prefix: str) -> Callable[..., Any]:
    literal = f"--{prefix.rstrip('-')}" if prefix else "--set"
    options: list[Callable[[Any], Any]] = [
        click.option(
            literal,
            "literal",
            multiple=True,
            metavar="KEY=VALUE",
            help="A value in the command itself: other users see it in `ps`, and it"
            " stays in the shell's history. Prefer the next four.",
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
        with_env_file(f"--{prefix}env-file"),
        _allow_empty,
    ]

    @wraps(function)
    def command(
        *args: Any,
        literal: tuple[str, ...],
        from_env: tuple[str, ...],
        from_file: tuple[str, ...],
        from_stdin: str | None,
        env_files: tuple[str, ...],
        allow_empty: bool,
        **given: Any,
    ) -> Any:
        found: Secrets = {}
        _literals(found, literal)
        _environment(found, from_env)
        _files(found, from_file)
        if from_stdin is not None:
            _refuse_ids_on_stdin()
            _add(found, from_stdin, _stdin(from_stdin))
        if not allow_empty:
            _refuse_empty(found, [entry.partition("=")[0] for entry in literal])
        secrets = GivenSecrets(found, _of_env_files(env_files))
        return function(*args, secrets=secrets, **given)

    return apply(command, options)


_allow_empty: Final = click.option(
    "--allow-empty",
    is_flag=True,
    help="Take an empty value from the environment, a file or stdin.",
)


def with_env_file(name: str = "--env-file") -> Callable[[Any], Any]:
    """Return the option for files of settings; a command gets it as `env_files`."""
    return click.option(
        name,
        "env_files",
        multiple=True,
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        help="All KEY=VALUE of a .env file: with comments, quotes, `export`, and values"
        " of several lines. ${NAME} stays as it is written.",
    )


def _of_env_files(files: Sequence[str]) -> Secrets:
    if not files:
        return {}
    from spaces_async.cli._env_files import read_env_file

    found: Secrets = {}
    for file in files:
        for key, value in read_env_file(file).items():
            _add(found, key, value)
    return found


def variables_of(files: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of some files, and those that were given.

    Raises:
        UsageError: A key is in two places, or a file cannot be read.
    """
    found: dict[str, str] = dict(given)
    for key, value in _of_env_files(files).items():
        _add(found, key, value.reveal())
    return found


def with_new_value(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command with `key` the options for its value; it gets it as `value`."""
    options: list[Callable[[Any], Any]] = [
        click.option(
            "--from-env",
            metavar="NAME",
            help="The value of the environment variable NAME.",
        ),
        click.option(
            "--from-file",
            metavar="PATH",
            help="The text of a file, without the newline at its end.",
        ),
        click.option(
            "--from-stdin",
            is_flag=True,
            help="The text of stdin, in the same way. Without any of these a terminal"
            " prompts for it, hidden.",
        ),
        with_env_file(),
        _allow_empty,
    ]

    @wraps(function)
    def command(
        *args: Any,
        key: str,
        from_env: str | None,
        from_file: str | None,
        from_stdin: bool,
        env_files: tuple[str, ...],
        allow_empty: bool,
        **given: Any,
    ) -> Any:
        found: Secrets = {}
        if from_env is not None:
            _add(found, key, _of_variable(from_env))
        if from_file is not None:
            _add(found, key, _of_file(from_file))
        if env_files:
            of_files = _of_env_files(env_files)
            if key not in of_files:
                raise click.UsageError(f"{', '.join(env_files)} has no {key}.")
            _add(found, key, of_files[key])
        if from_stdin or not found:
            if not from_stdin and not sys.stdin.isatty():
                raise click.UsageError(
                    f"Which value? Give --from-env, --from-file, --from-stdin or"
                    f" --env-file for {key}."
                )
            _refuse_ids_on_stdin()
            _add(found, key, _stdin(key))
        if not allow_empty:
            _refuse_empty(found, ())
        return function(*args, key=key, value=found[key], **given)

    return apply(command, options)


def _refuse_ids_on_stdin() -> None:
    if "-" in click.get_current_context().params.get("ids", ()):
        raise click.UsageError("stdin cannot give both the ids and a secret.")


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
        whose = f" for {key}" if equals else ""
        _add(found, key, _of_variable(name if equals else key, whose))


def _of_variable(name: str, whose: str = "") -> Redacted[str]:
    if name not in os.environ:
        raise click.UsageError(f"The environment variable {name!r}{whose} is not set.")
    return Redacted(os.environ[name])


def _files(found: Secrets, entries: Iterable[str]) -> None:
    for entry in entries:
        key, equals, path = entry.partition("=")
        if not equals or not path:
            raise click.UsageError("The file of a secret is given as KEY=PATH.")
        _add(found, key, _of_file(path, f" for {key}"))


def _of_file(path: str, whose: str = "") -> Redacted[str]:
    try:
        # Bytes, since reading as text would change line ends.
        return _stripped(Redacted(Path(path).read_bytes().decode()))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise click.UsageError(
            f"The file {path!r}{whose} cannot be read: {why}."
        ) from None


def _stdin(key: str) -> Redacted[str]:
    if sys.stdin.isatty():
        return Redacted(click.prompt(f"Value of {key}", hide_input=True, err=True))
    return _stripped(Redacted(sys.stdin.read()))


def _stripped(text: Redacted[str]) -> Redacted[str]:
    """Remove one newline at the end, which editors and `echo` add."""
    end = "\r\n" if text.reveal().endswith("\r\n") else "\n"
    return Redacted(text.reveal().removesuffix(end))
