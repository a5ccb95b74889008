"""`--journal` and `resume`: a bulk command that is interrupted goes on."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import click
import pytest

from spaces_async import SpacesClient
from spaces_async.bulk._journal.format import Header, encode
from spaces_async.cli._main import cli
from spaces_async.testing import FakeHub, Fault

Spaces = Callable[..., Any]
Writes = Callable[[FakeHub], list[str]]
HubThread = Any

SECRET = "canary-of-a-secret-value"
IDS = ("acme/run-1", "acme/run-2", "acme/off")


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """Where a journal will be; no name that a shell would leave alone."""
    return str(tmp_path / "my journal.jsonl")


def requests(result: Any) -> list[str]:
    """Return what a dry run would send."""
    return [line.split("\t")[4] for line in result.lines]


def commands(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from commands(command)
        else:
            yield command


def test_every_bulk_command_takes_a_journal() -> None:
    """Whatever can be stopped half-way can be gone on with."""
    bulk = [
        command
        for command in commands(cli)
        if {"fail_fast", "dry_run"} <= {p.name for p in command.params}
    ]
    assert len(bulk) > 15
    lacking = [c.name for c in bulk if "journal" not in {p.name for p in c.params}]
    assert lacking == ["resume", "retry-failed", "undo"]


def test_what_is_done_is_not_done_again(
    org: FakeHub, spaces: Spaces, journal: str, writes: Writes
) -> None:
    """A finished journal is only reported, however often it is resumed."""
    assert spaces("restart", *IDS, "--journal", journal).code == 0
    sent = writes(org)
    for _ in range(2):
        result = spaces("resume", journal)
        assert result.code == 0
        assert f"Journal {journal}: Restart, 3 Spaces: 3 done." in result.err
        assert "Nothing is left to do." in result.err
        assert result.lines == [
            f"{repo_id}\tdone\tby an earlier run" for repo_id in IDS
        ]
        assert "Restart: 3 done" in result.err
        assert "To continue" not in result.err
    assert writes(org) == sent
    document = json.loads(spaces("resume", journal, "--json").out)
    assert [o["from_journal"] for o in document["outcomes"]] == [True] * 3


def test_a_finished_journal_begins_anew(
    org: FakeHub, spaces: Spaces, journal: str, writes: Writes
) -> None:
    """A cron job with a constant name does its work each time; ten files are kept."""
    org.faults("POST *", Fault.status(400), repo_id="acme/off", times=1)
    for run in range(1, 13):
        result = spaces("restart", *IDS, "--journal", journal)
        assert result.code == (1 if run == 1 else 0)
        assert len(writes(org)) == 3 * run
        assert ("this one starts from scratch" in result.err) is (run > 1)
        assert (f"The earlier journal is {journal}.1 now." in result.err) is (run > 1)
    folder = Path(journal).parent
    kept = {f"my journal.jsonl{end}" for end in ("", *(f".{n}" for n in range(1, 10)))}
    assert {file.name for file in folder.iterdir()} == kept
    assert spaces("resume", f"{journal}.9").code == 0
    assert len(writes(org)) == 36


def test_a_run_that_was_interrupted_goes_on(
    org: FakeHub, spaces: Spaces, journal: str, writes: Writes
) -> None:
    """A limit that ended a run early leaves its journal unfinished."""
    org.faults("POST *", Fault.status(403), repo_id="acme/run-2", times=1)
    limits = ("--fail-fast", "--concurrency", "1")
    assert spaces("restart", *IDS, "--journal", journal, *limits).code == 3
    assert spaces("restart", *IDS, "--journal", journal).code == 0
    names = [w.split("/")[4] for w in writes(org)]
    # The second run sends to both at the same time.
    assert [*names[:2], *sorted(names[2:])] == ["run-1", "run-2", "off", "run-2"]
    assert not Path(f"{journal}.1").exists()


def test_a_journal_that_cannot_be_renamed(
    org: FakeHub, spaces: Spaces, journal: str, writes: Writes
) -> None:
    """Nothing is sent then."""
    assert spaces("restart", *IDS, "--journal", journal).code == 0
    Path(f"{journal}.8").touch()
    Path(f"{journal}.9").mkdir()
    result = spaces("restart", *IDS, "--journal", journal)
    assert result.code == 1
    assert "cannot be opened" in result.err
    assert len(writes(org)) == 3


def test_what_failed_is_tried_again(
    org: FakeHub, spaces: Spaces, journal: str, writes: Writes
) -> None:
    """And what was not begun is done; it is said what was repeated."""
    fault = org.faults(
        "POST /restart", Fault.status(403), repo_id="acme/run-2", times=None
    )
    limits = ("--fail-fast", "--concurrency", "1")
    result = spaces("restart", *IDS, "--journal", journal, *limits)
    assert result.code == 3
    assert (
        f"To continue with the 2 Spaces left: spaces-async resume '{journal}'"
        in result.err
    )
    fault.remove()
    result = spaces("resume", journal)
    assert result.code == 0
    assert "Restart, 3 Spaces: 1 done, 1 failed, 1 not started." in result.err
    assert "Of the 1 failed: 1 sent again, now done." in result.err
    names = [w.split("/")[4] for w in writes(org)]
    assert [*names[:2], *sorted(names[2:])] == ["run-1", "run-2", "off", "run-2"]


COMMANDS: dict[str, tuple[str, ...]] = {
    "restart": ("restart",),
    "factory": ("restart", "--factory"),
    "pause": ("pause",),
    "hardware": ("hardware", "t4-medium", "--sleep-time", "2h"),
    "sleep-time": ("sleep-time", "never"),
    "request-storage": ("storage", "request", "small"),
    "delete-storage": ("storage", "delete"),
    "replicas": ("replicas", "2"),
    "dev-mode-on": ("dev-mode", "on"),
    "dev-mode-off": ("dev-mode", "off"),
    "visibility": ("visibility", "private"),
    "variable": ("variables", "add", "--set", "A=1", "--description", "d"),
    "variables": ("variables", "add", "--set", "A=1", "--set", "B=2"),
    "delete-variables": ("variables", "delete", "--key", "A", "--key", "B"),
    "secret": ("secrets", "add", "--from-env", "S1"),
    "secrets": ("secrets", "add", "--from-env", "S1", "--from-env", "S2=S1"),
    "delete-secrets": ("secrets", "delete", "--key", "A", "--key", "B"),
    "set-volumes": ("volumes", "set", "hf://models/acme/a:/a"),
    "add-volume": ("volumes", "add", "hf://models/acme/c:/c"),
    "add-volumes": ("volumes", "add", "hf://models/acme/a:/a", "hf://acme/b:/b"),
    "remove-volumes": ("volumes", "remove", "/a", "/b"),
    "delete-volumes": ("volumes", "delete"),
    "delete": ("delete", "--yes", "--missing-ok"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_resumed(
    org: FakeHub,
    spaces: Spaces,
    journal: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """The journal knows what to send: the second run sends just what the first did."""
    monkeypatch.setenv("S1", SECRET)
    body: dict[str, Any] = {"type": "model", "source": "acme/a", "mountPath": "/a"}
    org.space("acme/run-1").volumes = [body]
    if name.startswith("delete-"):
        for key in ("A", "B"):
            for kind in ("variables", "secrets"):
                org.space("acme/run-1").set_config(kind, key, "v")
    org.space("acme/run-1").storage = "small" if name == "delete-storage" else None
    methods = ("POST", "PUT", "DELETE")
    faults = [org.faults(f"{m} *", Fault.status(400), times=None) for m in methods]
    args = ("acme/run-1", "--journal", journal)
    assert spaces(*COMMANDS[name], *args).code == 1
    for fault in faults:
        fault.remove()
    first = [(r.method, r.path, r.query, r.json) for r in org.requests]
    assert first[-1][0] != "GET"
    org.requests.clear()
    values = ("--from-env", "S1", "--from-env", "S2=S1")
    given = {"secret": values[:2], "secrets": values}.get(name, ())
    result = spaces("resume", journal, "--yes", *given)
    assert result.code == 0, result.err
    assert "Of the 1 failed: 1 sent again, now done." in result.err
    again = [(r.method, r.path, r.query, r.json) for r in org.requests]
    assert again[: len(first)] == first
    assert SECRET not in result.out + result.err
    assert SECRET not in Path(journal).read_text("utf-8")


def test_the_value_of_a_secret_is_given_again(
    org: FakeHub, spaces: Spaces, journal: str, tmp_path: Path
) -> None:
    """From stdin, a file or the environment; missing or needless, nothing is sent."""
    fault = org.faults("POST /secrets", Fault.status(400, message=SECRET), times=None)
    add = ("secrets", "add", "acme/run-1", "acme/off", "--journal", journal)
    result = spaces(*add, "--set", f"KEY={SECRET}")
    assert result.code == 1
    assert f"resume '{journal}' --from-env KEY" in result.err
    fault.remove()
    org.requests.clear()
    file = tmp_path / "value"
    file.write_text(SECRET, "utf-8")
    for given, says in (
        ((), "adds the secret KEY, and a journal never has values"),
        (("--from-file", f"OTHER={file}"), "adds the secret KEY"),
        (
            ("--from-file", f"KEY={file}", "--from-file", f"OTHER={file}"),
            "adds no secret OTHER",
        ),
    ):
        refused = spaces("resume", journal, *given)
        assert refused.code == 2
        assert says in refused.err
    assert not org.requests
    done = spaces("resume", journal, "--from-stdin", "KEY", stdin=f"{SECRET}\n")
    assert done.code == 0
    assert org.space("acme/off").secrets["KEY"].value == SECRET
    texts = [result.out, result.err, done.out, done.err]
    texts.append(Path(journal).read_text("utf-8"))
    assert not [text for text in texts if SECRET in text]


def test_several_secrets_are_given_again(
    org: FakeHub, spaces: Spaces, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each missing value is asked for by its key, and only those are sent again."""
    monkeypatch.setenv("A", f"{SECRET}-a")
    monkeypatch.setenv("B", f"{SECRET}-b")
    fault = org.faults(
        "POST /secrets", Fault.status(403), repo_id="acme/off", times=None
    )
    ids = ("acme/run-1", "acme/off")
    both = ("--from-env", "A", "--from-env", "B")
    first = spaces("secrets", "add", *ids, *both, "--journal", journal)
    assert first.code == 3
    assert f"resume '{journal}' --from-env A --from-env B" in first.err
    fault.remove()
    org.requests.clear()
    none = spaces("resume", journal)
    assert none.code == 2
    assert "adds the secret A, B, and a journal never has values" in none.err
    assert "--from-env A --from-env B" in none.err
    one = spaces("resume", journal, "--from-env", "A")
    assert one.code == 2
    assert "adds the secret B," in one.err
    assert not org.requests
    result = spaces("resume", journal, *both)
    assert result.code == 0
    assert result.lines == [
        "acme/run-1\tdone\tby an earlier run",
        "acme/off\tdone\tset",
    ]
    values = {k: s.value for k, s in org.space("acme/off").secrets.items()}
    assert values == {"A": f"{SECRET}-a", "B": f"{SECRET}-b"}
    assert all("run-1" not in r.path for r in org.requests)
    assert SECRET not in Path(journal).read_text("utf-8")


