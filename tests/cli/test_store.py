"""Runs that many hosts work on, in the shell: `--store`, `work`, `runs URL`, `cancel`."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spaces_async import SpacesClient
from spaces_async.bulk._engine import joining
from spaces_async.testing import FakeHub, Fault
from tests.cli.conftest import HubThread
from tests.support.pages import blocks, lines_of
from tests.support.redis_server import SERVER, RedisServer

Spaces = Callable[..., Any]
Writes = Callable[[FakeHub], list[str]]

RUNNING = ("acme/run-1", "acme/run-2")
AWAY = "redis://me:hunter2@127.0.0.1:1/0/n"
PAGE = "docs/hosts.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server for the runs of these tests; each has a database."""
    if SERVER is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    options = ("--appendonly", "yes", "--appendfsync", "always")
    server = RedisServer(tmp_path_factory.mktemp("redis"), *options)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def store(server: RedisServer, request: pytest.FixtureRequest) -> str:
    name = "".join(char for char in request.node.name if char.isalnum())
    return f"redis://127.0.0.1:{server.port}/0/{name}"


def test_a_run_in_a_store(
    org: FakeHub, spaces: Spaces, writes: Writes, store: str
) -> None:
    """A command begins a run, `work` takes part, and `runs` says how far it is."""
    done = spaces("pause", *RUNNING, "--store", store)
    assert done.code == 0
    assert "2 done" in done.err
    sent = writes(org)
    assert len(sent) == 2
    worked = spaces("work", store)
    assert worked.code == 0
    assert worked.lines == []
    shown = spaces("runs", store)
    assert shown.code == 0
    assert shown.lines == [f"{store}\tfinished\t2\t0\t0\t0\t0\t0\tPause"]
    state = json.loads(spaces("--json", "runs", store).out)
    assert state["store"] == store
    assert state["counts"]["done"] == state["total"] == 2
    again = spaces("pause", *RUNNING, "--store", store)
    assert again.code == 0
    other = spaces("restart", *RUNNING, "--store", store)
    assert other.code == 2
    assert "is another command, pause" in other.err
    assert "take another name" in other.err
    assert writes(org) == sent


def test_other_options_than_those_of_the_run(
    org: FakeHub, spaces: Spaces, writes: Writes, store: str
) -> None:
    """They are named as the shell calls them, and with what there is to do."""
    begun = ("restart", *RUNNING, "--store", store)
    assert spaces(*begun).code == 0
    sent = writes(org)
    health = "the check of the health (--wait, --probe, --healthy-for, --timeout)"
    for more, named in (
        (("--wait",), health),
        (("--fail-fast", "--lease", "5"), "--lease, --fail-fast"),
        (("--max-failures", "1"), "--max-failures"),
        (("--max-targets", "2"), "a plan (--org, --max-targets)"),
    ):
        refused = spaces(*begun, *more)
        assert refused.code == 2
        told = f"was begun with other options: {named}; give the same, take a new name"
        assert told in refused.err
    assert writes(org) == sent


def test_an_org(org: FakeHub, spaces: Spaces, writes: Writes, store: str) -> None:
    """For an org the run has what the plan would change, and nothing else."""
    done = spaces("pause", "--org", "acme", "--yes", "--store", store, "--lease", "5")
    assert done.code == 0
    state = json.loads(spaces("--json", "runs", store).out)
    assert state["total"] == len(writes(org)) > 1


def test_cancel(org: FakeHub, spaces: Spaces, writes: Writes, store: str) -> None:
    """A cancelled run stays cancelled, and the next host sends nothing."""
    org.faults("POST *", Fault.status(403), times=None)
    failed = spaces(
        "pause", *RUNNING, "--store", store, "--fail-fast", "--concurrency", "1"
    )
    assert failed.code != 0
    assert "For the 1 Space left begin one with another name" in failed.err
    sent = writes(org)
    assert len(sent) == 1
    cancelled = spaces("cancel", store)
    assert cancelled.code == 0
    assert cancelled.lines == [f"{store}\tfail fast\t0\t0\t1\t0\t1\t0\tPause"]
    assert spaces("work", store).code != 0
    assert writes(org) == sent


