"""What the Hub says when an account's compute quota is used up. Pure.

The Hub limits how many Spaces of an account run on a flavor at the same time. It says so
in two forms: it refuses the request with a 403, or it takes the request and pauses the
Space again, with an error message in its runtime.
"""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import frozen

from spaces_async.errors import ComputeQuotaError

_REFUSAL: Final = re.compile(
    r"reached (?:your|the) (?P<flavor>[\w.-]{1,64}) quota limit", re.IGNORECASE
)
_EXCESS: Final = re.compile(
    r"quota exceeded for flavor (?P<flavor>[\w.-]{1,64})"
    r"(?: \(requested=\d{1,9}\))?"
    r"(?:: current=(?P<current>\d{1,9}), limit=(?P<limit>\d{1,9}))?",
    re.IGNORECASE,
)


@frozen
class UsedUpQuota:
    """A compute quota that is used up.

    Attributes:
        flavor: The flavor.
        current: How many Spaces run on it; None if the Hub did not say.
        limit: How many may; None if the Hub did not say.
    """

    flavor: str
    current: int | None = None
    limit: int | None = None

    def error(self, message: str, **response: Any) -> ComputeQuotaError:
        """Return the error for it; the rest is as for a `HubResponseError`."""
        return ComputeQuotaError(
            message,
            flavor=self.flavor,
            current=self.current,
            limit=self.limit,
            **response,
        )


def read_compute_quota(message: str | None) -> UsedUpQuota | None:
    """Read a message of either form; None if it is about something else."""
    if not message:
        return None
    if (match := _EXCESS.search(message)) is not None:
        current, limit = match["current"], match["limit"]
        return UsedUpQuota(
            match["flavor"],
            None if current is None else int(current),
            None if limit is None else int(limit),
        )
    match = _REFUSAL.search(message)
    return None if match is None else UsedUpQuota(match["flavor"])


def compute_quota_error(message: str | None) -> ComputeQuotaError | None:
    """Return the error for a Space that the Hub has paused again for its quota.

    Args:
        message: `SpaceRuntime.error_message`.

    Returns:
        The error, as if no request had been sent; None if the message is about
        something else.
    """
    quota = read_compute_quota(message)
    return None if quota is None else quota.error(message or "")
