"""The commands that change Spaces."""

from __future__ import annotations

import io
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from spaces_async._follow import stage_rules
from spaces_async.bulk import Outcome, OutcomeStatus
from spaces_async.cli import _app, _signals
from spaces_async.cli._output import Output
from spaces_async.cli._progress import ProgressDisplay
from spaces_async.testing import FakeHub, Fault, ManualClock

Spaces = Callable[..., Any]
Writes = Callable[[FakeHub], list[str]]
HubThread = Any


def test_restart(org: FakeHub, spaces: Spaces) -> None:
    """Each Space is restarted once; outcomes on stdout, the summary on stderr."""
    result = spaces("restart", "acme/bad-1", "acme/off", "acme/bad-1")
    assert result.code == 0
    assert result.lines == ["acme/bad-1\tdone\tRUNNING", "acme/off\tdone\tRUNNING"]
    assert "Restart: 2 done" in result.err
    assert org.space("acme/bad-1").restarts == 1
    assert org.space("acme/off").restarts == 1


def test_factory_reboot(org: FakeHub, spaces: Spaces) -> None:
    """`--factory` builds without the cache."""
    assert spaces("restart", "--factory", "acme/run-1").code == 0
    assert org.space("acme/run-1").factory_reboots == 1
    assert org.space("acme/run-1").restarts == 0


@pytest.fixture
def believing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds take no time here: let RUNNING right after a restart be the new one."""
    monkeypatch.setattr(stage_rules, "SETTLE_SECONDS", 0.0)


@pytest.mark.usefixtures("believing")
def test_restart_and_wait(org: FakeHub, spaces: Spaces) -> None:
    """`--wait` ends when they run; one that fails again is a failure with its error."""
    org.space("acme/bad-1").fails_with = "RUNTIME_ERROR"
    org.space("acme/bad-1").failure_message = "still out of memory"
    result = spaces("restart", "acme/bad-1", "acme/bad-2", "acme/no", "--wait")
    assert result.code == 1
    assert result.lines[0] == ("acme/bad-1\tfailed\tRUNTIME_ERROR: still out of memory")
    assert result.lines[1] == "acme/bad-2\tdone\tRUNNING"
    assert result.lines[2].startswith("acme/no\tfailed\t404")
    assert "To see why: spaces-async logs acme/bad-1 -n 20" in result.err
    assert org.space("acme/bad-1").restarts == 1
    document = json.loads(spaces("restart", "acme/bad-2", "--wait", "--json").out)
    assert document["operation"] == "restart and wait"
    assert document["counts"]["done"] == 1


@pytest.mark.usefixtures("believing")
def test_what_did_not_come_up_is_left_to_try_again(
    org: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """The run of a restart with `--wait` tells what failed, and it can be tried again."""
    org.space("acme/bad-1").fails_with = "RUNTIME_ERROR"
    result = spaces("restart", "acme/bad-1", "acme/bad-2", "--wait")
    assert result.code == 1
    run = json.loads(spaces("runs", "--json").out)[0]
    assert (run["done"], run["failed"]) == (1, 1)
    assert f"To try the 1 again: spaces-async retry-failed {run['run']}" in result.err
    again = spaces("retry-failed", "--last")
    assert again.code == 1  # It waits as well.
    org.space("acme/bad-1").fails_with = None
    mended = spaces("retry-failed", "--last")
    assert mended.code == 0
    assert mended.lines == ["acme/bad-1\tdone\thealthy"]
    assert len(writes(org)) == 4
    assert "Nothing has failed." in spaces("retry-failed", "--last").err


@pytest.mark.usefixtures("believing")
def test_hardware_and_wait(org: FakeHub, hub_thread: HubThread, spaces: Spaces) -> None:
    """`hardware --wait` ends when the Spaces run on it; a paused one is left alone."""
    result = spaces("hardware", "l40sx1", "acme/run-1", "acme/off", "--wait")
    assert result.code == 0, result.err
    assert org.space("acme/run-1").hardware == "l40sx1"
    assert result.lines == [
        "acme/run-1\tdone\tl40sx1, RUNNING",
        "acme/off\tdone\tl40sx1, PAUSED",
    ]
    hub_thread.slow_down(1000.0)
    late = spaces("hardware", "t4-small", "acme/run-1", "--wait", "--timeout", "0.3")
    assert late.code == 1
    assert "not t4-small" in late.out
    assert spaces("hardware", "t4-small", "acme/a", "--timeout", "1").code == 2


def test_wait_after_a_restart_is_not_fooled(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A RUNNING that may be from before the restart is looked at once more."""
    monkeypatch.setattr(stage_rules, "SETTLE_SECONDS", 0.9)
    assert spaces("restart", "acme/run-1", "--wait").code == 0
    assert org.count("GET", "/runtime") == 2


def test_waits_share_a_listing(
    hub: FakeHub, hub_thread: HubThread, spaces: Spaces
) -> None:
    """All are waited for at once, and no longer asked for one by one."""
    ids = [f"acme/s{number}" for number in range(40)]
    for repo_id in ids:
        hub.add_space(repo_id, stage="BUILDING")

    def finish() -> None:
        for repo_id in ids:
            hub.set_stage(repo_id, "RUNNING")

    hub_thread.when(lambda: hub.count("GET", "/api/spaces") > 0, finish)
    assert spaces("wait", *ids).code == 0
    # One look at each to confirm that it runs, and few before.
    assert hub.count("GET", "/runtime") < 60


