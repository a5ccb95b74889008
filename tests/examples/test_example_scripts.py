"""The programs of `examples/`, run as their users run them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from attrs import frozen

from spaces_async.testing import FakeHub, Fault, Quota
from tests.support.programs import strict_python

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
QUICKSTART = str(EXAMPLES / "quickstart.py")
BULK_RESTART = str(EXAMPLES / "bulk_restart.py")
SEEN = 0.8
"""Seconds of a build that is seen: a Space that runs on counts as restarted after 10 s."""


@frozen
class Ended:
    """What became of a program."""

    status: int
    out: str
    err: str


class Program:
    """A Python process with every warning an error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, *argv: str, cwd: Path, hub: FakeHub | None = None) -> Program:
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        if hub is not None:
            env |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token}
        return cls(
            await asyncio.create_subprocess_exec(
                *strict_python(*argv),
                cwd=cwd,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        )

    async def end(self) -> Ended:
        try:
            async with asyncio.timeout(30):
                out, err = await self.process.communicate()
        except BaseException:
            self.process.kill()
            await self.process.wait()
            raise
        assert self.process.returncode is not None
        return Ended(self.process.returncode, out.decode(), err.decode())


@pytest_asyncio.fixture
async def quick_hub() -> AsyncIterator[FakeHub]:
    """A Hub whose builds take a moment, with one Space of each fate."""
    async with FakeHub(build_seconds=SEEN, start_seconds=0) as hub:
        hub.add_space("acme/good")
        hub.add_space("acme/crashed", stage="RUNTIME_ERROR")
        hub.add_space("acme/unbuilt", stage="BUILD_ERROR")
        yield hub


def add_failed(hub: FakeHub, count: int) -> None:
    for number in range(count):
        hub.add_space(f"acme/s{number:03d}", stage="RUNTIME_ERROR")


async def test_quickstart_lists_and_restarts(
    quick_hub: FakeHub, tmp_path: Path
) -> None:
    """It prints every Space and restarts the failed ones, and only those."""
    ended = await (
        await Program.start(QUICKSTART, "acme", cwd=tmp_path, hub=quick_hub)
    ).end()
    assert (ended.status, ended.err) == (0, "")
    for line in ("acme/good RUNNING", "acme/crashed RUNTIME_ERROR", "restart: 2 done"):
        assert line in ended.out.splitlines()
    restarts = {repo_id: s.restarts for repo_id, s in quick_hub.spaces.items()}
    assert restarts == {"acme/good": 0, "acme/crashed": 1, "acme/unbuilt": 1}


def test_quickstart_is_quick() -> None:
    """Its `main` is about a dozen lines."""
    source = (EXAMPLES / "quickstart.py").read_text("utf-8")
    main = source.partition("async def main")[2].partition("\n\n\n")[0]
    assert len(main.splitlines()) <= 12


async def test_bulk_restart_waits_until_all_run(
    quick_hub: FakeHub, tmp_path: Path
) -> None:
    """Each Space is shown twice, restarted and running; the exit status is 0."""
    ended = await (
        await Program.start(BULK_RESTART, "acme", cwd=tmp_path, hub=quick_hub)
    ).end()
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert {"restart: 2 done", "wait: 2 done"} <= set(lines)
    assert sum("acme/crashed done" in line for line in lines) == 2
    assert quick_hub.space("acme/crashed").stage == "RUNNING"
    assert quick_hub.space("acme/good").restarts == 0


async def test_bulk_restart_tells_what_fails_again(
    quick_hub: FakeHub, tmp_path: Path
) -> None:
    """A Space that is restarted and fails again makes the exit status 1."""
    quick_hub.space("acme/crashed").fails_with = "RUNTIME_ERROR"
    ended = await (
        await Program.start(BULK_RESTART, "acme", cwd=tmp_path, hub=quick_hub)
    ).end()
    assert (ended.status, ended.err) == (1, "")
    assert "restart: 2 done" in ended.out
    assert "wait: 1 done, 1 failed" in ended.out
    assert "acme/crashed failed acme/crashed is RUNTIME_ERROR" in ended.out


async def test_bulk_restart_gives_up_after_max_failures(tmp_path: Path) -> None:
    """No more Spaces are started, what was restarted is waited for, status 1."""
    async with FakeHub(build_seconds=SEEN, start_seconds=0) as hub:
        add_failed(hub, 40)
        refused = hub.faults("POST /restart", Fault.status(403), after=2, times=None)
        program = await Program.start(
            *(BULK_RESTART, "acme", "--max-failures", "3", "--concurrency", "2"),
            cwd=tmp_path,
            hub=hub,
        )
        ended = await program.end()
        assert (ended.status, ended.err) == (1, "")
        assert "(stopped after too many failures)" in ended.out
        assert "wait: 2 done" in ended.out
        # The third failure stops it; the other call then under way is finished.
        assert 3 <= refused.hits <= 4


async def test_bulk_restart_tells_when_it_waits_for_the_quota(tmp_path: Path) -> None:
    """A pause of the quota is announced and waited out: no call is refused."""
    quota = Quota(limit=4, window=1.0)
    async with FakeHub(build_seconds=3 * SEEN, start_seconds=0, quota=quota) as hub:
        add_failed(hub, 2)
        program = await Program.start(BULK_RESTART, "acme", cwd=tmp_path, hub=hub)
        ended = await program.end()
        assert (ended.status, ended.err) == (0, "")
        assert "s for the quota (get_runtime)" in ended.out
        assert {request.status for request in hub.requests} == {200}


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
async def test_bulk_restart_leaves_a_true_report_after_ctrl_c(tmp_path: Path) -> None:
    """What was done, and what was sent without an answer, is told; then it ends."""
    async with FakeHub() as hub:
        add_failed(hub, 40)
        hub.faults("POST /restart", Fault.hang(), after=3, times=None)
        program = await Program.start(
            *(BULK_RESTART, "acme", "--concurrency", "4"), cwd=tmp_path, hub=hub
        )
        try:
            async with asyncio.timeout(20):
                while hub.count("POST", "/restart") < 7:
                    await asyncio.sleep(0.001)
        finally:
            program.process.send_signal(signal.SIGINT)
        ended = await program.end()
        assert (ended.status, ended.err) == (130, "")
        assert "restart: 3 done, 4 unknown" in ended.out
        assert "(interrupted)" in ended.out
        assert ended.out.count("sent but not confirmed: acme/s") == 4
        assert "wait:" not in ended.out
        assert hub.count("POST", "/restart") == 7


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["../etc"], "error: author must be"),
        (["acme", "--concurrency", "0"], "error: concurrency must be"),
    ],
)
async def test_bulk_restart_says_what_is_wrong_with_its_arguments(
    tmp_path: Path, argv: list[str], told: str
) -> None:
    """One line instead of a traceback, status 2, and nothing is sent."""
    async with FakeHub() as hub:
        program = await Program.start(BULK_RESTART, *argv, cwd=tmp_path, hub=hub)
        ended = await program.end()
        assert (ended.status, ended.out) == (2, "")
        assert ended.err.startswith(told)
        assert ended.err.count("\n") == 1
        assert hub.requests == []


