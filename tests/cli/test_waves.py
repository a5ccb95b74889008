"""`--waves` and its kin: a roll-out in the shell."""

from __future__ import annotations

import pytest

from spaces_async.testing import FakeHub, Fault
from tests.cli.conftest import Spaces

IDS = [f"acme/wave-{number}" for number in range(4)]


@pytest.fixture
def fleet(hub: FakeHub) -> FakeHub:
    """Four Spaces that build in no time."""
    hub.add_org("acme", members={"tester": "write"})
    for repo_id in IDS:
        hub.add_space(repo_id)
    return hub


def test_a_canary_that_fails_halts_the_rest(fleet: FakeHub, spaces: Spaces) -> None:
    """The others are not attempted, the exit code says so, and why is told."""
    fleet.faults("POST /restart", Fault.status(409), repo_id=IDS[0])
    result = spaces("restart", *IDS, "--waves", "1,100%")
    assert result.code == 1
    assert sum(fleet.space(repo_id).restarts for repo_id in IDS) == 0
    assert "halted because a wave was not healthy" in result.err


def test_waves_that_are_well(fleet: FakeHub, spaces: Spaces) -> None:
    """One after the other is paused, and the command ends when all are."""
    result = spaces("pause", *IDS, "--waves", "1,50%", "--max-unavailable", "2")
    assert result.code == 0
    assert {str(fleet.space(repo_id).stage) for repo_id in IDS} == {"PAUSED"}


@pytest.mark.parametrize(
    "words",
    [("--waves", "1,x"), ("--waves", "0"), ("--max-unavailable", "120%"),
     ("--pause-between", "5"), ("--probe", "health"), ("--max-failures", "0%")],
)  # fmt: skip
def test_what_makes_no_sense(
    fleet: FakeHub, spaces: Spaces, words: tuple[str, ...]
) -> None:
    """It is wrong usage, and nothing is sent."""
    result = spaces("restart", *IDS, *words)
    assert result.code == 2
    assert not any(request.method == "POST" for request in fleet.requests)
