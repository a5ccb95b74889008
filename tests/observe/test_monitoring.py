"""The alert rules, the dashboard and the page on operations name what exists."""

from __future__ import annotations

import json
import re
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client import CollectorRegistry

from spaces_async import observe
from spaces_async._exporter.families import Families
from spaces_async._exporter.fleet import Reading
from spaces_async.bulk.report import OutcomeStatus, StopReason
from spaces_async.models import SpaceStage
from spaces_async.observe.prometheus import PrometheusObserver
from tests.observe.promtool import check_rules, run_rule_tests

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "docs" / "monitoring"
PAGE: Final = (ROOT / "docs" / "operations.md").read_text("utf-8")
RULES: Final = (FOLDER / "alerts.yml").read_text("utf-8")
DASHBOARD: Final[dict[str, Any]] = json.loads((FOLDER / "dashboard.json").read_text())

_METRIC: Final = re.compile(r"\b((?:hf|spaces_async)_[a-z_]+)\b")
_ALERT: Final = re.compile(r"alert: (\w+)")
_GRAFANA: Final = {"$__rate_interval": "5m", "$org": "acme|beta", "$job": ".*"}


def of_exporter() -> set[str]:
    """Return the metrics of the exporter."""
    return {family.name for family in Families(Reading(owners=())).collect()}


def of_client() -> dict[str, set[str]]:
    """Return the metrics of the observer, each with the names of its series."""
    registry = CollectorRegistry()
    PrometheusObserver(registry=registry)
    endings = {
        "counter": ("_total",),
        "histogram": ("_bucket", "_sum", "_count"),
        "gauge": ("",),
    }
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: {
            family.name + ending for ending in endings[family.type]
        }
        for family in registry.collect()
    }


def series() -> set[str]:
    """Return each name that a query may have."""
    return of_exporter().union(*of_client().values())


def queries() -> list[str]:
    """Return the queries of the dashboard, with their variables filled in."""
    found = [
        target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]
    for name, value in _GRAFANA.items():
        found = [query.replace(name, value) for query in found]
    assert not any("$" in query for query in found)
    return found


def test_rules_name_metrics_that_exist() -> None:
    """A rule on a metric that nobody has would never fire."""
    named = set(_METRIC.findall(RULES))
    assert named <= series()
    assert len(named) > 10


def test_the_dashboard_names_metrics_that_exist() -> None:
    """Each panel has a query, of metrics that exist."""
    variables = json.dumps(DASHBOARD["templating"])
    named = set(_METRIC.findall("\n".join([*queries(), variables])))
    assert named <= series()
    assert len(named) > 15
    assert all(p["type"] == "row" or p["targets"] for p in DASHBOARD["panels"])


@pytest.mark.parametrize("text", [RULES, "\n".join(queries())], ids=["rules", "panels"])
def test_queries_name_words_that_exist(text: str) -> None:
    """Stages, outcomes and reasons in queries are words of the package."""
    words = {
        "stage": {str(stage) for stage in SpaceStage},
        "status": {str(status) for status in OutcomeStatus} | {"429"},
        "stopped_by": {str(reason) for reason in StopReason},
        "reason": {"window", "action", "retry"},
    }
    found = re.findall(r'(\w+)(?:=|!=|=~|!~)"([^"]*)"', text)
    assert any(label == "stage" for label, _ in found)
    for label, value in found:
        for word in filter(None, value.split("|")):
            if label in words and word != "RUNNING.*":
                assert word in words[label], (label, word)


def test_promtool_accepts_the_rules() -> None:
    """The rules are valid."""
    assert f"{len(_ALERT.findall(RULES))} rules found" in check_rules(
        FOLDER / "alerts.yml"
    )


def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    """Prometheus's own unit tests of rules, with series that are good and bad."""
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    shutil.copy(Path(__file__).with_name("alerts_test.yml"), tmp_path)
    assert "SUCCESS" in run_rule_tests(tmp_path / "alerts_test.yml")


def test_promtool_accepts_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    """Each query is valid PromQL."""
    rules = [
        {"record": f"panel:{number}", "expr": query}
        for number, query in enumerate(queries())
    ]
    path = tmp_path / "panels.yml"
    # JSON is YAML.
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in check_rules(path)


def test_rates_look_back_over_several_scrapes() -> None:
    """A rate over one scrape is empty: Grafana's default is too short for our own."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            if "$__rate_interval" in target["expr"]:
                assert target.get("interval") == "1m", panel["title"]


def test_panels_have_room() -> None:
    """No panel lies on another one or sticks out, and each has an id of its own."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(p["title"], *(p["gridPos"][key] for key in "xywh")) for p in panels]
    for _, x, _, width, _ in places:
        assert x + width <= 24
    for one, other in combinations(places, 2):
        (_, x, y, width, height), (_, left, top, wide, high) = one, other
        beside = x + width <= left or left + wide <= x
        assert beside or y + height <= top or top + high <= y, (one, other)


def test_the_page_has_each_metric() -> None:
    """What can be scraped is described, and what is described can be scraped."""
    described = set(
        re.findall(r"^\| `((?:hf|spaces_async)_\w+)` \|", PAGE, re.MULTILINE)
    )
    assert described == of_exporter() | set(of_client())


def test_the_page_has_each_alert() -> None:
    """For each alert the page says what to do."""
    headings = re.findall(r"^### ((?:Hf|Spaces)\w+)$", PAGE, re.MULTILINE)
    assert headings == _ALERT.findall(RULES)


def test_the_page_has_each_event() -> None:
    """The table of events is complete."""
    events = set(observe.__all__) - {"Event", "Observer"}
    rows = "\n".join(line for line in PAGE.splitlines() if line.startswith("| `"))
    assert {event for event in events if f"`{event}`" not in rows} == set()
