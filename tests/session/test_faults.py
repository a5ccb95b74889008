"""The fault matrix: one broken answer after the other, over real sockets.

`faults_table.py` has the rows and what is wanted of each, `docs/what-happens-when.md`
says the same to users.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

import spaces_async as sa

from .faults_bench import (
    ROUTES,
    Bench,
    Do,
    bench,
    caught,
    make_settings,
    read,
    secret,
    shows_nothing,
    write,
)
from .faults_table import MANY, READS, ROWS, WRITES, Counts, Row, Want

KNOWN: Mapping[str, str] = {}
"""What the package does not do yet: "test:row" -> why."""


def rows(test: str) -> list[Any]:
    made: list[Any] = []
    for row in ROWS:
        why = KNOWN.get(f"{test}:{row.id}")
        marks = [pytest.mark.xfail(strict=True, reason=why)] if why else []
        made.append(pytest.param(row, id=row.id, marks=marks))
    return made


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What the most talkative configuration would write, the tests look at."""
    caplog.set_level(logging.DEBUG)


async def prepare(rig: Bench, row: Row, do: Do, times: int | None = None) -> None:
    """Break the route; a warm row has its connection first."""
    if row.warm:
        await rig.off.lifecycle.get_runtime("acme/warm")
    rig.server.requests.clear()
    rig.server.fault(ROUTES[do], row.script, times=times)


def judge(want: Want, result: Any, error: sa.SpacesError | None) -> None:
    """See whether a call ended as wanted."""
    if want.error is None:
        assert error is None
        assert isinstance(result, sa.SpaceRuntime)
        return
    assert type(error) is want.error, f"{error!r}"
    said = str(error)
    assert "\n" not in said
    for text in want.says:
        assert text in said
    for text in want.hides:
        assert text not in said


def counted(rig: Bench, do: Do, expected: int, want: Want) -> None:
    seen = rig.server.count(ROUTES[do])
    if expected == MANY:
        assert seen > 1
    else:
        assert seen == expected * want.requests


async def once_only(row: Row, do: Do, want: Want, counts: Counts) -> None:
    """Without retries there is one request, and the error says what is known."""
    async with bench(make_settings(row)) as rig:
        await prepare(rig, row, do)
        result, error = await caught(do(rig.off))
        judge(want, result, error)
        counted(rig, do, counts.off, want)
        assert set(rig.server.routes()) == {ROUTES[do]}
        if row.warm:
            assert {r.connection for r in rig.server.requests} == {1}
        if row.quiet:
            assert rig.clock.monotonic() == 0.0
        if error is not None:
            assert error.outcome_unknown is (want.kind == "C" and do is not read)
            assert getattr(error, "attempts", None) == 1


@pytest.mark.parametrize("row", rows("read"))
async def test_a_read(row: Row) -> None:
    """A read that goes wrong is one request and one typed error."""
    await once_only(row, read, row.read, READS[row.read.kind])


@pytest.mark.parametrize("row", rows("write"))
async def test_a_write(row: Row) -> None:
    """A write that goes wrong is one request, and the error says what is known."""
    await once_only(row, write, row.write, WRITES[row.write.kind])


async def with_retries(row: Row, do: Do, want: Want, counts: Counts) -> None:
    async with bench(make_settings(row)) as rig:
        await prepare(rig, row, do)
        result, error = await caught(do(rig.client))
        counted(rig, do, counts.always, want)
        if counts.recovers:
            assert error is None
            assert isinstance(result, sa.SpaceRuntime)
        else:
            judge(want, result, error)
            assert error is not None
            assert not error.outcome_unknown
    async with bench(make_settings(row)) as rig:
        await prepare(rig, row, do, times=1 if want.requests == 1 else None)
        result, error = await caught(do(rig.client))
        counted(rig, do, counts.once, want)
        assert (error is None) is (counts.recovers or counts.once > 1)


@pytest.mark.parametrize("row", rows("read-again"))
async def test_a_read_is_tried_again(row: Row) -> None:
    """What may be over the next time is tried again, and nothing else is."""
    await with_retries(row, read, row.read, READS[row.read.kind])


@pytest.mark.parametrize("row", rows("write-again"))
async def test_a_write_is_tried_again(row: Row) -> None:
    """A write is sent again only where nothing happened or nothing more can."""
    await with_retries(row, write, row.write, WRITES[row.write.kind])


@pytest.mark.parametrize("row", rows("acted"))
async def test_a_write_that_took_effect(row: Row) -> None:
    """The Hub acted and its answer got lost: one request, and the result all the same."""
    if row.write.kind not in ("C", "D"):
        pytest.skip("the Hub does not act and then answer so")
    async with bench(make_settings(row)) as rig:
        await prepare(rig, row, write)
        rig.server.heal()
        rig.server.fault(ROUTES[write], row.script, acted=True)
        runtime = await rig.client.lifecycle.pause("acme/demo")
        assert runtime.stage is sa.SpaceStage.PAUSED
        assert rig.server.count(ROUTES[write]) == 1


@pytest.mark.parametrize("row", rows("secret"))
async def test_a_secret_is_never_shown(
    row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the token nor a secret's value is in anything that can be printed."""
    async with bench(make_settings(row)) as rig:
        for do in (read, secret):
            await prepare(rig, row, do)
            _, error = await caught(do(rig.off))
            rig.server.heal()
            if error is not None:
                shows_nothing(error, caplog)
