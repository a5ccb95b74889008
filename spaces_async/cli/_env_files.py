"""`.env` files, read by python-dotenv: there is no standard but what it does."""

from __future__ import annotations

import io
from pathlib import Path

import click

from spaces_async._redacted import Redacted

__all__ = ["read_env_file"]


def read_env_file(file: str) -> dict[str, Redacted[str]]:
    """Return the settings of a file.

    A line that cannot be read is an error and is not shown: it may hold a secret.
    `${NAME}` is not replaced: a secret may contain it.

    Raises:
        UsageError: It cannot be read, or python-dotenv is missing.
    """
    try:
        from dotenv.parser import parse_stream
    except ImportError:
        raise click.UsageError(
            "--env-file needs python-dotenv: pip install python-dotenv."
        ) from None
    try:
        text = Path(file).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise click.UsageError(f"{file} cannot be read: {why}.") from None
    found: dict[str, Redacted[str]] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.key is None and not binding.error:
            continue  # a comment, or an empty line
        if binding.error or binding.key is None or binding.value is None:
            raise click.UsageError(
                f"{file}: line {binding.original.line} is not KEY=VALUE."
            )
        if binding.key in found:
            raise click.UsageError(f"{file}: {binding.key} is there twice.")
        found[binding.key] = Redacted(binding.value)
    if not found:
        raise click.UsageError(f"{file} has no KEY=VALUE.")
    return found
