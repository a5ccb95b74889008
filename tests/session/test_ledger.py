"""The ledger: processes of one host share a quota without meeting a 429."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import stat
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import spaces_async as sa
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota

JOB = Path(__file__).parents[1] / "support" / "ledger_job.py"


@asynccontextmanager
async def hub_of(quota: Quota, clock: ManualClock) -> AsyncIterator[FakeHub]:
    async with FakeHub(clock=clock, quota=quota) as hub:
        hub.add_space("tester/demo")
        yield hub


def client_of(hub: FakeHub, ledger: Path | str, **options: Any) -> sa.SpacesClient:
    """A client that shares a ledger, on the Hub's clock."""
    settings = sa.ClientSettings(ledger=ledger, **options)
    token = options.pop("token", hub.token)
    return sa.SpacesClient(
        token=token, endpoint=hub.url, clock=hub.clock, settings=settings
    )


async def read(client: sa.SpacesClient) -> None:
    await client.lifecycle.get_runtime("tester/demo")


def refused(hub: FakeHub) -> int:
    return sum(request.status == 429 for request in hub.requests)


AT_ONCE = sa.RetryPolicy(max_rate_limit_wait=1.0)


async def test_what_one_has_learned_the_other_knows(tmp_path: Path) -> None:
    """A client that has sent nothing yet does not try a window that is used up."""
    async with hub_of(Quota(5, 300.0), ManualClock()) as hub:
        async with (
            client_of(hub, tmp_path / "ledger") as one,
            client_of(hub, tmp_path / "ledger", retry=AT_ONCE) as other,
        ):
            for _ in range(5):
                await read(one)
            with pytest.raises(sa.RateLimitError) as caught:
                await read(other)
        assert (caught.value.attempts, caught.value.remaining) == (0, 0)
        assert len(hub.requests) == 5


async def test_the_requests_in_flight_of_all_count(tmp_path: Path) -> None:
    """A request in flight of one client is not left for the others."""
    clock = ManualClock()
    async with (
        hub_of(Quota(5, 300.0), clock) as hub,
        client_of(hub, tmp_path / "ledger") as one,
        client_of(hub, tmp_path / "ledger") as other,
    ):
        await read(one)
        hub.faults("GET /runtime", Fault.hang(), times=4)
        tasks = [asyncio.create_task(read(one)) for _ in range(4)]
        while hub.in_flight < 4:
            await asyncio.sleep(0)
        fifth = asyncio.create_task(read(other))
        await clock.wait_for_sleepers(1)
        clock.advance(0.5)
        await clock.wait_for_sleepers(1)
        assert len(hub.requests) == 5
        for task in [*tasks, fifth]:
            task.cancel()
        await asyncio.wait([*tasks, fifth])


async def test_an_action_limit_is_known_to_all(tmp_path: Path) -> None:
    """One kind of call that the Hub holds back is held back in every process."""
    async with hub_of(Quota(500, 300.0), ManualClock()) as hub:
        async with (
            client_of(hub, tmp_path / "ledger", retry=AT_ONCE) as one,
            client_of(hub, tmp_path / "ledger", retry=AT_ONCE) as other,
        ):
            hub.faults("POST /restart", Fault.action_limit())
            for client in (one, other):
                with pytest.raises(sa.ActionLimitError):
                    await client.lifecycle.restart("tester/demo")
            await read(other)
        assert hub.count("POST", "/restart") == 1


async def test_the_file_is_private_and_names_no_token(tmp_path: Path) -> None:
    """Only its owner may read it, and it holds neither tokens nor names."""
    ledger = tmp_path / "ledger"
    async with hub_of(Quota(5, 300.0), ManualClock()) as hub:
        async with client_of(hub, str(ledger)) as client:
            await read(client)
            await read(client.with_token(False))
        text = ledger.read_bytes()
        assert text.startswith(b"spaces_async ledger 1\n")
        for secret in (hub.token, hub.token[3:], "tester", "127.0.0.1"):
            assert secret.encode() not in text
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600


