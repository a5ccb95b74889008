"""What Spaces cost: read, put into rows, added up."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen
from rich.text import Text

from spaces_async import _costs
from spaces_async._costs import Sum
from spaces_async._record import plain
from spaces_async.cli._errors import reason
from spaces_async.cli._output import human_seconds, plural, stage_text
from spaces_async.cli._read import read_infos
from spaces_async.cli._times import short_age
from spaces_async.cli._use import Question, Sample, Use, measure, read_changes
from spaces_async.errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    UnexpectedResponseError,
)
from spaces_async.models import SpaceInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spaces_async.cli._app import App
    from spaces_async.cli._output import Output
    from spaces_async.cli._targets import Targets
    from spaces_async.client import SpacesClient
    from spaces_async.records import BillingUsage

__all__ = ["Cost", "Spending", "read_spending"]


_EXPANDED: Final = ("runtime", "sdk", "private", "lastModified")
_UNREADABLE: Final = (
    PermissionDeniedError,
    NotFoundError,
    AuthenticationError,
    UnexpectedResponseError,
)
"""What says that a bill may not, or cannot, be read; the rest of the work goes on."""


@frozen(kw_only=True)
class Cost:
    """What one Space costs.

    Attributes:
        info: The Space.
        rate: Dollars for an hour as it is now; None if that is not known.
        spent: Dollars in the billing period; None if there is no bill.
        use: Whether it is used; None if it costs nothing now.
        sample: What was measured; None if nothing was.
        changed: When its repository was changed last; None if that was not asked.
        changed_ago: Seconds from then to the reading; None if that is not known.
        granted: Whether its hardware is a free grant.
        listed: Whether the Hub lists it; else it is only in the bill.
    """

    info: SpaceInfo
    rate: Decimal | None
    spent: Sum | None = None
    use: Use | None = None
    sample: Sample | None = None
    changed: datetime | None = None
    changed_ago: float | None = None
    granted: bool = False
    listed: bool = True

    @property
    def costs(self) -> bool:
        """Whether it costs something now, or in the period, as far as is known."""
        return self.rate != 0 or (self.spent is not None and self.spent != Sum())

    @property
    def can_be_saved(self) -> bool:
        """Whether pausing it would save money and disturb no use that was seen."""
        return self.use is Use.UNUSED and bool(self.rate)

    @property
    def hardware(self) -> str:
        """Its flavor, and how many replicas if there are several."""
        runtime = self.info.runtime
        flavor = None if runtime is None else _costs.billed_flavor(runtime)
        if flavor is None:
            return "-"
        count = self.replicas
        times = "" if count in {None, 1} else f" x{count}"
        return f"{flavor}{times}{' (grant)' if self.granted else ''}"

    @property
    def replicas(self) -> int | None:
        """How many replicas are counted."""
        runtime = self.info.runtime
        return None if runtime is None else _costs.replica_count(runtime)

    @property
    def now(self) -> Text:
        """Whether it is used, or its stage if it costs nothing."""
        if not self.listed:
            return Text("not listed")
        if self.use is None:
            return stage_text(self.info.stage)
        if self.use is Use.RECENT and self.changed_ago is not None:
            idle = self.sample is not None and self.sample.use is Use.UNUSED
            committed = f"committed {short_age(self.changed_ago)} ago"
            return Text(f"idle, {committed}" if idle else committed)
        styles = {Use.UNUSED: "yellow", Use.IN_USE: "green"}
        return Text(str(self.use), style=styles.get(self.use, ""))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; None is what is not known."""
        stage = self.info.stage
        runtime = self.info.runtime
        return {
            "id": self.info.id,
            "listed": self.listed,
            "stage": stage,
            "hardware": runtime and _costs.billed_flavor(runtime),
            "replicas": self.replicas,
            "free_grant": self.granted,
            "usd_per_hour": plain(self.rate),
            "usd_this_period": self.spent and plain(self.spent.exact),
            "use": self.use,
            "use_unknown_because": self.sample and self.sample.why,
            "last_modified": plain(self.changed or self.info.last_modified),
        }