def test_what_a_run_has_left(
    org: FakeHub, spaces: Spaces, writes: Writes, server: RedisServer, store: str
) -> None:
    """What failed or is unknown is named with the reason, and can be tried again."""
    begun = ("restart", *RUNNING, "acme/bad-1", "acme/off", "--store", store)
    org.faults("POST /restart", Fault.status(403), repo_id="acme/bad-1", times=1)
    assert spaces(*begun).code == 3
    name = store.rpartition("/")[2]
    doubt = "acme/run-2: the restart may have been sent by a host that was lost; the"
    with server.client() as raw:
        end = json.dumps({"status": "unknown", "attempts": 0, "error": doubt})
        raw.hset(f"spaces_async:run:1:{{{name}}}:ends", "acme/run-2", end)
    shown = spaces("runs", store)
    assert shown.code == 0
    assert shown.lines == [
        f"{store}\tfinished\t2\t0\t1\t1\t0\t0\tRestart",
        "acme/run-2\tunknown\tthe restart may have been sent by a host that was lost; the",
        "acme/bad-1\tfailed\t403 Forbidden",
    ]
    assert f"To try the 2 again: spaces-async retry-failed {store}\n" in shown.err
    told = json.loads(spaces("--json", "runs", store).out)["not_done"]
    found = {each["repo_id"]: (each["status"], each["error"]) for each in told}
    assert found["acme/run-2"] == ("unknown", doubt)
    assert "403: Forbidden" in found["acme/bad-1"][1]
    sent = writes(org)
    over = spaces("work", store)
    assert over.code == 1
    assert "This run is over: 2 done, 1 failed, 1 unknown." in over.err
    assert "1 Space in doubt: retry-failed looks before it sends again" in over.err
    assert "no Spaces" not in over.err
    assert f"spaces-async retry-failed {store}\n" in over.err
    dry = spaces("retry-failed", store, "--dry-run")
    assert [line.split("\t")[0] for line in dry.lines] == ["acme/run-2", "acme/bad-1"]
    assert writes(org) == sent
    again = spaces("retry-failed", store, "--on-unknown", "retry")
    assert again.code == 0
    assert "It stays as it is" in again.err
    assert sorted(writes(org)[len(sent) :]) == [
        f"POST /api/spaces/{repo_id}/restart"
        for repo_id in ("acme/bad-1", "acme/run-2")
    ]
    run, _ = json.loads(spaces("runs", "--json").out)
    assert (run["operation"], run["done"]) == ("restart", 2)


def test_a_retry_passes_its_doubts_on(
    org: FakeHub, spaces: Spaces, writes: Writes, server: RedisServer, store: str
) -> None:
    """What it has not come to is in doubt in its own journal, so `resume` looks first."""
    ids = ("acme/bad-1", "acme/run-1", "acme/run-2")
    assert spaces("pause", *ids, "--store", store).code == 0
    name = f"spaces_async:run:1:{{{store.rpartition('/')[2]}}}"
    with server.client() as raw:
        for repo_id, status in zip(ids, ("failed", "unknown", "unknown"), strict=True):
            end = json.dumps({"status": status, "attempts": 1})
            raw.hset(f"{name}:ends", repo_id, end)
    org.set_stage("acme/run-2", "RUNNING")
    org.set_stage("acme/bad-1", "RUNNING")
    sent = writes(org)
    org.faults("POST /pause", Fault.status(403), repo_id="acme/bad-1", times=1)
    first = ("--fail-fast", "--concurrency", "1")
    assert spaces("retry-failed", store, *first).code == 1
    assert len(writes(org)) == len(sent) + 1
    run, _ = json.loads(spaces("runs", "--json").out)
    assert (run["failed"], run["unknown"], run["left"]) == (1, 2, 0)
    assert spaces("resume", "--last").code == 0
    more = [f"POST /api/spaces/{repo_id}/pause" for repo_id in ("acme/bad-1", ids[2])]
    assert sorted(writes(org)[len(sent) + 1 :]) == more, "run-1 is paused already"