async def test_bulk_restart_without_access_is_one_line(
    quick_hub: FakeHub, tmp_path: Path
) -> None:
    """A token that the Hub refuses ends it with status 2 and is not shown."""
    refused = quick_hub.token
    quick_hub.remove_token(refused)
    program = await Program.start(BULK_RESTART, "acme", cwd=tmp_path, hub=quick_hub)
    ended = await program.end()
    assert ended.status == 2
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert refused not in ended.out + ended.err


@pytest.mark.parametrize("mode", ["strict", "auto"])
async def test_your_service_passes_in_any_project(tmp_path: Path, mode: str) -> None:
    """Copied into an empty project, the test file passes in both asyncio modes."""
    copy = tmp_path / "test_your_service.py"
    copy.write_text((EXAMPLES / "test_your_service.py").read_text("utf-8"), "utf-8")
    program = await Program.start(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", str(copy)),
        *("-o", f"asyncio_mode={mode}"),
        *("-o", "asyncio_default_fixture_loop_scope=function"),
        cwd=tmp_path,
    )
    ended = await program.end()
    assert ended.status == 0, ended.out
    assert "10 passed" in ended.out


async def test_pause_org_pauses_and_wakes_the_same_spaces(tmp_path: Path) -> None:
    """What ran is paused and woken again; what was paused before stays paused."""
    async with FakeHub(build_seconds=0, start_seconds=0) as hub:
        for name in ("a", "b", "demo-1"):
            hub.add_space(f"acme/{name}")
        hub.add_space("acme/off", stage="PAUSED")
        hub.add_space("acme/page", sdk="static")
        hub.add_space("acme/no")
        hub.faults("POST /api/spaces/acme/no/pause", Fault.status(403), times=None)
        script = str(EXAMPLES / "pause_org.py")
        paused = await (
            await Program.start(
                script, "acme", "--keep", "demo-*", cwd=tmp_path, hub=hub
            )
        ).end()
        assert (paused.status, paused.err) == (1, "")
        assert "2 done, 1 skipped, 1 failed" in paused.out
        assert "acme/no failed" in paused.out
        stages = {
            name: hub.space(f"acme/{name}").stage for name in ("a", "b", "demo-1")
        }
        assert stages == {"a": "PAUSED", "b": "PAUSED", "demo-1": "RUNNING"}
        listed = tmp_path / "paused.txt"
        assert sorted(listed.read_text().split()) == ["acme/a", "acme/b"]
        woken = await (
            await Program.start(script, "acme", "--wake", cwd=tmp_path, hub=hub)
        ).end()
        assert (woken.status, woken.err) == (0, "")
        assert hub.space("acme/a").stage == hub.space("acme/b").stage == "RUNNING"
        assert hub.space("acme/off").restarts == 0
        assert listed.read_text() == ""
