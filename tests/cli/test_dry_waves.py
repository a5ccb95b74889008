"""Waves are seen before anything is sent: in a dry run, in a question, in a line."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from spaces_async.testing import FakeHub
from tests.cli.conftest import Spaces

IDS: Final = [f"acme/s{number}" for number in range(6)]


@pytest.fixture
def fleet(hub: FakeHub) -> FakeHub:
    """Six Spaces that run, one that is paused, and a static one."""
    hub.add_org("acme", members={"tester": "write"})
    for repo_id in IDS:
        hub.add_space(repo_id)
    hub.add_space("acme/off", stage="PAUSED")
    hub.add_space("acme/page", sdk="static")
    return hub


def order(result: Any) -> list[str]:
    """Return the Spaces that a dry run would change, in their order."""
    rows = [line.split("\t") for line in result.lines]
    return [row[0] for row in rows if row[1] == "change"]


def test_a_dry_run_shows_the_waves(fleet: FakeHub, spaces: Spaces) -> None:
    """How many are in each, of those that are sent to, and who is the canary."""
    words = ("pause", "--org", "acme", "--dry-run")
    result = spaces(*words, "--waves", "1,3", "--probe", "/up", "--pause-between", "1m")
    first, *_ = order(result)
    assert len(order(result)) == 6
    assert (
        f"In 3 waves: 1 ({first}), then 2, then 3, 1m between them; each must be"
        " paused and answer at /up.\n" in result.err
    )
    three = ", ".join(order(result)[:3])
    shown = spaces(*words, "--waves", "5").err
    assert f"In 2 waves: 5 ({three} and 2 more), then 1;" in shown
    assert "In one wave of all 6;" in spaces(*words, "--waves", "50").err
    found = json.loads(spaces(*words, "--waves", "1,50%", "--json").out)
    assert found["waves"] == [1, 2, 3]
    assert "waves" not in json.loads(spaces(*words, "--json").out)
    assert "wave" not in spaces(*words).err


def test_a_question_shows_the_waves(fleet: FakeHub, spaces: Spaces) -> None:
    """Who says yes has seen the canary."""
    result = spaces("pause", "--org", "acme", "--waves", "1,100%")
    assert result.code == 2
    assert "  in 2 waves: 1 (acme/s" in result.err
    assert "), then 5; each must be paused\n" in result.err


@pytest.mark.parametrize("yes", [True, False])
def test_what_is_not_asked_is_said(fleet: FakeHub, spaces: Spaces, yes: bool) -> None:
    """A run that nobody is asked about says it too; ids go in the order given."""
    if yes:
        result = spaces("pause", "--org", "acme", "--waves", "50", "--yes")
        assert "In one wave of all 6; each must be paused." in result.err
    else:
        result = spaces("pause", IDS[3], IDS[1], IDS[2], "--waves", "1,100%")
        assert f"In 2 waves: 1 ({IDS[3]}), then 2;" in result.err
    assert result.code == 0


@pytest.mark.parametrize("waves", ["5,1", "3,1,2", "1,1", "50%,20%"])
def test_waves_that_do_not_rise(fleet: FakeHub, spaces: Spaces, waves: str) -> None:
    """They are no waves: which one was meant is not known."""
    result = spaces("pause", *IDS, "--waves", waves, "--yes")
    assert result.code == 2
    assert "each wave must be larger than the one before" in result.err
    assert not fleet.requests


def test_a_dry_run_shows_the_plan_that_is_too_large(
    fleet: FakeHub, spaces: Spaces
) -> None:
    """First what would be changed, then the verdict; without a dry run just that."""
    words = ("pause", "--org", "acme", "--max-targets")
    result = spaces(*words, "2", "--dry-run")
    assert result.code == 2
    assert sorted(order(result)) == IDS
    totals, verdict = result.err.splitlines()
    assert totals.startswith("Dry run: nothing was sent. Pause: 6 to change")
    assert verdict == "Error: pause would change 6 Spaces, and --max-targets allows 2."
    assert spaces(*words, "6", "--dry-run").code == 0
    refused = spaces(*words, "2", "--yes")
    assert (refused.code, refused.out) == (2, "")