def test_volumes_are_resumed_from_the_state_of_each_space(
    org: FakeHub, spaces: Spaces, journal: str
) -> None:
    """What was mounted meanwhile is kept, and what is mounted already is not sent."""
    fault = org.faults("PUT /volumes", Fault.status(500), times=None)
    volume = "hf://models/acme/a:/a"
    ids = ("acme/run-1", "acme/off")
    first = spaces("volumes", "add", volume, *ids, "--journal", journal,
                   "--deadline", "1.5")  # fmt: skip
    assert first.code == 1
    fault.remove()
    org.space("acme/off").volumes = [
        {"type": "model", "source": "acme/x", "mountPath": "/x"}
    ]
    result = spaces("resume", journal)
    assert result.code == 0, result.err
    assert (
        f"Journal {journal}: Add volumes (volumes: {volume}), 2 Spaces:" in result.err
    )
    mounts = {i: [v["mountPath"] for v in org.space(i).volumes] for i in ids}
    assert mounts == {"acme/run-1": ["/a"], "acme/off": ["/x", "/a"]}


def test_visibility_is_resumed(
    org: FakeHub, spaces: Spaces, journal: str, writes: Writes
) -> None:
    """The journal has the visibility; those done are not sent again."""
    fault = org.faults("PUT *", Fault.status(400), repo_id="acme/site", times=None)
    ids = ("acme/run-1", "acme/site")
    first = spaces("visibility", "protected", *ids, "--journal", journal)
    assert first.code == 1
    fault.remove()
    org.requests.clear()
    result = spaces("resume", journal)
    assert result.code == 0
    assert "Set visibility (visibility: protected), 2 Spaces" in result.err
    assert writes(org) == ["PUT /api/spaces/acme/site/settings"]
    assert org.space("acme/site").visibility == "protected"


