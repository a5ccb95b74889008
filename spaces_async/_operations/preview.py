"""What an operation would send: the requests, as they are, and no write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spaces_async._operations.write import Edit, RequestPreview, Series, Write
from spaces_async._wire.calls import Done

if TYPE_CHECKING:
    from spaces_async._core.session import HubSession
    from spaces_async._operations.write import Operation
    from spaces_async.models import SpaceInfo

__all__ = ["is_already_so", "preview"]


async def preview(
    session: HubSession, operation: Operation[Any], repo_id: str
) -> list[RequestPreview]:
    """Return the requests of an operation for one Space.

    An `Edit` is made from the state of the Space, so that is read; it may need none.

    Args:
        session: Reads.
        operation: One of the package's own.
        repo_id: The Space.

    Raises:
        SpacesError: The state cannot be read.
    """
    match operation:
        case Write():
            return [operation.preview(repo_id)]
        case Series():
            return [step.preview(repo_id) for _, step in operation.steps]
        case Edit():
            made = operation.make(await session.send(operation.read(repo_id)))
            return [] if isinstance(made, Done) else [made.preview(repo_id)]
        case _:
            return []


def is_already_so(operation: Operation[Any], info: SpaceInfo) -> bool:
    """Return whether a listing shows that an operation would change nothing.

    Args:
        operation: Any.
        info: The Space as the listing showed it.
    """
    evidence = operation.evidence if isinstance(operation, Write) else None
    if evidence is None or evidence.listed is None or evidence.already is None:
        return False
    state = evidence.listed(info)
    return state is not None and evidence.already(state)
