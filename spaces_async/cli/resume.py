"""`resume`: go on with a bulk command that was interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from spaces_async.bulk._journal.reader import read_state
from spaces_async.bulk._journal.writer import check_free
from spaces_async.cli._app import App, pass_app
from spaces_async.cli._bulk import BulkFlags, Job, with_bulk_of
from spaces_async.cli._command import Command, examples
from spaces_async.cli._journal import rebuild
from spaces_async.cli._targets import Targets
from spaces_async.cli._values import with_secrets

if TYPE_CHECKING:
    from typing import Literal

    from spaces_async._redacted import Redacted

__all__ = ["resume"]


@click.command(
    cls=Command,
    epilog=examples(
        "spaces-async resume restart.jsonl",
        "spaces-async resume keys.jsonl --from-env API_KEY",
        "spaces-async resume restart.jsonl --on-unknown retry",
    ),
)
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--on-unknown",
    type=click.Choice(["verify", "retry", "skip"]),
    default="verify",
    show_default=True,
    help="What to do about those that were being sent when it ended: look at the Space"
    " and send if it was not done, send again without a look, or leave them.",
)
@with_secrets("")
@with_bulk_of("file")
@pass_app
def resume(
    app: App,
    /,
    *,
    flags: BulkFlags,
    on_unknown: Literal["verify", "retry", "skip"],
    secrets: dict[str, Redacted[str]],
) -> int:
    """Go on with a command that was interrupted.

    It must have had --journal FILE. What is done is not done again, what failed is
    tried again, and what was never sent is sent. The file knows the command and its Spaces, but not the values of secrets:
    give these again.
    """
    path = flags.journal or ""
    check_free(path)
    header, state = read_state(path)
    if not state.complete:
        raise click.UsageError(
            f"{path} does not name all Spaces of its job: the command, or program,"
            " ended before it knew them. Start that again, with the same file."
        )
    name = header.operation
    operation = rebuild(path, header, secrets)
    job = Job(
        app,
        operation,
        Targets(ids=tuple(state.entries)),
        flags,
        name.replace("_", " ").capitalize(),
        loses=name == "delete",
    )
    job.on_unknown = on_unknown
    return job.run()