def test_runs_lists_it(
    org: FakeHub, spaces: Spaces, writes: Writes, store: str
) -> None:
    """It is a run like the others, so `--last` never takes the one before it."""
    assert spaces("sleep-time", "2h", "acme/run-1").code == 0
    for _ in range(2):
        assert spaces("pause", "acme/run-1", "--store", store).code == 0
    newest, oldest = (line.split("\t") for line in spaces("runs").lines)
    assert newest[2:] == ["in a store", "acme", *[""] * 5, f"Pause, {store}"]
    assert oldest[2:] == ["finished", "acme", "1", "0", "0", "0", "0", "Set sleep time (2h)"]  # fmt: skip
    noted = json.loads(spaces("runs", "--json").out)[0]
    assert (noted["state"], noted["store"]) == ("in a store", store)
    assert spaces("runs", noted["run"]).lines == spaces("runs", store).lines
    refused = spaces("resume", "--last")
    assert refused.code == 2
    assert "The newest run is in a store" in refused.err
    assert "spaces-async work URL" in refused.err
    assert "nothing has failed" in spaces("retry-failed", "--last").err
    sent = writes(org)
    assert spaces("undo", "--last", "--yes").code == 0
    assert writes(org) == [*sent, "POST /api/spaces/acme/run-1/restart"]
    assert spaces("runs", "redis://127.0.0.1:1/0/nightly").code == 1
    assert len(spaces("runs").lines) == 3, "the undo has a journal"


def test_a_run_that_nobody_works_on(org: FakeHub, spaces: Spaces, store: str) -> None:
    """It does not look alive: what goes on with it is said."""
    assert spaces("pause", *RUNNING, "--store", store, "--deadline", "0.001").code == 1
    shown = spaces("runs", store)
    assert shown.code == 0
    assert "\twaiting\t" in shown.out
    assert "No host works on it now" in shown.err
    assert f"spaces-async work {store}" in shown.err
    assert spaces("work", store).code == 0
    over = spaces("runs", store)
    assert "\tfinished\t" in over.out
    assert "No host" not in over.err


def test_a_note_has_no_password(
    org: FakeHub, spaces: Spaces, server: RedisServer, store: str
) -> None:
    """Nor is the URL without it tried: the whole one has to be given."""
    with server.client() as raw:
        everything = {"keys": ["*"], "commands": ["+@all"]}
        raw.acl_setuser("me", enabled=True, passwords=["+hunter2"], **everything)
        secret = store.replace("redis://", "redis://me:hunter2@")
        assert spaces("pause", "acme/run-1", "--store", secret).code == 0
    (note,) = Path(os.environ["XDG_STATE_HOME"]).rglob("*.store")
    assert "hunter2" not in note.read_text("utf-8")
    assert note.stat().st_mode & 0o077 == 0
    refused = spaces("undo", "--last")
    assert refused.code == 2
    assert f"is in a store, {store}. A user, a password or options" in refused.err
    note.write_text("[]", "utf-8")
    assert "cannot be read" in spaces("undo", "--last").err
    assert "unreadable" in spaces("runs").out


def test_a_host_that_works_notes_it(
    org: FakeHub, hub_thread: HubThread, spaces: Spaces, store: str
) -> None:
    """A run that has begun on another host is listed where something was done for it."""
    left = spaces("pause", *RUNNING, "--store", store, "--deadline", "0.001")
    for note in Path(os.environ["XDG_STATE_HOME"]).rglob("*.store"):
        note.unlink()
    assert spaces("work", store).code == 0
    assert left.code == 1
    assert [line.split("\t")[2] for line in spaces("runs").lines] == ["in a store"]


def notes(spaces: Spaces) -> list[Any]:
    return [run for run in json.loads(spaces("runs", "--json").out) if "store" in run]


def test_a_run_keeps_its_note(
    org: FakeHub, spaces: Spaces, server: RedisServer, store: str
) -> None:
    """Each use on a host goes on with it: the name and the owners stay, and it is newest."""
    assert spaces("pause", "acme/run-1", "--store", store, "--deadline", "0.001").code
    (first,) = notes(spaces)
    assert first["owners"] == ["acme"]
    with server.client() as raw:
        everything = {"keys": ["*"], "commands": ["+@all"]}
        raw.acl_setuser("me", enabled=True, passwords=["+hunter2"], **everything)
    secret = store.replace("redis://", "redis://me:hunter2@")
    for words in (("work", secret), ("pause", "acme/run-1", "--store", store)):
        assert spaces("sleep-time", "2h", "acme/run-2").code == 0
        assert notes(spaces) == [first]
        assert "store" not in json.loads(spaces("runs", "--json").out)[0]
        assert spaces(*words).code == 0
        assert notes(spaces) == [first]
        assert json.loads(spaces("runs", "--json").out)[0] == first
    (note,) = Path(os.environ["XDG_STATE_HOME"]).rglob("*.store")
    assert note.stat().st_mode & 0o077 == 0
    kept = json.loads(note.read_text("utf-8"))
    del kept["used"]
    note.write_text(json.dumps(kept), "utf-8")
    assert notes(spaces) == [first], "a note of an earlier version"
    assert "nothing has failed" in spaces("retry-failed", first["run"]).err


