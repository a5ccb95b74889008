"""`costs` and `sweep`: what Spaces cost, and what is paid for and not used."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spaces_async import SpaceMetrics
from spaces_async.cli import _use
from spaces_async.cli._use import Question, Sample, Use, judge
from spaces_async.testing import FakeHub, Fault

Spaces = Callable[..., Any]
Writes = Callable[[FakeHub], list[str]]

IDLE = {"cpu_usage_pct": 0.2}
BUSY = {"cpu_usage_pct": 40.0}
QUICK = ("--sample", "0.01")
"""The sample begins with the first measurement, which comes at once."""


@pytest.fixture
def money(hub: FakeHub) -> FakeHub:
    """An org in which two paid Spaces run unused, one is used, one has no price."""
    hub.add_space("acme/idle", hardware="t4-small", replicas=2, load=IDLE)
    hub.add_space("acme/old", hardware="a10g-small", load=IDLE)
    hub.add_space("acme/busy", hardware="a10g-large", load=BUSY)
    hub.add_space("acme/novel", hardware="h200x8", load=IDLE)
    hub.add_space("acme/asleep", hardware="l4x1", stage="SLEEPING")
    hub.add_space("acme/free")
    hub.add_space("acme/site", sdk="static")
    return hub


def cells(result: Any) -> dict[str, list[str]]:
    return {line.split("\t")[0]: line.split("\t")[1:] for line in result.lines}


def test_costs_in_a_pipe(money: FakeHub, spaces: Spaces) -> None:
    """Each Space that costs something is a line, the dearest first; unknown is no 0."""
    result = spaces("costs", "--org", "acme", *QUICK)
    assert result.code == 0
    rows = cells(result)
    assert list(rows) == ["acme/busy", "acme/old", "acme/idle", "acme/novel"]
    assert rows["acme/busy"][:2] == ["a10g-large", "1.5000"]
    assert rows["acme/busy"][-1] == "in use"
    assert rows["acme/idle"][:2] == ["t4-small x2", "0.8000"]
    assert rows["acme/idle"][-1] == "unused"
    assert rows["acme/novel"][1] == "unknown"
    assert "3 Spaces cost nothing; --all shows them." in result.err
    assert "In all: $3.30/h and 1 unknown, " in result.err
    assert " since 20" in result.err
    assert "Pausing these 2 saves $1.80/h" in result.err


def test_one_listing_one_bill_and_a_stream_for_each(
    money: FakeHub, spaces: Spaces
) -> None:
    """Only what is paid for and runs is measured; a Space is never read by itself."""
    spaces("costs", "--org", "acme", *QUICK)
    paths = sorted(request.path for request in money.requests)
    assert paths == [
        "/api/organizations/acme/billing/usage",
        "/api/spaces",
        "/api/spaces/acme/busy/metrics",
        "/api/spaces/acme/idle/metrics",
        "/api/spaces/acme/novel/metrics",
        "/api/spaces/acme/old/metrics",
        "/api/spaces/hardware",
        "/api/whoami-v2",
    ]


def test_costs_on_a_terminal(money: FakeHub, spaces: Spaces) -> None:
    """At 80 columns all of the table is there, amounts end at the same column."""
    result = spaces("costs", "--org", "acme", *QUICK, terminal=True, columns=80)
    text = _plain(result.out)
    assert all(len(line) <= 80 for line in text.splitlines())
    lines = text.splitlines()
    assert lines[0].split() == ["SPACE", "HARDWARE", "PER", "HOUR", "THIS", "MONTH", "NOW"]  # fmt: skip
    ends = {line.index("/h") for line in lines if "/h" in line}
    assert len(ends) == 1
    assert "$0.80/h" in text
    assert "unknown" in text
    narrow = spaces("costs", "--org", "acme", *QUICK, terminal=True, columns=50)
    text = _plain(narrow.out)
    assert "…" not in text
    assert "HARDWARE" not in text


def test_what_was_spent(money: FakeHub, spaces: Spaces) -> None:
    """The bill is told for each Space; what is no longer listed is on it, too."""
    bill = [
        _line("acme/idle", 1_250_000, entityId=money.space("acme/idle").oid),
        _line("acme/gone", 2_000_000.5),
        _line("acme/old", 7_000_000, freeGrant=True, active=True),
        _line("acme/hidden", 1, active=True),
    ]
    _bill(money, bill)
    rows = cells(spaces("costs", "--org", "acme", "--no-sample"))
    assert rows["acme/idle"][2] == "1.2500"
    assert rows["acme/gone"][1:] == ["0.0000", "2.0000", "not listed"]
    # Someone else's Space that runs costs what is not known.
    assert rows["acme/hidden"][1:] == ["unknown", "0.0000", "not listed"]
    # A grant costs nothing, whatever stands on the bill.
    assert "acme/old" not in rows
    # It runs and is paid for: one of the lines above may be its own.
    assert rows["acme/busy"][2] == "unknown"
    said = spaces("costs", "--org", "acme", "--no-sample").err
    assert "In all: $2.30/h and 2 unknown, $3.25 since 2026-11-01." in said
    some = cells(spaces("costs", "--org", "acme", "--match", "idle", "--no-sample"))
    assert list(some) == ["acme/idle"]


def test_an_unreadable_line_makes_the_total_unknown(
    money: FakeHub, spaces: Spaces
) -> None:
    """A bill of which a part cannot be read never looks smaller than it is."""
    _bill(money, [_line("acme/idle", 1_250_000), 7])
    result = spaces("costs", "--org", "acme", "--no-sample")
    assert ", $1.25 and 1 unknown since" in result.err
    assert "acme (unreadable)" in cells(result)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_without_the_bill_it_is_an_estimate(
    money: FakeHub, spaces: Spaces, status: int
) -> None:
    """Who may not read the bill gets rates, called an estimate, and no amount of 0."""
    money.faults("GET /billing/usage", Fault.status(status), times=None)
    result = spaces("costs", "--org", "acme", "--no-sample")
    assert result.code == 0
    assert "The bill of acme cannot be read" in result.err
    assert "$3.30/h and 1 unknown (an estimate)." in result.err
    assert cells(result)["acme/busy"][1:3] == ["1.5000", "unknown"]
    data = json.loads(spaces("costs", "--org", "acme", "--no-sample", "--json").out)
    assert data["estimate"] is True
    assert data["usd_this_period"] is None


def test_without_a_price_list_no_rate_is_known(money: FakeHub, spaces: Spaces) -> None:
    """A mirror without the list of flavors makes paid rates unknown, not 0."""
    money.faults("GET /api/spaces/hardware", Fault.status(404))
    result = spaces("costs", "--org", "acme", "--no-sample")
    assert "The price list cannot be read" in result.err
    assert "In all: unknown" in result.err
    assert cells(result)["acme/busy"][1] == "unknown"


def test_costs_as_json(money: FakeHub, spaces: Spaces) -> None:
    """JSON has all Spaces, numbers, null for what is not known, and the sums."""
    data = json.loads(spaces("costs", "--org", "acme", *QUICK, "--json").out)
    by_id = {space["id"]: space for space in data["spaces"]}
    assert len(by_id) == 7
    assert by_id["acme/idle"]["usd_per_hour"] == 0.80004
    assert by_id["acme/idle"]["replicas"] == 2
    assert by_id["acme/novel"]["usd_per_hour"] is None
    assert by_id["acme/free"]["usd_per_hour"] == 0
    assert by_id["acme/free"]["use"] is None
    assert (data["usd_per_hour"], data["unknown_rates"]) == (None, 1)
    assert data["unused"] == ["acme/old", "acme/idle"]
    assert data["saves_usd_per_hour"] == 1.80006
    assert data["estimate"] is False


def test_costs_as_csv(money: FakeHub, spaces: Spaces) -> None:
    """A spreadsheet gets all Spaces, and runs nothing that a bill says."""
    _bill(money, [_line("=HYPERLINK(1)", 1_000_000)])
    result = spaces("costs", "--org", "acme", *QUICK, "--csv", "--sort", "name")
    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert [row["id"] for row in rows] == sorted(
        ["'=HYPERLINK(1)", *money.spaces], key=lambda i: i.removeprefix("'")
    )
    idle = next(row for row in rows if row["id"] == "acme/idle")
    assert idle["usd_per_hour"] == "0.800040"
    assert (idle["use"], idle["stage"]) == ("unused", "RUNNING")
    novel = next(row for row in rows if row["id"] == "acme/novel")
    assert novel["usd_per_hour"] == "unknown"
    both = spaces("costs", "--org", "acme", "--csv", "--json")
    assert both.code == 2


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("rate", ["busy", "old", "idle", "novel", "asleep"]),
        ("month", ["asleep", "idle", "busy", "free", "novel"]),
        ("name", ["asleep", "busy", "free", "idle", "novel"]),
        ("now", ["old", "idle", "novel", "busy", "asleep"]),
    ],
)
def test_sort(money: FakeHub, spaces: Spaces, sort: str, first: list[str]) -> None:
    """What is not known stands before what is free, never after it."""
    _bill(money, [_line("acme/asleep", 9e6), _line("acme/idle", 1e6)])
    result = spaces("costs", "--org", "acme", *QUICK, "--all", "--sort", sort)
    assert [i.removeprefix("acme/") for i in cells(result)][:5] == first


def test_costs_of_ids(money: FakeHub, spaces: Spaces) -> None:
    """Ids work as well as an org, over several owners; one that is missing fails."""
    money.add_space("tester/mine", hardware="cpu-upgrade", load=BUSY)
    result = spaces("costs", "acme/idle", "tester/mine", "acme/none", *QUICK)
    assert result.code == 1
    assert list(cells(result)) == ["acme/idle", "tester/mine"]
    assert "acme/none: 404" in result.err
    assert money.count("GET", "/api/settings/billing/usage") == 1


def test_a_busy_space_is_not_unused_however_old(money: FakeHub, spaces: Spaces) -> None:
    """`--unused-for` narrows: only what is unchanged for that long, and not used."""
    long_ago = datetime.now(UTC) - timedelta(days=30)
    for name in ("old", "busy"):
        money.space(f"acme/{name}").last_modified = long_ago
    lately = datetime.now(UTC) - timedelta(days=2, hours=1)
    money.space("acme/idle").last_modified = lately
    rows = cells(spaces("costs", "--org", "acme", *QUICK, "--unused-for", "14d"))
    assert rows["acme/old"][-1] == "unused"
    assert rows["acme/busy"][-1] == "in use"
    assert rows["acme/idle"][-1] == "idle, committed 2d ago"
    alone = ("--no-sample", "--unused-for", "14d")
    rows = cells(spaces("costs", "--org", "acme", *alone))
    assert rows["acme/busy"][-1] == "unused"
    assert rows["acme/idle"][-1] == "committed 2d ago"
    data = json.loads(spaces("costs", "--org", "acme", *alone, "--json").out)
    use = {space["id"]: space["use"] for space in data["spaces"]}
    assert (use["acme/busy"], use["acme/idle"]) == ("unused", "changed lately")


def test_what_cannot_be_measured_is_unknown(money: FakeHub, spaces: Spaces) -> None:
    """A Space without metrics is not called unused, and the reason is told."""
    money.faults("GET /metrics", Fault.status(406), repo_id="acme/old", times=None)
    result = spaces("costs", "--org", "acme", *QUICK)
    assert cells(result)["acme/old"][-1] == "unknown"
    assert "Whether 1 Space is used is unknown: 406" in result.err
    assert "Pausing this one saves $0.80/h" in result.err


def test_a_sample_waits_for_a_first_measurement(
    money: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that says nothing ends, and proves nothing."""
    monkeypatch.setattr(_use, "_FIRST_MEASUREMENT_SECONDS", 0.01)
    money.faults("GET /metrics", Fault.hang(), times=None)
    result = spaces("costs", "acme/old", *QUICK)
    assert cells(result)["acme/old"][-1] == "unknown"
    assert "no measurement came" in result.err


