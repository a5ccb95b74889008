"""The conditions of a selection that a listing decides. Pure.

A condition of a Space is true, false, or not known, and then it says what would have to
be known. A listing may lack a field, and a flavor may have no known price.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from spaces_async.models import SpaceHardware, SpaceInfo

if TYPE_CHECKING:
    from datetime import datetime

    from spaces_async.bulk.selection import Selection
    from spaces_async.records import HardwareFlavor

__all__ = ["Condition", "Verdict", "conditions_of", "judge", "prices_of"]

Verdict = bool | str
"""Whether a condition holds; a text names what is not known."""

Condition = Callable[[SpaceInfo], Verdict]


def judge(info: SpaceInfo, conditions: Iterable[Condition]) -> Verdict:
    """Return whether a Space fits all conditions; one that is false decides."""
    unknown = ""
    for condition in conditions:
        verdict = condition(info)
        if verdict is False:
            return False
        if isinstance(verdict, str):
            unknown = unknown or verdict
    return unknown or True


def conditions_of(
    selection: Selection, before: datetime | None, prices: Mapping[str, float]
) -> list[Condition]:
    """Return the conditions of a selection, the cheapest first.

    Args:
        selection: The selection.
        before: The end of `modified_before`; None if it is no condition.
        prices: The price of each flavor, for `paid`.
    """
    conditions: list[Condition] = [
        partial(check, wanted)
        for name, check in _CHECKS
        if (wanted := getattr(selection, name)) is not None
    ]
    if before is not None:
        conditions.append(lambda info: _is_old(info.last_modified, before))
    if (paid := selection.paid) is not None:
        conditions.append(lambda info: _is_paid(_flavors(info), prices, wanted=paid))
    return conditions


def _is_in(value: object, wanted: Collection[object], what: str) -> Verdict:
    return what if value is None else value in wanted


def _has_any(
    values: Iterable[str] | None, wanted: frozenset[str], what: str
) -> Verdict:
    return what if values is None else not wanted.isdisjoint(values)


def _seen_by(info: SpaceInfo) -> str | None:
    if info.private is None:
        return None
    # A protected Space is listed as private.
    return "private" if info.private else "public"


def _groups(info: SpaceInfo) -> set[str]:
    """Return the names of its resource group: its id and its name."""
    group = info.resource_group or {}
    return {str(group[key]) for key in ("id", "name") if group.get(key)}


def _flavors(info: SpaceInfo) -> list[SpaceHardware] | None:
    """Return the flavor that a Space has, and the one that was requested for it.

    A static Space has none. None if the listing does not say.
    """
    if info.runtime is None:
        return None
    both = (info.runtime.hardware, info.runtime.requested_hardware)
    return [flavor for flavor in both if flavor is not None]


def _matches(info: SpaceInfo, patterns: Iterable[str]) -> bool:
    return any(_fits_pattern(info, pattern) for pattern in patterns)


def _fits_pattern(info: SpaceInfo, pattern: str) -> bool:
    owner, slash, name = pattern.rpartition("/")
    # Each part on its own: `*` must not cross the "/", or "demo-*" would take all
    # Spaces of an owner with such a name.
    if slash and not fnmatchcase(info.id.partition("/")[0], owner):
        return False
    return fnmatchcase(info.name, name)


def _is_old(modified: datetime | None, before: datetime) -> Verdict:
    if modified is None:
        return "time of the last change"
    return modified < before


def _is_paid(
    flavors: list[SpaceHardware] | None, prices: Mapping[str, float], *, wanted: bool
) -> Verdict:
    if flavors is None:
        return "hardware"
    if any(prices.get(flavor, 0.0) > 0 for flavor in flavors):
        return wanted
    for flavor in flavors:
        if flavor not in prices:
            return f"price of {str(flavor)!r}"
    return not wanted


def prices_of(flavors: Iterable[HardwareFlavor]) -> dict[str, float]:
    """Return the price of one unit of each flavor in US dollars, where it is known."""
    prices: dict[str, float] = {}
    for flavor in flavors:
        price = flavor.unit_cost_usd
        if price is None and flavor.unit_cost_micro_usd is not None:
            price = flavor.unit_cost_micro_usd / 1e6
        if price is not None:
            prices[str(flavor.name)] = price
    return prices


_CHECKS: Final[tuple[tuple[str, Callable[[Any, SpaceInfo], Verdict]], ...]] = (
    ("stages", lambda wanted, info: _is_in(info.stage, wanted, "stage")),
    ("sdks", lambda wanted, info: _is_in(info.sdk, wanted, "SDK")),
    ("visibility", lambda wanted, info: _is_in(_seen_by(info), wanted, "visibility")),
    ("match", lambda patterns, info: _matches(info, patterns)),
    ("exclude", lambda patterns, info: not _matches(info, patterns)),
    ("hardware", lambda wanted, info: _has_any(_flavors(info), wanted, "hardware")),
    ("tags", lambda wanted, info: _has_any(info.tags, wanted, "tags")),
    (
        "resource_group",
        lambda wanted, info: _has_any(_groups(info), wanted, "resource group"),
    ),
)
"""The attributes of a selection that need nothing but themselves, and what they ask."""