async def test_each_token_has_its_own_slot(tmp_path: Path) -> None:
    """A used up quota holds no other user back."""
    async with hub_of(Quota(3, 300.0), ManualClock()) as hub:
        hub.add_user("alice", token="hf_alice")
        async with client_of(hub, tmp_path / "ledger", retry=AT_ONCE) as client:
            for _ in range(3):
                await read(client)
            alice = client.with_token("hf_alice")
            for _ in range(3):
                await alice.catalog.get_info("tester/demo")
        assert refused(hub) == 0


@pytest.mark.unmeasured
async def test_more_tokens_than_slots(tmp_path: Path) -> None:
    """When all slots are taken, the oldest one is reused, and calls go on."""
    async with hub_of(Quota(50, 300.0), ManualClock()) as hub:
        async with client_of(hub, tmp_path / "ledger") as client:
            for n in range(300):
                token = f"hf_user{n}"
                hub.add_user(f"user{n}", token=token)
                await client.with_token(token).catalog.get_info("tester/demo")
        assert refused(hub) == 0
        assert (tmp_path / "ledger").stat().st_size <= 1025 * 4096


@pytest.mark.parametrize("damage", [b"\0" * 40, b"00000000 {}\n", b"x" * 4096, b""])
async def test_a_damaged_slot_is_started_anew(tmp_path: Path, damage: bytes) -> None:
    """What cannot be read is forgotten; the calls go on and learn it again."""
    ledger = tmp_path / "ledger"
    async with (
        hub_of(Quota(50, 300.0), ManualClock()) as hub,
        client_of(hub, ledger) as client,
    ):
        await read(client)
        size = ledger.stat().st_size
        if damage:
            ledger.write_bytes(ledger.read_bytes()[:4096] + damage * (size // 40))
        else:
            os.truncate(ledger, 4096 + 10)
        for _ in range(3):
            await read(client)
        assert len(hub.requests) == 4


async def test_a_slot_from_before_the_last_boot(
    tmp_path: Path,
) -> None:
    """The monotonic clock started anew: what lies in its future is ignored."""
    ledger = tmp_path / "ledger"
    clock = ManualClock()
    clock.advance(10_000.0)
    async with hub_of(Quota(2, 300.0), clock) as hub, client_of(hub, ledger) as client:
        await read(client)
        await read(client)
    async with hub_of(Quota(2, 300.0), ManualClock()) as hub:
        # The same endpoint would have the same slot; the key tells them apart.
        content = ledger.read_bytes()
        async with client_of(hub, ledger, retry=AT_ONCE) as client:
            await read(client)
            assert ledger.read_bytes() != content


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("left", "x"),
        ("left", -1),
        ("left", 10**40),
        ("left", None),
        ("ends", float("nan")),
        ("ends", 1e300),
        ("ends", [1]),
        ("limit", 1.5),
        ("holds", {"": 1e12}),
        ("holds", []),
        ("requests", -1),
        ("lost", [None]),
        ("lost", {"a": 1}),
        ("claims", {"1": [10**30, 5.0]}),
        ("claims", {"x": [1, 5.0]}),
        ("claims", {"1": 3}),
        ("claims", {str(10**30): [1, 5.0]}),
        ("written", "soon"),
        ("key", None),
    ],
)
async def test_nothing_in_it_is_taken_on_trust(
    tmp_path: Path, name: str, value: Any
) -> None:
    """A slot with a value that this package never writes is started anew."""
    ledger = tmp_path / "ledger"
    async with (
        hub_of(Quota(50, 300.0), ManualClock()) as hub,
        client_of(hub, ledger) as client,
    ):
        await read(client)
        data = ledger.read_bytes()
        start = data.index(b"{")
        place = json.loads(data[start:].partition(b"\n")[0])
        place[name] = value
        text = json.dumps(place).encode()
        line = b"%08x %b\n" % (zlib.crc32(text), text)
        ledger.write_bytes(data[: start - 9] + line)
        for _ in range(3):
            await read(client)
        assert len(hub.requests) == 4


