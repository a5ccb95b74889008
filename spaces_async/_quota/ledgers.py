"""Makes the ledger that a client is to use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spaces_async import _validate
from spaces_async._quota.file_ledger import FileLedger

if TYPE_CHECKING:
    import random

    from spaces_async._clock import Clock
    from spaces_async._quota.ledger import Ledger
    from spaces_async._redacted import Redacted


def make_ledger(
    where: Path | Redacted[str] | None, clock: Clock, rng: random.Random
) -> Ledger | None:
    """Return the ledger; nothing is opened yet.

    Args:
        where: A file, the URL of Redis, or None for no ledger.
        clock: The source of time.
        rng: Spreads the looks of several programs.

    Raises:
        ConfigurationError: It cannot be used on this system, or needs an extra.
    """
    if where is None:
        return None
    if isinstance(where, Path):
        return FileLedger(where, rng)
    _validate.require_redis("a ledger")
    from spaces_async._quota.redis_ledger import RedisLedger

    return RedisLedger(where, clock, rng)
