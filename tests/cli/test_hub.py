"""`info`, `search`, `templates`, `flavors` and `quota`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from spaces_async.testing import FakeHub, Fault

Spaces = Callable[..., Any]


def card(result: Any) -> dict[str, str]:
    return dict(line.split("\t") for line in result.lines)


def test_info(org: FakeHub, spaces: Spaces) -> None:
    """All that is known of a Space is on a card, and nothing that is not."""
    org.add_space(
        "acme/big",
        hardware="t4-small",
        sleep_time=7200,
        models=[f"m/{number}" for number in range(7)],
        volumes=[{"type": "model", "source": "a/b", "mountPath": "/m"}],
    )
    space = org.space("acme/big")
    space.dev_mode, space.replicas = True, 2
    space.domains.append({"domain": "x.io", "stage": "PENDING", "isCustom": True})
    space._running_sha = "0" * 40
    shown = card(spaces("info", "acme/big"))
    assert shown["page"] == f"{org.url}/spaces/acme/big"
    assert shown["stage"] == "RUNNING"
    assert shown["hardware"] == "t4-small"
    assert shown["sleeps after"] == "2h"
    assert shown["replicas"] == "2"
    assert shown["models"] == "m/0, m/1, m/2, m/3, m/4 and 2 more"
    assert shown["volumes"] == "hf://models/a/b:/m:ro"
    assert shown["domains"] == "x.io (PENDING)"
    assert shown["commit"].endswith(", but 0000000 runs")
    assert shown["ssh"] == "ssh acme-big@ssh.hf.space"
    assert "error" not in shown
    failed = card(spaces("info", "acme/bad-1"))
    assert failed["error"] == "out of memory"
    assert "ssh" not in failed
    assert "sleeps after" not in card(spaces("info", "acme/off"))
    assert "hardware" in card(spaces("info", "acme/off"))
    assert card(spaces("info", "acme/off"))["visibility"] == "private"


def test_info_as_json_is_what_the_hub_said(org: FakeHub, spaces: Spaces) -> None:
    """`--json` adds and takes away nothing; a missing Space is an error."""
    document = json.loads(spaces("info", "acme/run-1", "--json").out)
    assert document["id"] == "acme/run-1"
    assert document["runtime"]["hardware"]["requested"] == "t4-small"
    missing = spaces("info", "acme/none")
    assert missing.code == 1
    assert missing.err.startswith("Error: ")


def test_a_card_on_a_terminal(org: FakeHub, spaces: Spaces) -> None:
    """On a terminal the labels stand in a column, and a failure is red."""
    result = spaces("info", "acme/bad-1", terminal=True)
    assert "\x1b[31mRUNTIME_ERROR" in result.out
    assert "\x1b[31mout of memory" in result.out
    assert "\t" not in result.out


def test_search(hub: FakeHub, spaces: Spaces) -> None:
    """The words are one query; filters and --limit narrow what is found."""
    hub.add_space("a/photo", short_description="remove the background of a photo")
    hub.add_space("a/chat", sdk="docker", short_description="chat with a photo")
    hub.add_space("a/idle", stage="PAUSED", short_description="photo background")
    result = spaces("search", "photo", "background")
    assert result.lines == [
        "a/photo\tRUNNING\tgradio\t0\tremove the background of a photo",
        "a/chat\tRUNNING\tdocker\t0\tchat with a photo",
    ]
    assert spaces("search", "photo", "--sdk", "DOCKER").lines[0].startswith("a/chat")
    assert len(spaces("search", "photo", "--all").lines) == 3
    assert len(spaces("search", "photo", "--all", "-n", "1").lines) == 1
    assert spaces("search", "photo", "--tag", "docker").lines[0].startswith("a/chat")
    none = spaces("search", "photo", "--category", "Music")
    assert none.code == 0
    assert "Nothing found for 'photo'. --all includes those that do not run" in none.err
    document = json.loads(spaces("search", "photo", "background", "--json").out)
    assert document[0]["semanticRelevancyScore"] == 1.0
    assert "WHAT IT DOES" in spaces("search", "photo", terminal=True).out


def test_templates(hub: FakeHub, spaces: Spaces) -> None:
    """What can be started from, with its SDK."""
    row = "SpacesExamples/jupyterlab\tJupyterLab\tdocker\tprivate"
    assert row in spaces("templates").lines
    document = json.loads(spaces("templates", "--json").out)
    assert "repoId" in document[0]


def test_flavors(hub: FakeHub, spaces: Spaces) -> None:
    """Prices are those of an hour: a number for scripts, dollars for people."""
    lines = spaces("flavors").lines
    assert "t4-small\t0.40\t4 vCPU\t15 GB\tNvidia T4, 16 GB" in lines
    assert "cpu-basic\t0.00\t2 vCPU\t16 GB\t-" in lines
    assert any(line.endswith("4x Nvidia L4, 96 GB") for line in lines)
    gpus = spaces("flavors", "--gpu").lines
    assert gpus
    assert not any(line.startswith("cpu-") for line in gpus)
    shown = spaces("flavors", terminal=True).out
    assert "$0.40" in shown
    assert "free" in shown
    document = json.loads(spaces("flavors", "--json").out)
    assert {f["name"]: f["usdPerHour"] for f in document}["t4-small"] == 0.4


def test_a_flavor_with_another_unit(hub: FakeHub, spaces: Spaces) -> None:
    """A price that is not per minute is shown as the Hub gives it."""
    rows = [
        {"name": "new", "unitCostUSD": 2.5, "unitLabel": "day"},
        {"name": "odd", "accelerator": {"type": "neuron", "quantity": "6"}},
    ]
    body = json.dumps(rows)
    hub.faults("GET /hardware", Fault.status(200, body=body), times=None)
    result = spaces("flavors")
    assert result.lines == ["new\t2.5/day\t-\t-\t-", "odd\t-\t-\t-\t6x neuron"]


def test_quota(hub: FakeHub, spaces: Spaces) -> None:
    """It says what is left, not what is used, and when it is full again."""
    fresh = card(spaces("quota"))
    assert fresh["left"] == "210 of 210 GPU seconds"
    assert "first use" in fresh["resets"]
    hub._world.zero_gpu["tester"] = 30.0
    used = card(spaces("quota"))
    assert used["left"] == "180 of 210 GPU seconds"
    written = r"20\d\d-\d\d-\d\d \d\d:\d\d \S+ \(in (24h|23h 59m)\)"
    assert re.fullmatch(written, used["resets"])
    assert json.loads(spaces("quota", "--json").out)["current"] == 180.0
    assert spaces("quota", "--anonymous").code == 3


@pytest.mark.parametrize("used", [0, 12])
def test_quota_beyond(hub: FakeHub, spaces: Spaces, used: int) -> None:
    """What is used beyond the quota, and the runs, are shown where they are told."""
    told = {
        "base": 210,
        "current": 0,
        "resetsAt": None,
        "overquotaUsed": used,
        "runs": {"used": 3, "limit": 10, "remaining": 7, "resetsAt": None},
    }
    hub.faults("GET /quota", Fault.status(200, body=json.dumps(told)))
    shown = card(spaces("quota"))
    assert shown.get("beyond it") == ("12 GPU seconds used" if used else None)
    assert shown["runs left"] == "7 of 10"
