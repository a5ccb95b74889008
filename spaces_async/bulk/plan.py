"""What a bulk would do, before it does it. Pure, but for `Plan.apply` and `stream`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import define, field, frozen

from spaces_async import _costs, _html
from spaces_async._operations.write import RequestPreview
from spaces_async._record import JsonData, Record, short_repr

if TYPE_CHECKING:
    from spaces_async.bulk._engine.stream import BulkStream
    from spaces_async.bulk.report import BulkReport

__all__ = ["Plan", "PlannedChange"]

_SHOWN_LINES: Final = 20
"""Spaces that the text of a plan names; `to_dict` has all."""


@frozen(repr=False)
class PlannedChange(Record):
    """What a bulk would do to one Space.

    Attributes:
        repo_id: The Space.
        requests: What would be sent, in this order, with stars in place of secret
            values; empty if nothing would.
        before: The fields that the write sets, as they are now. A field that the Hub
            does not tell is missing; None is a value that is not there.
        after: The same fields afterwards.
        reason: Why nothing would be sent: "already so", "static", "drift", ...; None if
            something would.
        restarts: Whether the app would be restarted or started; None if that is not
            known.
        cost: By how many dollars for an hour the Space's cost would change; None if
            that is not known.
    """

    repo_id: str
    requests: tuple[RequestPreview, ...] = ()
    before: Mapping[str, Any] = field(factory=dict[str, Any])
    after: Mapping[str, Any] = field(factory=dict[str, Any])
    reason: str | None = None
    restarts: bool | None = False
    cost: Decimal | None = _costs.ZERO

    def __str__(self) -> str:
        what = ", ".join(self._changes()) or "; ".join(map(str, self.requests))
        if self.reason is not None:
            return f"{self.repo_id}  {self.reason}"
        return f"{self.repo_id}  {what}"

    def _changes(self) -> Iterable[str]:
        for name, after in self.after.items():
            before = "?" if name not in self.before else _word(self.before[name])
            shown = _word(after)
            # A restart of what runs changes nothing that lasts.
            same = before == shown
            yield f"{name}: {shown} again" if same else f"{name}: {before} -> {shown}"

    def to_dict(self, *, raw: bool = False) -> dict[str, Any]:  # noqa: ARG002  (of all records)
        """Return plain data for JSON; the cost is a decimal in text, or None."""
        return {
            "repo_id": self.repo_id,
            "requests": [request.to_dict() for request in self.requests],
            "before": dict(self.before),
            "after": dict(self.after),
            "reason": self.reason,
            "restarts": self.restarts,
            "cost_per_hour": None if self.cost is None else str(self.cost),
        }


def _word(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return f"[{', '.join(cast('list[str]', value))}]"
    return str(value)


@define(eq=False, repr=False)
class Plan(JsonData):
    """What a bulk would do to each of its Spaces. Nothing has been sent yet.

    `print(plan)` shows it, and `await plan.apply()` does just that.

    Attributes:
        operation: What would be done, such as "pause".
        changes: The Spaces that something would be sent to.
        unchanged: Those that are so already.
        skipped: Those that are left out; `reason` says why.
        windows: How many quota windows the requests need; None if the quota is not
            known.
        seconds: About how long they take for the quota's sake; None if that is not
            known. How fast the Hub answers comes on top.
    """

    operation: str
    changes: tuple[PlannedChange, ...] = ()
    unchanged: tuple[PlannedChange, ...] = ()
    skipped: tuple[PlannedChange, ...] = ()
    windows: int | None = None
    seconds: float | None = None
    _make_stream: Callable[..., Any] | None = field(default=None, alias="make_stream")

    @property
    def requests(self) -> int:
        """How many writes would be sent."""
        return sum(len(change.requests) for change in self.changes)

    @property
    def restarts(self) -> int:
        """How many apps would be restarted or started, as far as is known."""
        return sum(change.restarts is True for change in self.changes)

    @property
    def cost(self) -> Decimal | None:
        """By how many dollars for an hour the cost would change; None if unknown."""
        return self.costs.exact

    @property
    def costs(self) -> _costs.Sum:
        """The same with how many Spaces have a change that is not known."""
        return _costs.total(change.cost for change in self.changes)

    async def apply(self, **options: Any) -> BulkReport[Any]:
        """Do what the plan says, and nothing else.

        Each write as `client.bulk.run` does it: the same endpoints, safe to repeat or
        not as there; cancelling it cancels what is in flight. A Space that has changed
        since the plan was made is `skipped` with reason "drift", judged by the fields
        that its write sets. Those that were unchanged or skipped in the plan are in the
        report as they are here, and nothing is sent to them.

        Args:
            **options: See `BulkOptions`; not `only_changes`.

        Returns:
            A report with one outcome for each Space of the plan.

        Raises:
            ConfigurationError: An option cannot work; nothing was sent.
            JournalError: The journal cannot be read, written or locked.
        """
        return await self.stream(**options).drain()

    def stream(self, **options: Any) -> BulkStream[Any]:
        """Do what the plan says, and get each outcome as it finishes.

        The same as `apply` otherwise, and to `client.bulk.stream` what that is to
        `client.bulk.run`: leaving the stream cancels what is in flight.

        Args:
            **options: See `BulkOptions`; not `only_changes`.

        Returns:
            An async context manager that gives an async iterator.

        Raises:
            ConfigurationError: An option cannot work; nothing was sent.
        """
        assert self._make_stream is not None  # noqa: S101  (`client.bulk.plan` sets it)
        return cast("BulkStream[Any]", self._make_stream(**options))

    # What people see -----------------------------------------------------------------

    def summary(self) -> str:
        """Return what it comes to in one line."""
        parts = [f"{len(self.changes)} to change"]
        if self.unchanged:
            parts.append(f"{len(self.unchanged)} unchanged")
        if self.skipped:
            parts.append(f"{len(self.skipped)} skipped")
        parts.append(_counted(self.requests, "request"))
        if self.restarts:
            parts.append(_counted(self.restarts, "restart"))
        if self.changes:
            parts.append(self.cost_text())
        if self.windows is not None and self.windows > 1:
            wait = (
                "" if self.seconds is None else f", about {self.seconds / 60:.0f} min"
            )
            parts.append(f"{self.windows} quota windows{wait}")
        return f"{self.operation}: {', '.join(parts)}"

    def cost_text(self) -> str:
        """Return the change of the cost, such as "saves $3.20/h"."""
        costs = self.costs
        if not costs.known:
            return (
                f"cost unknown for {costs.unknown}"
                if costs.unknown
                else "no change in cost"
            )
        if costs.known < 0:
            text = f"saves {_costs.per_hour(-costs.known)}"
        else:
            text = f"costs {_costs.per_hour(costs.known)} more"
        return f"{text} and {costs.unknown} unknown" if costs.unknown else text

    def __str__(self) -> str:
        entries = (*self.changes, *self.skipped)
        lines = [f"  {entry}" for entry in entries[:_SHOWN_LINES]]
        if (more := len(entries) - _SHOWN_LINES) > 0:
            lines.append(f"  and {more} more")
        return "\n".join([self.summary(), *lines])

    def __repr__(self) -> str:
        counts = {
            "changes": len(self.changes),
            "unchanged": len(self.unchanged),
            "skipped": len(self.skipped),
            "cost": None if self.cost is None else _costs.per_hour(self.cost),
        }
        shown = [(name, value) for name, value in counts.items() if value is not None]
        return short_repr("Plan", [("operation", self.operation), *shown])

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        rows = [(e.repo_id, _what(e)) for e in (*self.changes, *self.skipped)]
        return (
            f"{_html.paragraph(self.summary())}{_html.table(('Space', 'what'), rows)}"
        )

    def to_dict(self, *, raw: bool = False) -> dict[str, Any]:  # noqa: ARG002  (of all records)
        """Return plain data for JSON."""
        costs = self.costs
        return {
            "operation": self.operation,
            "requests": self.requests,
            "restarts": self.restarts,
            "windows": self.windows,
            "seconds": self.seconds,
            "cost_per_hour": str(costs.known),
            "cost_unknown": costs.unknown,
            "changes": [change.to_dict() for change in self.changes],
            "unchanged": [change.to_dict() for change in self.unchanged],
            "skipped": [change.to_dict() for change in self.skipped],
        }


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _what(change: PlannedChange) -> str:
    return str(change).removeprefix(change.repo_id).strip()
