"""What Spaces cost: all arithmetic with money, and how it is written. Pure.

Amounts are decimal dollars, exact to the last digit that the Hub sends, and None where
an amount is not known. An unknown amount is never taken for 0: a sum says how many of its
parts are missing (`Sum`).

A Space is billed for its flavor while its app runs (`BILLED_STAGES`), each replica once.
How sure that is, `docs/hub-api.md` 3.11 says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from spaces_async.models import SpaceHardware, SpaceSdk, SpaceStage

if TYPE_CHECKING:
    from spaces_async.models import SpaceInfo, SpaceRuntime
    from spaces_async.records import BillingUsage, HardwareFlavor, UsageLine

__all__ = [
    "BILLED_STAGES",
    "UNKNOWN",
    "ZERO",
    "Prices",
    "Sum",
    "billed_flavor",
    "by_space",
    "dollars",
    "granted",
    "hourly",
    "is_billed",
    "line_cost",
    "per_hour",
    "prices",
    "rate",
    "rate_when_running",
    "replica_count",
    "total",
    "usage_total",
]

BILLED_STAGES: Final = frozenset(
    {
        SpaceStage.RUNNING,
        SpaceStage.RUNNING_BUILDING,
        SpaceStage.RUNNING_APP_STARTING,
    }
)

Prices = Mapping[str, Decimal]
"""Dollars for an hour of one replica, by flavor."""

UNKNOWN: Final = "unknown"

ZERO: Final = Decimal(0)
_MICRO: Final = Decimal(1_000_000)
_CENT: Final = Decimal("0.01")
_UNITS_PER_HOUR: Final = {"minute": 60, "hour": 1}
_FREE_FLAVORS: Final = (SpaceHardware.CPU_BASIC, SpaceHardware.ZERO_A10G)
"""Without a price by the Hub's documentation, should its list not have them."""


@frozen
class Sum:
    """A sum of amounts. Some of them may not be known.

    Attributes:
        known: The sum of those that are.
        unknown: How many are not.
    """

    known: Decimal = ZERO
    unknown: int = 0

    @property
    def exact(self) -> Decimal | None:
        """The sum; None if a part of it is not known."""
        return None if self.unknown else self.known

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.known + other.known, self.unknown + other.unknown)


def total(amounts: Iterable[Decimal | None]) -> Sum:
    """Add up amounts; None is one that is not known."""
    known, unknown = ZERO, 0
    for amount in amounts:
        if amount is None:
            unknown += 1
        else:
            known += amount
    return Sum(known, unknown)


# Prices and rates ----------------------------------------------------------------


def prices(flavors: Iterable[HardwareFlavor]) -> dict[str, Decimal]:
    """Return what an hour costs by flavor, without those whose price is not known."""
    found = {str(flavor): ZERO for flavor in _FREE_FLAVORS}
    for flavor in flavors:
        price = hourly(flavor)
        if price is not None:
            found[str(flavor.name)] = price
    return found


def hourly(flavor: HardwareFlavor) -> Decimal | None:
    """Return what an hour of a flavor costs; None if that is not known."""
    units = _UNITS_PER_HOUR.get(flavor.unit_label or "")
    price = _micro(flavor.unit_cost_micro_usd)
    if price is None and flavor.unit_cost_usd is not None:
        price = Decimal(str(flavor.unit_cost_usd))
    return None if units is None or price is None or price < 0 else price * units


def rate(info: SpaceInfo, flavors: Prices) -> Decimal | None:
    """Return what a Space costs for an hour as it is now, in dollars.

    Returns:
        0 if it is not billed now; None if its stage, its flavor, the price or the
        number of its replicas is not known.
    """
    runtime = info.runtime
    if info.sdk is SpaceSdk.STATIC:
        return ZERO
    if runtime is None or not runtime.stage.is_known:
        return None
    if not is_billed(runtime.stage):
        return ZERO
    return rate_when_running(info, flavors)


def rate_when_running(
    info: SpaceInfo,
    flavors: Prices,
    *,
    flavor: str | None = None,
    replicas: int | None = None,
) -> Decimal | None:
    """Return what a Space costs for an hour while its app runs, in dollars.

    It is what a restart of a paused Space begins to cost, and with `flavor` or
    `replicas` what a Space would cost after such a change.

    Args:
        info: The Space.
        flavors: The prices.
        flavor: A flavor in place of its own.
        replicas: A number of replicas in place of its own.

    Returns:
        None if it is not known.
    """
    runtime = info.runtime
    if info.sdk is SpaceSdk.STATIC or (runtime is not None and _has_none(runtime)):
        return ZERO
    wanted = flavor or (None if runtime is None else billed_flavor(runtime))
    price = None if wanted is None else flavors.get(str(wanted))
    if price == 0:
        return ZERO
    count = replicas
    if count is None and runtime is not None:
        count = replica_count(runtime)
    return None if price is None or count is None else price * count


def is_billed(stage: SpaceStage) -> bool:
    """Return whether the flavor is paid for in this stage."""
    return stage in BILLED_STAGES


