"""`create`, `move` and `delete`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spaces_async.testing import FakeHub, Fault

Spaces = Callable[..., Any]
Writes = Callable[[FakeHub], list[str]]

SECRET = "s3cret-Value"


def sent(hub: FakeHub, path: str) -> dict[str, Any]:
    """Return the body of the last call to a path."""
    found = [r for r in hub.requests if r.path == path and r.method != "GET"]
    body: dict[str, Any] = json.loads(found[-1].body)
    return body


def test_create_with_everything(
    org: FakeHub, spaces: Spaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every option arrives; stdout is the id, and no secret is anywhere."""
    monkeypatch.setenv("API_KEY", SECRET)
    app, picture = tmp_path / "app.py", tmp_path / "x.png"
    app.write_text("print('é')\n", "utf-8")
    picture.write_bytes(b"\x89PNG\xff")
    result = spaces(
        "-vv", "create", "acme/new", "--sdk", "gradio", "--protected",
        "--hardware", "t4-small", "--sleep-time", "1h", "--region", "eu",
        "--description", "short", "--sdk-version", "6.1", "--license", "mit",
        "--dev-mode", "--resource-group", "0" * 24, "--variable", "A=1",
        "--volume", "hf://models/a/b:/m:ro", "--secret-from-env", "API_KEY",
        "--file", str(app), "--file", f"img/x.png={picture}",
    )  # fmt: skip
    assert result.code == 0, result
    assert result.out == "acme/new\n"
    assert f"Created {org.url}/spaces/acme/new" in result.err
    assert SECRET not in result.err
    space = org.space("acme/new")
    assert space.visibility == "protected"
    assert space.requested_hardware == "t4-small"
    assert space.sleep_time == 3600
    assert space.region == "eu"
    assert space.dev_mode
    assert space.secrets["API_KEY"].value == SECRET
    assert space.variables["A"].value == "1"
    assert space.volumes[0]["mountPath"] == "/m"
    body = sent(org, "/api/repos/create")
    assert body["sdkVersion"] == "6.1"
    assert body["license"] == "mit"
    assert body["resourceGroupId"] == "0" * 24
    assert body["short_description"] == "short"
    assert body["files"] == [
        {"path": "app.py", "content": "print('é')\n", "encoding": "utf-8"},
        {"path": "img/x.png", "content": "iVBOR/8=", "encoding": "base64"},
    ]


def test_create_sends_no_more_than_asked(org: FakeHub, spaces: Spaces) -> None:
    """Without options it is the Hub that decides."""
    assert spaces("create", "acme/new", "--sdk", "static").code == 0
    assert sent(org, "/api/repos/create") == {
        "name": "new",
        "organization": "acme",
        "type": "space",
        "sdk": "static",
    }


def test_create_by_bare_name(org: FakeHub, spaces: Spaces) -> None:
    """A name alone is under one's own account, and stdout has the whole id."""
    assert spaces("create", "new", "--sdk", "docker").out == "tester/new\n"
    again = spaces("create", "new", "--sdk", "docker")
    assert again.code == 1
    assert again.out == ""
    there = spaces("create", "new", "--sdk", "docker", "--exist-ok")
    assert there.code == 0
    assert there.out == "tester/new\n"
    assert "Already there: http" in there.err


def test_create_from_a_template(org: FakeHub, spaces: Spaces) -> None:
    """`--template` goes along; `--json` tells id and address."""
    result = spaces(
        "create", "acme/bot", "--sdk", "gradio", "--json",
        "--template", "gradio-templates/chatbot",
    )  # fmt: skip
    url = f"{org.url}/spaces/acme/bot"
    assert json.loads(result.out) == {"repo_id": "acme/bot", "url": url}
    assert sent(org, "/api/repos/create")["template"] == "gradio-templates/chatbot"


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (
            ["create", "acme/new", "--sdk", "gradio", "--secret", f"A={SECRET}"],
            '"secrets": [{"key": "A", "value": "***"}]',
        ),
        (["create", "x", "--sdk", "gradio", "--private"], '"visibility": "private"'),
        (["create", "x", "--sdk", "gradio", "--dev-mode"], '"devModeEnabled": true'),
        (
            ["duplicate", "acme/run-1", "--volume", "hf://a/b:/m"],
            '"source": "a/b", "mountPath": "/m"',
        ),
        (["move", "acme/run-1", "acme/b"], '"toRepo": "acme/b"'),
    ],
)
def test_dry_run(org: FakeHub, spaces: Spaces, args: list[str], line: str) -> None:
    """`--dry-run` prints the request without secrets and sends nothing."""
    result = spaces(*args, "--dry-run")
    assert result.code == 0
    assert line in result.out
    assert "Dry run: nothing was sent" in result.err
    document = spaces(*args, "--dry-run", "--json")
    assert {"repo_id", "method", "path", "body"} == json.loads(document.out)[0].keys()
    assert SECRET not in result.out + result.err + document.out + document.err
    assert org.requests == []


