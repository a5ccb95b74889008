"""`resume` and `retry-failed` of a roll-out: the waves and the health of the run go on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from spaces_async.bulk._journal.format import decode, encode
from tests.support.virtual_shell import Ended, VirtualShell

IDS: Final = [f"acme/wave-{number}" for number in range(4)]
WAVES: Final = "--waves 1,100%"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualShell]:
    """A shell in virtual time, and four Spaces that take a while to start."""
    monkeypatch.chdir(tmp_path)
    start = datetime(2026, 3, 9, 20, tzinfo=UTC)
    with VirtualShell(start, tmp_path / "state", build_seconds=30) as shell:
        shell.hub.add_org("acme", members={"tester": "write"})
        for repo_id in IDS:
            shell.hub.add_space(repo_id)
        yield shell


def run(shell: VirtualShell, command: str) -> Ended:
    return shell.run_without_terminal(f"spaces-async {command}")


def restarts(shell: VirtualShell) -> list[int]:
    return [shell.hub.space(repo_id).restarts for repo_id in IDS]


def statuses(result: Ended) -> list[str]:
    return [line.split("\t")[1] for line in result.out.splitlines()]


def break_canary(shell: VirtualShell, more: str = "") -> None:
    """Begin a roll-out whose first Space starts and then fails."""
    shell.hub.space(IDS[0]).fails_with = "RUNTIME_ERROR"
    result = run(shell, f"restart {' '.join(IDS)} {WAVES} {more}")
    assert (result.code, restarts(shell)) == (1, [1, 0, 0, 0])
    assert "To continue with the 4 Spaces left: spaces-async resume " in result.err


@pytest.mark.parametrize("command", ["resume", "retry-failed"])
def test_who_goes_on_meets_the_canary_again(shell: VirtualShell, command: str) -> None:
    """A halted run keeps its waves, so its advice never sends to all at once."""
    break_canary(shell)
    again = run(shell, f"{command} --last")
    assert (again.code, restarts(shell)) == (1, [2, 0, 0, 0])
    assert "In waves of 1, 100%; each must be healthy." in again.err
    over = "The waves start over for the 4 Spaces left; add --waves 100% to send to all"
    assert (over in again.err) is (command == "resume")
    assert "Of the 1 failed: 1 sent again, now failed." in again.err
    shell.hub.space(IDS[0]).fails_with = None
    mended = run(shell, "resume --last")
    assert (mended.code, restarts(shell)) == (0, [3, 1, 1, 1])
    assert "Of the 1 failed: 1 sent again, now done." in mended.err


def test_who_says_so_sends_to_all_at_once(shell: VirtualShell) -> None:
    """`--waves 100%` goes before the waves of the run; health is looked at anyway."""
    break_canary(shell)
    result = run(shell, "resume --last --waves 100%")
    assert (result.code, restarts(shell)) == (1, [2, 1, 1, 1])
    assert "all at once" not in result.err
    assert sorted(statuses(result)) == ["done", "done", "done", "failed"]


def test_the_probe_goes_on_as_well(shell: VirtualShell) -> None:
    """What had to answer before has to answer again, unless another path is given."""
    shell.hub.space(IDS[0]).app_status = 500
    words = f"{' '.join(IDS)} {WAVES} --probe /up --healthy-for 5 --timeout 90 --wait"
    assert run(shell, f"restart {words}").code == 1
    assert restarts(shell) == [1, 0, 0, 0]
    again = run(shell, "resume --last")
    assert "each must be healthy and answer at /up, for 5s." in again.err
    assert "/up answered 500" in again.err + again.out
    assert restarts(shell) == [2, 0, 0, 0]
    other = run(shell, "resume --last --probe /other")
    assert "/other answered 500" in other.err + other.out


def test_a_function_of_a_program_cannot_be_kept(shell: VirtualShell) -> None:
    """The shell says so, and goes on once it is told how to judge."""
    program = f"""
import spaces_async

async def refuse(client, repo_id):
    return False

async with spaces_async.SpacesClient() as client:
    report = await client.bulk.restart(
        {IDS}, waves=[1, 2], healthy=refuse, journal="roll.jsonl"
    )
"""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    shell.run_program(compile(program, "roll.py", "exec", flags), {})
    refused = run(shell, "resume roll.jsonl")
    assert (refused.code, restarts(shell)) == (2, [1, 0, 0, 0])
    assert "a function of a program judged health in roll.jsonl" in refused.err
    assert "--probe, --healthy-for or --waves" in refused.err
    assert run(shell, "resume roll.jsonl --waves 100%").code == 0
    assert restarts(shell) == [2, 1, 1, 1]


def test_what_is_not_looked_at_is_not_called_done(shell: VirtualShell) -> None:
    """A journal of before has no waves: who goes on with it hears what is not known."""
    break_canary(shell, "--journal old.jsonl")
    path = Path("old.jsonl")
    header, *lines = path.read_bytes().splitlines(keepends=True)
    record = decode(header[:-1], 0)
    assert record.pop("rollout")["waves"] == [1, "100%"]
    del record["n"]
    path.write_bytes(b"".join([encode(record, 0), *lines]))
    result = run(shell, "resume old.jsonl")
    assert (result.code, restarts(shell)) == (0, [2, 1, 1, 1])
    assert "Of the 1 failed: 1 sent again, its health not checked." in result.err
