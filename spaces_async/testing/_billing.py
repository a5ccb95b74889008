"""The bill: what runs on a flavor with a price is paid for by the minute.

Nothing runs in the background. A Space notes each change of what it is billed for with
the time at which it happened, so that a bill can be made for any time later.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attrs import define, field

from spaces_async.testing import _render as render
from spaces_async.testing._flavors import pretty_name, price_per_minute
from spaces_async.testing._route import answers
from spaces_async.testing._wire import Call, RefusedError, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spaces_async.testing._world import World
    from spaces_async.testing.space import FakeSpace

__all__ = ["Ledger", "own_usage", "usage"]

_PERIOD = re.compile(r"[0-9a-f]{24}")
_MONTHS_PER_YEAR = 12
_DENIED = "You don't have the required permissions to perform this operation"


@define(eq=False)
class _Line:
    """One use of a flavor by a Space, without a change.

    Attributes:
        oid: The Hub's internal id of the Space.
        repo_id: The Space's id at that time; its owner pays.
        flavor: The flavor.
        replicas: The number of replicas.
        granted: Whether the Hub grants it for free.
        start: When it began, in seconds since the Hub was started.
        stop: When it ended; None while it goes on.
    """

    oid: str
    repo_id: str
    flavor: str
    replicas: int
    granted: bool
    start: float
    stop: float | None = None

    @property
    def owner(self) -> str:
        return self.repo_id.partition("/")[0]


@define(eq=False)
class Ledger:
    """All that has been billed, by the order of its begin."""

    lines: list[_Line] = field(factory=list[_Line])
    _open: dict[str, _Line] = field(factory=dict[str, _Line])

    def note(self, space: FakeSpace, flavor: str | None, at: float) -> None:
        """Note what a Space uses from now on; None is nothing that is billed."""
        line = None
        if flavor is not None and price_per_minute(flavor):
            line = _Line(
                space.oid, space.id, flavor, space.replica_count, space.free_grant, at
            )
        before = self._open.get(space.oid)
        if before is not None:
            if line is not None and _same(before, line):
                return
            before.stop = at
            del self._open[space.oid]
            if before.start == at:
                self.lines.remove(before)
        if line is not None:
            self._open[space.oid] = line
            self.lines.append(line)

    def add(self, space: FakeSpace, flavor: str, start: float, stop: float) -> None:
        """Add a use that is over."""
        self.lines.append(
            _Line(space.oid, space.id, flavor, 1, space.free_grant, start, stop)
        )


def _same(one: _Line, other: _Line) -> bool:
    def what(line: _Line) -> tuple[object, ...]:
        return line.repo_id, line.flavor, line.replicas, line.granted

    return what(one) == what(other)


@answers("GET /api/organizations/{name}/billing/usage")
def usage(world: World, call: Call) -> Reply:
    """Answer admins of the org only."""
    world.require_token(call)
    name = call.params["name"]
    if name not in world.accounts.orgs:
        raise RefusedError(404, "Organization not found")
    return _bill(world, call, name, "org")


@answers("GET /api/settings/billing/usage")
def own_usage(world: World, call: Call) -> Reply:
    world.require_token(call)
    user = call.caller.user
    return _bill(world, call, user.name if user else "", "user")


def _bill(world: World, call: Call, owner: str, kind: str) -> Reply:
    token = call.caller.token
    is_admin = world.accounts.role_in(owner, call.caller) == "admin"
    if token is None or token.role == "none" or not is_admin:
        raise RefusedError(403, _DENIED)
    for space in world.spaces.values():
        space.settle()
    month = _month_of(world, owner, call.first("periodId"))
    start, end = _bounds(month)
    period = {
        "_id": _period_id(owner, month),
        "entityId": _hex_id(owner),
        "entityType": kind,
        "entityName": owner,
        "periodStart": render.instant(start),
        "periodEnd": render.instant(end),
    }
    lines = [
        row
        for line in world.ledger.lines
        if line.owner == owner and (row := _row(world, line, start, end)) is not None
    ]
    return Reply.json({"usage": {"Endpoints": [], "Spaces": lines}, "period": period})


def _row(
    world: World, line: _Line, start: datetime, end: datetime
) -> dict[str, Any] | None:
    """Return a line as far as it is in a period; None if it is not."""
    began = world.at(line.start)
    stopped = None if line.stop is None else world.at(line.stop)
    since, until = max(began, start), min(stopped or world.utcnow(), end)
    if since > until or began >= end or (stopped is not None and stopped <= start):
        return None
    price = price_per_minute(line.flavor) or 0
    minutes = (until - since).total_seconds() / 60 * line.replicas
    return {
        "entityId": line.oid,
        "label": line.repo_id,
        "product": f"spaces/{line.flavor}/minutes",
        "productPrettyName": pretty_name(line.flavor),
        "quantity": round(minutes, 6),
        "unitLabel": "minute",
        "unitCostMicroUSD": price,
        "totalCostMicroUSD": round(minutes * price, 3),
        "startedAt": render.instant(began),
        "stoppedAt": None if stopped is None else render.instant(stopped),
        "freeGrant": line.granted,
        "active": stopped is None,
    }


def _month_of(world: World, owner: str, period: str | None) -> tuple[int, int]:
    """Return year and month of a period; None is the current one."""
    if period is None:
        return _month(world.utcnow())
    if not _PERIOD.fullmatch(period):
        raise RefusedError(400, '✖ Invalid string → at "periodId"')
    for month in _months(world):
        if _period_id(owner, month) == period:
            return month
    raise RefusedError(404, "Billing period not found")


def _months(world: World) -> Iterator[tuple[int, int]]:
    first = min([0.0, *(line.start for line in world.ledger.lines)])
    month, last = _month(world.at(first)), _month(world.utcnow())
    while month <= last:
        yield month
        month = _next(month)


def _month(instant: datetime) -> tuple[int, int]:
    return instant.year, instant.month


def _next(month: tuple[int, int]) -> tuple[int, int]:
    year, number = month
    return (year + 1, 1) if number == _MONTHS_PER_YEAR else (year, number + 1)


def _bounds(month: tuple[int, int]) -> tuple[datetime, datetime]:
    return datetime(*month, 1, tzinfo=UTC), datetime(*_next(month), 1, tzinfo=UTC)


def _period_id(owner: str, month: tuple[int, int]) -> str:
    return _hex_id(f"{owner} {month[0]}-{month[1]}")


def _hex_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