@pytest.mark.parametrize("columns", [80, 120])
def test_runs_tells_them_apart(
    org: FakeHub, spaces: Spaces, store: str, columns: int
) -> None:
    """The name that a run has in its store is whole, however narrow the terminal."""
    for name in ("a", "b_of-2026.11"):
        assert spaces("pause", "acme/run-1", "--store", f"{store}-{name}").code == 0
    screen = spaces("runs", terminal=True, columns=columns).out
    run = store.rpartition("/")[2]
    # What has begun in the same second has a number behind a "~".
    names = (line.split()[0].partition("~")[0] for line in screen.splitlines())
    _, newest, oldest = names
    assert newest.endswith(f"Z-{run}-b_of-2026.11")
    assert oldest.endswith(f"Z-{run}-a")


@pytest.mark.parametrize("command", ["work", "cancel"])
def test_a_run_by_its_name(
    org: FakeHub, spaces: Spaces, store: str, command: str
) -> None:
    """`work` and `cancel` take what the other commands about runs take."""
    assert spaces("pause", *RUNNING, "--store", store, "--deadline", "0.001").code == 1
    (note,) = notes(spaces)
    ended = "This run" if command == "work" else "over already"
    assert spaces(command, "--last").code == 0
    assert ended in spaces(command, note["run"][:-3]).err
    assert spaces("sleep-time", "2h", "acme/run-1").code == 0
    newest = json.loads(spaces("runs", "--json").out)[0]["run"]
    for words, told in (
        (("--last",), f"The newest run, {newest}, has a journal of this host"),
        ((newest,), f"This run, {newest}, has a journal of this host"),
        ((), "Which run? Name it, or take the newest by --last."),
        (("nightly",), "There is no file and no run 'nightly'"),
        ((store, "--last"), "Which run? Name it, or take the newest by --last."),
    ):
        refused = spaces(command, *words)
        assert refused.code == 2
        assert told in refused.err


