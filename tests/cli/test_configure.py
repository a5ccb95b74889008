"""`replicas`, `dev-mode`, `visibility` and `volumes`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from spaces_async.testing import FakeHub, Fault

Spaces = Callable[..., Any]

A = '{"type": "model", "source": "a/a", "mountPath": "/a"}'
B = '{"type": "model", "source": "a/b", "mountPath": "/m"}'
Writes = Callable[[FakeHub], list[str]]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["volumes", "add", "hf://a/b:/m"], f'PUT /volumes {{"volumes": [{A}, {B}]}}'),
        (["volumes", "remove", "/a"], "DELETE /volumes"),
        (["volumes", "remove", "/m"], ""),
    ],
)
def test_dry_run_of_what_the_state_decides(
    org: FakeHub, spaces: Spaces, args: list[str], line: str
) -> None:
    """What is made from the state of the Space is made from it here, too."""
    org.space("acme/run-1").volumes = [
        {"type": "model", "source": "a/a", "mountPath": "/a"}
    ]
    result = spaces(*args, "acme/run-1", "--dry-run")
    assert result.code == 0
    (fields,) = (each.split("\t") for each in result.lines)
    assert fields[4].replace(" /api/spaces/acme/run-1", " ") == line
    assert fields[1] == ("change" if line else "unchanged")
    assert {request.method for request in org.requests} <= {"GET"}
    document = json.loads(spaces(*args, "acme/run-1", "--dry-run", "--json").out)
    found = [r["method"] for c in document["changes"] for r in c["requests"]]
    assert found == line.split(" ", 1)[:1] * bool(line)


@pytest.mark.parametrize(
    ("args", "skips"),
    [
        (["replicas", "2"], True),
        (["dev-mode", "off"], True),
        (["volumes", "delete"], True),
        (["visibility", "private"], False),
    ],
)
def test_org_wide(
    org: FakeHub, spaces: Spaces, writes: Writes, args: list[str], skips: bool
) -> None:
    """An org is asked for first; static Spaces are left out where it cannot be."""
    org.space("acme/run-1").volumes = [
        {"type": "model", "source": "a/a", "mountPath": "/a"}
    ]
    refused = spaces(*args, "--org", "acme")
    assert refused.code == 2
    assert "add --yes" in refused.err
    assert writes(org) == []
    said = "1 static Space will be skipped: nothing runs there." in refused.err
    assert said is skips


def test_replicas(org: FakeHub, spaces: Spaces) -> None:
    """The number is set; free hardware has the Hub's reason."""
    result = spaces("replicas", "3", "acme/run-1", "acme/run-2")
    assert result.code == 1
    assert result.lines[0] == "acme/run-1\tdone\treplicas 3, RUNNING"
    assert "only available on paid hardware" in result.lines[1]
    assert org.space("acme/run-1").replicas == 3


def test_dev_mode(org: FakeHub, spaces: Spaces) -> None:
    """It is switched both ways, and on says how to connect."""
    on = spaces("dev-mode", "on", "acme/run-1", "acme/none")
    assert on.code == 1
    assert org.space("acme/run-1").dev_mode
    assert "Connect: ssh acme-run-1@ssh.hf.space" in on.err
    off = spaces("dev-mode", "off", "acme/run-1")
    assert off.code == 0
    assert not org.space("acme/run-1").dev_mode
    assert "ssh" not in off.err


def test_visibility(org: FakeHub, spaces: Spaces) -> None:
    """Everyone, the owner, or everyone but the code."""
    for who in ("private", "protected", "public"):
        result = spaces("visibility", who, "acme/run-1", "acme/site", "--json")
        assert result.code == 0
        assert json.loads(result.out)["operation"] == "set_visibility"
        assert org.space("acme/run-1").visibility == who
        assert org.space("acme/site").visibility == who


def mounted(hub: FakeHub, repo_id: str) -> list[str]:
    return [str(volume["mountPath"]) for volume in hub.space(repo_id).volumes]


def test_volumes(org: FakeHub, spaces: Spaces) -> None:
    """They are set, added, removed and deleted, in any order with the ids."""
    both = ["acme/run-1", "acme/run-2"]
    assert spaces("volumes", "set", both[0], "hf://a/b:/m", both[1]).code == 0
    assert [mounted(org, repo_id) for repo_id in both] == [["/m"], ["/m"]]
    data = "hf://buckets/a/cache/sub:/data:rw"
    added = spaces("volumes", "add", data, "hf://datasets/a/c@v1:/c:ro", both[0])
    assert added.code == 0
    assert mounted(org, both[0]) == ["/m", "/data", "/c"]
    listed = spaces("volumes", "ls", *both)
    assert f"acme/run-1\t/data\t{data}" in listed.lines
    assert len(listed.lines) == 4
    gone = spaces("volumes", "remove", both[0], "/m", "/c", "/never")
    assert gone.code == 0
    assert mounted(org, both[0]) == ["/data"]
    assert spaces("volumes", "delete", *both, "acme/off").code == 0
    assert mounted(org, both[0]) == mounted(org, both[1]) == []
    nothing = spaces("volumes", "ls", *both)
    assert nothing.out == ""
    assert "Nothing is mounted" in nothing.err


def test_volumes_as_json(org: FakeHub, spaces: Spaces) -> None:
    """`--json` has the parts and the whole, which `add` takes again."""
    uri = "hf://datasets/a/c@v1/sub:/c:ro"
    spaces("volumes", "set", "acme/run-1", uri)
    found = json.loads(spaces("volumes", "ls", "--org", "acme", "--json").out)
    assert len(found) == 1
    assert found[0]["volume"] == uri
    assert (found[0]["id"], found[0]["type"]) == ("acme/run-1", "dataset")
    assert (found[0]["path"], found[0]["revision"]) == ("sub", "v1")
    assert found[0]["read_only"] is True


def test_a_volume_that_fails_is_named(org: FakeHub, spaces: Spaces) -> None:
    """Several are one request, so that all of them are mounted or none."""
    org.faults("PUT /volumes", Fault.status(400, message="no"), times=1)
    result = spaces("volumes", "add", "acme/run-1", "hf://a/b:/x", "hf://a/c:/y")
    assert result.code == 1
    assert "400 no" in result.out
    assert (
        spaces("volumes", "add", "acme/run-1", "hf://a/b:/x", "hf://a/c:/y").code == 0
    )
    assert org.count("PUT", "/volumes") == 2
    assert len(org.space("acme/run-1").volumes) == 2


@pytest.mark.parametrize("group", ["secrets", "variables"])
def test_a_misspelt_key(org: FakeHub, spaces: Spaces, group: str) -> None:
    """A key that no Space of an org has is no silent success."""
    given = ("K=v",) if group == "variables" else ("--from-stdin", "K")
    spaces(group, "add", "acme/run-1", *given, stdin="v")
    args = (group, "delete", "--org", "acme", "--yes")
    result = spaces(*args, "--key", "KK", "--quiet")
    assert "None of these Spaces had KK: is the key right?" in result.err
    result = spaces(*args, "--key", "K", "--key", "KK")
    assert "had KK:" in result.err
    assert "had K:" not in result.err
    again = spaces(group, "delete", "acme/run-1", "--key", "K")
    assert again.lines == ["acme/run-1\tunchanged\talready so"]
    assert "had K:" in again.err