def test_unchanged_and_skipped_are_finished(
    org: FakeHub, spaces: Spaces, journal: str
) -> None:
    """A journal has them by these names, and a resume neither sends nor counts them."""
    fault = org.faults("POST *", Fault.status(400), repo_id="acme/run-2", times=None)
    first = spaces("pause", "--org", "acme", "--yes", "--journal", journal)
    assert first.code == 1
    assert "To continue with the 1 Space left" in first.err
    fault.remove()
    result = spaces("resume", journal)
    assert result.code == 0
    assert "6 Spaces: 3 done, 1 unchanged, 1 skipped, 1 failed." in result.err
    assert "acme/off\tunchanged\tby an earlier run" in result.lines
    assert "acme/site\tskipped\tby an earlier run" in result.lines


@pytest.fixture
def in_doubt(org: FakeHub, hub_thread: HubThread, spaces: Spaces, journal: str) -> str:
    """A journal with one Space whose outcome is unknown; it was restarted."""
    hub_thread.slow_down(1000.0)
    hang = org.faults("POST /restart", Fault.hang(acted=True), times=None)
    hub_thread.when(lambda: hang.hits > 0, hub_thread.interrupt)
    result = spaces("restart", "acme/bad-1", "acme/off", "--journal", journal,
                    "--concurrency", "1")  # fmt: skip
    assert result.code == 130
    assert "acme/bad-1\tunknown" in result.out
    assert "To continue with the 2 Spaces left: spaces-async resume" in result.err
    assert "1 Space in doubt: resume looks before it sends again" in result.err
    hang.remove()
    return journal