def test_org_wide_write_leaves_static_spaces_out(
    org: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """What cannot be restarted is not sent, and that is said."""
    result = spaces("restart", "--org", "acme", "--yes")
    assert result.code == 0
    assert "1 static Space will be skipped: nothing runs there." in result.err
    assert len(result.lines) == 6
    assert "acme/site\tskipped\tstatic" in result.out
    assert len(writes(org)) == 5


def test_org_wide_pause_leaves_paused_ones_unchanged(
    org: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """What the listing shows as paused is not sent; both say so, with exit code 0."""
    result = spaces("pause", "--org", "acme", "--yes")
    assert result.code == 0
    assert "acme/off\tunchanged\talready paused" in result.lines
    assert "acme/site\tskipped\tstatic" in result.lines
    assert "1 Space will be left unchanged: already paused." in result.err
    assert "Pause: 4 done, 1 unchanged, 1 skipped in" in result.err
    assert len(writes(org)) == 4
    again = spaces("pause", "--org", "acme", "--yes", "--json")
    assert again.code == 0
    document = json.loads(again.out)
    assert document["counts"]["unchanged"] == 5
    reasons = {o["repo_id"]: (o["status"], o["reason"]) for o in document["outcomes"]}
    assert reasons["acme/site"] == ("skipped", "static")
    assert reasons["acme/run-1"] == ("unchanged", "already so")
    assert len(writes(org)) == 4


def test_nothing_left_to_ask(org: FakeHub, spaces: Spaces, writes: Writes) -> None:
    """Where all are so already there is nothing to confirm, and no terminal needed."""
    result = spaces("pause", "--org", "acme", "--stage", "paused")
    assert result.code == 0
    assert result.lines == ["acme/off\tunchanged\talready paused"]
    static = spaces("restart", "--org", "acme", "--sdk", "static", "--json")
    assert static.code == 0
    assert json.loads(static.out)["counts"]["skipped"] == 1
    assert writes(org) == []


def test_dry_run_leaves_out_what_is_already_so(org: FakeHub, spaces: Spaces) -> None:
    """It prints each Space with what would be done, or why nothing would."""
    result = spaces("pause", "--org", "acme", "--dry-run")
    assert result.code == 0
    plan = {line.split("\t")[0]: line.split("\t")[1:3] for line in result.lines}
    assert plan.pop("acme/off") == ["unchanged", "already paused"]
    assert plan.pop("acme/site") == ["skipped", "static"]
    assert plan.pop("acme/run-1") == ["change", "stage: RUNNING -> PAUSED"]
    assert plan.keys() == {"acme/run-2", "acme/bad-1", "acme/bad-2"}
    assert "4 to change, 1 unchanged, 1 skipped, 4 requests" in result.err


def test_ids_are_sent_as_given(org: FakeHub, spaces: Spaces, writes: Writes) -> None:
    """What can be undone is looked at first, but all is sent: the Hub decides."""
    result = spaces("pause", "acme/off", "acme/site")
    assert result.code == 0
    assert result.lines == ["acme/off\tdone\tPAUSED", "acme/site\tskipped\tstatic"]
    assert len(writes(org)) == 2
    org.requests.clear()
    assert spaces("restart", "acme/off").code == 0
    assert [f"{r.method} {r.path}" for r in org.requests] == [
        "POST /api/spaces/acme/off/restart"
    ]


@pytest.mark.parametrize(
    "args",
    [
        ("hardware", "t4-small", "--hardware", "t4-small"),
        ("sleep-time", "1h", "--match", "run-1"),
        ("dev-mode", "off", "--match", "run-*"),
        ("visibility", "public", "--match", "run-*"),
    ],
)
def test_a_listing_shows_more_than_stages(
    org: FakeHub, spaces: Spaces, writes: Writes, args: tuple[str, ...]
) -> None:
    """Flavor, sleep time, dev mode and visibility count as already so, too."""
    result = spaces(*args, "--org", "acme")
    assert result.code == 0, result.err
    assert {line.split("\t")[1] for line in result.lines} == {"unchanged"}
    assert writes(org) == []


def test_org_wide_write_without_a_terminal(
    org: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """Without --yes and without a terminal it refuses at once, and sends nothing."""
    result = spaces("pause", "--org", "acme", "--stage", "failed")
    assert result.code == 2
    assert "2 Spaces of acme: 1 " in result.err
    assert "acme/bad-" in result.err
    assert "add --yes" in result.err
    assert result.out == ""
    assert writes(org) == []


@pytest.mark.parametrize(("answer", "sent"), [("y\n", 2), ("\n", 0), ("nope\n", 0)])
def test_org_wide_write_asks(
    org: FakeHub, spaces: Spaces, answer: str, sent: int, writes: Writes
) -> None:
    """At a terminal it asks, and anything but yes sends nothing."""
    master, slave = os.openpty()
    with os.fdopen(slave) as stdin:
        os.write(master, answer.encode())
        result = spaces("pause", "--org", "acme", "--stage", "failed", stdin=stdin)
    os.close(master)
    assert "Pause 2 Spaces of acme? [y/N]" in result.err
    assert len(writes(org)) == sent
    assert result.code == (0 if sent else 1)
    assert ("Nothing was sent" in result.err) is not bool(sent)


def test_nothing_selected(org: FakeHub, spaces: Spaces) -> None:
    """A selection without a Space is no error; JSON stays JSON."""
    result = spaces("restart", "--org", "acme", "--match", "zzz")
    assert result.code == 0
    assert "nothing to do" in result.err
    assert result.out == ""
    empty = spaces("restart", "--org", "acme", "--match", "zzz", "--json")
    assert json.loads(empty.out)["outcomes"] == []


SECRET = "s3cret-Value"


def test_dry_run_of_a_copy(org: FakeHub, spaces: Spaces) -> None:
    """`--dry-run` prints the request on stdout, without secrets, and sends none."""
    args = ["duplicate", "--secret", f"A={SECRET}", "acme/run-1", "--dry-run"]
    result = spaces(*args)
    assert result.code == 0
    assert '{"key": "A", "value": "***"}' in result.out
    document = spaces(*args, "--json")
    assert json.loads(document.out)[0]["repo_id"] == "acme/run-1"
    assert SECRET not in result.out + result.err + document.out + document.err
    assert org.requests == []


def test_dry_run_of_an_org(org: FakeHub, spaces: Spaces) -> None:
    """For an org it reads the listing, the account and prices; it neither asks nor writes."""
    result = spaces("restart", "--org", "acme", "--stage", "failed", "--dry-run")
    assert result.code == 0
    assert len(result.lines) == 2
    assert [r.path for r in org.requests if r.method == "GET"] == [
        r.path for r in org.requests
    ]
    assert len(org.requests) == 3


def test_sleep_time_on_free_hardware(hub: FakeHub, spaces: Spaces) -> None:
    """The library's warning becomes a note, and many of them become a few."""
    ids = [f"acme/free-{number}" for number in range(6)]
    for repo_id in ids:
        hub.add_space(repo_id)
    result = spaces("sleep-time", "1h", *ids)
    assert result.code == 0
    assert result.err.count("cpu-basic") == 3
    assert "Note: 3 more of these." in result.err
    assert "UserWarning" not in result.err
    # What the Hub has now is told, and not what was asked for.
    assert result.lines[0] == "acme/free-0\tdone\tsleep time 48h"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("sleep-time", "5"), "sleep time 5s"),
        (("sleep-time", "never"), "sleep time never"),
        (("dev-mode", "on"), "dev mode on"),
        (("dev-mode", "off"), "dev mode off"),
        (("secrets", "add", "--set", "A=1"), "set"),
        (("variables", "add", "A=1", "B=2"), "set"),
        (("variables", "delete", "--key", "OLD"), "deleted"),
    ],
    ids=lambda each: "-".join(each) if isinstance(each, tuple) else "",
)
def test_an_outcome_says_what_was_set(
    hub: FakeHub, spaces: Spaces, args: tuple[str, ...], told: str
) -> None:
    """After a change of a setting the detail is the setting, not the stage."""
    hub.add_org("acme", members={"tester": "admin"}, plan="team")
    hub.add_space("acme/one", hardware="t4-small", variables={"OLD": "1"})
    result = spaces(*args, "acme/one")
    assert result.lines == [f"acme/one\tdone\t{told}"], result.err