def test_values_of_a_retry_come_from_the_environment(
    org: FakeHub, spaces: Spaces, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `work`: the store has none."""
    org.faults("POST /secrets", Fault.status(403), times=1)
    add = ("secrets", "add", "acme/run-1", "--set", "API_KEY=v", "--store", store)
    assert spaces(*add).code == 3
    refused = spaces("retry-failed", store)
    assert refused.code == 2
    needs = f"the run {store} needs the value of API_KEY, which a store never holds"
    assert needs in refused.err
    monkeypatch.setenv("API_KEY", "v")
    assert spaces("retry-failed", store).code == 0
    assert org.space("acme/run-1").secrets["API_KEY"].value == "v"


SECRET = "hunter2-of-a-value"


def test_a_run_that_is_not_over_is_named(
    org: FakeHub, spaces: Spaces, server: RedisServer, store: str
) -> None:
    """Its URL is readable, without a password; what may be a value is not."""
    late = ("pause", *RUNNING, "--store", store, "--deadline", "0.001")
    assert spaces(*late).code == 1
    with server.client() as raw:
        everything = {"keys": ["*"], "commands": ["+@all"]}
        raw.acl_setuser("me", enabled=True, passwords=[f"+{SECRET}"], **everything)
    socket = f"unix://{server.socket}?db=0&run={store.rpartition('/')[2]}"
    for url, shown in (
        (store, store),
        (store.replace("redis://", f"redis://me:{SECRET}@"), store),
        (socket, socket),
    ):
        refused = spaces("retry-failed", url, "--set", f"A={SECRET}")
        assert refused.code == 2
        assert f"Error: the run {shown} is not over: `work` goes on" in refused.err
        assert SECRET not in refused.err
    begins = spaces("runs").lines[0].split("\t")[0][:10]
    refused = spaces("retry-failed", begins, "--set", f"A={SECRET}")
    assert f"the run {store} is not over" in refused.err
    typed = spaces("retry-failed", f"redis://{SECRET}", "--set", "A=b")
    assert typed.code == 2
    assert SECRET not in typed.err


def test_a_database_that_is_not_there(
    org: FakeHub, spaces: Spaces, server: RedisServer
) -> None:
    """Redis says it in a way of its own, and we in words."""
    refused = spaces("runs", f"redis://127.0.0.1:{server.port}/99/nightly")
    assert refused.code == 1
    assert "names a database that this Redis does not have" in refused.err


OVER = "The run is over on all hosts. For the 20 Spaces left begin one with"
OUT = ("pause", *(f"acme/s{number}" for number in range(20)), "--max-outage", "0.5")


def test_an_outage(org: FakeHub, spaces: Spaces, store: str) -> None:
    """An outage ends the run where no other host works on it, and that is told."""
    org.faults("*", Fault.status(503), times=None)
    left = spaces(*OUT, "--store", store)
    assert left.code == 1
    assert OVER in left.err
    assert "spaces-async work" not in left.err


def test_an_outage_of_one_host(
    org: FakeHub, spaces: Spaces, server: RedisServer, store: str
) -> None:
    """The others go on; how to come back shows no password, and no command without it."""
    name = store.rpartition("/")[2]
    secret = store.replace("redis://", "redis://me:hunter2@")
    org.faults("*", Fault.status(503), times=None)
    with server.client() as raw:
        everything = {"keys": ["*"], "commands": ["+@all"]}
        raw.acl_setuser("me", enabled=True, passwords=["+hunter2"], **everything)
        late = spaces(*OUT, "--store", store, "--deadline", "0.2")
        assert late.code == 1
        assert f"again, unless it is over: spaces-async work {store}\n" in late.err
        seconds, _ = raw.time()
        head = f"spaces_async:run:1:{{{name}}}:head"
        raw.hset(head, "beat:other", str(seconds * 1000))
        left = spaces(*OUT, "--store", secret)
        assert left.code == 1
        assert "again, unless it is over: spaces-async work, with the URL" in left.err
        assert "hunter2" not in left.err
    assert spaces("cancel", store).code == 0
    over = spaces(*OUT, "--store", store)
    assert over.code == 1
    assert OVER in over.err


def test_a_run_that_is_gone(  # noqa: PLR0917
    org: FakeHub,
    hub_thread: HubThread,
    spaces: Spaces,
    writes: Writes,
    server: RedisServer,
    store: str,
) -> None:
    """Nobody is told to work on a run of which the store has lost all."""
    with server.client() as raw:
        keys = f"spaces_async:run:1:{{{store.rpartition('/')[2]}}}*"

        def lose() -> None:
            raw.delete(*raw.scan_iter(keys))

        hub_thread.when(lambda: bool(writes(org)), lose)
        ids = [f"acme/s{number}" for number in range(100)]
        lost = spaces("pause", *ids, "--concurrency", "1", "--store", store)
    assert lost.code == 1
    assert f"the run {store} is not there any more" in lost.err
    assert "spaces-async work" not in lost.err


def test_a_dry_run_looks_at_the_store(
    org: FakeHub, spaces: Spaces, writes: Writes, store: str
) -> None:
    """It says what the same command would do about a run that is there, in a line."""
    dry = ("--store", store, "--dry-run")
    new = spaces("pause", *RUNNING, *dry)
    assert new.code == 0
    assert store not in new.err
    late = ("--store", store, "--deadline", "0.001")
    assert spaces("pause", *RUNNING, *late).code == 1
    there = f"There is a run {store} already: Pause, 0 of 2 Spaces finished."
    for words, then in (
        (
            ("pause", *reversed(RUNNING)),
            "this command works on that run, if its options are the same.",
        ),
        (
            ("restart", *RUNNING),
            "this command is refused, for that run is of another command.",
        ),
        (
            ("pause", *RUNNING, "acme/bad-1"),
            "this command is refused, for that run has other Spaces.",
        ),
    ):
        told = spaces(*words, *dry)
        assert told.code == 0
        assert f"{there} Without --dry-run {then}\n" in told.err
        assert len(told.lines) == len(words) - 1, "the plan"
    assert not writes(org)
    assert spaces("work", store).code == 0
    over = f"{there} Without".replace("0 of", "2 of")
    told = spaces("pause", *RUNNING, *dry)
    assert f"{over} --dry-run nothing is sent, for that run is over.\n" in told.err
    assert "this command is refused" in spaces("pause", "--org", "acme", *dry).err
    away = spaces("pause", *RUNNING, "--store", AWAY, "--dry-run")
    assert away.code == 0
    assert len(away.lines) == 2
    assert "It is not known whether there is a run redis://127.0.0.1:1/0/n" in away.err
    assert "hunter2" not in away.err
    wrong = spaces("pause", *RUNNING, "--store", "redis://h/1", "--dry-run")
    assert wrong.code == 2
    assert "the URL of the run lacks" in wrong.err


def test_work_says_that_it_waits(
    org: FakeHub, spaces: Spaces, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at it knows why nothing goes on; once, also in a pipe."""
    monkeypatch.setattr(joining, "FOUND_SECONDS", 0.3)
    missing = spaces("work", store)
    assert missing.code == 2
    waits = "Waiting up to 0s for the run"
    assert missing.err.startswith(f"{waits} {store}: it is not there yet.\n")
    assert missing.err.count("Waiting") == 1
    away = spaces("work", AWAY)
    assert away.code == 1
    assert f"{waits} redis://127.0.0.1:1/0/n: its store does not answer (" in away.err
    assert "hunter2" not in away.err
    assert spaces("pause", *RUNNING, "--store", store).code == 0
    assert "Waiting" not in spaces("work", store).err


def test_cancel_of_a_run_that_is_over(org: FakeHub, spaces: Spaces, store: str) -> None:
    """It says that there was nothing to end, and how the run had ended."""
    late = ("--store", store, "--deadline", "0.001")
    assert spaces("pause", *RUNNING, *late).code == 1
    first = spaces("cancel", store)
    assert first.code == 0
    assert "over already" not in first.err
    second = spaces("cancel", store)
    assert second.code == 0
    assert second.lines == first.lines
    told = "This run was over already: 2 not attempted (interrupted)."
    assert told in second.err
    done = f"{store}-2"
    assert spaces("pause", *RUNNING, "--store", done).code == 0
    finished = spaces("--json", "cancel", done)
    assert finished.code == 0
    assert json.loads(finished.out)["stopped_by"] is None
    assert "This run was over already: 2 done." in finished.err


def test_an_interrupt(
    org: FakeHub, hub_thread: HubThread, spaces: Spaces, writes: Writes, store: str
) -> None:
    """Ctrl-C ends this host's part, and the run goes on: it is not called over."""
    org.faults("POST *", Fault.hang(), times=None)
    hub_thread.when(lambda: bool(writes(org)), hub_thread.interrupt)
    left = spaces("pause", *RUNNING, "--concurrency", "1", "--store", store)
    assert left.code == 130
    assert f"again, unless it is over: spaces-async work {store}\n" in left.err
    assert json.loads(spaces("--json", "runs", store).out)["stopped_by"] is None


def test_exit_codes(
    org: FakeHub, hub_thread: HubThread, spaces: Spaces, writes: Writes, store: str
) -> None:
    """`work` ends with what this host has done, else with the run; to look is no failure."""
    org.faults("POST *", Fault.status(400), repo_id="acme/run-1", times=1)
    org.faults("POST *", Fault.hang(), repo_id="acme/run-2", times=1)
    hub_thread.when(lambda: len(writes(org)) == 2, hub_thread.interrupt)
    begun = ("pause", *RUNNING, "--store", store)
    assert spaces(*begun, "--concurrency", "1").code == 130
    mine = spaces("work", store)
    assert mine.code == 0
    assert mine.lines == ["acme/run-2\tdone\tPAUSED"]
    assert spaces("work", store).code == 1
    assert spaces(*begun).code == 1
    for command in ("runs", "cancel"):
        shown = spaces(command, store)
        assert shown.code == 0
        assert shown.lines[0] == f"{store}\tfinished\t1\t0\t1\t0\t0\t0\tPause"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("pause", *RUNNING, "--lease", "5"), "--lease needs --store"),
        (("pause", *RUNNING, "--store", "{}", "--journal", "x"), "not both"),
        (("pause", *RUNNING, "--store", "redis://h/1"), "the URL of the run lacks"),
        (("pause", *RUNNING, "--store", "{}", "--lease", "0.1"), "--lease must be"),
        (("runs", "{}"), "there is no run redis://"),
        (("cancel", "{}"), "there is no run redis://"),
    ],
)
def test_what_cannot_be(  # noqa: PLR0917
    org: FakeHub,
    spaces: Spaces,
    writes: Writes,
    store: str,
    words: tuple[str, ...],
    told: str,
) -> None:
    """What makes no sense is refused with what to do, before anything is sent."""
    refused = spaces(*(word.format(store) for word in words))
    assert refused.code == 2
    assert told in " ".join(refused.err.split())
    assert not writes(org)


