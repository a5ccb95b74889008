"""The arithmetic of money: rates, bills, sums, and how amounts are written."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async import (
    BillingUsage,
    CostEstimate,
    HardwareFlavor,
    Replicas,
    SpaceHardware,
    SpaceInfo,
    SpaceRate,
    SpaceRuntime,
    SpaceSdk,
    SpaceStage,
    UsageLine,
)
from spaces_async import _costs as costs

BILLED = {SpaceStage.RUNNING, SpaceStage.RUNNING_BUILDING, SpaceStage.RUNNING_APP_STARTING}  # fmt: skip
PRICES = {
    "cpu-basic": Decimal(0),
    "t4-small": Decimal("0.40002"),
    "a10g-large": Decimal("1.5"),
}


def space(
    stage: str = "RUNNING",
    now: str | None = "t4-small",
    wanted: str | None = "t4-small",
    replicas: Replicas | None = None,
    **more: Any,
) -> SpaceInfo:
    runtime = SpaceRuntime(
        SpaceStage(stage),
        hardware=None if now is None else SpaceHardware(now),
        requested_hardware=None if wanted is None else SpaceHardware(wanted),
        replicas=replicas,
        problems=more.pop("problems", ()),
    )
    return SpaceInfo("acme/demo", runtime=runtime, **more)


@pytest.mark.parametrize("stage", SpaceStage)
def test_only_what_runs_is_billed(stage: SpaceStage) -> None:
    """In the three running stages a Space has the price of its flavor, else 0."""
    expected = PRICES["t4-small"] if stage in BILLED else 0
    assert costs.rate(space(stage), PRICES) == expected


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (space(replicas=Replicas(1, 1)), "0.40002"),
        (space(replicas=Replicas(3, 1)), "1.20006"),
        (space(replicas=Replicas(3, "auto")), "1.20006"),
        (space(replicas=Replicas(None, 2)), "0.80004"),
        (space(replicas=Replicas(None, "auto")), None),
        (space(replicas=Replicas(None, None)), None),
        (space(problems=("$.replicas: expected an object, got a string",)), None),
        # What it runs on is paid for, not what was asked for since.
        (space(now="t4-small", wanted="a10g-large"), "0.40002"),
        (space(now=None, wanted="a10g-large"), "1.5"),
        (space(now="cpu-basic", replicas=Replicas(None, "auto")), "0"),
        (space(now="tpu-v9"), None),
        (space("NEW_STAGE"), None),
        (SpaceInfo("acme/demo"), None),
        (SpaceInfo("acme/demo", sdk=SpaceSdk.STATIC), "0"),
        # The runtime of a static Space names no hardware.
        (space(now=None, wanted=None, replicas=Replicas(1, 1)), "0"),
        (space(now=None, wanted=None, problems=("$.hardware: expected an object",)), None),
    ],
)  # fmt: skip
def test_rate(info: SpaceInfo, expected: str | None) -> None:
    """The rate is price times replicas, and what is not known is not 0."""
    assert costs.rate(info, PRICES) == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "0.80004"),
        ({"flavor": "a10g-large"}, "3.0"),
        ({"flavor": "a10g-large", "replicas": 3}, "4.5"),
        ({"flavor": "cpu-basic"}, "0"),
        ({"flavor": "tpu-v9"}, None),
    ],
)
def test_rate_after_a_change(change: Any, expected: str | None) -> None:
    """What a restart or another flavor would cost is known before it is sent."""
    asleep = space("PAUSED", None, "t4-small", Replicas(None, 2))
    assert costs.rate(asleep, PRICES) == 0
    found = costs.rate_when_running(asleep, PRICES, **change)
    assert found == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("flavor", "expected"),
    [
        ({"unit_cost_micro_usd": 6667, "unit_label": "minute"}, "0.40002"),
        ({"unit_cost_usd": 0.006667, "unit_label": "minute"}, "0.40002"),
        ({"unit_cost_usd": 0.1, "unit_label": "hour"}, "0.1"),
        ({"unit_cost_micro_usd": 0, "unit_label": "minute"}, "0"),
        ({"unit_cost_micro_usd": 6667}, None),
        ({"unit_cost_micro_usd": 6667, "unit_label": "moon"}, None),
        ({"unit_cost_micro_usd": -1, "unit_label": "minute"}, None),
        ({"unit_label": "minute"}, None),
    ],
)
def test_prices(flavor: Any, expected: str | None) -> None:
    """A price is exact to the last digit; one that cannot be told is left out."""
    found = costs.prices([HardwareFlavor("new", **flavor)])
    assert found.get("new") == (None if expected is None else Decimal(expected))


def test_flavors_without_a_price_are_free_even_if_not_listed() -> None:
    """The Hub does not list ZeroGPU; a list that has a price for it is believed."""
    assert costs.prices([]) == {"cpu-basic": 0, "zero-a10g": 0}
    listed = HardwareFlavor("zero-a10g", unit_cost_usd=1.0, unit_label="hour")
    assert costs.prices([listed])["zero-a10g"] == 1


AMOUNTS = st.none() | st.decimals(0, 10**6, allow_nan=False, places=6)


@given(st.lists(AMOUNTS))
def test_a_sum_knows_what_it_lacks(amounts: list[Decimal | None]) -> None:
    """The known amounts add up exactly, in any order, and the unknown are counted."""
    found = costs.total(amounts)
    known = [amount for amount in amounts if amount is not None]
    assert found == costs.total(reversed(amounts))
    assert found.known == sum(known)
    assert found.unknown == len(amounts) - len(known)
    assert found.exact == (None if found.unknown else found.known)
    halves = costs.total(amounts[::2]) + costs.total(amounts[1::2])
    assert halves == found


@given(st.lists(st.integers(0, 10**9), max_size=300))
def test_a_bill_adds_up_without_floats(tenths: list[int]) -> None:
    """Tenths of millionths, which floats cannot hold, are not lost in a sum."""
    lines = tuple(
        UsageLine("spaces/t4-small/minutes", total_cost_micro_usd=n / 10)
        for n in tenths
    )
    assert BillingUsage(lines).total_usd == Decimal(sum(tenths)) / 10_000_000


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"total_cost_micro_usd": 0.1}, "1E-7"),
        ({"total_cost_micro_usd": 5e6, "free_grant": True}, "0"),
        ({"quantity": 1.5, "unit_cost_micro_usd": 6667.0}, "0.0100005"),
        ({"quantity": 1.5}, None),
        ({}, None),
    ],
)
def test_cost_of_a_line(line: Any, expected: str | None) -> None:
    """A grant costs nothing; a total that is missing is made of price and quantity."""
    found = UsageLine("spaces/t4-small/minutes", **line)
    assert found.cost_usd == (None if expected is None else Decimal(expected))
    usage = BillingUsage((found,))
    assert usage.total_usd == found.cost_usd


def test_a_line_that_was_left_out_makes_the_total_unknown() -> None:
    """A bill of which a part could not be read is not shown as a smaller one."""
    line = UsageLine("x", total_cost_micro_usd=1e6)
    raw: Any = {"usage": {"Spaces": [{}, {}]}}
    assert BillingUsage((line,), raw=raw).total_usd is None
    assert costs.usage_total(BillingUsage((line,), raw=raw)) == costs.Sum(Decimal(1), 1)


def test_lines_find_their_space() -> None:
    """By the internal id first, then by the label; the rest is told apart."""

    def line(entity: str | None, label: str | None) -> UsageLine:
        return UsageLine("x", entity, label, total_cost_micro_usd=1e6, active=True)

    one = SpaceInfo("acme/one", raw={"_id": "a" * 24})
    two = SpaceInfo("acme/two")
    lines = (
        line("a" * 24, "acme/renamed"),
        line("b" * 24, "acme/two"),
        line("b" * 24, "two"),
        line("c" * 24, "acme/gone"),
        line("d" * 24, None),
        line(None, None),
    )
    mine, others = costs.by_space(BillingUsage(lines), [one, two])
    assert mine == {
        "acme/one": costs.Sum(Decimal(1)),
        "acme/two": costs.Sum(Decimal(2)),
    }
    assert list(others) == ["acme/gone", "d" * 24, "unknown"]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.05", "$0.05/h"),
        ("37.5", "$37.50/h"),
        ("0.40002", "$0.40/h"),
        ("0.005", "$0.01/h"),
        ("0.0049", "<$0.01/h"),
        ("0", "$0.00/h"),
        ("1234567.891", "$1,234,567.89/h"),
        ("-0.5", "-$0.50/h"),
        (None, "unknown"),
    ],
)
def test_how_money_is_written(amount: str | None, text: str) -> None:
    """Two digits, and nothing that is not 0 looks like 0."""
    assert costs.per_hour(None if amount is None else Decimal(amount)) == text


@given(st.decimals(0, 10**9, allow_nan=False))
def test_only_nothing_is_written_as_nothing(amount: Decimal) -> None:
    """Whatever the amount, "$0.00" is said of 0 alone."""
    assert (costs.dollars(amount) == "$0.00") == (amount == 0)


def test_an_estimate_with_an_unknown_rate_has_no_sum() -> None:
    """One unknown rate makes the sum unknown, and says whose it is."""
    known = SpaceRate("acme/a", usd_per_hour=Decimal("0.1"))
    also = SpaceRate("acme/b", usd_per_hour=Decimal("0.2"))
    unknown = SpaceRate("acme/c")
    assert CostEstimate("acme", (known, also)).usd_per_hour == Decimal("0.3")
    estimate = CostEstimate("acme", (known, unknown))
    assert estimate.usd_per_hour is None
    assert estimate.unknown == (unknown,)
    assert estimate.to_dict()["is_estimate"] is True
    assert CostEstimate("acme", (known, also)).to_dict()["usd_per_hour"] == 0.3
