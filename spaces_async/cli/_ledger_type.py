"""The value of `--ledger`: a file, or the URL of Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from spaces_async._redacted import Redacted

if TYPE_CHECKING:
    from pathlib import Path

    _Path = click.Path[Path]
else:
    _Path = click.Path


class LedgerType(_Path):
    """A file, or a URL, which may hold a password and is never shown."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        from spaces_async._validate import REDIS_SCHEMES

        if isinstance(value, str) and value.startswith(REDIS_SCHEMES):
            return Redacted(value)
        return super().convert(value, param, ctx)