def test_create_of_unknown_outcome(org: FakeHub, spaces: Spaces) -> None:
    """If it is unknown whether it is there, it says where to look."""
    org.faults("POST /create", Fault.status(500), times=None)
    org.faults("GET /api/spaces/{id}", Fault.status(500), times=None)
    result = spaces("--call-timeout", "2", "create", "acme/new", "--sdk", "gradio")
    assert result.code == 1
    assert "spaces-async status acme/new" in result.err


def test_duplicate_takes_volumes(org: FakeHub, spaces: Spaces) -> None:
    """A copy can be given volumes and be protected."""
    result = spaces(
        "duplicate", "acme/run-1", "copy", "--protected", "--volume", "hf://a/b:/m"
    )
    assert result.code == 0
    assert org.space("tester/copy").volumes[0]["source"] == "a/b"
    assert org.space("tester/copy").visibility == "protected"


def test_move(org: FakeHub, spaces: Spaces) -> None:
    """It is at its new place; stdout is the new id."""
    result = spaces("move", "acme/run-1", "acme/showcase")
    assert result.code == 0
    assert result.out == "acme/showcase\n"
    assert "acme/run-1" not in org.spaces
    assert "acme/showcase" in org.spaces
    taken = spaces("move", "acme/run-2", "acme/showcase")
    assert taken.code == 1
    assert "acme/run-2" in org.spaces


def test_delete(org: FakeHub, spaces: Spaces) -> None:
    """`--yes` does not ask; a missing one is an error unless that is all right."""
    dry = spaces("delete", "acme/run-1", "acme/none", "--dry-run")
    assert '"name": "run-1", "organization": "acme"' in dry.lines[0]
    assert dry.lines[1].startswith("acme/none\tskipped\tnot found")
    assert "acme/run-1" in org.spaces
    result = spaces("delete", "acme/run-1", "acme/none", "--yes")
    assert result.code == 1
    assert result.lines[0] == "acme/run-1\tdone\t"
    assert "acme/none\tfailed\t404" in result.out
    assert "acme/run-1" not in org.spaces
    assert spaces("delete", "acme/run-1", "--yes", "--missing-ok").code == 0


def test_delete_without_a_terminal(
    org: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """Without a terminal to ask at nothing is deleted, not even one that is named."""
    for args in (["acme/run-1"], ["--org", "acme"], ["-"], ["acme/run-1", "acme/off"]):
        result = spaces("delete", *args, stdin="acme/run-1\n")
        assert result.code == 2
        assert "add --yes" in result.err
        assert "acme/run-1" in result.err
    assert writes(org) == []


TWO = "Delete these 2 Spaces for good? Type 2 to go on:"


@pytest.mark.parametrize(
    ("args", "question", "yes"),
    [
        (["acme/off"], "Delete acme/off for good? [y/N]", "y\n"),
        (["acme/off", "acme/site"], TWO, "2\n"),
        (["--org", "acme", "--stage", "failed"], TWO, " 2 \n"),
    ],
)
@pytest.mark.parametrize("answer", ["yes", "\n", "3\n", "22\n", "no\n"])
def test_delete_always_asks(  # noqa: PLR0917  (fixtures)
    org: FakeHub,
    spaces: Spaces,
    args: list[str],
    question: str,
    yes: str,
    answer: str,
) -> None:
    """It names what would be lost; for several it takes their number, and no "y"."""
    answer = yes if answer == "yes" else answer
    before = set(org.spaces)
    master, slave = os.openpty()
    with os.fdopen(slave) as stdin:
        os.write(master, answer.encode())
        result = spaces("delete", *args, stdin=stdin)
    os.close(master)
    gone = before - set(org.spaces)
    assert question in result.err
    assert bool(gone) is (answer == yes)
    assert result.code == (0 if gone else 1)
    assert all(repo_id in result.err for repo_id in gone)


def test_delete_names_the_first_of_many(
    hub: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """Of very many the first are named and the rest is counted."""
    ids = [f"acme/s{number}" for number in range(23)]
    result = spaces("delete", *ids)
    assert result.code == 2
    assert "acme/s19\n  and 3 more\n" in result.err
    assert writes(hub) == []
