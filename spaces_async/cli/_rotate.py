"""`secrets rotate`: a new value for a secret, where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spaces_async.bulk import operations
from spaces_async.cli._bulk import BulkCommand
from spaces_async.cli._errors import FAILED

if TYPE_CHECKING:
    from spaces_async._redacted import Redacted
    from spaces_async.bulk import Plan, PlannedChange
    from spaces_async.bulk._engine.resolver import Listed
    from spaces_async.cli._app import App
    from spaces_async.cli._bulk import BulkArguments
    from spaces_async.cli._targets import Targets
    from spaces_async.client import SpacesClient

__all__ = ["run_rotate"]


def run_rotate(
    app: App,
    targets: Targets,
    arguments: BulkArguments,
    key: str,
    value: Redacted[str],
) -> int:
    """Change a secret where it is, and return the exit code."""
    operation = operations.add_secret(key, value)

    def lacking(change: PlannedChange) -> str | None:
        there = change.before.get(f"secret {key}") is not None
        return None if there else f"has no secret {key}"

    async def plan(
        client: SpacesClient, listed: list[Listed], most: int | str | None
    ) -> Plan:
        chosen: list[Any] = [*listed] if targets.org else [*targets.ids]
        return await client.bulk.plan(
            operation, chosen, max_targets=most, leave_out=lacking
        )

    command = BulkCommand(
        app, operation, targets, arguments, make_plan=plan, shown_as="rotate_secret"
    )
    code = command.run()
    if command.plan is not None and not (
        command.plan.changes or command.plan.unchanged
    ):
        text = f"None of these Spaces has {key}: is the key right?"
        app.output.complain(text)
        # Otherwise a slip would leave the old value in use, unnoticed.
        return code or FAILED
    return code