def test_poison(org: FakeHub, spaces: Spaces, server: RedisServer, store: str) -> None:
    """What somebody else has written into a run reaches no terminal raw."""
    assert spaces("pause", *RUNNING, "--store", store).code == 0
    name = f"spaces_async:run:1:{{{store.rpartition('/')[2]}}}"
    evil = "\x1b]0;evil\x07\x1b[2J\r"
    with server.client() as raw:
        job = json.loads(str(raw.hget(f"{name}:head", "job")))
        end = {"status": "failed", "attempts": 1, "error": evil, "error_type": evil}
        raw.hset(f"{name}:ends", RUNNING[0], json.dumps(end))
        raw.xclaim(f"{name}:blocks", "hosts", evil, 0, ["1-1"])
        told = [spaces("pause", *RUNNING, "--store", store)]
        assert told[0].code == 1
        assert "]0;evil" in told[0].out + told[0].err
        for part in ("operation", "endpoint", "function"):
            bad = job | {"header": job["header"] | {part: f"pause{evil}"}}
            raw.hset(f"{name}:head", "job", json.dumps(bad))
            for words in (("work", store), ("runs", store), ("undo", store, "--yes")):
                told.append(spaces(*words))
                assert told[-1].code != 0
                assert "a name in it is malformed" in told[-1].err
    for ended in told:
        assert "\x1b" not in ended.out + ended.err
        assert "\x07" not in ended.out + ended.err


