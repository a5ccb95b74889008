"""What commands make operations of: what is sent, and several steps as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spaces_async.bulk import Operation
from spaces_async.errors import SpacesError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spaces_async.client import SpacesClient

__all__ = ["request", "sequence"]


def request(method: str, path: str, body: dict[str, Any] | None = None) -> str:
    """Return what an operation sends, as `Operation.request` wants it."""
    shown = "" if body is None else f" {body}".replace("{", "{{").replace("}", "}}")
    return f"{method} /api/spaces/{{repo_id}}/{path}{shown}"


def sequence(steps: Sequence[tuple[str, Operation[Any]]]) -> Operation[Any]:
    """Make one operation of several for the same Space, one after the other.

    Args:
        steps: What each is about, for the error, and the operation.
    """
    first = steps[0][1]
    if len(steps) == 1:
        return first

    async def call(client: SpacesClient, repo_id: str) -> Any:
        result: Any = None
        for number, (about, step) in enumerate(steps):
            try:
                result = await step.call(client, repo_id)
            except SpacesError as error:
                error.add_note(f"at {about}; {number} of {len(steps)} were done")
                raise
        return result

    # Every step can be made of what it says of itself, so all of them can.
    parameters = [
        {"about": about, "operation": step.name, "parameters": step.parameters}
        for about, step in steps
    ]
    return Operation(
        first.name,
        call,
        "\n".join(step.request for _, step in steps),
        parameters={"steps": parameters},
        hidden=tuple(dict.fromkeys(name for _, s in steps for name in s.hidden)),
    )
