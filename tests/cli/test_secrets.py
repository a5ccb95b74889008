"""`secrets rotate`, `secrets diff` and `--env-file`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spaces_async.testing import FakeHub

Spaces = Callable[..., Any]
Writes = Callable[[FakeHub], list[str]]

NEW = "canary-of-a-new-value"

ENV = """\
# a comment
export PLAIN=value   # and another
QUOTED='a # b'
SPACED = "two words"
TEMPLATE="${PLAIN}-$1"
KEY_FILE="-----BEGIN-----
abc
-----END-----"
EMPTY=
"""
READ = {
    "PLAIN": "value",
    "QUOTED": "a # b",
    "SPACED": "two words",
    "TEMPLATE": "${PLAIN}-$1",
    "KEY_FILE": "-----BEGIN-----\nabc\n-----END-----",
    "EMPTY": "",
}


@pytest.fixture
def keyed(org: FakeHub) -> FakeHub:
    """Two Spaces with the key, the others without it."""
    for repo_id, key in (("run-1", "KEY"), ("site", "KEY"), ("run-1", "MORE")):
        org.space(f"acme/{repo_id}").set_config("secrets", key, "old")
    return org


@pytest.fixture
def env_file(tmp_path: Path) -> str:
    path = tmp_path / ".env"
    path.write_text(ENV, "utf-8")
    return str(path)


def test_rotate_writes_where_the_key_is(
    keyed: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """The others are skipped with the reason; no value is shown or written down."""
    args = ("secrets", "rotate", "KEY", "--org", "acme", "--from-stdin")
    dry = spaces(*args, "--dry-run", stdin=NEW)
    changing = {x.split("\t")[0] for x in dry.lines if "\tchange\t" in x}
    assert changing == {"acme/run-1", "acme/site"}
    assert writes(keyed) == []
    assert "Rotate secret: 2 to change" in dry.err
    result = spaces(*args, "--yes", stdin=f"{NEW}\n")
    assert "Rotate secret: 2 done, " in result.err
    assert result.code == 0
    assert "acme/off\tskipped\thas no secret KEY" in result.lines
    assert len(writes(keyed)) == 2
    for repo_id in ("acme/run-1", "acme/site"):
        assert keyed.space(repo_id).secrets["KEY"].value == NEW
    assert "KEY" not in keyed.space("acme/off").secrets
    assert NEW not in dry.out + dry.err + result.out + result.err


def test_rotate_of_ids(
    keyed: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch, env_file: str
) -> None:
    """From the environment, a file, or a file of settings; for ids nothing asks."""
    monkeypatch.setenv("FRESH", NEW)
    both = ("acme/run-1", "acme/off")
    result = spaces("secrets", "rotate", "KEY", *both, "--from-env", "FRESH")
    assert result.code == 0
    assert result.lines == [
        "acme/run-1\tdone\tset",
        "acme/off\tskipped\thas no secret KEY",
    ]
    assert "Rotate secret: 1 done, 1 skipped in " in result.err
    keyed.space("acme/run-1").set_config("secrets", "PLAIN", "old")
    assert spaces("secrets", "rotate", "PLAIN", *both, "--env-file", env_file).code == 0
    assert keyed.space("acme/run-1").secrets["PLAIN"].value == "value"
    assert "QUOTED" not in keyed.space("acme/run-1").secrets


def test_a_rotation_may_be_limited(
    keyed: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """What counts is where it would be written."""
    args = ("secrets", "rotate", "KEY", "--org", "acme", "--yes", "--from-stdin")
    assert spaces(*args, "--max-targets", "1", stdin="v").code == 2
    assert writes(keyed) == []
    assert spaces(*args, "--max-targets", "2", stdin="v").code == 0


def test_a_key_that_no_space_has(
    keyed: FakeHub, spaces: Spaces, writes: Writes
) -> None:
    """A slip is no silent success; without a value nothing is read."""
    args = ("secrets", "rotate", "KEZ", "--org", "acme")
    result = spaces(*args, "--from-stdin", stdin="v")
    assert result.code == 1
    assert "None of these Spaces has KEZ: is the key right?" in result.err
    assert writes(keyed) == []
    keyed.requests.clear()
    missing = spaces(*args)
    assert missing.code == 2
    assert "Which value?" in missing.err
    assert keyed.requests == []


def test_diff(keyed: FakeHub, spaces: Spaces) -> None:
    """It names each Space that lacks what another has, and has all in JSON."""
    result = spaces("secrets", "diff", "acme/run-1", "acme/site", "acme/off")
    assert result.code == 0
    assert sorted(result.lines) == [
        "acme/off\tKEY",
        "acme/off\tMORE",
        "acme/site\tMORE",
    ]
    assert "2 of 3 Spaces lack some of 2 secrets: KEY in 2, MORE in 1." in result.err
    document = json.loads(spaces("secrets", "diff", "--org", "acme", "--json").out)
    assert document["secrets"] == {"KEY": 2, "MORE": 1}
    lacks = {entry["id"]: entry["lacks"] for entry in document["spaces"]}
    assert lacks["acme/run-1"] == []
    assert lacks["acme/site"] == ["MORE"]
    keyed.space("acme/run-1").secrets.pop("MORE")
    one = spaces("secrets", "diff", "acme/run-1", "acme/site", "acme/off")
    assert "1 of 3 Spaces lacks KEY." in one.err
    keyed.space("acme/run-1").set_config("secrets", "MORE", "old")
    same = spaces("secrets", "diff", "acme/run-1")
    assert same.out == ""
    assert "1 Space with the same 2 secrets." in same.err


@pytest.mark.parametrize("group", ["secrets", "variables"])
def test_an_env_file(org: FakeHub, spaces: Spaces, env_file: str, group: str) -> None:
    """All of it is written as python-dotenv reads it, with `${NAME}` left alone."""
    result = spaces(group, "add", "acme/run-1", "--env-file", env_file)
    assert result.code == 0, result.err
    settings = getattr(org.space("acme/run-1"), group)
    assert {key: setting.value for key, setting in settings.items()} == READ


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"A=1\n{NEW}\n", "line 2 is not KEY=VALUE"),
        (f"A=1\nB='{NEW}\n", "line 2 is not KEY=VALUE"),
        ("A=1\nA=2\n", "A is there twice"),
        ("# nothing\n", "has no KEY=VALUE"),
        (f"A-B={NEW}\n", "A-B"),
    ],
)
def test_an_env_file_that_is_wrong(
    org: FakeHub, spaces: Spaces, tmp_path: Path, text: str, says: str
) -> None:
    """Nothing is left out silently, and no line of it is shown."""
    path = tmp_path / "bad.env"
    path.write_text(text, "utf-8")
    for group in ("secrets", "variables"):
        result = spaces(group, "add", "acme/run-1", "--env-file", str(path))
        assert result.code == 2, result
        if group == "variables":  # what was typed is not shown by `secrets`
            assert says in result.err
        assert NEW not in result.err
    assert org.requests == []


def test_a_key_in_two_places(org: FakeHub, spaces: Spaces, env_file: str) -> None:
    """It is not known which one is meant."""
    result = spaces("variables", "add", "acme/run-1", "PLAIN=x", "--env-file", env_file)
    assert result.code == 2
    assert "PLAIN is given twice" in result.err


def test_without_python_dotenv(
    org: FakeHub, spaces: Spaces, env_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "dotenv.parser", None)
    result = spaces("variables", "add", "acme/run-1", "--env-file", env_file)
    assert result.code == 2
    assert "pip install python-dotenv" in result.err