def test_unknown_flavor(org: FakeHub, spaces: Spaces) -> None:
    """A flavor that neither we nor the Hub know is refused; --any-flavor sends it."""
    result = spaces("hardware", "t4-smal", "acme/run-1")
    assert result.code == 2
    assert "did you mean 't4-small'?" in result.err
    assert "--any-flavor" in result.err
    assert result.out == ""
    assert [r.path for r in org.requests] == ["/api/spaces/hardware"]
    sent = spaces("hardware", "t5-tiny", "acme/run-1", "--any-flavor")
    assert sent.code == 1
    assert "failed" in sent.out


def test_unknown_flavor_of_a_selection(org: FakeHub, spaces: Spaces) -> None:
    """A misspelt --hardware is no empty selection, for reads as for writes."""
    for command in ("list", "pause"):
        result = spaces(command, "--org", "acme", "--hardware", "t4_small")
        assert result.code == 2
        assert "did you mean 't4-small'?" in result.err
    known = spaces("pause", "--org", "acme", "--hardware", "l4x1")
    assert known.code == 0
    assert "nothing to do" in known.err
    odd = spaces("list", "--org", "acme", "--hardware", "t9-new", "--any-flavor")
    assert odd.code == 0


def test_unseen_org(org: FakeHub, spaces: Spaces, writes: Writes) -> None:
    """An org that shows no Space is a slip and an error, also beside one that does."""
    for args in (
        ("restart", "--org", "acmee", "--yes"),
        ("restart", "--org", "acme", "--org", "acmee", "--yes"),
        ("list", "--org", "acmee"),
        ("list", "--org", "acmee", "--json"),
    ):
        result = spaces(*args)
        assert result.code == 1
        assert "no Spaces of acmee are visible" in result.err
        assert result.out == ""
    assert writes(org) == []