def test_undo(org: FakeHub, spaces: Spaces, writes: Writes, store: str) -> None:
    """A run is undone by its URL; a command that cannot says what can."""
    assert spaces("pause", *RUNNING, "--store", store).code == 0
    undone = spaces("undo", store, "--yes")
    assert undone.code == 0
    restarts = [f"POST /api/spaces/{repo_id}/restart" for repo_id in RUNNING]
    assert sorted(writes(org)[2:]) == restarts
    secret = store.replace("redis://", "redis://me:hunter2@")
    refused = spaces("resume", secret)
    assert refused.code == 2
    assert "spaces-async work URL" in " ".join(refused.err.split())
    assert "hunter2" not in refused.err


def test_the_page(
    org: FakeHub, spaces: Spaces, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program and the commands of the page on many hosts run."""
    (program,) = (b for b in blocks("python") if b.is_shared and b.page == PAGE)
    (commands,) = (b for b in blocks("bash") if b.is_shared)
    assert commands.page == PAGE
    monkeypatch.setenv("RUN", store)
    for line in lines_of(commands.text):
        words = line.partition("#")[0].replace('"$RUN"', store).split()
        if words[0] == "export":
            assert words[1].startswith("RUN=redis://")
            continue
        assert words[0] == "spaces-async"
        ended = spaces(*words[1:])
        assert ended.code == 0, f"{line}\n{ended.err}"
    text = re.sub(r"redis://[^\"]+", f"{store}-2", program.text)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(text, PAGE, "exec", flags, dont_inherit=True)
    before = len(org.requests)

    async def run() -> None:
        async with SpacesClient(token=org.token, endpoint=org.url) as client:
            await eval(code, {"client": client, "targets": list(RUNNING)})  # noqa: S307

    asyncio.run(run())
    assert len(org.requests) > before


def test_no_store(org: FakeHub, spaces: Spaces, writes: Writes, tmp_path: Path) -> None:
    """A store that cannot be used is told without its password; a file is one, too."""
    where = "redis://someone:hunter2@127.0.0.1:1/0/nightly"
    refused = spaces("pause", *RUNNING, "--store", where)
    assert refused.code == 1
    assert "redis://127.0.0.1:1/0/nightly cannot be used" in refused.err
    assert "hunter2" not in refused.err
    assert not writes(org)
    file = f"file://{tmp_path}/nightly.jsonl"
    assert spaces("pause", *RUNNING, "--store", file).code == 0
    assert spaces("runs", file).lines == [f"{file}\tfinished\t2\t0\t0\t0\t0\t0\tPause"]
