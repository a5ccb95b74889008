"""The table of `status`: its columns, their order of importance, sorting, totals."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from attrs import frozen

from spaces_async import _costs
from spaces_async._costs import Prices
from spaces_async.cli._cost_text import money
from spaces_async.cli._errors import reason
from spaces_async.cli._output import hardware_text, plural, sleep_text, stage_text
from spaces_async.cli._status_options import COLUMNS, USUAL
from spaces_async.errors import SpacesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from spaces_async.cli._output import Cell, Output
    from spaces_async.client import SpacesClient
    from spaces_async.models import SpaceInfo, SpaceStage

__all__ = [
    "Layout",
    "StatusView",
    "layout_of",
    "read_prices",
    "sorted_spaces",
    "totals",
]

_SHORT_SHA_CHARACTERS: Final = 7


class Layout(NamedTuple):
    """Which columns to show, and how.

    Attributes:
        names: The columns, from left to right.
        wide: Whether nothing is left out or wrapped, however wide it gets.
    """

    names: tuple[str, ...] = USUAL
    wide: bool = False


_SPARE: Final = (
    *("commit", "visibility", "replicas", "sdk", "sleeps", "hardware", "rate"),
)
"""What a narrow terminal does without, the first one first: never the Space, its stage
and its error."""


@frozen
class StatusView:
    """Rows of Spaces in some columns.

    Attributes:
        layout: The columns.
        prices: What an hour costs by flavor; None if that was not read.
    """

    layout: Layout
    prices: Prices | None = None

    @property
    def titles(self) -> list[str]:
        """The titles of the columns."""
        return [_TITLES.get(name, name) for name in self.layout.names]

    @property
    def spare(self) -> list[str]:
        """The titles of those that may be left out, the first one first."""
        if self.layout.wide:
            return []
        return [_TITLES.get(n, n) for n in _SPARE if n in self.layout.names]

    @property
    def tight(self) -> list[str]:
        """The titles of those for which the error is wrapped more: what runs costs."""
        return [_TITLES.get(name, name) for name in ("hardware", "rate")]

    def rate(self, info: SpaceInfo) -> Decimal | None:
        """Return what a Space costs for an hour now; None if it is not known."""
        return None if self.prices is None else _costs.rate(info, self.prices)

    def row(self, info: SpaceInfo) -> list[Cell]:
        """Return the cells of a Space."""
        return [self.cell(info, name) for name in self.layout.names]

    def cell(self, info: SpaceInfo, name: str) -> Cell:
        """Return one cell."""
        return self._rate_text(info) if name == "rate" else _CELLS[name](info)

    def _rate_text(self, info: SpaceInfo) -> str:
        rate = self.rate(info)
        return "-" if rate == 0 else _costs.per_hour(rate)


def layout_of(columns: Sequence[str], *, wide: bool, people: bool) -> Layout:
    """Return the layout for what was asked.

    Args:
        columns: The columns that were named; empty for the usual ones.
        wide: Whether to show all.
        people: Whether a terminal shows it; a pipe keeps the columns it has always had.
    """
    if columns:
        return Layout(tuple(columns), wide=True)
    if wide:
        return Layout(COLUMNS, wide=True)
    return Layout(USUAL if people else tuple(n for n in USUAL if n != "rate"))


async def read_prices(
    output: Output, client: SpacesClient, infos: Sequence[SpaceInfo]
) -> Prices:
    """Read the price list if a Space may cost something."""
    free = _costs.prices(())
    if all(_costs.rate(info, free) == 0 for info in infos):
        return free
    try:
        return _costs.prices(await client.hardware.list_flavors())
    except SpacesError as error:
        output.say(f"The price list cannot be read: {reason(error)}.")
        return free


def sorted_spaces(
    infos: Iterable[SpaceInfo],
    by: str,
    rate: Callable[[SpaceInfo], Decimal | None],
) -> list[SpaceInfo]:
    """Return Spaces in an order; those that are equal in it are by name.

    Args:
        infos: The Spaces.
        by: "stage" (failed first), "rate" (the dearest first), "name", "hardware" or
            "sdk".
        rate: What a Space costs for an hour.
    """

    def dearness(info: SpaceInfo) -> tuple[bool, bool, Decimal]:
        # What is not known may be dear: it stands before what costs nothing.
        amount = rate(info)
        return (amount == 0, amount is None, -(amount or Decimal(0)))

    keys: Mapping[str, Callable[[SpaceInfo], tuple[object, ...]]] = {
        "stage": lambda info: (_urgency(info.stage), str(info.stage)),
        "rate": dearness,
        "name": lambda _: (),
        "hardware": lambda info: (hardware_text(info.runtime),),
        "sdk": lambda info: (str(info.sdk or "~"),),
    }
    key = keys[by]
    return sorted(infos, key=lambda info: (*key(info), info.id))


_KINDS: Final = ("failed", "building", "unknown", "running", "idle")
"""By urgency."""


def _urgency(stage: SpaceStage | None) -> int:
    groups = (
        stage is not None and stage.is_failed,
        stage is not None and stage.is_transitional,
        stage is None or not stage.is_known,
        stage is not None and stage.is_running,
    )
    return next((place for place, is_so in enumerate(groups) if is_so), len(groups))


def totals(
    infos: Sequence[SpaceInfo], rate: Callable[[SpaceInfo], Decimal | None]
) -> str:
    """Return how many Spaces there are of each kind, and what they cost for an hour."""
    counts = Counter(_kind(info.stage) for info in infos)
    parts = [f"{counts[kind]} {kind}" for kind in _KINDS if counts[kind]]
    cost = money(_costs.total(rate(info) for info in infos), hourly=True)
    if cost == _costs.UNKNOWN:
        cost = "cost unknown"
    return f"{plural(len(infos))}: {', '.join(parts)}; {cost} now."


def _kind(stage: SpaceStage | None) -> str:
    return _KINDS[_urgency(stage)]


def _replicas(info: SpaceInfo) -> str:
    count = None if info.runtime is None else _costs.replica_count(info.runtime)
    return "-" if count is None else str(count)


def _visibility(info: SpaceInfo) -> str:
    if info.private is None:
        return "-"
    return "private" if info.private else "public"


def _commit(info: SpaceInfo) -> str:
    sha = (info.runtime.sha if info.runtime else None) or info.sha
    return sha[:_SHORT_SHA_CHARACTERS] if sha else "-"


_TITLES: Final[Mapping[str, str]] = {
    "space": "Space",
    "rate": "$/h",
    "sleeps": "sleeps after",
}
_CELLS: Final[Mapping[str, Callable[[SpaceInfo], Cell]]] = {
    "space": lambda info: info.id,
    "stage": lambda info: stage_text(info.stage),
    "hardware": lambda info: hardware_text(info.runtime),
    "sleeps": lambda info: sleep_text(info.runtime),
    "replicas": _replicas,
    "sdk": lambda info: str(info.sdk or "-"),
    "visibility": _visibility,
    "commit": _commit,
    "error": lambda info: (info.runtime.error_message if info.runtime else None) or "",
}
