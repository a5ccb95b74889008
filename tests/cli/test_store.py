"""Runs that many hosts work on, in the shell: `--store`, `work`, `runs URL`, `cancel`."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spaces_async import SpacesClient
from spaces_async.testing import FakeHub, Fault
from tests.cli.conftest import HubThread
from tests.support.pages import blocks, lines_of
from tests.support.redis_server import SERVER, RedisServer

Spaces = Callable[..., Any]
Writes = Callable[[FakeHub], list[str]]

RUNNING = ("acme/run-1", "acme/run-2")
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
    assert shown.lines == [f"{store}\tfinished\t2\t0\t0\t0\tpause"]
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
    assert cancelled.lines == [f"{store}\tfail fast\t0\t1\t1\t0\tpause"]
    assert spaces("work", store).code != 0
    assert writes(org) == sent


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
    assert spaces("runs", file).lines == [f"{file}\tfinished\t2\t0\t0\t0\tpause"]
