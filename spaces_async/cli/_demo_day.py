"""The second half of the tour: a roll-out that halts, a night, a morning, the costs."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spaces_async import _costs
from spaces_async.bulk import Selection, operations
from spaces_async.cli._errors import reason
from spaces_async.cli._output import plural
from spaces_async.cli._plan_view import totals
from spaces_async.models import SpaceStage

if TYPE_CHECKING:
    from spaces_async.bulk import BulkReport
    from spaces_async.cli._demo import Tour
    from spaces_async.client import SpacesClient
    from spaces_async.testing import FakeHub

__all__ = ["walk"]

_PATTERN: Final = "*-board-*"
_WAVES: Final[list[int | str]] = [1, 5, "100%"]
_SHOWN: Final = 5


async def walk(tour: Tour, hub: FakeHub, client: SpacesClient, org: str) -> None:
    """Show what an operator does with an org in a day."""
    await _roll_out(tour, hub, client, org)
    # The Hub is gone with the tour, and so may the journal be.
    folder = await asyncio.to_thread(tempfile.mkdtemp)
    try:
        journal = Path(folder) / "night.jsonl"
        await _night(tour, client, org, journal)
        await _morning(tour, client, journal)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder)
    await _costs_of(tour, client, org)


async def _roll_out(tour: Tour, hub: FakeHub, client: SpacesClient, org: str) -> None:
    tour.step(
        "4. Roll out a restart: one canary, then five, then all",
        f"restart --org {org} --stage running --match '{_PATTERN}' --waves 1,5,100%",
    )
    chosen = Selection(author=org, stages="running", match=_PATTERN)
    ids = [info.id async for info in chosen.resolve(client)]
    hub.space(ids[0]).fails_with = SpaceStage.RUNTIME_ERROR
    tour.say(f"{plural(len(ids))}. The tour has broken the first one, {ids[0]}.")
    report = await client.bulk.restart(ids, waves=_WAVES)
    tour.say(report.summary())
    for outcome in report.failed:
        tour.say(
            f"  {outcome.repo_id}: {reason(outcome.error)}" if outcome.error else ""
        )
    tour.step("   It is mended and tried again", "retry-failed --last --waves 1")
    hub.space(ids[0]).fails_with = None
    again = await client.bulk.retry_failed(report, waves=[1])
    tour.say(again.summary())
    tour.step("   The rest follows", "resume --last --waves 5,100%")
    rest = await client.bulk.restart(report.not_attempted, waves=[5, "100%"])
    tour.say(f"{rest.summary()} in {rest.elapsed:.1f} s")
    for why, count in Counter(str(o.reason) for o in rest.skipped).most_common():
        tour.say(f"  {count} skipped: {why}")


async def _night(tour: Tour, client: SpacesClient, org: str, journal: Path) -> None:
    tour.step("5. Pause the org for the night", f"pause --org {org} --stage running")
    running = Selection(author=org, stages="running")
    plan = await client.bulk.plan(operations.pause(), running)
    tour.say(f"The plan: {totals(plan)}")
    for change in plan.changes[:_SHOWN]:
        tour.say(f"  {change}")
    tour.say(f"  and {len(plan.changes) - _SHOWN} more")
    report = await plan.apply(journal=journal)
    tour.say(f"{report.summary()} in {report.elapsed:.1f} s")


async def _morning(tour: Tour, client: SpacesClient, journal: Path) -> None:
    tour.step("6. In the morning: bring back exactly what ran", "undo --last")
    plan = await client.bulk.plan_undo(journal)
    tour.say(f"The plan: {totals(plan)}")
    for why, count in Counter(str(c.reason) for c in plan.skipped).most_common():
        tour.say(f"  {plural(count)}: {why}")
    report: BulkReport[Any] = await plan.apply(wait=True)
    tour.say(f"{report.summary()} in {report.elapsed:.1f} s")


async def _costs_of(tour: Tour, client: SpacesClient, org: str) -> None:
    tour.step(f"7. What it costs: the {_SHOWN} dearest Spaces", f"costs --org {org}")
    usage = await client.billing.get_usage(org)
    estimate = await client.billing.estimate(org)
    rates = sorted(estimate.spaces, key=lambda rate: -(rate.usd_per_hour or 0))
    tour.table(
        ["Space", "per hour"],
        [(rate.repo_id, _costs.per_hour(rate.usd_per_hour)) for rate in rates[:_SHOWN]],
    )
    running = _costs.total(rate.usd_per_hour for rate in rates)
    month = _costs.usage_total(usage)
    tour.say(
        f"All together {_costs.per_hour(running.exact)} now,"
        f" {_costs.dollars(month.known)} this month."
    )
