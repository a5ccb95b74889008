"""Plans in the shell: what is shown is what is sent, and no more."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from typing import Any, cast

import pytest

from spaces_async.testing import FakeHub

Spaces = Callable[..., Any]
Writes = Callable[[FakeHub], list[str]]
HubThread = Any


@pytest.fixture
def answer(spaces: Spaces) -> Callable[..., Any]:
    """Run a command at a terminal, with an answer."""

    def run(text: str, *args: str, **more: Any) -> Any:
        master, slave = os.openpty()
        with os.fdopen(slave) as stdin:
            os.write(master, text.encode())
            result = spaces(*args, stdin=stdin, **more)
        os.close(master)
        return result

    return run


def test_the_question_has_the_price(org: FakeHub, answer: Callable[..., Any]) -> None:
    """What wakes a paid Space, or moves it, says what that costs."""
    org.add_space("acme/big", stage="PAUSED", hardware="a10g-small")
    wake = answer("n\n", "restart", "--org", "acme", "--stage", "paused")
    assert "2 to change, 2 requests, 2 restarts\n" in wake.err
    assert "Restart 2 Spaces of acme, which costs $1.00/h more? [y/N]" in wake.err
    move = answer("n\n", "hardware", "cpu-basic", "--org", "acme", "--match", "run-1")
    assert "(flavor: cpu-basic), which saves $0.40/h? [y/N]" in move.err
    same = answer("n\n", "sleep-time", "2h", "--org", "acme", "--match", "run-1")
    assert "$" not in same.err


def test_the_shown_plan_is_what_is_applied(
    org: FakeHub, hub_thread: HubThread, spaces: Spaces, writes: Writes
) -> None:
    """A Space that is new, or that others changed meanwhile, is not touched."""
    org.space("acme/run-1").set_config("variables", "K", "old")
    master, slave = os.openpty()

    def change_and_answer() -> None:
        org.space("acme/run-1").set_config("variables", "K", "theirs")
        org.add_space("acme/run-3")
        os.write(master, b"y\n")

    hub_thread.when(
        lambda: "[y/N]" in cast("Any", sys.stderr).getvalue(), change_and_answer
    )
    with os.fdopen(slave) as stdin:
        args = ("variables", "add", "K=new", "--org", "acme", "--match", "run-*")
        result = spaces(*args, stdin=stdin)
    os.close(master)
    assert "Add variable for 2 Spaces of acme" in result.err
    assert result.code == 0
    assert sorted(result.lines) == [
        "acme/run-1\tskipped\tdrift",
        "acme/run-2\tdone\tset",
    ]
    assert writes(org) == ["POST /api/spaces/acme/run-2/variables"]


def test_a_dry_run_as_json_is_the_plan(org: FakeHub, spaces: Spaces) -> None:
    """It is the document of `Plan.to_dict`, for an org as for ids."""
    document = json.loads(spaces("pause", "--org", "acme", "--dry-run", "--json").out)
    assert document["operation"] == "pause"
    assert document["requests"] == 4
    assert [change["reason"] for change in document["skipped"]] == ["static"]
    one = json.loads(spaces("pause", "acme/off", "--dry-run", "--json").out)
    assert one["changes"] == []
    assert one["unchanged"][0]["repo_id"] == "acme/off"


def test_a_dry_run_at_a_terminal(org: FakeHub, spaces: Spaces) -> None:
    """At 80 columns what changes is whole, and the requests need more room."""
    for columns, has_requests in ((80, False), (160, True)):
        result = spaces("pause", "--org", "acme", "--dry-run", terminal=True,
                        columns=columns)  # fmt: skip
        assert "stage: RUNTIME_ERROR -> PAUSED" in result.out
        assert ("POST /api/spaces/acme/bad-1/pause" in result.out) is has_requests
        plain = re.sub(r"\x1b\[[0-9;]*m", "", result.out)
        assert max(map(len, plain.splitlines())) <= columns
        assert "Dry run: nothing was sent." in result.err


@pytest.mark.parametrize(
    ("most", "allowed"), [("3", False), ("4", True), ("50%", False), ("60%", True)]
)
@pytest.mark.parametrize("which", ["--org", "ids"])
def test_max_targets(  # noqa: PLR0917  (fixtures)
    org: FakeHub, spaces: Spaces, writes: Writes, most: str, allowed: bool, which: str
) -> None:
    """A number, or a share of the owner's six Spaces, of what would be changed."""
    chosen: tuple[str, ...] = ("--org", "acme", "--yes")
    if which == "ids":
        chosen = ("acme/run-1", "acme/run-2", "acme/bad-1", "acme/bad-2", "acme/off")
    result = spaces("pause", *chosen, "--max-targets", most)
    assert result.code == (0 if allowed else 2)
    assert ("--max-targets allows" in result.err) is not allowed
    assert len(writes(org)) == (4 if allowed else 0)


@pytest.mark.parametrize("most", ["0", "-1", "0%", "101%", "all", "1.5"])
def test_what_is_no_number_of_targets(org: FakeHub, spaces: Spaces, most: str) -> None:
    """It is wrong usage, and nothing is read."""
    result = spaces("pause", "--org", "acme", f"--max-targets={most}")
    assert result.code == 2
    assert "is not a number such as 50, or a share such as 20%" in result.err
    assert org.requests == []


def test_a_script_says_how_many_it_deletes(
    org: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """Where the command does not name the Spaces, --yes needs their number."""
    chosen = ("--org", "acme", "--stage", "failed", "--yes")
    for args, stdin in (
        (chosen, ""),
        ((*chosen, "--count", "3"), ""),
        (("-", "--yes"), "acme/bad-1\nacme/bad-2\n"),
        (("acme/bad-1", "--yes", "--count", "2"), ""),
    ):
        result = spaces("delete", *args, stdin=stdin)
        assert result.code == 2
        assert "would be deleted" in result.err
    assert writes(org) == []
    assert spaces("delete", *chosen, "--count", "2").code == 0
    assert len(writes(org)) == 2


def test_an_org_whose_plan_does_not_cover_it(
    org: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """Where the Hub would refuse all, nothing is sent, and it is no success."""
    org._world.options.require_pro = True
    result = spaces("visibility", "protected", "--org", "acme", "--yes")
    assert result.code == 1
    assert "6 Spaces will be skipped: protected needs PRO or Team." in result.err
    assert "plan or payment method does not cover it" in result.err
    assert writes(org) == []
    looked = spaces("visibility", "protected", "--org", "acme", "--dry-run")
    assert looked.code == 0
    assert "protected needs PRO or Team" in looked.out


def test_an_org_that_may_not_be_written(
    org: FakeHub, spaces: Spaces, writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the token may change nothing it says so, sends nothing, and ends with 3."""
    org.add_token("hf_read", role="read")
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    result = spaces("visibility", "public", "--org", "acme", "--yes")
    assert result.code == 3
    assert "will be skipped: no write access." in result.err
    assert "use a write token" in result.err
    assert writes(org) == []
