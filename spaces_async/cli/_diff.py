"""`secrets diff`: which Spaces lack which secrets."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from spaces_async.cli._output import plural
from spaces_async.cli._read import read_each
from spaces_async.cli._text import clean

if TYPE_CHECKING:
    from spaces_async.cli._app import App
    from spaces_async.cli._targets import Targets
    from spaces_async.client import SpacesClient

__all__ = ["show_diff"]


def show_diff(app: App, targets: Targets, concurrency: int) -> int:
    """Show which Spaces lack a secret that another has, and return the exit code."""

    async def read(client: SpacesClient, repo_id: str) -> frozenset[str]:
        return frozenset(await client.config.get_secrets(repo_id))

    output = app.output
    found, code = read_each(app, targets, concurrency, read)
    having = Counter(key for _, keys in found for key in keys)
    lacking = [(repo_id, sorted(having.keys() - keys)) for repo_id, keys in found]
    if output.json:
        output.document(
            {
                "secrets": {key: having[key] for key in sorted(having)},
                "spaces": [{"id": i, "lacks": keys} for i, keys in lacking],
            }
        )
        return code
    if output.table_out:
        rows = [(i, clean(", ".join(keys))) for i, keys in lacking if keys]
        output.rows(["Space", "lacks"], rows)
    else:
        output.rows([], [(i, key) for i, keys in lacking for key in keys])
    output.say(_summary(len(found), having, sum(bool(keys) for _, keys in lacking)))
    return code


def _summary(spaces: int, having: Counter[str], lacking: int) -> str:
    if not having:
        return f"No secrets in {plural(spaces)}."
    keys = plural(len(having), "secret")
    if not lacking:
        return f"{plural(spaces)} with the same {keys}."
    verb = "lacks" if lacking == 1 else "lack"
    if len(having) == 1:
        (key,) = having
        return f"{lacking} of {plural(spaces)} {verb} {clean(key)}."
    counts = ", ".join(f"{clean(key)} in {having[key]}" for key in sorted(having))
    return f"{lacking} of {plural(spaces)} {verb} some of {keys}: {counts}."
