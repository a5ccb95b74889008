"""What a journal or a store says of an operation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from spaces_async._operations.write import Write
from spaces_async._redacted import Redacted
from spaces_async.bulk._engine.space_run import steps_of
from spaces_async.bulk._journal.format import Header
from spaces_async.bulk.operations import Function

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spaces_async._core.session import HubSession
    from spaces_async._operations.write import Operation

__all__ = ["job_header"]


def job_header(
    operation: Operation[Any],
    session: HubSession,
    rollout: Mapping[str, Any] | None = None,
) -> Header:
    """Return what a journal or a store says of an operation.

    Args:
        operation: The operation.
        session: Of its Hub.
        rollout: Waves and health; None without, and for a host that joins a run, which
            has them.
    """
    function = operation if isinstance(operation, Function) else None
    return Header(
        operation.name,
        operation.parameters,
        operation.hidden,
        str(session.endpoint),
        None if function is None else function.identity,
        rollout=rollout,
        secret=_secret_of(operation) if operation.hidden else None,
    )


def _secret_of(operation: Operation[Any]) -> Redacted[str]:
    """Return all hidden values of an operation as one text."""
    return Redacted(
        json.dumps(
            [
                [key, name, None if box is None else box.reveal()]
                for key, step in steps_of(operation)
                if isinstance(step, Write)
                for name, box in step.boxed.items()
            ]
        )
    )