@frozen(kw_only=True)
class Spending:
    """What some Spaces cost.

    Attributes:
        costs: Each Space, and what else is in the bill.
        since: When the billing period began; None if no bill could be read.
        spent: Dollars in that period; None if a bill could not be read.
        question: What was asked to find what is unused.
    """

    costs: tuple[Cost, ...] = ()
    since: datetime | None = None
    spent: Sum | None = None
    question: Question

    @property
    def unused(self) -> list[Cost]:
        """What could be paused, the dearest first."""
        return [cost for cost in self.sorted("rate") if cost.can_be_saved]

    @property
    def rate(self) -> Sum:
        """What all of it costs for an hour."""
        return _costs.total(cost.rate for cost in self.costs)

    @property
    def is_estimate(self) -> bool:
        """Whether it was made without the bill."""
        return self.spent is None

    @property
    def saving(self) -> Decimal:
        """What pausing the unused ones saves for an hour."""
        return _costs.total(cost.rate for cost in self.unused).known

    def sorted(self, by: str) -> list[Cost]:
        """Return the costs, the dearest first unless asked for otherwise."""
        key = {"rate": _by_rate, "month": _by_month, "name": _by_name, "now": _by_now}
        return sorted(self.costs, key=key[by])

    def to_dict(self, costs: Iterable[Cost]) -> dict[str, Any]:
        """Return plain data for JSON; None is what is not known."""
        spent = self.spent
        return {
            "currency": "USD",
            "estimate": self.is_estimate,
            "since": plain(self.since),
            "usd_per_hour": plain(self.rate.exact),
            "unknown_rates": self.rate.unknown,
            "usd_this_period": spent and plain(spent.exact),
            "unused": [cost.info.id for cost in self.unused],
            "saves_usd_per_hour": plain(self.saving),
            "spaces": [cost.to_dict() for cost in costs],
        }


def _by_rate(cost: Cost) -> tuple[Any, ...]:
    # What is not known may be dear: it stands before what costs nothing.
    rate = cost.rate
    return (rate == 0, rate is None, -(rate or 0), *_by_month(cost))


def _by_month(cost: Cost) -> tuple[Any, ...]:
    spent = cost.spent or Sum()
    return (-spent.known, -spent.unknown, cost.info.id)


def _by_name(cost: Cost) -> tuple[Any, ...]:
    return (cost.info.id,)


def _by_now(cost: Cost) -> tuple[Any, ...]:
    order = [Use.UNUSED, Use.UNKNOWN, Use.RECENT, Use.IN_USE, None]
    return (order.index(cost.use), *_by_rate(cost))


# Reading ---------------------------------------------------------------------------


def read_spending(
    app: App, targets: Targets, concurrency: int, question: Question
) -> tuple[Spending, int]:
    """Read what Spaces cost, and whether they are used.

    Args:
        app: The run.
        targets: The Spaces.
        concurrency: How many to read at the same time, if they are named by their ids.
        question: What makes one unused.

    Returns:
        What they cost, and the exit code.
    """

    async def read(client: SpacesClient, repo_id: str) -> SpaceInfo:
        return await client.catalog.get_info(repo_id, expand=_EXPANDED)

    spaces, code = read_infos(app, targets, concurrency, read)
    if not spaces:
        return Spending(question=question), code

    async def work(client: SpacesClient) -> Spending:
        found = await _bills(app.output, client, spaces)
        prices = await _prices(app.output, client)
        bills = {owner: bill for owner, bill in found.items() if bill is not None}
        whole = targets.is_whole
        costs = _put_together(spaces, bills, prices, whole=whole)
        spent = sum(map(_costs.usage_total, bills.values()), Sum())
        if not whole:
            spent = sum((cost.spent for cost in costs if cost.spent), Sum())
        periods = [bill.period for bill in bills.values() if bill.period]
        return Spending(
            costs=tuple(await _with_use(app.output, client, costs, question)),
            since=min((p.start for p in periods if p.start), default=None),
            spent=spent if len(bills) == len(found) else None,
            question=question,
        )

    return app.run(work), code


