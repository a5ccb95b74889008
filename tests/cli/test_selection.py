"""Which Spaces a command is for: the options that narrow down an org, and stdin."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from attrs import fields
from hypothesis import given
from hypothesis import strategies as st

import spaces_async as sa
from spaces_async import _validate
from spaces_async.cli import _values
from spaces_async.cli._durations import Before, latest
from spaces_async.cli._filters import FILTERS
from spaces_async.cli._stdin import ids_in
from spaces_async.testing import FakeHub, Fault

Spaces = Callable[..., Any]


def test_each_condition_is_an_option() -> None:
    """The shell has the conditions of Python, by the same words."""
    conditions = {each.name for each in fields(sa.Selection)}
    # `--org` and `--any-flavor` are no filters.
    assert {f.parameter for f in FILTERS} == conditions - {"author", "any_flavor"}
    for each in FILTERS:
        name = each.option.partition("/")[0].removeprefix("--").replace("-", "_")
        assert each.parameter in {name, f"{name}s"}


def test_the_words_for_visibility_are_the_same() -> None:
    """A help names them without loading what checks them."""
    assert _values.VISIBILITIES == _validate.VISIBILITIES


def test_each_condition_is_in_the_guide() -> None:
    """The page on selections has a row for each condition, with its option."""
    page = (Path(__file__).parents[2] / "docs" / "selection.md").read_text("utf-8")
    for each in FILTERS:
        options = ", ".join(f"`{name}`" for name in each.option.split("/"))
        assert f"\n| `{each.parameter}` | {options} | " in page


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--exclude", "run-*", "--exclude", "acme/bad-*"], {"site", "off"}),
        (["--match", "*-1", "--exclude", "bad-*"], {"run-1"}),
        (["--visibility", "private"], {"off"}),
        (["--visibility", "private,public", "--match", "o*"], {"off"}),
        (["--tag", "docker", "--tag", "static"], {"run-2", "site"}),
        (["--modified-before", "365d"], {"site"}),
        (["--modified-before", "365d", "--modified-before", "1h"], {"site"}),
        (["--modified-before", "2020-01-02"], {"site"}),
        (["--modified-before", "2020-01-01T00:00+00:00"], set()),
        (["--paid"], {"run-1"}),
        (["--not-paid", "--sdk", "docker"], {"run-2"}),
        (["--having-secret", "API_KEY", "--having-secret", "OTHER"], {"run-1"}),
        (["--having-variable", "MODEL,OTHER"], {"run-2"}),
        (["--resource-group", "group"], {"bad-1"}),
    ],
)
def test_filters(
    org: FakeHub, spaces: Spaces, filters: list[str], expected: set[str]
) -> None:
    """Of a repeated option any value may hold; all options hold together."""
    org.space("acme/run-1").set_config("secrets", "API_KEY", "v")
    org.space("acme/run-2").set_config("variables", "MODEL", "m")
    org.space("acme/bad-1").resource_group = "6" * 24
    org.space("acme/site").last_modified = datetime(2020, 1, 1, tzinfo=UTC)
    result = spaces("list", "--org", "acme", *filters)
    assert result.code == 0, result.err
    assert {line.removeprefix("acme/") for line in result.lines} == expected


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--org", "acme", "--stage", "runing"], "did you mean 'running'?"),
        (["--org", "acme", "--sdk", "gradoi"], "did you mean 'gradio'?"),
        (["--org", "acme", "--visibility", "privte"], "did you mean 'private'?"),
        (["--org", "acme", "--visibility", "protected"], "--visibility private"),
        (["--org", "acme", "--match", "a/b/c"], "--match has one '/'"),
        (["--org", "acme", "--having-secret", "a-b"], "a letter followed by"),
        (["--org", "acme", "--modified-before", "90"], "such as 90d"),
        (["--org", "acme", "--modified-before", "soon"], "such as 90d"),
        (["--org", "acme", "--modified-before", "99999999d"], "such as 90d"),
        # An empty variable of the shell is no wish for all Spaces.
        (["--org", "acme", "--stage", ""], "--stage names nothing"),
        (["--org", "acme", "--exclude", ""], "--exclude names nothing"),
        (["--org", "acme", "--tag", " , "], "--tag names nothing"),
        (["acme/a", "--paid"], "--paid/--not-paid narrows down an --org"),
        (["acme/a", "--tag", "x", "--sdk", "gradio"], "--sdk and --tag narrow down"),
    ],
)
def test_wrong_usage(org: FakeHub, spaces: Spaces, args: list[str], said: str) -> None:
    """What would select nothing, or everything, ends with 2, and nothing is sent."""
    result = spaces("pause", "--yes", *args)
    assert result.code == 2, result
    assert said in result.err
    assert "Traceback" not in result.err
    assert not org.requests


def test_what_is_not_known_is_said(org: FakeHub, spaces: Spaces) -> None:
    """A Space whose secrets may not be read is named on stderr, also with --quiet."""
    for name in ("run-1", "run-2"):
        org.space(f"acme/{name}").set_config("secrets", "K", "v")
    refused = Fault.status(403, message="you \x1b[2Jmay not")
    org.faults("GET /secrets", refused, repo_id="acme/run-1", times=None)
    result = spaces("list", "--org", "acme", "--having-secret", "K", "-q")
    assert result.code == 0
    assert result.lines == ["acme/run-2"]
    assert "secrets or variables: 403" in result.err
    assert "(acme/run-1)" in result.err
    assert "\x1b" not in result.err


@pytest.mark.parametrize(
    "args", [["list"], ["list", "--json"], ["status"], ["status", "--json"]]
)
@pytest.mark.parametrize("terminal", [False, True])
def test_a_command_reads_what_another_wrote(
    org: FakeHub, spaces: Spaces, args: list[str], terminal: bool
) -> None:
    """Ids, tables and JSON of our own are ids for the next command."""
    if terminal:
        # As it is copied from the screen, without colours.
        args = [*args, "--org", "acme"]
        written = click.unstyle(spaces(*args, terminal=True).out)
    else:
        written = spaces(*args, "--org", "acme").out
    result = spaces("list", "-", stdin=written)
    assert result.code == 0, result.err
    assert sorted(result.lines) == sorted(org.spaces)


def test_outcomes_that_were_chosen_are_ids(org: FakeHub, spaces: Spaces) -> None:
    """The outcomes of a report are records with a `repo_id`; the whole report is none."""
    report = spaces("pause", "acme/run-1", "acme/run-2", "--json").out
    outcomes = json.loads(report)["outcomes"]
    lines = "".join(f"{json.dumps(outcome)}\n" for outcome in outcomes)
    result = spaces("list", "-", stdin=lines)
    assert result.lines == ["acme/run-1", "acme/run-2"]
    org.requests.clear()
    refused = spaces("pause", "-", stdin=report)
    assert refused.code == 2
    assert "jq '.outcomes[]" in refused.err
    assert not org.requests


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("acme/a\nacme/b\n", ["acme/a", "acme/b"]),
        ("\ufeffacme/a\r\nacme/b", ["acme/a", "acme/b"]),
        ("acme/a\tRUNNING\tt4-small\n", ["acme/a"]),
        ("# all\n  acme/a   RUNNING # one\n\nacme/a\n", ["acme/a"]),
        ("SPACE   STAGE\nacme/a  RUNNING\n", ["acme/a"]),
        ('["acme/a", {"id": "acme/b"}]', ["acme/a", "acme/b"]),
        ('[{"id": "acme/a", "stage": null}]', ["acme/a"]),
        ('{"repo_id": "acme/a"}\n{"repo_id": "acme/b", "x": [1]}\n', ["acme/a", "acme/b"]),
        ('{\n  "_id": "67e4",\n  "id": "acme/a"\n}', ["acme/a"]),
        ('{"id": 7, "repo_id": "acme/a"}{"id": "acme/b"}', ["acme/a", "acme/b"]),
    ],
)  # fmt: skip
def test_forms_of_ids(text: str, ids: list[str]) -> None:
    """Lines, the first column of a table, and records are read, each id once."""
    assert ids_in(text) == ids


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There are no ids on stdin."),
        ("# none\n \n", "There are no ids on stdin."),
        ("[]", "There are no ids on stdin."),
        ("acme/a\nhunter2\n", "Line 2 of stdin has no id"),
        ("STAGE  SPACES\nRUNNING  3\n", "Line 1 of stdin has no id"),
        ("acme/a\nSPACE  STAGE\n", "Line 2 of stdin has no id"),
        ("acme/very-long-na…  RUNNING\n", "cut to fit a terminal"),
        ("API_KEY=hunter2\n", "Line 1 of stdin is KEY=VALUE"),
        ('{"RUNNING": 3}', "Record 1 of stdin has no id"),
        ('["acme/a", 7]', "Record 2 of stdin has no id"),
        ('["acme/a", "hunter2"]', "Record 2 of stdin has no id"),
        ('[[{"id": "acme/a"}]]', "Record 1 of stdin has no id"),
        ('{"id": "acme/a"}\n{"id": ', "line 2 of stdin is not valid JSON"),
        ('{"id": "acme/a"}\nacme/b', "line 2 of stdin is not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_what_is_no_id(text: str, said: str) -> None:
    """What is none of these is told by its place; what it says may be a secret."""
    with pytest.raises(click.UsageError) as caught:
        ids_in(text)
    assert said in caught.value.message
    assert "hunter2" not in caught.value.message


@given(st.text() | st.text('[]{}",:/ abid\n#'))
def test_any_text_is_ids_or_refused(text: str) -> None:
    """No text fails in another way, and what is read can be an id."""
    try:
        found = ids_in(text)
    except click.UsageError:
        return
    assert all(repo_id.count("/") == 1 for repo_id in found)


def test_stdin_that_is_no_text(org: FakeHub, spaces: Spaces, tmp_path: Any) -> None:
    """Bytes that are no text are refused, and nothing is sent."""
    (tmp_path / "x").write_bytes(b"acme/\xff\xfe")
    with (tmp_path / "x").open(encoding="utf-8") as file:
        result = spaces("pause", "-", stdin=file)
    assert result.code == 2
    assert "no text" in result.err
    assert not org.requests


def test_times() -> None:
    """An age is from now; a date without a zone is local; of several the latest counts."""

    def read(text: str) -> timedelta | datetime:
        return Before().convert(text, None, None)

    assert read("90D") == timedelta(days=90)
    assert read("2026-08-31T12:00Z") == datetime(2026, 8, 31, 12, tzinfo=UTC)
    local = read("2026-08-31")
    assert isinstance(local, datetime)
    assert local == datetime(2026, 8, 31).astimezone()
    assert latest([]) is None
    assert latest([timedelta(1)]) == timedelta(1)
    old = datetime(2020, 1, 1, tzinfo=UTC)
    assert latest([old, datetime(2021, 1, 1, tzinfo=UTC)]) != old
    of_both = latest([timedelta(days=1), old])
    assert isinstance(of_both, datetime)
    assert of_both > old