def billed_flavor(runtime: SpaceRuntime) -> SpaceHardware | None:
    """Return the flavor that it runs on, or would run on; None if it is not known."""
    running = is_billed(runtime.stage)
    now, wanted = runtime.hardware, runtime.requested_hardware
    return (now if running else None) or wanted or now


def replica_count(runtime: SpaceRuntime) -> int | None:
    """Return how many replicas are paid for; None if it is not known.

    A runtime without replicas has one. "auto" is as many as run now.
    """
    replicas = runtime.replicas
    if replicas is None:
        return None if _names(runtime, "replicas") else 1
    if is_billed(runtime.stage) and replicas.current:
        return replicas.current
    if isinstance(replicas.requested, int):
        return replicas.requested
    return None


def _has_none(runtime: SpaceRuntime) -> bool:
    """Return whether it has no hardware, as the runtime of a static Space."""
    none = runtime.hardware is None and runtime.requested_hardware is None
    return none and not _names(runtime, "hardware") and is_billed(runtime.stage)


def _names(runtime: SpaceRuntime, field: str) -> bool:
    """Return whether a field of a runtime could not be read."""
    return any(problem.startswith(f"$.{field}") for problem in runtime.problems)


# Bills -----------------------------------------------------------------------------


def line_cost(line: UsageLine) -> Decimal | None:
    """Return what a line of a bill costs, in dollars; None if it cannot be read.

    What the Hub grants for free costs nothing, whatever its line says.
    """
    if line.free_grant:
        return ZERO
    cost = _micro(line.total_cost_micro_usd)
    if cost is None and line.quantity is not None:
        unit = _micro(line.unit_cost_micro_usd)
        cost = None if unit is None else unit * Decimal(str(line.quantity))
    return cost


def usage_total(usage: BillingUsage) -> Sum:
    """Return what all lines of a bill about Spaces cost, unreadable ones included."""
    found = total(line_cost(line) for line in usage.spaces)
    return found + Sum(unknown=_lines_left_out(usage))


def _lines_left_out(usage: BillingUsage) -> int:
    sent: Any = usage.raw.get("usage")
    lines: Any = sent.get("Spaces") if isinstance(sent, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return max(0, len(lines) - len(usage.spaces)) if isinstance(lines, list) else 0  # pyright: ignore[reportUnknownArgumentType]


def by_space(
    usage: BillingUsage, spaces: Iterable[SpaceInfo]
) -> tuple[dict[str, Sum], dict[str, Sum]]:
    """Return what a bill says of each of some Spaces, and of all others.

    A line belongs to the Space with its `entity_id`; without such a one, to that with
    its label as id or as name.

    Returns:
        The costs by the Space's id, and those of lines about no such Space (deleted or
        renamed since, or not chosen) by their label.
    """
    known = _known_spaces(spaces)
    mine: dict[str, Sum] = {}
    others: dict[str, Sum] = {}
    for line in usage.spaces:
        repo_id = _space_of(line, known)
        place = others if repo_id is None else mine
        key = repo_id or line.label or line.entity_id or UNKNOWN
        place[key] = place.get(key, Sum()) + total([line_cost(line)])
    return mine, others


def granted(usage: BillingUsage, spaces: Iterable[SpaceInfo]) -> frozenset[str]:
    """Return the ids of the Spaces whose use now is a free grant."""
    known = _known_spaces(spaces)
    lines = (line for line in usage.spaces if line.free_grant and line.active)
    found = (_space_of(line, known) for line in lines)
    return frozenset(repo_id for repo_id in found if repo_id is not None)


def _known_spaces(spaces: Iterable[SpaceInfo]) -> dict[str, str]:
    """Return the ids by what a line of a bill may name a Space by."""
    known: dict[str, str] = {}
    listed = list(spaces)
    for info in listed:
        known.setdefault(info.name, info.id)
    for info in listed:
        known[info.id] = info.id
        internal = info.raw.get("_id")
        if isinstance(internal, str):
            known[internal] = info.id
    return known


def _space_of(line: UsageLine, known: Mapping[str, str]) -> str | None:
    return known.get(line.entity_id or "") or known.get(line.label or "")


# How it is written -----------------------------------------------------------------


def dollars(amount: Decimal | None) -> str:
    """Return an amount as "$12.50"; "unknown" if it is not known.

    What is not 0 does not look like 0: less than half a cent is "<$0.01".
    """
    if amount is None:
        return UNKNOWN
    cents = abs(amount).quantize(_CENT, ROUND_HALF_UP)
    if amount and not cents:
        return f"<${_CENT}"
    return f"{'-' if amount < 0 else ''}${cents:,}"


def per_hour(amount: Decimal | None) -> str:
    """Return a rate as "$0.05/h"; "unknown" if it is not known."""
    return UNKNOWN if amount is None else f"{dollars(amount)}/h"


def _micro(amount: float | None) -> Decimal | None:
    """Return millionths of a dollar as dollars."""
    # By its text: the float of 0.1 is not 0.1.
    return None if amount is None else Decimal(str(amount)) / _MICRO