def test_what_an_interrupted_run_has_left(
    org: FakeHub, spaces: Spaces, in_doubt: str
) -> None:
    """What may have been sent is unknown, and what was not begun is not attempted."""
    shown = spaces("runs", in_doubt)
    assert shown.code == 0
    assert [row.split("\t")[:2] for row in shown.lines[1:]] == [
        ["acme/bad-1", "unknown"],
        ["acme/off", "not attempted"],
    ]
    assert f"To go on with it: spaces-async resume '{in_doubt}'" in shown.err


def test_in_doubt_and_looked_at(org: FakeHub, spaces: Spaces, in_doubt: str) -> None:
    """What shows as done is done, and it is said so."""
    result = spaces("resume", in_doubt)
    assert result.code == 0
    assert "1 in doubt, 1 not started." in result.err
    assert "Of the 1 in doubt: 1 turned out to be done." in result.err
    assert org.space("acme/bad-1").restarts == 1
    assert org.space("acme/off").restarts == 1


def test_in_doubt_and_sent_again(org: FakeHub, spaces: Spaces, in_doubt: str) -> None:
    """With `retry` it is sent without a look."""
    result = spaces("resume", in_doubt, "--on-unknown", "retry")
    assert result.code == 0
    assert "Of the 1 in doubt: 1 sent again, now done." in result.err
    assert org.space("acme/bad-1").restarts == 2