# The judgement ---------------------------------------------------------------------


def at(replica: str = "a", **more: Any) -> SpaceMetrics:
    measured = {"cpu_usage_pct": 0.0, "rx_bps": 0.0, "tx_bps": 0.0, **more}
    return SpaceMetrics(replica=replica, **measured)


@pytest.mark.parametrize(
    ("measured", "replicas", "use"),
    [
        ([at()], 1, Use.UNUSED),
        ([at(cpu_usage_pct=0.99)], 1, Use.UNUSED),
        ([at(cpu_usage_pct=1.0)], 1, Use.IN_USE),
        ([at(rx_bps=0.1)], 1, Use.IN_USE),
        ([at(tx_bps=1)], 1, Use.IN_USE),
        ([at(gpus={"x": {"utilization": 3}})], 1, Use.IN_USE),
        ([at(gpus={"x": {"utilization": 0}, "y": {"utilization": 0}})], 1, Use.UNUSED),
        ([at(gpus={"x": {"utilization": "?"}})], 1, Use.UNKNOWN),
        ([at(gpus={"x": 7})], 1, Use.UNKNOWN),
        ([at(cpu_usage_pct=None)], 1, Use.UNKNOWN),
        ([at(cpu_usage_pct=None, tx_bps=5)], 1, Use.IN_USE),
        ([at(), at(), at(rx_bps=9), at()], 1, Use.IN_USE),
        ([at("a"), at("b")], 2, Use.UNUSED),
        ([at("a"), at("a")], 2, Use.UNKNOWN),
        ([at("a")], None, Use.UNUSED),
        ([], 1, Use.UNKNOWN),
    ],
)
def test_judgement(
    measured: list[SpaceMetrics], replicas: int | None, use: Use
) -> None:
    """Any use is use; unused is what was measured whole, and did nothing."""
    found = judge(measured, replicas)
    assert found.use is use
    assert (found.why is None) == (use is not Use.UNKNOWN)


