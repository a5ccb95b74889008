"""Ids from stdin: as lines, as the table of another command, or as JSON. Pure.

What is wrong is told by its place and never shown: it may be anything, also a secret.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

import click

from spaces_async import _validate
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ids_in"]

_KEYS: Final = ("repo_id", "id")
_TITLE: Final = "SPACE"
_FORMS: Final = (
    "Ids on stdin are lines that begin with 'owner/name', or the JSON of `list --json`"
    " and its like: records with an id or a repo_id."
)


def ids_in(text: str) -> list[str]:
    """Return the ids in a text, each once.

    Args:
        text: Lines whose first column is an id, as commands write them, with comments
            after "#"; or JSON records with an "id" or "repo_id", in arrays or one after
            the other.

    Raises:
        UsageError: It is none of these, or has no ids.
    """
    text = text.removeprefix("\ufeff")
    is_json = text.lstrip()[:1] in {"[", "{"}
    found = _in_json(text) if is_json else _in_lines(text)
    ids: dict[str, None] = {}
    for place, repo_id in found:
        if "=" in repo_id:
            raise click.UsageError(
                f"{place} of stdin is KEY=VALUE, and no id. {_FORMS}"
            )
        try:
            _validate.repo_id(repo_id)
        except ConfigurationError:
            cut = " It was cut to fit a terminal." if "…" in repo_id else ""
            raise click.UsageError(
                f"{place} of stdin has no id.{cut} {_FORMS}"
            ) from None
        ids[repo_id] = None
    if not ids:
        raise click.UsageError("There are no ids on stdin.")
    return list(ids)


def _in_lines(text: str) -> Iterator[tuple[str, str]]:
    is_first = True
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        # The titles of a table that was copied from a terminal.
        if not (is_first and words[0] == _TITLE):
            yield f"Line {number}", words[0]
        is_first = False


def _in_json(text: str) -> Iterator[tuple[str, str]]:
    number = 0
    for document in _documents(text):
        records = cast("list[Any]", document)
        if not isinstance(document, list):
            records = [document]
        for record in records:
            number += 1
            yield f"Record {number}", _id_of(record, number)


def _documents(text: str) -> Iterator[Any]:
    """Yield the JSON documents of a text, one after the other."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            document, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            line = text.count("\n", 0, at) + 1
            raise click.UsageError(
                f"What begins in line {line} of stdin is not valid JSON. {_FORMS}"
            ) from None
        yield document


def _id_of(record: Any, number: int) -> str:
    if isinstance(record, str):
        return record
    if isinstance(record, dict):
        for key in _KEYS:
            if isinstance(record.get(key), str):  # pyright: ignore[reportUnknownMemberType]
                return str(record[key])  # pyright: ignore[reportUnknownArgumentType]
        if "outcomes" in record:
            raise click.UsageError(
                "On stdin is the report of a command, with outcomes of every kind."
                " Choose some: jq '.outcomes[] | select(.status == \"failed\")'."
            )
    raise click.UsageError(f"Record {number} of stdin has no id. {_FORMS}")