def test_in_doubt_and_left(org: FakeHub, spaces: Spaces, in_doubt: str) -> None:
    """With `skip` it stays in doubt; it is said why, and what can be done."""
    result = spaces("resume", in_doubt, "--on-unknown", "skip")
    assert result.code == 1
    told = "the restart may have been sent by an earlier run; whether it took effect"
    assert result.lines[0] == f"acme/bad-1\tunknown\t{told} was not looked up"
    assert "whether it took effect was not looked up" in result.lines[0]
    assert result.lines[1].startswith("acme/off\tdone")
    assert "Of the 1 in doubt: 1 not sent again." in result.err
    assert "To send to the 1 Space in doubt again" in result.err
    assert "--on-unknown retry" in result.err
    assert org.space("acme/bad-1").restarts == 1


def test_a_command_that_is_killed(
    org: FakeHub, hub_thread: HubThread, spaces: Spaces, journal: str
) -> None:
    """After SIGKILL too nothing is lost and nothing is done twice."""
    hub_thread.slow_down(1000.0)
    hang = org.faults(
        "POST /restart", Fault.hang(acted=True), repo_id="acme/run-2", times=None
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "spaces_async", "restart", *IDS, "--journal", journal,
         "--concurrency", "1"],
        env=dict(os.environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    hub_thread.until(lambda: hang.hits > 0)
    process.kill()
    process.wait(30)
    hang.remove()
    result = spaces("resume", journal)
    assert result.code == 0
    assert "1 done, 1 in doubt, 1 not started." in result.err
    assert [org.space(repo_id).restarts for repo_id in IDS] == [1, 1, 1]


def test_another_job_is_told_how_to_go_on(
    org: FakeHub, spaces: Spaces, journal: str, writes: Writes
) -> None:
    """The file of one command is refused to another, and to other Spaces."""
    org.faults("POST /restart", Fault.status(400), repo_id="acme/off", times=None)
    limits = ("--fail-fast", "--concurrency", "1")
    assert spaces("restart", *IDS, "--journal", journal, *limits).code == 1
    sent = writes(org)
    for args in (("pause", *IDS), ("restart", "acme/bad-1")):
        result = spaces(*args, "--journal", journal)
        assert result.code == 2
        assert "belongs to" in result.err
        assert (
            f"To continue with the 1 Space left: spaces-async resume '{journal}'"
            in (result.err)
        )
        assert result.out == ""
    assert writes(org) == sent


def test_what_cannot_be_resumed(
    org: FakeHub, spaces: Spaces, tmp_path: Path, writes: Writes
) -> None:
    """A file that is none, damaged, of a program or incomplete: said in a line."""
    file = tmp_path / "file"
    header = Header("tidy", None, (), org.url).record()
    restart = Header("restart", {"factory_reboot": False}, (), org.url).record()
    named = {"type": "targets", "ids": ["acme/off"]}
    for data, code, says in (
        (b"hello\n", 1, "is damaged or no journal: line 1"),
        (b"", 1, "is no journal"),
        (encode(restart, 0) + encode(named, 1), 2, "does not name all Spaces"),
        (
            b"".join(map(encode, (header, named, {"type": "complete"}), range(3))),
            2,
            "a function of a program",
        ),
    ):
        file.write_bytes(data)
        result = spaces("resume", str(file))
        assert result.code == code, result.err
        assert says in result.err
        assert "Traceback" not in result.err
    assert spaces("resume", str(tmp_path / "missing")).code == 2
    assert writes(org) == []


def test_a_journal_of_the_library(org: FakeHub, spaces: Spaces, journal: str) -> None:
    """What a program began, the shell ends."""

    async def begin() -> None:
        async with SpacesClient(token=org.token, endpoint=org.url) as client:
            await client.bulk.set_sleep_time(
                IDS, seconds=7200, journal=journal, fail_fast=True, concurrency=1
            )

    fault = org.faults("POST /sleeptime", Fault.status(400), times=1)
    asyncio.run(begin())
    assert fault.hits == 1
    assert spaces("resume", journal).code == 0
    assert org.space("acme/run-1").sleep_time == 7200


def test_a_dry_run(org: FakeHub, spaces: Spaces, journal: str, writes: Writes) -> None:
    """It writes no journal; of one that is there it shows what is left."""
    assert spaces("restart", *IDS, "--journal", journal, "--dry-run").code == 0
    assert not Path(journal).exists()
    org.faults("POST /restart", Fault.status(400), repo_id="acme/off", times=1)
    assert spaces("restart", *IDS, "--journal", journal).code == 1
    sent = writes(org)
    content = Path(journal).read_bytes()
    result = spaces("resume", journal, "--dry-run")
    assert requests(result) == ["POST /api/spaces/acme/off/restart"]
    assert writes(org) == sent
    assert Path(journal).read_bytes() == content


def test_a_dry_run_of_the_command_itself(
    org: FakeHub, spaces: Spaces, journal: str
) -> None:
    """It too leaves out what its journal says is done; another command's says nothing."""
    org.faults("POST *", Fault.status(400), repo_id="acme/off", times=None)
    limits = ("--fail-fast", "--concurrency", "1")
    assert spaces("restart", *IDS, "--journal", journal, *limits).code == 1
    again = spaces("restart", *IDS, "--journal", journal, "--dry-run")
    assert requests(again) == ["POST /api/spaces/acme/off/restart"]
    other = spaces("restart", "--factory", *IDS, "--journal", journal, "--dry-run")
    assert len(other.lines) == 3


@pytest.mark.parametrize("args", [("resume",), ("restart", *IDS, "--journal")])
def test_a_journal_that_is_in_use(
    org: FakeHub,
    spaces: Spaces,
    journal: str,
    writes: Writes,
    args: tuple[str, ...],
) -> None:
    """Nothing else is said of it: the program that has it open knows how far it is."""
    org.faults("POST *", Fault.status(400), repo_id="acme/off", times=None)
    assert spaces("restart", *IDS, "--journal", journal).code == 1
    sent = writes(org)
    with Path(journal).open("rb") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        result = spaces(*args, journal)
    assert result.code == 1
    assert result.err == (
        f"Error: the journal {journal} is in use: another command or program has"
        " it open.\n"
    )
    assert writes(org) == sent


def test_interrupted_while_it_waited_for_the_quota(
    org: FakeHub, spaces: Spaces, journal: str, hub_thread: HubThread
) -> None:
    """Nothing was sent for those that waited: they have not begun, and did not fail."""
    org.spend(995)
    ids = [f"acme/s{number}" for number in range(9)]
    for repo_id in ids:
        org.add_space(repo_id)
    hub_thread.when(
        lambda: "opens in" in cast("Any", sys.stderr).getvalue(),
        # The last answers have to arrive first.
        lambda: hub_thread.loop.call_later(0.3, os.kill, os.getpid(), signal.SIGINT),
    )
    result = spaces("restart", *ids, "--journal", journal, "--concurrency", "9")
    assert result.code == 130
    assert "not attempted (interrupted)" in result.err
    # A plan reads, and the quota is used up: one call listed the state before.
    again = spaces("resume", journal, "--dry-run", "--max-wait", "0")
    assert "Restart, 9 Spaces: 4 done, 5 not started." in again.err
    assert again.code == 4


def test_a_loss_is_asked_about_again(
    org: FakeHub, spaces: Spaces, journal: str, writes: Writes
) -> None:
    """Who resumes a deletion confirms it anew, for what is left of it."""
    org.faults("DELETE *", Fault.status(400), repo_id="acme/off", times=None)
    fault = org.faults("DELETE *", Fault.status(400), times=1, after=1)
    spaces("delete", "acme/run-1", "acme/run-2", "--journal", journal, "--yes",
           "--concurrency", "1")  # fmt: skip
    assert fault.hits == 1
    sent = writes(org)
    result = spaces("resume", journal)
    assert result.code == 2
    assert "Delete acme/run-2 for good?" in result.err
    assert writes(org) == sent
    assert spaces("resume", journal, "--yes").code == 0
    assert len(writes(org)) == len(sent) + 1
