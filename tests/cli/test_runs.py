"""Runs: each bulk of the shell can be gone on with, tried again, and undone."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spaces_async.bulk._journal.format import encode
from spaces_async.bulk._journal.writer import Journal
from spaces_async.cli import _runs
from spaces_async.cli._runs import find_run
from spaces_async.errors import JournalError
from spaces_async.testing import FakeHub, Fault

Spaces = Callable[..., Any]
Writes = Callable[[FakeHub], list[str]]
HubThread = Any

RUNNING = ("acme/run-1", "acme/run-2")
ONE = ("--concurrency", "1")


def folder() -> Path:
    return Path(os.environ["XDG_STATE_HOME"], "spaces-async", "runs")


def files() -> list[str]:
    return sorted(path.name for path in folder().glob("*"))


def stages(hub: FakeHub) -> dict[str, str]:
    return {name: str(space.stage) for name, space in hub.spaces.items()}


def test_a_night(org: FakeHub, spaces: Spaces, writes: Writes) -> None:
    """A pause is undone by the next command: what ran runs again, and nothing else."""
    org.add_space("acme/sleeps", stage="SLEEPING")
    before = stages(org)
    assert spaces("pause", "--org", "acme", "--yes").code == 0
    assert stages(org)["acme/run-1"] == "PAUSED"
    sent = writes(org)
    shown = spaces("undo", "--last", "--dry-run")
    assert shown.code == 0
    plan = {line.split("\t")[0]: line.split("\t")[1:] for line in shown.lines}
    request = "POST /api/spaces/acme/run-1/restart"
    change = ["change", "stage: PAUSED -> RUNNING", "+$0.40/h", request]
    assert plan["acme/run-1"] == change
    asleep = ["skipped", "cannot be put to sleep again"]
    assert plan["acme/sleeps"][:2] == asleep
    assert "acme/off" not in plan
    refused = spaces("undo", "--last")
    assert refused.code == 2
    assert "Undo the pause of 2 Spaces, which costs $0.40/h more?" in refused.err
    assert writes(org) == sent
    done = spaces("undo", "--last", "--yes")
    assert done.code == 0
    assert "Undo pause: 2 done, 3 skipped" in done.err
    assert stages(org) == before | {
        "acme/sleeps": "PAUSED",
        "acme/bad-1": "PAUSED",
        "acme/bad-2": "PAUSED",
    }


def test_an_undo_is_a_run(org: FakeHub, spaces: Spaces) -> None:
    """So it can be undone as well."""
    assert spaces("sleep-time", "2h", "acme/run-1").code == 0
    for seconds in (3600, 7200, 3600):
        assert spaces("undo", "--last", "--yes").code == 0
        assert org.space("acme/run-1").sleep_time == seconds


def test_an_undo_at_a_terminal_asks(
    org: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """What was shown is what is sent; no answer but yes sends anything."""
    assert spaces("pause", *RUNNING).code == 0
    sent = len(writes(org))
    for answer, more in ((b"n\n", 0), (b"y\n", 2)):
        master, slave = os.openpty()
        with os.fdopen(slave) as stdin:
            os.write(master, answer)
            result = spaces("undo", "--last", stdin=stdin)
        os.close(master)
        assert "  acme/run-1  stage: PAUSED -> RUNNING  +$0.40/h" in result.err
        assert len(writes(org)) == sent + more


def test_what_others_have_changed_is_left(
    org: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """Drift is skipped, with that word, and is no failure."""
    assert spaces("pause", *RUNNING).code == 0
    org.set_stage("acme/run-1", "RUNNING")
    sent = writes(org)
    result = spaces("undo", "--last", "--yes")
    assert result.code == 0
    assert result.lines == ["acme/run-1\tskipped\tdrift", "acme/run-2\tdone\tRUNNING"]
    assert writes(org) == [*sent, "POST /api/spaces/acme/run-2/restart"]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("restart",), "a restart cannot be undone"),
        (("secrets", "add", "--set", "K=v"), "the value of a secret before"),
        (("delete", "--yes"), "a deleted Space is gone"),
    ],
)
def test_what_cannot_be_undone(
    org: FakeHub, spaces: Spaces, writes: Writes, command: tuple[str, ...], why: str
) -> None:
    """It says why, asks nothing and sends nothing."""
    assert spaces(*command, "acme/run-1").code == 0
    sent = writes(org)
    result = spaces("undo", "--last")
    assert result.code == 1
    assert "Nothing of that run can be brought back. To undo an earlier" in result.err
    assert why in result.out
    assert writes(org) == sent


def test_an_undo_that_can_do_nothing_is_told_in_a_line(
    org: FakeHub, spaces: Spaces
) -> None:
    """All its Spaces have the same reason; with -v, and in JSON, each is there."""
    assert spaces("restart", *RUNNING, "acme/off").code == 0
    result = spaces("undo", "--last")
    assert result.lines == [
        "3 skipped (a restart cannot be undone): acme/run-1, acme/run-2, acme/off"
    ]
    assert "cannot be undone" not in result.err
    assert len(spaces("undo", "--last", "-v").lines) == 3
    told = json.loads(spaces("undo", "--last", "--json").out)
    assert {o["reason"] for o in told["outcomes"]} == {"a restart cannot be undone"}


def test_runs_are_listed(
    org: FakeHub, hub_thread: HubThread, spaces: Spaces, writes: Writes
) -> None:
    """The newest first: when, what, and how many are done, failed and left."""
    assert spaces("pause", "acme/run-1", "acme/off").code == 0
    org.faults("POST /restart", Fault.status(400), repo_id="acme/bad-1", times=1)
    ids = ("acme/bad-1", "acme/bad-2", "acme/off")
    assert spaces("restart", *ids, "--fail-fast", *ONE).code == 1
    result = spaces("runs")
    newest, oldest = (line.split("\t") for line in result.lines)
    assert re.fullmatch(r"\d{8}T\d{6}Z-restart(~2)?", newest[0])
    assert newest[2:] == ["interrupted", "acme", "0", "0", "1", "0", "2", "Restart"]
    assert oldest[2:] == ["finished", "acme", "2", "0", "0", "0", "0", "Pause"]
    assert f"1 run interrupted. To go on with the newest: spaces-async resume {newest[0]}" in result.err  # fmt: skip
    documents = json.loads(spaces("runs", "--json").out)
    assert [d["run"] for d in documents] == [newest[0], oldest[0]]
    assert documents[0]["left"] == 2
    assert documents[0]["spaces"] == 3
    assert Path(documents[0]["file"]).is_file()
    assert "unreadable" not in result.out
    (folder() / "20260101T000000Z-pause.jsonl").write_bytes(b"hello\n")
    assert "unreadable" in spaces("runs").out


def test_an_interrupted_run_says_how_to_go_on(
    org: FakeHub, hub_thread: HubThread, spaces: Spaces, writes: Writes
) -> None:
    """One command, which is right whatever other runs come after it."""
    slow = org.faults("POST /restart", Fault.delay(0.3), repo_id="acme/run-2")
    hub_thread.when(lambda: slow.hits > 0, lambda: os.kill(os.getpid(), signal.SIGINT))
    result = spaces("restart", *RUNNING, "acme/off", *ONE)
    assert result.code == 130
    (command,) = re.findall(
        r"To continue with the 1 Space left: spaces-async (.*)", result.err
    )
    assert spaces("pause", "acme/site").code == 0
    sent = writes(org)
    assert spaces(*command.split()).code == 0
    assert writes(org) == [*sent, "POST /api/spaces/acme/off/restart"]
    assert "To continue" not in spaces(*command.split()).err


def test_retry_failed(org: FakeHub, spaces: Spaces, writes: Writes) -> None:
    """What failed is tried again, and what was never begun is left to `resume`."""
    org.faults("POST /restart", Fault.status(400), repo_id="acme/run-1", times=1)
    ids = (*RUNNING, "acme/off")
    assert spaces("restart", *ids, "--fail-fast", *ONE).code == 1
    assert len(writes(org)) == 1
    dry = spaces("retry-failed", "--last", "--dry-run")
    assert [line.split("\t")[0] for line in dry.lines] == ["acme/run-1"]
    result = spaces("retry-failed", "--last")
    assert result.code == 0
    assert result.lines == ["acme/run-1\tdone\tRUNNING"]
    assert "Of the 1 failed: 1 sent again, now done." in result.err
    assert "To continue with the 2 Spaces left: spaces-async resume" in result.err
    assert len(writes(org)) == 2
    nothing = spaces("retry-failed", "--last", "--json")
    assert nothing.code == 0
    assert "Nothing has failed." in nothing.err
    assert json.loads(nothing.out)["outcomes"] == []
    assert spaces("resume", "--last").code == 0
    assert len(writes(org)) == 4


def test_what_a_run_has_left(org: FakeHub, spaces: Spaces) -> None:
    """Each Space that is not done is named with the reason, however long the list."""
    ids = [f"acme/s{number:02}" for number in range(60)]
    for repo_id in ids:
        org.add_space(repo_id)
    org.faults("POST /restart", Fault.status(400), times=50)
    assert spaces("restart", *ids, *ONE).code == 1
    (run,) = json.loads(spaces("runs", "--json").out)
    assert run["owners"] == ["acme"]
    shown = spaces("runs", run["run"])
    assert shown.code == 0
    head, *rows = shown.lines
    assert head.split("\t")[2:] == [
        *("finished", "acme", "10", "0", "50", "0", "0", "Restart"),
    ]
    assert rows == [f"{repo_id}\tfailed\t400 Bad Request" for repo_id in ids[:50]]
    assert f"spaces-async retry-failed {run['run']}\n" in shown.err
    told = json.loads(spaces("runs", "2", "--json").out)
    assert [each["repo_id"] for each in told["not_done"]] == ids[:50]
    screen = spaces("runs", run["run"], terminal=True, columns=80)
    assert all(len(line) <= 80 for line in screen.out.splitlines())
    assert "50 failed: 400 Bad Request" in screen.out
    assert "acme/s39 and 10 more" in " ".join(screen.out.split())
    assert "To see all of them, add -v to this command." in screen.err
    assert "acme/s49" in spaces("runs", run["run"], "-v", terminal=True).out


def test_failures_of_a_whole_run_name_the_retry(
    org: FakeHub, spaces: Spaces, tmp_path: Path
) -> None:
    """A run that came to its end is not interrupted; secrets have to be given again."""
    fault = org.faults("POST /secrets", Fault.status(400), repo_id="acme/off", times=1)
    add = ("secrets", "add", *RUNNING, "acme/off", "--set", "KEY=v")
    result = spaces(*add)
    assert fault.hits == 1
    assert re.search(
        r"To try the 1 again: spaces-async retry-failed \S+ --from-env KEY", result.err
    )
    env = tmp_path / ".env"
    env.write_text("KEY=v\nOTHER=w\n", "utf-8")
    assert spaces("retry-failed", "--last").code == 2
    assert spaces("retry-failed", "--last", "--env-file", str(env)).code == 0
    assert org.space("acme/off").secrets["KEY"].value == "v"
    assert "OTHER" not in org.space("acme/off").secrets


def test_a_journal_elsewhere_is_a_run_too(
    org: FakeHub, spaces: Spaces, tmp_path: Path
) -> None:
    """So `--last` never takes the run before the last; one file is there once."""
    assert spaces("pause", "acme/run-1").code == 0
    path = tmp_path / "night.jsonl"
    for _ in range(2):
        assert (
            spaces("sleep-time", "2h", "acme/run-1", "--journal", str(path)).code == 0
        )
    documents = json.loads(spaces("runs", "--json").out)
    assert [d["operation"] for d in documents] == ["set_sleep_time", "pause"]
    assert documents[0]["file"] == str(path)
    shown = spaces("undo", "--last", "--dry-run")
    assert ": Set sleep time (2h)" in shown.err
    path.unlink()
    assert len(json.loads(spaces("runs", "--json").out)) == 1


def test_a_run_is_private(org: FakeHub, spaces: Spaces) -> None:
    """Its folder and its file are their owner's alone."""
    assert spaces("variables", "add", "acme/run-1", "K=v").code == 0
    (name,) = files()
    assert stat.S_IMODE((folder() / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder().stat().st_mode) == 0o700


def test_runs_without_a_change_are_none(org: FakeHub, spaces: Spaces) -> None:
    """A dry run, a no, and an org that is so already leave nothing behind."""
    assert spaces("pause", "--org", "acme", "--dry-run").code == 0
    assert spaces("pause", "--org", "acme").code == 2
    assert spaces("pause", "--org", "acme", "--stage", "paused").code == 0
    assert not folder().exists()
    result = spaces("runs")
    assert "No runs yet." in result.err
    assert "There is no run yet" in spaces("undo", "--last").err


def test_old_runs_are_deleted(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are never more than so many, and none that was last used so long ago."""
    monkeypatch.setattr(_runs, "MAX_RUNS", 3)
    for _ in range(5):
        assert spaces("pause", "acme/run-1").code == 0
    kept = files()
    assert len(kept) == 3
    aged = folder() / kept[0]
    long_ago = aged.stat().st_mtime - _runs.MAX_AGE.total_seconds() - 10
    os.utime(aged, (long_ago, long_ago))
    assert spaces("pause", "acme/run-1").code == 0
    assert kept[0] not in files()
    assert len(files()) == 3


def test_runs_of_one_second_are_told_apart(org: FakeHub, spaces: Spaces) -> None:
    """The last one is the last one, however fast they come."""
    for seconds in range(1, 13):
        assert spaces("sleep-time", f"{seconds}h", "acme/run-1").code == 0
    assert len(files()) == 12
    assert spaces("undo", "--last", "--yes").code == 0
    assert org.space("acme/run-1").sleep_time == 11 * 3600


def test_where_no_run_can_be_kept(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One warning, and on without it."""
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    result = spaces("pause", *RUNNING)
    assert result.code == 0
    assert result.err.count("Warning: there is no journal of this") == 1
    assert stages(org)["acme/run-1"] == "PAUSED"


def test_a_run_that_cannot_be_written_any_more(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It goes on without its journal, which would be wrong; --journal stops it."""
    path = str(tmp_path / "strict.jsonl")

    async def intend(self: Journal, *_: Any) -> None:
        self.error = JournalError("no space left on device", path=self.path)
        raise self.error

    monkeypatch.setattr(Journal, "intend", intend)
    result = spaces("pause", *RUNNING, *ONE)
    assert result.code == 0
    assert result.err.count("Warning: there is no journal of this") == 1
    assert files() == []
    strict = spaces("restart", *RUNNING, *ONE, "--journal", path)
    assert strict.code == 1
    assert [org.space(repo_id).restarts for repo_id in RUNNING] == [0, 0]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "Name it, or take the newest by --last"),
        (("--last", "x"), "Name it, or take the newest by --last"),
        (("20260101T000000Z-nothing",), "There is no file and no run"),
    ],
)
@pytest.mark.parametrize("command", ["resume", "retry-failed", "undo"])
def test_which_run(
    org: FakeHub, spaces: Spaces, command: str, args: tuple[str, ...], says: str
) -> None:
    """A file, the name of a run, or the newest: one of them."""
    result = spaces(command, *args)
    assert result.code == 2
    assert says in result.err


NAMES = [
    "20260101T000000Z-pause",
    "20260101T000000Z-pause~2",
    "20260101T000000Z-restart",
    "20260202T000000Z-undo-undo-set-custom-domain-of-a-long-name",
]


def keep(*names: str) -> None:
    """Make runs of these names, each with an empty file."""
    folder().mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder() / f"{name}.jsonl").touch()


@pytest.mark.parametrize(
    ("given", "found"),
    [("2026020", NAMES[3]), ("20260101T000000Z-r", NAMES[2]), (NAMES[0], NAMES[0]),
     (NAMES[1], NAMES[1])],
)  # fmt: skip
def test_the_beginning_of_a_name(given: str, found: str) -> None:
    """As much as only one run has is enough; a whole name is never a beginning."""
    keep(*NAMES)
    assert find_run(given, last=False).name == found


def test_a_beginning_that_several_have(org: FakeHub, spaces: Spaces) -> None:
    """It is refused, and says which ones; an empty word is the beginning of none."""
    keep(*NAMES)
    result = spaces("undo", "2026")
    assert result.code == 2
    assert f"4 runs begin with '2026': {NAMES[3]}, {NAMES[1]}, " in result.err
    assert " and 1 more. Give more of the name." in result.err
    assert "20260101T000000Z-pause." in spaces("undo", "20260101T000000Z-p").err
    assert "no file and no run ''" in spaces("undo", "").err


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_name_of_a_run_is_never_cut(
    org: FakeHub, spaces: Spaces, columns: int
) -> None:
    """It has to be typed, or copied, whatever the width of the terminal."""
    assert spaces("pause", "acme/run-1").code == 0
    keep(*NAMES)
    result = spaces("runs", terminal=True, columns=columns)
    for name in NAMES:
        assert re.search(rf"^{name} ", result.out, re.MULTILINE)


def test_a_run_of_a_program_has_no_undo(
    org: FakeHub, spaces: Spaces, tmp_path: Path
) -> None:
    """What a function did is not known."""
    path = tmp_path / "own.jsonl"
    header = {
        "type": "header", "schema": 1, "operation": "tidy", "parameters": None,
        "hidden": [], "endpoint": org.url, "function": "m:tidy", "proof": None,
    }  # fmt: skip
    path.write_bytes(encode(header, 0))
    result = spaces("undo", str(path))
    assert result.code == 2
    assert "a function of a program: what undoes it is not known" in result.err