NOW = datetime(2026, 1, 31, tzinfo=UTC)
FRESH, OLD = NOW - timedelta(days=1), NOW - timedelta(days=14)
DAYS_14 = 14 * 86400.0


@pytest.mark.parametrize(
    ("question", "sample", "changed", "use"),
    [
        (Question(5), Use.UNUSED, None, Use.UNUSED),
        (Question(5), Use.IN_USE, OLD, Use.IN_USE),
        (Question(5), None, None, Use.UNKNOWN),
        (Question(5, DAYS_14), Use.UNUSED, OLD, Use.UNUSED),
        (Question(5, DAYS_14), Use.UNUSED, FRESH, Use.RECENT),
        (Question(5, DAYS_14), Use.IN_USE, OLD, Use.IN_USE),
        (Question(5, DAYS_14), Use.UNKNOWN, OLD, Use.UNKNOWN),
        (Question(5, DAYS_14), Use.UNKNOWN, FRESH, Use.RECENT),
        (Question(5, DAYS_14), Use.UNUSED, None, Use.UNKNOWN),
        (Question(None, DAYS_14), None, OLD, Use.UNUSED),
        (Question(None, DAYS_14), None, FRESH, Use.RECENT),
        (Question(None, None), None, OLD, Use.UNKNOWN),
    ],
)
def test_all_that_was_asked_has_to_hold(
    question: Question, sample: Use | None, changed: datetime | None, use: Use
) -> None:
    """One sign of use is enough against "unused"; then one thing that is not known."""
    taken = None if sample is None else Sample(sample)
    assert question.answer(taken, changed, NOW) is use


