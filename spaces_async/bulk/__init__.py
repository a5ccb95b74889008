"""The same for many Spaces at once, with bounded concurrency.

`client.bulk` is a `Bulk`. Each method takes `targets` (ids, an async iterable of ids
or `SpaceInfo`, a `Selection`, or the outcomes of an earlier report) and the options of
`BulkOptions`, and returns a `BulkReport`.
"""

from spaces_async.bulk import operations
from spaces_async.bulk._bulk import Bulk, BulkOptions
from spaces_async.bulk._engine.stream import BulkStream
from spaces_async.bulk.operations import Operation
from spaces_async.bulk.report import BulkProgress, BulkReport, Outcome, OutcomeStatus
from spaces_async.bulk.selection import Selection
from spaces_async.errors import JournalError

__all__ = [
    "Bulk",
    "BulkOptions",
    "BulkProgress",
    "BulkReport",
    "BulkStream",
    "JournalError",
    "Operation",
    "Outcome",
    "OutcomeStatus",
    "Selection",
    "operations",
]