@pytest.mark.parametrize("kind", ["text", "folder", "missing", "link"])
async def test_another_file_is_refused_and_stays_as_it_is(
    tmp_path: Path, kind: str
) -> None:
    """A path that cannot be a ledger is an error before anything is sent."""
    path = tmp_path / "notes"
    (tmp_path / "text").write_text("my notes")
    if kind == "text":
        path.write_text("my notes")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "text")
    else:
        path = tmp_path / "nowhere" / "ledger"
    async with hub_of(Quota(5, 300.0), ManualClock()) as hub:
        async with client_of(hub, path) as client:
            for _ in range(2):
                with pytest.raises(sa.ConfigurationError, match="ledger"):
                    await read(client)
        assert hub.requests == []
    assert (tmp_path / "text").read_text() == "my notes"


@pytest.mark.parametrize("value", [3, "", b"ledger", object()])
def test_what_is_no_path(value: Any) -> None:
    """A setting that names no file is refused at once."""
    with pytest.raises(sa.ConfigurationError, match="ledger must be"):
        sa.ClientSettings(ledger=value)


async def test_a_process_that_keeps_the_lock(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls wait for two seconds at most; once it lets go, the ledger is used again."""
    ledger = tmp_path / "ledger"
    clock = ManualClock(auto=True)
    async with hub_of(Quota(4, 300.0), clock) as hub, client_of(hub, ledger) as client:
        await read(client)
        with ledger.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with caplog.at_level(logging.WARNING):
                await read(client)
                await read(client)
            assert 2.0 <= clock.monotonic() <= 3.0
            told = [r.message for r in caplog.records if "without it" in r.message]
            assert len(told) == 1
        await read(client)
        async with client_of(hub, ledger, retry=AT_ONCE) as other:
            with pytest.raises(sa.RateLimitError):
                await read(other)
        assert refused(hub) == 0


async def test_a_file_that_fails_stops_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that is full or broken costs the coordination, not the calls."""

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    clock = ManualClock(auto=True)
    async with (
        hub_of(Quota(50, 300.0), clock) as hub,
        client_of(hub, tmp_path / "ledger") as client,
    ):
        await read(client)
        for name in ("pwrite", "pread"):
            with monkeypatch.context() as patch:
                patch.setattr(os, name, fail)
                async with asyncio.TaskGroup() as group:
                    for _ in range(5):
                        group.create_task(read(client))
        assert "No space left on device" in caplog.text
        await read(client)


async def run_jobs(hub: FakeHub, ledger: Path, *, jobs: int, calls: int) -> list[Any]:
    """Start processes that share a ledger and do their calls."""
    return [
        await asyncio.create_subprocess_exec(
            sys.executable,
            str(JOB),
            *(hub.url, hub.token, str(ledger), str(calls)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(jobs)
    ]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("killed", [False, True], ids=["all live", "one is killed"])
async def test_processes_that_share_a_ledger_meet_no_429(
    tmp_path: Path, killed: bool
) -> None:
    """Three real processes use up window after window of one token; 0 are refused.

    The one that is killed had requests in flight: its claims expire, the others go on.
    """
    async with FakeHub(quota=Quota(60, 5.0), latency=(0.01, 0.03)) as hub:
        hub.add_space("tester/demo")
        jobs = await run_jobs(hub, tmp_path / "ledger", jobs=3, calls=30)
        for job in jobs:
            assert await job.stdout.readline() == b"ready\n"
        for job in jobs:
            job.stdin.write(b"go\n")
        if killed:
            while len(hub.requests) < 30:
                await asyncio.sleep(0.005)
            jobs[0].kill()
        told = [
            json.loads(line) for line in [await j.stdout.read() for j in jobs] if line
        ]
        for job in jobs:
            await job.wait()
        assert told == [{"done": 30, "failed": 0}] * (2 if killed else 3)
        assert refused(hub) == 0
        assert max(r.at for r in hub.requests) - hub.requests[0].at < 30.0


async def test_a_full_disk_is_no_reason_to_be_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client whose ledger cannot be written still knows its own responses."""

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    async with hub_of(Quota(5, 300.0), ManualClock()) as hub:
        async with client_of(hub, tmp_path / "ledger", retry=AT_ONCE) as client:
            await read(client)
            monkeypatch.setattr(os, "pwrite", fail)
            for _ in range(4):
                await read(client)
            with pytest.raises(sa.RateLimitError):
                await read(client)
        assert refused(hub) == 0


async def test_a_slot_that_another_token_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that has lost its slot still knows what it was told itself."""
    monkeypatch.setattr("spaces_async._quota.file_ledger._SLOTS", 2)
    async with hub_of(Quota(1, 300.0), ManualClock()) as hub:
        async with client_of(hub, tmp_path / "ledger", retry=AT_ONCE) as client:
            users = [f"hf_user{n}" for n in range(8)]
            for token in users:
                hub.add_user(token[3:], token=token)
                await client.with_token(token).catalog.get_info("tester/demo")
            for token in users:
                with pytest.raises(sa.RateLimitError):
                    await client.with_token(token).catalog.get_info("tester/demo")
        assert refused(hub) == 0


@pytest.mark.parametrize("process", ["2147483647.gone", "OWN.earlier"])
async def test_the_claims_of_a_process_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: str
) -> None:
    """Its claims count for five more seconds, even if its id was reused."""
    clock = ManualClock()
    async with hub_of(Quota(5, 300.0), clock) as hub:
        gone = client_of(hub, tmp_path / "ledger")
        other = client_of(hub, tmp_path / "ledger")
        async with gone, other:
            with monkeypatch.context() as patch:
                name = process.replace("OWN", str(os.getpid()))
                patch.setattr(
                    "spaces_async._quota.file_ledger._process_name", lambda: name
                )
                await read(gone)
                hub.faults("GET /runtime", Fault.hang(), times=2)
                tasks = [asyncio.create_task(read(gone)) for _ in range(2)]
                while hub.in_flight < 2:
                    await asyncio.sleep(0)
            await read(other)  # what is left besides the two
            late = asyncio.create_task(read(other))
            for _ in range(4):
                await clock.wait_for_sleepers(1)
                clock.advance(1.0)
                for _ in range(20):
                    await asyncio.sleep(0)
            assert not late.done()
            assert len(hub.requests) == 4
            clock.advance(2.0)
            async with asyncio.timeout(10):
                await late
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


@pytest.mark.parametrize("left", [b"", b"spaces_asy", b"\0" * 5000])
async def test_a_file_that_was_emptied(tmp_path: Path, left: bytes) -> None:
    """A ledger whose beginning is torn or gone is begun anew."""
    ledger = tmp_path / "ledger"
    ledger.write_bytes(left)
    async with hub_of(Quota(5, 300.0), ManualClock()) as hub:
        async with client_of(hub, ledger) as client:
            await read(client)
        async with client_of(hub, ledger) as client:
            await read(client)
    assert ledger.read_bytes().startswith(b"spaces_async ledger 1\n")


async def test_a_file_that_was_deleted(tmp_path: Path) -> None:
    """A client that has it open goes on with the new one and brings its knowledge."""
    ledger = tmp_path / "ledger"
    async with hub_of(Quota(3, 300.0), ManualClock()) as hub:
        async with client_of(hub, ledger) as one:
            await read(one)
            ledger.unlink()
            await read(one)
            async with client_of(hub, ledger, retry=AT_ONCE) as other:
                await read(other)
                with pytest.raises(sa.RateLimitError):
                    await read(other)
        assert refused(hub) == 0


@pytest.mark.parametrize("path", ["~nobody-of-this-name/ledger", "a\0b"])
async def test_paths_that_cannot_be(path: str) -> None:
    """They raise a ConfigurationError before anything is sent."""
    async with hub_of(Quota(3, 300.0), ManualClock()) as hub:
        with pytest.raises(sa.ConfigurationError, match="ledger"):
            async with client_of(hub, path) as client:
                await read(client)
        assert hub.requests == []
