"""Each write in the shell: the command does it, and can say beforehand what it sends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import click
import pytest

from spaces_async._redacted import STARS
from spaces_async.bulk import operations
from spaces_async.bulk._bulk import Bulk
from spaces_async.cli import _bulk
from spaces_async.cli._main import cli
from spaces_async.testing import FakeHub
from tests.support.writes_table import IN_BULK, ROWS, SECRET, Row, add_spaces, rows

Spaces = Callable[..., Any]
HubThread = Any

DEMO: Final = "acme/demo"
TYPED: Final = [row for row in IN_BULK if row.command]


@pytest.fixture
def demo(hub: FakeHub, hub_thread: HubThread) -> FakeHub:
    """A Hub with one Space, where nothing that begins ends by itself."""
    hub_thread.stand_still()
    add_spaces(hub, [DEMO])
    return hub


def shown(body: Any) -> Any:
    """Return a body as it may be shown."""
    return json.loads(json.dumps(body).replace(SECRET, STARS))


@rows(TYPED)
def test_a_dry_run_shows_exactly_what_is_sent(
    demo: FakeHub, spaces: Spaces, row: Row
) -> None:
    """Each request is there, with its JSON, and the command then sends just these.

    Secret values are stars, in the output of both.
    """
    assert row.command is not None
    row.prepare(demo, DEMO)
    planned = spaces(*row.command, DEMO, "--dry-run", "--json")
    assert planned.code == 0
    (change,) = json.loads(planned.out)["changes"]
    requests = change["requests"]
    (line,) = spaces(*row.command, DEMO, "--dry-run").lines
    told = line.split("\t")[4].split("; ")
    assert [text.split(" ", 2)[:2] for text in told] == [
        [entry["method"], entry["path"]] for entry in requests
    ]
    assert [json.loads(text.split(" ", 2)[2]) for text in told if "{" in text] == [
        entry["body"] for entry in requests if entry["body"] is not None
    ]
    assert {request.method for request in demo.requests} <= {"GET"}

    done = spaces(*row.command, DEMO, "--yes" if row.name == "delete" else "-q")
    assert done.code == 0, done
    row.check_done(demo, DEMO)
    sent = [request for request in demo.requests if request.method != "GET"]
    query = f"?{row.query}" if row.query else ""
    assert requests == [
        {
            "method": request.method,
            "path": f"{request.path}{query}",
            "body": shown(request.json),
        }
        for request in sent
    ]
    assert [request.json for request in sent] == list(row.bodies)
    for result in (planned, done):
        assert SECRET not in result.out + result.err


# What there is ---------------------------------------------------------------------


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield all commands that write, as they are typed."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        elif "dry_run" in {parameter.name for parameter in command.params}:
            yield (*path, name)


def test_every_command_that_writes_has_a_row() -> None:
    """A new command of the shell is noticed here; so is a write that only it has."""
    typed = {row.command for row in ROWS if row.command}
    # `sweep` is `pause` with another choice of Spaces, `wake` and `unpause` are `restart`
    # with other ones, and `secrets rotate` is `secrets add`: see test_money.py,
    # test_help.py and test_secrets.py.
    chosen = {("sweep",), ("wake",), ("unpause",), ("secrets", "rotate")}
    # These do what an earlier run has done, or the opposite.
    earlier = {("resume",), ("retry-failed",), ("undo",)}
    written = set(commands(cli)) - earlier - chosen
    assert len(written) > 18
    for command in written:
        assert any(line[: len(command)] == command for line in typed), command
    for line in typed:
        assert any(line[: len(command)] == command for command in written), line


@rows(TYPED)
def test_every_write_of_the_shell_is_one_of_the_bulk(
    demo: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    """A command makes the operation that `client.bulk` has, from the same arguments."""
    made: list[Any] = []

    def run(job: _bulk.BulkCommand) -> int:
        made.append(job.operation)
        return 0

    monkeypatch.setattr(_bulk.BulkCommand, "run", run)
    assert row.command is not None
    assert spaces(*row.command, DEMO).code == 0
    (operation,) = made
    wanted = row.make()
    assert (operation.name, operation.hidden) == (wanted.name, wanted.hidden)
    assert operation.name in operations.BY_NAME
    assert hasattr(Bulk, operation.name)
    bodies = [_bodies(one) for one in (operation, wanted)]
    assert bodies[0] == bodies[1]


def _bodies(operation: Any) -> list[Any]:
    """Return the requests, of which an `Edit` has none before it has read."""
    steps = getattr(operation, "steps", ((None, operation),))
    return [one.preview(DEMO) for _, one in steps if hasattr(one, "preview")]