@pytest.mark.parametrize(
    "case",
    [
        ({"HF_TOKEN": ""}, (), "HF_TOKEN is empty"),
        ({"HF_TOKEN": " "}, (), "HF_TOKEN is empty"),
        ({}, (), "run `hf auth login`"),
        ({}, ("--anonymous",), "--anonymous uses none"),
        ({"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, (), "IMPLICIT_TOKEN is set"),
        ({"HF_OIDC_RESOURCE": "x"}, (), "HF_OIDC_RESOURCE is set"),
        ({"COLAB_RELEASE_TAG": "x"}, (), "put the token into HF_TOKEN."),
        ({"HF_TOKEN_PATH": "", "HF_HOME": ""}, (), "no home directory"),
    ],
)
def test_no_token(
    org: FakeHub,
    spaces: Spaces,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    case: tuple[dict[str, str], tuple[str, ...], str],
) -> None:
    """A write without a token is refused, with the reason, before anything is listed."""
    variables, args, why = case

    def home() -> Path:  # of a bare uid in a container
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(Path, "home", home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = spaces("pause", "--org", "acme", "--yes", *args)
    assert result.code == 3
    assert why in result.err
    assert org.requests == []
    assert spaces("list", "--org", "acme", *args).code == 0


def test_variables(org: FakeHub, spaces: Spaces) -> None:
    """Variables are added to several Spaces, listed and deleted."""
    added = spaces(
        "variables", "add", "acme/run-1", "acme/run-2", "--set", "A=1", "--set", "B=x=y",
        "--description", "test",
    )  # fmt: skip
    assert added.code == 0
    assert org.space("acme/run-2").variables["B"].value == "x=y"
    assert org.space("acme/run-2").variables["A"].description == "test"
    listed = spaces("variables", "list", "acme/run-1")
    assert listed.lines == ["acme/run-1\tA\t1\ttest", "acme/run-1\tB\tx=y\ttest"]
    document = json.loads(
        spaces("variables", "list", "--org", "acme", "--match", "run-1", "--json").out
    )
    assert document[0]["value"] == "1"
    gone = spaces("variables", "delete", "acme/run-1", "--key", "A", "--key", "B")
    assert gone.code == 0
    assert org.space("acme/run-1").variables == {}


def test_a_step_that_fails_is_named(org: FakeHub, spaces: Spaces) -> None:
    """Of several keys, the error says which one failed and how many were done."""
    org.faults("POST /variables", Fault.status(400, message="too big"), after=1)
    result = spaces(
        "variables", "add", "acme/run-1", "--set", "A=1", "--set", "B=2", "--set", "C=3"
    )
    assert result.code == 1
    assert "too big (at B; 1 of 3 were done)" in result.out
    assert list(org.space("acme/run-1").variables) == ["A"]


def test_secrets_from_everywhere(
    org: FakeHub, spaces: Spaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source brings its value to the Hub and to no output; one newline goes."""
    monkeypatch.setenv("E1", f"{SECRET}-env")
    monkeypatch.setenv("OTHER", f"{SECRET}-other")
    file = tmp_path / "secret.pem"
    file.write_bytes(f"{SECRET}\r\nfile\n\n".encode())
    result = spaces(
        "-vv", "secrets", "add", "acme/run-1", "--from-env", "E1", "--from-env",
        "E2=OTHER", "--from-file", f"F={file}", "--from-stdin", "S", "--set",
        f"L={SECRET}=", "--description", "for tests",
        stdin=f"{SECRET}-stdin\n",
    )  # fmt: skip
    assert result.code == 0, result
    values = {k: s.value for k, s in org.space("acme/run-1").secrets.items()}
    assert values == {
        "E1": f"{SECRET}-env",
        "E2": f"{SECRET}-other",
        "F": f"{SECRET}\r\nfile\n",
        "S": f"{SECRET}-stdin",
        "L": f"{SECRET}=",
    }
    listed = spaces("secrets", "list", "acme/run-1")
    assert len(listed.lines) == 5
    assert "for tests" in listed.out
    for text in (result.out, result.err, listed.out):
        assert SECRET not in text
    gone = spaces("secrets", "delete", "acme/run-1", "--key", "E1")
    assert gone.code == 0
    assert "E1" not in org.space("acme/run-1").secrets


@pytest.mark.parametrize(
    "args",
    [
        ["--set", SECRET],
        ["--set", f"1{SECRET[0]}={SECRET}"],
        ["--set", f"A={SECRET}", "--set", f"A={SECRET}"],
        ["--set", f"A={SECRET}", "--from-env", "NO_SUCH_NAME"],
        ["--set", f"A={SECRET}", "--from-file", "B"],
        ["--set", f"A={SECRET}", "--from-file", "B=/nonexistent"],
        ["--set", f"A={SECRET}", "--from-stdin", "1"],
    ],
)
def test_a_malformed_secret_is_not_shown(
    org: FakeHub, spaces: Spaces, args: list[str]
) -> None:
    """Not even the message about a mistake repeats what may be the value."""
    result = spaces("secrets", "add", "acme/run-1", *args)
    assert result.code == 2
    assert SECRET not in result.out + result.err
    assert org.requests == []


@pytest.mark.parametrize("content", ["", "\n", "\r\n"])
def test_an_empty_secret_is_refused(
    org: FakeHub,
    spaces: Spaces,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
) -> None:
    """A command before the pipe that failed does not empty the secrets of an org."""
    file = tmp_path / "empty"
    file.write_bytes(content.encode())
    monkeypatch.setenv("NOTHING", "")
    add = ("secrets", "add", "--org", "acme", "--yes")
    for args in (
        (*add, "--from-stdin", "K"),
        (*add, "--from-file", f"K={file}"),
        (*add, "--from-env", "K=NOTHING"),
        ("create", "acme/new", "--sdk", "docker", "--secret-from-stdin", "K"),
    ):
        refused = spaces(*args, stdin=content)
        assert refused.code == 2
        assert "The value of K is empty" in refused.err
        assert "--allow-empty" in refused.err
    assert org.requests == []
    one = ("secrets", "add", "acme/run-1")
    assert spaces(*one, "--from-stdin", "K", "--allow-empty", stdin=content).code == 0
    assert org.space("acme/run-1").secrets["K"].value == ""
    # Who writes `K=` means it.
    assert spaces(*one, "--set", "L=").code == 0


@pytest.mark.parametrize(
    "args",
    [
        ["secrets", "add", "acme/run-1", f"API_KEY={SECRET}"],
        ["secrets", "add", f"API_KEY={SECRET}", "--from-stdin", "K"],
        ["secrets", "add", "acme/run-1", SECRET],
        ["secrets", "add", "acme/run-1", f"--{SECRET}"],
        ["secrets", "add", "acme/run-1", f"-{SECRET}"],
        ["secrets", "add", "acme/run-1", "--from-env", SECRET],
        ["secrets", "add", "acme/run-1", "--from-env", f"K={SECRET}"],
        ["secrets", "add", "acme/run-1", "--from-file", f"K={SECRET}"],
        ["secrets", "add", "acme/run-1", "--from-stdin", SECRET],
        ["secrets", "add", "acme/run-1", "--from-env", "E", "--deadline", SECRET],
        ["secrets", "add", "acme/run-1", "--from-env", "E", f"--deadline={SECRET}"],
        ["secrets", "add", "--org", "acme", "--stage", SECRET, "--from-env", "E"],
        ["secrets", "add", "--org", "acme", "--sdk", SECRET, "--from-env", "E"],
        ["secrets", "add", "--org", f"a {SECRET}", "--from-env", "E"],
        ["secrets", "add", "acme/run-1", "--json", f"--yes={SECRET}"],
        ["secrets", "delete", "acme/run-1", "--key", f"A={SECRET}"],
        ["secrets", "delete", "acme/run-1", SECRET, "--key", "A"],
        ["secrets", "list", "acme/run-1", SECRET],
        ["restart", "acme/run-1", f"API_KEY={SECRET}"],
        ["resume", __file__, f"API_KEY={SECRET}"],
        ["resume", __file__, "--set", SECRET],
        ["resume", __file__, "--from-env", f"API_KEY={SECRET}"],
        ["resume", SECRET * 20],
        ["create", "acme/new", SECRET, "--sdk", "docker"],
        ["create", "acme/new", "--sdk", SECRET],
        ["create", f"acme/{SECRET}!", "--sdk", "docker"],
        ["create", "acme/new", "--sdk", "docker", "--volume", SECRET],
        ["create", "acme/new", "--sdk", "docker", "--file", SECRET],
        ["create", "acme/new", "--sdk", "docker", "--secret", SECRET],
        ["create", "acme/new", "--sdk", "docker", "--sleep-time", f"{SECRET}'x"],
        ["duplicate", "acme/run-1", "acme/copy", SECRET],
        ["duplicate", "acme/run-1", f"{SECRET * 20}/copy/x"],
        ["duplicate", "acme/run-1", "--hardware", f"{SECRET} x"],
    ],
)
def test_what_is_refused_is_not_shown(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    """Where secrets are taken, any argument in the wrong place may be one."""
    monkeypatch.setenv("E", "value")
    result = spaces(*args, stdin="x\n")
    assert result.code == 2, result
    assert "Error: " in result.err
    assert SECRET not in result.out + result.err
    assert SECRET[:5] not in result.out + result.err
    assert org.requests == []


def test_a_refused_argument_is_named_by_its_place(spaces: Spaces) -> None:
    """The message says which one it was, and options keep their names."""
    result = spaces("secrets", "add", "acme/run-1", "--deadline", "hunter2")
    assert "'--deadline': (argument 3) is not a duration" in result.err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["add", "acme/a", "--from-env", "NOPE"], "variable 'NOPE' is not set."),
        (["add", "acme/a", "--from-env=S3_KEY"], "variable 'S3_KEY' is not set."),
        (
            ["add", "acme/a", "--from-env", f"API_KEY={SECRET}"],
            "The environment variable (argument 3) for API_KEY is not set.",
        ),
        (
            ["add", "acme/a", "--from-file", f"API_KEY={SECRET}"],
            "The file (argument 3) for API_KEY cannot be read: No such file",
        ),
        (["rotate", "API_KEY", "acme/a", "--from-env", "NOPE"], "'NOPE' is not set."),
        (
            ["rotate", "API_KEY", "acme/a", "--from-env", SECRET],
            "variable (argument 4) is not",
        ),
        (
            ["rotate", "API_KEY", "acme/a", "--from-file", "a.txt"],
            "file 'a.txt' cannot be read",
        ),
        (
            ["add", "acme/a", "--env-file", "nope.env"],
            "File 'nope.env' does not exist.",
        ),
        (["add", "acme/a", "--env-file=nope.env"], "File 'nope.env' does not exist."),
        (["add", "acme/a", "--env-file", "twice.env"], "twice.env: A is there twice."),
        (["add", "acme/a", "--env-file", f"A={SECRET}.env"], "(argument 3) does not"),
        (
            ["add", "acme/a", "--set", "A=SWORD", "--from-env", "SWORD"],
            "The environment variable (argument 3) is not set.",
        ),
        (
            ["add", "acme/a", "--from-env", "AKIAIOSFODNN7EXAMPLE"],
            "The environment variable (argument 3) is not set.",
        ),
    ],
)
def test_the_name_of_a_source_is_shown(
    spaces: Spaces,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    says: str,
) -> None:
    """A variable and a file are named where they are missing; what may be a value is not."""
    monkeypatch.chdir(tmp_path)
    Path("twice.env").write_text("A=1\nA=2\n", "utf-8")
    result = spaces("secrets", *args)
    assert result.code == 2
    assert says in " ".join(result.err.split())
    assert SECRET not in result.err


def test_variables_as_arguments(org: FakeHub, spaces: Spaces) -> None:
    """`KEY=VALUE` is taken among the ids, in any order, as with `--set`."""
    add = ("variables", "add")
    result = spaces(*add, "acme/run-1", "A=x=y", "acme/run-2", "--set", "B=2")
    assert result.code == 0
    for repo_id in ("acme/run-1", "acme/run-2"):
        found = {k: v.value for k, v in org.space(repo_id).variables.items()}
        assert found == {"A": "x=y", "B": "2"}
    assert "Which variable?" in spaces(*add, "acme/run-1").err
    assert "A is given twice" in spaces(*add, "acme/run-1", "A=1", "--set", "A=2").err


def test_ids_and_secret_cannot_share_stdin(
    org: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """Stdin is either the ids or the value."""
    result = spaces("secrets", "add", "-", "--from-stdin", "A", stdin="acme/run-1\n")
    assert result.code == 2
    assert writes(org) == []


def test_a_failing_secret_is_not_shown(org: FakeHub, spaces: Spaces) -> None:
    """An error of the Hub about a secret does not show it either, even with -vv."""
    org.faults("POST /secrets", Fault.status(400, message="refused"), times=None)
    for extra in ([], ["-vv"], ["--json"]):
        result = spaces(*extra, "secrets", "add", "acme/run-1", "--set", f"A={SECRET}")
        assert result.code == 1
        assert SECRET not in result.out + result.err


def test_duplicate(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy gets what was asked for; stdout is its id."""
    monkeypatch.setenv("API_KEY", SECRET)
    result = spaces(
        "duplicate", "acme/run-1", "copy", "--private", "--hardware", "t4-small",
        "--sleep-time", "1h", "--variable", "A=1", "--secret-from-env", "API_KEY",
    )  # fmt: skip
    assert result.code == 0, result
    assert result.out == "tester/copy\n"
    copy = org.space("tester/copy")
    assert copy.private
    assert copy.variables["A"].value == "1"
    assert copy.secrets["API_KEY"].value == SECRET
    assert copy.requested_hardware == "t4-small"
    again = spaces("duplicate", "acme/run-1", "tester/copy")
    assert again.code == 1
    assert again.err.startswith("Error: ")
    document = json.loads(spaces("duplicate", "acme/run-2", "--json").out)
    assert document["repo_id"] == "tester/run-2"
    assert SECRET not in result.out + result.err


def test_duplicate_of_unknown_outcome(org: FakeHub, spaces: Spaces) -> None:
    """If it is unknown whether there is a copy, it says where to look."""
    org.faults("POST /duplicate", Fault.status(500), times=None)
    org.faults("GET /api/spaces/{id}", Fault.status(500), times=None)
    result = spaces("--call-timeout", "2", "duplicate", "acme/run-1", "tester/copy")
    assert result.code == 1
    assert "spaces-async status tester/copy" in result.err


def test_exit_code_3_of_a_bulk(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failures that are all of permission end with 3; a mixture ends with 1."""
    org.add_token("hf_read", role="read")
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    result = spaces("restart", "acme/run-1", "acme/run-2")
    assert result.code == 3
    assert "needs write access" in result.err
    mixed = spaces("restart", "acme/run-1", "acme/none")
    assert mixed.code == 1


def test_a_refused_token_stops_a_bulk(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong token is not tried on every Space."""
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    ids = [f"acme/s{number}" for number in range(50)]
    result = spaces("restart", *ids, "--concurrency", "1")
    assert result.code == 3
    assert len(org.requests) < 10
    assert "stopped because the token is refused" in result.err


def test_exit_code_4_of_a_bulk(org: FakeHub, spaces: Spaces) -> None:
    """Failures that are all of the quota end with 4."""
    org.spend(1000)
    result = spaces("restart", "acme/run-1", "acme/run-2", "--max-wait", "0")
    assert result.code == 4
    assert org.space("acme/run-1").restarts == 0


def test_waits_for_the_quota_and_says_so(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait that the Hub asks for is announced once, and then it goes on."""
    monkeypatch.setattr(_app, "_LEAST_WAIT_SECONDS", 0.05)
    org.faults("POST /restart", Fault.rate_limit("1"), times=1)
    result = spaces("restart", "acme/run-1", "acme/run-2")
    assert result.code == 0
    assert len(re.findall(r"(opens|next try) in \d+s", result.err)) == 1


async def test_the_bar_says_why_it_stands_still() -> None:
    """The wait for the quota stays on display while answers arrive, until it is over."""
    out = io.StringIO()
    app = _app.App(output=Output())
    app.output.err = Console(file=out, force_terminal=True, width=200)
    app.output.live = True
    clock = ManualClock()
    app.now = clock.monotonic
    with ProgressDisplay(app, "Restart", 3) as display:
        assert app.on_wait is not None
        app.on_wait("window", clock.monotonic() + 281.0)
        display.add_outcome(Outcome("acme/a", OutcomeStatus.FAILED))
        assert display._more().plain == (
            "1 failed, quota used up; opens in 4m 41s (1 of 3 done)"
        )
        clock.advance(200.0)
        assert "opens in 1m 21s" in display._more().plain
        clock.advance(100.0)
        display.add_outcome(Outcome("acme/b", OutcomeStatus.DONE))
        assert display._more().plain == "1 failed"


async def test_the_bar_counts_what_is_sent_to() -> None:
    """What is skipped or unchanged has an outcome, and is no part of the bar."""
    app = _app.App(output=Output())
    with ProgressDisplay(app, "Restart", 1, counted=["acme/a"]) as display:
        display.add_outcome(Outcome("acme/site", OutcomeStatus.SKIPPED))
        assert display._progress.tasks[0].completed == 0
        display.add_outcome(Outcome("acme/a", OutcomeStatus.DONE))
        assert display._progress.tasks[0].completed == 1


def test_a_failure_is_told_once(org: FakeHub, spaces: Spaces) -> None:
    """In a pipe the row on stdout has it; stderr has it with -v, in full."""
    result = spaces("restart", "acme/none", "acme/run-1")
    assert "acme/none\tfailed\t404" in result.out
    assert "acme/none" not in result.err
    assert "acme/none: failed" in spaces("-v", "restart", "acme/none").err


def test_no_terminal_to_ask_at(org: FakeHub, spaces: Spaces, writes: Writes) -> None:
    """Only the message, and not how the command is used in general."""
    result = spaces("pause", "--org", "acme")
    assert result.code == 2
    assert "add --yes, or look with --dry-run first." in result.err
    assert "Usage:" not in result.err
    assert writes(org) == []


def test_fail_fast(org: FakeHub, spaces: Spaces) -> None:
    """`--fail-fast` and `--max-failures` begin no further Space."""
    ids = ["acme/no-1", "acme/no-2", "acme/run-1"]
    result = spaces("restart", *ids, "--fail-fast", "--concurrency", "1")
    assert result.code == 1
    assert [line.split("\t")[1] for line in result.lines] == [
        "failed",
        "not attempted",
        "not attempted",
    ]
    two = spaces("restart", *ids, "--max-failures", "2", "--concurrency", "1", "--wait")
    assert "stopped after too many failures" in two.err
    assert org.space("acme/run-1").restarts == 0


def test_deadline(org: FakeHub, spaces: Spaces) -> None:
    """`--deadline` ends a bulk that hangs, and what was in flight is unknown."""
    org.faults("POST /restart", Fault.hang(), times=None)
    result = spaces("restart", "acme/run-1", "--deadline", "1.5")
    assert result.code == 1
    assert "unknown" in result.out
    assert "spaces-async status acme/run-1" in result.err
    waited = spaces("wait", "acme/off", "--for", "SLEEPING", "--timeout", "0")
    assert waited.code == 1


def test_deadline_covers_the_wait(org: FakeHub, spaces: Spaces) -> None:
    """What is left of the deadline after the write is that of the wait."""
    org.faults("GET /runtime", Fault.hang(), times=None)
    result = spaces("restart", "acme/run-1", "--wait", "--deadline", "1.5")
    assert result.code == 1
    assert result.lines == [
        "acme/run-1\tunknown\trequested; whether it runs is not known"
    ]
    assert "stopped by the deadline" in result.err


def test_a_hub_that_is_down(org: FakeHub, spaces: Spaces) -> None:
    """It is said that the bulk waits, and `--max-outage` ends it with what it has."""
    org.faults("*", Fault.status(503), times=None)
    ids = [f"acme/s{number}" for number in range(30)]
    result = spaces("restart", *ids, "--max-outage", "1.5")
    assert result.code == 1
    told = (
        r"Warning: the Hub is in trouble \(.*\); next try in 1 s, waiting for up to \d"
    )
    assert re.search(told, result.err)
    assert "(--max-outage)" in result.err
    assert "(stopped because the Hub was out for too long)" in result.err
    assert {line.split("\t")[1] for line in result.lines} == {
        "unknown",
        "not attempted",
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt(
    org: FakeHub,
    hub_thread: HubThread,
    spaces: Spaces,
    number: signal.Signals,
    writes: Writes,
) -> None:
    """A second Ctrl-C ends with 130, and what was done until then is still printed."""
    org.faults("POST /restart", Fault.hang(), repo_id="acme/run-2", times=None)
    hub_thread.when(
        lambda: "POST /api/spaces/acme/run-2/restart" in writes(org),
        lambda: hub_thread.interrupt(number),
    )
    ids = ["acme/run-1", "acme/run-2", "acme/off"]
    result = spaces("restart", *ids, "--concurrency", "1")
    assert result.code == 130
    assert [line.split("\t")[1] for line in result.lines] == [
        "done",
        "unknown",
        "not attempted",
    ]
    assert "1 not attempted (interrupted) in" in result.err
    assert result.err.endswith("Interrupted.\n")
    assert "Traceback" not in result.err


def test_first_interrupt(
    org: FakeHub, hub_thread: HubThread, spaces: Spaces, writes: Writes
) -> None:
    """The first Ctrl-C lets what is in flight get its answer; nothing more is sent."""
    slow = org.faults("POST /restart", Fault.delay(0.3), repo_id="acme/run-2")
    hub_thread.when(lambda: slow.hits > 0, lambda: os.kill(os.getpid(), signal.SIGINT))
    ids = ["acme/run-1", "acme/run-2", "acme/off"]
    result = spaces("restart", *ids, "--concurrency", "1")
    assert result.code == 130
    assert [line.split("\t")[1] for line in result.lines] == [
        "done",
        "done",
        "not attempted",
    ]
    assert "Press Ctrl-C again to cancel." in result.err
    assert len(writes(org)) == 2


def test_sigterm_does_not_wait_long(
    org: FakeHub,
    hub_thread: HubThread,
    spaces: Spaces,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a SIGTERM the report is out before whoever sent it kills the program."""
    monkeypatch.setattr(_signals, "_GENTLE_SECONDS_AFTER_SIGTERM", 0.1)
    hang = org.faults("POST /restart", Fault.hang(), times=None)
    hub_thread.when(lambda: hang.hits > 0, lambda: os.kill(os.getpid(), signal.SIGTERM))
    result = spaces("restart", "acme/run-1")
    assert result.code == 130
    assert result.lines == ["acme/run-1\tunknown\t"]


def test_interrupt_of_a_wait(
    org: FakeHub, hub_thread: HubThread, spaces: Spaces, writes: Writes
) -> None:
    """Restarts that were accepted are not done while it is not known whether they run."""
    hub_thread.slow_down(1000.0)
    reads = len(org.requests)
    hub_thread.when(
        lambda: len(writes(org)) == 2 and len(org.requests) > reads + 4,
        lambda: os.kill(os.getpid(), signal.SIGINT),
    )
    result = spaces("restart", "acme/bad-1", "acme/bad-2", "--wait")
    assert result.code == 130
    detail = "unknown\trequested; whether it runs is not known"
    assert result.lines == [f"acme/bad-1\t{detail}", f"acme/bad-2\t{detail}"]
    assert "Restart and wait: 2 unknown (interrupted)" in result.err
    assert "2 Spaces: the request was accepted" in result.err
    assert "done" not in result.err


def test_json_report(org: FakeHub, spaces: Spaces) -> None:
    """The report of a write is one JSON document, failures included."""
    result = spaces("restart", "acme/run-1", "acme/none", "--json")
    document = json.loads(result.out)
    assert result.code == 1
    assert document["counts"]["done"] == 1
    assert document["outcomes"][1]["error_type"] == "SpaceNotFoundError"


@pytest.mark.usefixtures("believing")
def test_live_progress_and_table(hub: FakeHub, spaces: Spaces) -> None:
    """On a terminal a long success is counted and only what failed is listed."""
    ids = [f"acme/s{number}" for number in range(45)]
    for repo_id in ids:
        hub.add_space(repo_id)
    result = spaces("restart", *ids, "acme/none", "--wait", terminal=True)
    assert result.code == 1
    assert "acme/none" in result.out
    assert "acme/s1 " not in result.out
    assert "Restart and wait: 45 done, 1 failed" in result.err
    assert "Restart" in result.err


def test_quiet(org: FakeHub, spaces: Spaces) -> None:
    """`--quiet` leaves results and errors only."""
    result = spaces("-q", "restart", "acme/run-1")
    assert result.lines == ["acme/run-1\tdone\tRUNNING"]
    assert result.err == ""


@pytest.mark.parametrize(
    "args",
    [
        ("--deadline", "1h"),
        ("--max-outage", "10m"),
        ("--max-wait", "0"),
        ("--call-timeout", "1.5"),
        ("--wait", "--timeout", "2m"),
    ],
)
def test_times_as_people_write_them(
    org: FakeHub, hub_thread: HubThread, spaces: Spaces, args: tuple[str, ...]
) -> None:
    """Every limit takes seconds, minutes, hours and days."""
    hub_thread.slow_down(0.5)  # a build that is seen needs no doubt whether it began
    assert spaces("restart", "acme/run-1", *args).code == 0


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf", "1w"])
def test_times_that_are_none(org: FakeHub, spaces: Spaces, text: str) -> None:
    """What is no time is said so, and nothing is sent."""
    result = spaces("restart", "acme/run-1", "--deadline", text)
    assert result.code == 2
    assert (
        f"'{text}' is not a duration of more than 0, such as 90, 30m or 2h."
        in result.err
    )
    assert not org.requests


def test_a_compute_quota_says_what_to_do(org: FakeHub, spaces: Spaces) -> None:
    """The hint is about the quota and not about the token; the rest is not sent."""
    org.add_space("acme/off-2", stage="PAUSED", hardware="t4-small")
    org.add_space("acme/off-3", stage="PAUSED", hardware="t4-small")
    org.limit_flavor("acme", "t4-small", 0)
    result = spaces("restart", "acme/off-2", "acme/off-3", "--concurrency", "1")
    assert result.code == 1
    assert "t4-small quota limit" in result.out
    assert "pause others" in result.err
    assert "write access" not in result.err
    assert result.lines[1] == "acme/off-3\tnot attempted\tcompute quota"
    assert org.count("POST", "/restart") == 1
