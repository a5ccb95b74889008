"""Which Spaces of a bulk an account's compute quota keeps from starting. Pure.

The Hub refuses one Space too many on a flavor with a 403 (`ComputeQuotaError`), and
refuses all others of that owner and flavor for the same reason, so the bulk stops
sending them. A Space that runs already counts in the quota: its restart is still sent.

Worked example: three of acme's Spaces may run on cpu-basic, and twelve paused ones are
restarted. The fourth is refused. The other eight are left out, unless a listing shows
that they are on another flavor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spaces_async.errors import ComputeQuotaError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spaces_async.models import SpaceRuntime

COMPUTE_QUOTA: Final = "compute quota"
"""The reason of the outcomes of Spaces that are left out."""


class QuotaGuard:
    """Remembers which quotas are used up, and which Spaces need them."""

    def __init__(self, operation: str, parameters: Mapping[str, Any] | None) -> None:
        """Create a guard.

        Args:
            operation: The name of the operation.
            parameters: Its parameters; None if it has none.
        """
        self._starts = operation == "restart"
        self._flavor: str | None = None
        if operation == "request_hardware":
            self._flavor = (parameters or {}).get("flavor")
        self._used_up: set[tuple[str, str]] = set()

    def note(self, repo_id: str, error: Exception | None) -> None:
        """Note how a Space ended."""
        if isinstance(error, ComputeQuotaError) and error.flavor is not None:
            self._used_up.add((_owner(repo_id), error.flavor))

    def may_concern(self, repo_id: str) -> bool:
        """Return whether a quota of the owner is used up, so that a look is needed."""
        if not self._used_up or not (self._starts or self._flavor):
            return False
        return any(owner == _owner(repo_id) for owner, _ in self._used_up)

    def keeps(self, repo_id: str, runtime: SpaceRuntime | None) -> bool:
        """Return whether a Space would be refused.

        Args:
            repo_id: The Space.
            runtime: What is known of it; None if nothing is. Then it is sent.
        """
        if runtime is None:
            return False
        runs = runtime.stage.is_running or runtime.stage.is_transitional
        on = runtime.requested_hardware or runtime.hardware
        if self._flavor is not None:
            # Only a Space that runs starts on the new flavor at once.
            needed = self._flavor if runs and on != self._flavor else None
        else:
            needed = None if runs else on
        return needed is not None and (_owner(repo_id), needed) in self._used_up


def _owner(repo_id: str) -> str:
    return repo_id.partition("/")[0]