# sweep -----------------------------------------------------------------------------


def test_sweep_pauses_what_is_unused(
    money: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """It names paid Spaces without use, with prices, and pauses these alone."""
    result = spaces("sweep", "--org", "acme", "--yes", *QUICK)
    assert result.code == 0
    assert sorted(writes(money)) == [
        "POST /api/spaces/acme/idle/pause",
        "POST /api/spaces/acme/old/pause",
    ]
    assert "2 of 4 paid Spaces now running are unused" in result.err
    assert "acme/old     $1.00/h  a10g-small" in result.err
    assert "Left alone, since the price is unknown: acme/novel." in result.err
    assert "That saves $1.80/h." in result.err
    again = spaces("sweep", "--org", "acme", "--yes", *QUICK)
    assert again.code == 0
    assert "Nothing to pause." in again.err
    assert len(writes(money)) == 2


def test_sweep_as_json_is_a_report(money: FakeHub, spaces: Spaces) -> None:
    """A program gets one report, with an outcome for each paused Space, or with none."""
    data = json.loads(spaces("sweep", "--org", "acme", "--yes", *QUICK, "--json").out)
    assert data["operation"] == "pause"
    assert [o["repo_id"] for o in data["outcomes"]] == ["acme/old", "acme/idle"]
    data = json.loads(spaces("sweep", "--org", "acme", "--yes", *QUICK, "--json").out)
    assert data["outcomes"] == []


def test_sweep_asks(money: FakeHub, spaces: Spaces, writes: Writes) -> None:
    """Without --yes and a terminal nothing is sent, and the saving is in the question."""
    result = spaces("sweep", "--org", "acme", *QUICK)
    assert result.code == 2
    assert "Pause these 2, which saves $1.80/h?" in result.err
    quiet = spaces("sweep", "acme/old", *QUICK, "--quiet")
    assert quiet.code == 2
    assert "acme/old  " in quiet.err
    assert writes(money) == []


def test_sweep_dry_run(money: FakeHub, spaces: Spaces, writes: Writes) -> None:
    """A dry run prints the plan, needs no answer and sends nothing."""
    result = spaces("sweep", "--org", "acme", "--dry-run", *QUICK)
    assert result.code == 0
    assert [line.split("\t")[::4] for line in result.lines] == [
        ["acme/old", "POST /api/spaces/acme/old/pause"],
        ["acme/idle", "POST /api/spaces/acme/idle/pause"],
    ]
    assert "2 to change, 2 requests, saves $1.80/h" in result.err
    assert writes(money) == []


def test_costs_and_sweep_of_a_part(
    money: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """Both take the conditions of other commands: what these rule out is left alone."""
    part = ("--org", "acme", "--exclude", "old", "--tag", "trial")
    money.space("acme/old").tags = ["trial"]
    money.space("acme/idle").tags = ["trial"]
    costs = json.loads(spaces("costs", *part, *QUICK, "--json").out)
    assert [cost["id"] for cost in costs["spaces"]] == ["acme/idle"]
    assert spaces("sweep", *part, "--yes", *QUICK).code == 0
    assert writes(money) == ["POST /api/spaces/acme/idle/pause"]


def test_sweep_leaves_a_grant(money: FakeHub, spaces: Spaces, writes: Writes) -> None:
    """What the Hub gives for free saves nothing by being paused."""
    _bill(money, [_line("acme/old", 1e6, freeGrant=True, active=True)])
    spaces("sweep", "acme/old", "--yes", *QUICK)
    assert writes(money) == []


def test_sweep_counts_only_what_it_paused(
    money: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """What failed saves nothing, and is the exit code."""
    money.faults("POST /pause", Fault.status(403), repo_id="acme/old")
    result = spaces("sweep", "--org", "acme", "--yes", *QUICK)
    assert result.code == 3
    assert "That saves $0.80/h." in result.err


def test_sweep_has_to_know_what_unused_is(
    money: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a sample and an age it is wrong usage; without a token nothing is read."""
    result = spaces("sweep", "--org", "acme", "--no-sample")
    assert result.code == 2
    assert "--unused-for TIME" in result.err
    both = spaces("sweep", "--org", "acme", "--no-sample", "--sample", "5s")
    assert both.code == 2
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    assert spaces("sweep", "--org", "acme").code == 3
    assert money.requests == []


# Help ------------------------------------------------------------------------------


def _line(label: str, cost: float, **more: Any) -> dict[str, Any]:
    return {
        "entityId": "f" * 24,
        "label": label,
        "product": "spaces/t4-small/minutes",
        "productPrettyName": "T4",
        "quantity": 1,
        "unitLabel": "minute",
        "unitCostMicroUSD": 1,
        "totalCostMicroUSD": cost,
        "active": False,
        **more,
    }


def _bill(hub: FakeHub, lines: list[Any]) -> None:
    """Let the Hub send a bill with these lines."""
    period = {
        "_id": "0" * 24,
        "entityId": "1" * 24,
        "entityType": "org",
        "entityName": "acme",
        "periodStart": "2026-11-01T00:00:00.000Z",
        "periodEnd": "2026-12-01T00:00:00.000Z",
    }
    body = json.dumps({"usage": {"Spaces": lines}, "period": period})
    json_type = {"Content-Type": "application/json"}
    answer = Fault.status(200, body=body, headers=json_type)
    hub.faults("GET /billing/usage", answer, times=None)


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
