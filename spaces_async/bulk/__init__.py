"""The same for many Spaces at once, with bounded concurrency.

`client.bulk` is a `Bulk`. Each method takes `targets` (ids, an async iterable of ids
or `SpaceInfo`, a `Selection`, or the outcomes of an earlier report) and the options of
`BulkOptions`, and returns a `BulkReport`.
"""

from typing import TYPE_CHECKING

from spaces_async._lazy import lazy_names
from spaces_async.errors import JournalError, StoreError

if TYPE_CHECKING:
    from spaces_async.bulk import operations
    from spaces_async.bulk._bulk import Bulk, BulkOptions
    from spaces_async.bulk._engine.stream import BulkStream
    from spaces_async.bulk.health import Healthy
    from spaces_async.bulk.operations import Operation
    from spaces_async.bulk.plan import Plan, PlannedChange
    from spaces_async.bulk.report import (
        BulkProgress,
        BulkReport,
        Outcome,
        OutcomeStatus,
        Wave,
    )
    from spaces_async.bulk.run_state import RunState
    from spaces_async.bulk.selection import Selection

__all__ = [
    "Bulk",
    "BulkOptions",
    "BulkProgress",
    "BulkReport",
    "BulkStream",
    "Healthy",
    "JournalError",
    "Operation",
    "Outcome",
    "OutcomeStatus",
    "Plan",
    "PlannedChange",
    "RunState",
    "Selection",
    "StoreError",
    "Wave",
    "operations",
]

if not TYPE_CHECKING:  # for a type checker, a wrong name stays an error
    # What a selection or a report needs is light; what runs a bulk is not.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "_bulk": ("Bulk", "BulkOptions"),
            "_engine.stream": ("BulkStream",),
            "health": ("Healthy",),
            "operations": ("Operation",),
            "plan": ("Plan", "PlannedChange"),
            "report": (
                "BulkProgress",
                "BulkReport",
                "Outcome",
                "OutcomeStatus",
                "Wave",
            ),
            "run_state": ("RunState",),
            "selection": ("Selection",),
        },
    )