async def _bills(
    output: Output, client: SpacesClient, spaces: Sequence[SpaceInfo]
) -> dict[str, BillingUsage | None]:
    """Read the bill of each owner; None where it may not be read."""
    found: dict[str, BillingUsage | None] = {}
    for owner in dict.fromkeys(info.id.partition("/")[0] for info in spaces):
        try:
            found[owner] = await client.billing.get_usage(owner)
        except _UNREADABLE as error:
            found[owner] = None
            output.say(
                f"The bill of {owner} cannot be read: {reason(error)}. What was spent"
                " is unknown; rates are an estimate by prices, stages and replicas."
            )
    return found


async def _prices(output: Output, client: SpacesClient) -> dict[str, Decimal]:
    try:
        flavors = await client.hardware.list_flavors()
    except NotFoundError as error:  # a mirror without such a list
        output.say(f"The price list cannot be read: {reason(error)}.")
        flavors = []
    return _costs.prices(flavors)


def _put_together(
    spaces: Sequence[SpaceInfo],
    bills: Mapping[str, BillingUsage],
    prices: _costs.Prices,
    *,
    whole: bool,
) -> list[Cost]:
    """Return what each Space costs, and what else is on the bills of whole owners."""
    costs: list[Cost] = []
    for info in spaces:
        owner = info.id.partition("/")[0]
        if owner not in bills:
            costs.append(Cost(info=info, rate=_costs.rate(info, prices)))
    for owner, bill in bills.items():
        own = [info for info in spaces if info.id.partition("/")[0] == owner]
        mine, others = _costs.by_space(bill, own)
        grants = _costs.granted(bill, own)
        for info in own:
            granted = info.id in grants
            rate = _costs.ZERO if granted else _costs.rate(info, prices)
            spent = mine.get(info.id, Sum())
            if rate != 0 and others and info.id not in mine:
                # One of the lines that belong to no Space may be its own.
                spent = Sum(unknown=1)
            costs.append(Cost(info=info, rate=rate, spent=spent, granted=granted))
        costs += _not_listed(bill, others if whole else {})
        counted = (*mine.values(), *others.values())
        if unread := _costs.usage_total(bill).unknown - sum(c.unknown for c in counted):
            label = SpaceInfo(f"{owner} (unreadable)")
            unknown = Sum(unknown=unread)
            costs.append(
                Cost(info=label, rate=_costs.ZERO, spent=unknown, listed=False)
            )
    return costs


def _not_listed(bill: BillingUsage, others: Mapping[str, Sum]) -> list[Cost]:
    active = {line.label or line.entity_id for line in bill.spaces if line.active}
    return [
        Cost(
            info=SpaceInfo(label),
            rate=None if label in active else _costs.ZERO,
            spent=spent,
            listed=False,
        )
        for label, spent in others.items()
    ]


async def _with_use(
    output: Output, client: SpacesClient, costs: list[Cost], question: Question
) -> list[Cost]:
    """Add whether those that cost something now are used."""
    if not str(question):
        return costs
    spaces = [cost.info for cost in costs if cost.rate != 0 and _runs(cost.info)]
    samples: dict[str, Sample] = {}
    changes: dict[str, datetime | None] = {}
    if question.sample is not None and spaces:
        text = f"Measuring {plural(len(spaces))} for {human_seconds(question.sample)}"
        with output.err.status(f"{text} ...") if output.live else nullcontext():
            samples = await measure(client, spaces, question.sample)
    if question.unused_for is not None:
        changes = await read_changes(client, spaces)
    now = client.clock.utcnow()
    ids = {info.id for info in spaces}
    return [
        _asked(cost, question, samples, changes, now) if cost.info.id in ids else cost
        for cost in costs
    ]


def _runs(info: SpaceInfo) -> bool:
    return info.stage is not None and _costs.is_billed(info.stage)


def _asked(
    cost: Cost,
    question: Question,
    samples: Mapping[str, Sample],
    changes: Mapping[str, datetime | None],
    now: datetime,
) -> Cost:
    sample, changed = samples.get(cost.info.id), changes.get(cost.info.id)
    use = question.answer(sample, changed, now)
    ago = None if changed is None else max(0.0, (now - changed).total_seconds())
    return evolve(cost, use=use, sample=sample, changed=changed, changed_ago=ago)
