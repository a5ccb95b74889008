"""`list`, `status`, `wait` and the ways to say which Spaces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from spaces_async.testing import FakeHub, Fault

Spaces = Callable[..., Any]
HubThread = Any
Writes = Callable[[FakeHub], list[str]]


def test_list_into_a_pipe_is_ids_only(org: FakeHub, spaces: Spaces) -> None:
    """A pipe gets one id a line and nothing else, so `xargs` and `-` can read it."""
    result = spaces("list", "--org", "acme")
    assert result.code == 0
    assert sorted(result.lines) == sorted(org.spaces)
    assert result.err == ""
    assert len(org.requests) == 1


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--stage", "failed"], {"bad-1", "bad-2"}),
        (["--stage", "FAILED"], {"bad-1", "bad-2"}),
        (["--stage", "runtime_error"], {"bad-1"}),
        (["--stage", "RUNTIME_ERROR,paused"], {"bad-1", "off"}),
        (["--stage", "RUNTIME_ERROR", "--stage", "PAUSED"], {"bad-1", "off"}),
        (["--stage", "build-error"], {"bad-2"}),
        (["--stage", "idle"], {"off"}),
        (["--stage", "running"], {"run-1", "run-2", "site"}),
        (["--sdk", "docker,STATIC"], {"run-2", "site"}),
        (["--hardware", "t4-small"], {"run-1"}),
        (["--match", "run-*"], {"run-1", "run-2"}),
        (["--match", "run-*", "--sdk", "docker"], {"run-2"}),
        (["--match", "nothing"], set()),
    ],
)
def test_filters(
    org: FakeHub, spaces: Spaces, filters: list[str], expected: set[str]
) -> None:
    """Each filter narrows the org, in any case and spelling, and they add up."""
    result = spaces("list", "--org", "acme", *filters)
    assert result.code == 0
    assert {line.removeprefix("acme/") for line in result.lines} == expected
    if not expected:
        assert "No Spaces of acme fit" in result.err


def test_list_of_ids_and_json(org: FakeHub, spaces: Spaces) -> None:
    """`--json` is one document, and ids work as well as an org."""
    result = spaces("--json", "list", "acme/off", "acme/run-1")
    found = json.loads(result.out)
    assert [space["id"] for space in found] == ["acme/off", "acme/run-1"]
    assert found[0]["private"] is True
    assert found[1]["hardware"] == "t4-small"
    assert found[1]["sleep_time"] == 3600


@pytest.mark.parametrize(
    ("stage", "hardware", "given", "text", "number"),
    [
        ("RUNNING", "t4-small", 3600, "1h", 3600),
        ("RUNNING", "t4-small", None, "never", -1),
        ("SLEEPING", "t4-small", 3600, "1h", 3600),
        ("PAUSED", "t4-small", 3600, "-", None),
        ("PAUSED", "cpu-basic", None, "-", None),
        ("RUNNING", None, None, "-", None),
    ],
    ids=["running", "never", "sleeping", "paused", "paused-free", "static"],
)
def test_a_sleep_time_that_is_not_told_is_no_never(  # noqa: PLR0917  (one for each part)
    hub: FakeHub,
    spaces: Spaces,
    stage: str,
    hardware: str | None,
    given: int | None,
    text: str,
    number: int | None,
) -> None:
    """Of a paused Space the Hub tells no sleep time: `-` and null, not `never`."""
    if hardware is None:
        hub.add_space("acme/one", sdk="static")
    else:
        hub.add_space("acme/one", hardware=hardware, sleep_time=given, stage=stage)
    row = spaces("status", "acme/one").lines[0].split("\t")
    assert row[3] == text
    (found,) = json.loads(spaces("status", "acme/one", "--json").out)
    assert found["sleep_time"] == number
    assert ("sleeps after" in spaces("info", "acme/one").out) == (text != "-")


def test_status_of_an_org_is_one_call(org: FakeHub, spaces: Spaces) -> None:
    """An org is looked at with its listing alone, however many Spaces it has.

    What it costs takes the price list as well, where a Space may cost something.
    """
    result = spaces("status", "--org", "acme")
    assert result.code == 0
    assert [r.path for r in org.requests] == ["/api/spaces", "/api/spaces/hardware"]
    assert result.err == "6 Spaces: 2 failed, 3 running, 1 idle; $0.40/h now.\n"
    org.requests.clear()
    assert spaces("status", "-q", "--org", "acme").err == ""
    assert spaces("status", "--json", "--org", "acme").err == ""
    assert spaces("status", "--org", "acme", "--match", "run-2").code == 0
    assert [r.path for r in org.requests] == ["/api/spaces"] * 3
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in result.lines}
    assert rows["acme/bad-1"][0] == "RUNTIME_ERROR"
    assert rows["acme/bad-1"][-1] == "out of memory"
    assert rows["acme/run-1"][:4] == ["RUNNING", "t4-small", "1h", "gradio"]
    assert rows["acme/run-2"][2] == "48h"


def test_status_summary(org: FakeHub, spaces: Spaces) -> None:
    """`--summary` counts by stage and lists no Space."""
    result = spaces("status", "--org", "acme", "--summary")
    assert "RUNNING\t3" in result.lines
    assert len(result.lines) == 4
    counts = json.loads(spaces("status", "--org", "acme", "--summary", "--json").out)
    assert counts == {
        "RUNNING": 3,
        "RUNTIME_ERROR": 1,
        "BUILD_ERROR": 1,
        "PAUSED": 1,
    }


def test_status_of_ids_reports_the_missing(org: FakeHub, spaces: Spaces) -> None:
    """What can be read is printed; what cannot goes to stderr and the exit code."""
    result = spaces("status", "acme/run-1", "acme/none")
    assert result.code == 1
    assert len(result.lines) == 1
    assert "acme/none" in result.err
    assert "acme/none" not in result.out
    quiet = spaces("status", "-q", "acme/run-1", "acme/none")
    assert quiet.code == 1
    assert "acme/none" in quiet.err


def test_table_on_a_terminal(org: FakeHub, spaces: Spaces) -> None:
    """A terminal gets a titled table in colour; a failed stage is red."""
    result = spaces("status", "--org", "acme", terminal=True)
    assert "SPACE" in result.out
    assert "SLEEPS AFTER" in result.out
    assert "\x1b[31mRUNTIME_ERROR" in result.out
    listed = spaces("list", "--org", "acme", terminal=True)
    assert "VISIBILITY" in listed.out
    assert "private" in listed.out
    summary = spaces("status", "--summary", "acme/off", "acme/nix", terminal=True)
    assert "acme/nix" in summary.err
    assert summary.code == 1


def test_a_long_error_is_wrapped(hub: FakeHub, spaces: Spaces) -> None:
    """Ids stay whole on a terminal, and a long error is broken at words, never cut."""
    name = f"acme/{'long-' * 12}name"
    error = " ".join(f"word{number}" for number in range(40))
    hub.add_space(name, stage="RUNTIME_ERROR", error_message=error)
    result = spaces("status", name, terminal=True)
    assert name in result.out
    assert "…" not in result.out
    assert set(error.split()) <= set(result.out.split())
    assert max(map(len, click.unstyle(result.out).splitlines())) <= 120


def test_no_color(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With NO_COLOR a terminal gets the table without colours."""
    monkeypatch.setenv("NO_COLOR", "1")
    result = spaces("status", "--org", "acme", terminal=True)
    assert "\x1b[31m" not in result.out
    assert "RUNTIME_ERROR" in result.out


def test_force_color_does_not_reach_pipes(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing puts control codes into a pipe."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    for args in (["status", "--org", "acme"], ["restart", "acme/run-1"]):
        result = spaces(*args)
        assert "\x1b" not in result.out + result.err


def test_a_hostile_error_message_is_defused(hub: FakeHub, spaces: Spaces) -> None:
    """The Hub's texts can neither move the cursor, break columns nor use markup."""
    evil = "[red]a\x1b[2J\tb\nc[/red]"
    hub.add_space("acme/x", stage="RUNTIME_ERROR", error_message=evil)
    result = spaces("status", "acme/x")
    assert result.out.endswith("[red]a b c[/red]\n")
    shown = spaces("status", "acme/x", terminal=True)
    assert "\x1b[2J" not in shown.out
    assert "[red]a" in shown.out


def test_ids_from_stdin(org: FakeHub, spaces: Spaces) -> None:
    """`-` reads ids, skips blank lines and comments, and repeats nothing."""
    text = "acme/run-1\n\n# not these\n  acme/run-2  # this one\nacme/run-1\n"
    result = spaces("status", "-", stdin=text)
    assert [line.split("\t")[0] for line in result.lines] == [
        "acme/run-1",
        "acme/run-2",
    ]
    assert spaces("status", "-", stdin="# none\n").code == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["status"], "Which Spaces?"),
        (["restart", "acme/a", "--org", "acme"], "not both"),
        (["status", "acme/a", "--stage", "failed"], "--org"),
        (["status", "--org", "acme", "--stage", "SICK"], "RUNTIME_ERROR"),
        (["status", "--org", "acme", "--sdk", "cobol"], "gradio"),
        (["status", "--org", "a c m e"], "the NAME of --org must"),
        (["status", "https://huggingface.co/spaces/acme/demo"], "after /spaces/"),
        (["restart", "acme"], "--org acme"),
        (["wait", "acme/a", "--for", "SICK"], "SLEEPING"),
        (["restart", "acme/a", "--concurrency", "0"], "--concurrency"),
        (["restart", "acme/a", "--timeout", "5"], "--wait"),
        (["hardware", "T4 small", "acme/a"], "t4-small"),
        (["sleep-time", "soon", "acme/a"], "never"),
        (["sleep-time", "0", "acme/a"], "never"),
        (["storage", "request", "huge", "acme/a"], "small"),
        (["variables", "add", "acme/a", "--set", "NOVALUE"], "KEY=VALUE"),
        (["variables", "add", "acme/a", "--set", "1X=v"], "letter"),
        (["variables", "add", "acme/a", "--set", "X=1", "--set", "X=2"], "twice"),
        (["variables", "delete", "acme/a"], "--key"),
        (["secrets", "add", "acme/a"], "Which secret?"),
        (["duplicate", "demo"], "owner/name"),
        (["info", "demo"], "owner/name"),
        (["search"], "WORDS"),
        (["search", "x", "--sdk", "cobol"], "gradio"),
        (["logs"], "Which Spaces?"),
        (["logs", "acme/a", "-n", "0"], "--tail"),
        (["logs", "-f", *(f"acme/s{n}" for n in range(201))], "too many to follow"),
        (["replicas", "0", "acme/a"], "N"),
        (["dev-mode", "maybe", "acme/a"], "on"),
        (["visibility", "secret", "acme/a"], "protected"),
        (["volumes", "add", "acme/a"], "at least one VOLUME"),
        (["volumes", "remove", "acme/a"], "at least one MOUNT"),
        (["volumes", "set", "acme/a", "hf://x:/y"], "owner/name"),
        (["volumes", "add", "hf://a/b:/y"], "Which Spaces?"),
        (["volumes", "set", "acme/a", "hf://a/b:/y", "hf://a/c:/y"], "/y"),
        (["create", "acme/a"], "--sdk"),
        (["create", "acme/a", "--sdk", "streamlit"], "docker"),
        (["create", "acme/a/b", "--sdk", "gradio"], "owner/name"),
        (["create", "acme/a", "--sdk", "gradio", "--volume", "x"], "hf://"),
        (["create", "acme/a", "--sdk", "gradio", "--file", "/none"], "No such file"),
        (["create", "acme/a", "--sdk", "gradio", "--description", "x" * 61], "60"),
        (["move", "acme/a", "b"], "owner/name"),
        (["delete", "acme/a"], "--yes"),
        (["status", "--anonymous", "--token-file", "x", "a/b"], "not both"),
        (["status", "--token-file", "/nonexistent", "a/b"], "No such file"),
        (["frobnicate"], "frobnicate"),
        (["--endpoint", "nonsense", "status", "a/b"], "URL"),
    ],
)
def test_wrong_usage(org: FakeHub, spaces: Spaces, args: list[str], said: str) -> None:
    """Wrong usage ends with 2, sends nothing, and says what would be right."""
    result = spaces(*args)
    assert result.code == 2, result
    assert said in result.err
    assert result.out == ""
    assert "Traceback" not in result.err
    assert org.requests == []


def test_help_of_every_command(spaces: Spaces) -> None:
    """Every command explains itself on stdout, with an example at the end."""
    result = spaces("-h")
    assert result.code == 0
    assert "Exit codes" in result.out
    names = (
        "list", "status", "info", "wait", "logs", "events", "restart", "pause", "hardware", "sleep-time",
        "storage request", "storage delete", "duplicate", "variables list",
        "variables add", "variables delete", "secrets list", "secrets add",
        "secrets delete", "replicas", "dev-mode", "visibility", "volumes ls",
        "volumes set", "volumes add", "volumes remove", "volumes delete", "create",
        "move", "delete", "search", "templates", "flavors", "quota", "demo",
    )  # fmt: skip
    sections = ("Look:", "Run:", "Configure:", "Make and remove:", "The Hub:")
    assert all(f"\n{section}\n" in result.out for section in sections)
    listed = {line.split()[0] for line in result.lines if line.startswith("  ")}
    assert {name.split()[0] for name in names} <= listed
    for name in names:
        shown = spaces(*name.split(), "--help")
        assert shown.code == 0
        assert f"Usage: spaces-async {name}" in shown.out
        assert f"spaces-async {name}" in shown.out.partition("Example")[2]
        assert "--endpoint" not in shown.out
    assert spaces("--version").out.startswith("spaces-async ")


def test_wait_for_a_stage(org: FakeHub, spaces: Spaces, writes: Writes) -> None:
    """`wait` ends when each is where it should be, and writes nothing."""
    result = spaces("wait", "acme/run-1", "acme/off", "--for", "running,PAUSED")
    assert result.code == 0
    assert sorted(result.lines) == [
        "acme/off\tdone\tPAUSED",
        "acme/run-1\tdone\tRUNNING",
    ]
    assert writes(org) == []


def test_wait_for_a_commit_and_hardware(
    org: FakeHub, hub_thread: HubThread, spaces: Spaces
) -> None:
    """RUNNING is not enough: it must be that commit, on that flavor."""
    new, old = "ab" * 20, "cd" * 20
    org.space("acme/run-1").commit(old)
    late = spaces("wait", "acme/run-1", "--commit", new[:8], "--timeout", "0.3")
    assert late.code == 1
    assert f"did not reach RUNNING with commit {new[:8]} within" in late.out
    assert f"it is RUNNING, but runs commit {old}, not {new[:8]}" in late.out
    org.add_space("acme/nap", stage="SLEEPING")
    asleep = spaces("wait", "acme/nap", "--commit", new[:8], "--timeout", "0.1")
    assert asleep.code == 1
    assert f"did not reach RUNNING with commit {new[:8]} within" in asleep.out
    assert "SLEEPING until a visit or `spaces-async wake acme/nap`" in asleep.out
    org.requests.clear()
    hub_thread.when(
        lambda: org.count("GET", "/runtime") > 0,
        lambda: org.space("acme/run-1").commit(new),
    )
    assert spaces("wait", "acme/run-1", "--commit", new).code == 0
    assert org.count("GET", "/runtime") > 1
    other = spaces("wait", "acme/run-1", "--hardware", "l40sx1", "--timeout", "0.3")
    assert other.code == 1
    assert "not l40sx1" in other.out
    flavor = org.space("acme/run-1").hardware or ""
    assert spaces("wait", "acme/run-1", "--hardware", flavor).code == 0
    wrong = spaces("wait", "acme/run-1", "--commit", "main")
    assert wrong.code == 2
    assert "--commit takes the hash" in wrong.err


def test_wait_for_one_that_failed(org: FakeHub, spaces: Spaces) -> None:
    """A Space that will not get there is a failure with the Hub's reason."""
    result = spaces("wait", "acme/bad-1", "acme/run-1")
    assert result.code == 1
    assert "RUNTIME_ERROR: out of memory" in result.out
    assert "acme/bad-1" in result.err


def test_a_pattern_is_about_the_name(hub: FakeHub, spaces: Spaces) -> None:
    """`*` does not cross the "/": the name of an org does not select all that it has."""
    for repo_id in ("demo-corp/demo-1", "demo-corp/site", "acme/demo-2", "acme/x"):
        hub.add_space(repo_id)
    both = ("--org", "demo-corp", "--org", "acme")
    for patterns, found in (
        (("demo-*",), {"demo-corp/demo-1", "acme/demo-2"}),
        (("demo-corp/*",), {"demo-corp/demo-1", "demo-corp/site"}),
        (("*/demo-*",), {"demo-corp/demo-1", "acme/demo-2"}),
        (("site", "x"), {"demo-corp/site", "acme/x"}),
        (("demo-*/nothing",), set[str]()),
    ):
        options = [word for p in patterns for word in ("--match", p)]
        assert set(spaces("list", *both, *options).lines) == found


def test_wait_too_long(org: FakeHub, spaces: Spaces) -> None:
    """The time limit is that of the user, and the message names the last stage."""
    org.set_stage("acme/off", "SLEEPING")
    result = spaces("wait", "acme/off", "--timeout", "0.3")
    assert result.code == 1
    assert "did not reach RUNNING" in result.out
    assert "it is SLEEPING" in result.out


def test_options_before_and_after_the_name(org: FakeHub, spaces: Spaces) -> None:
    """The common options mean the same on either side of the command."""
    assert spaces("--json", "list", "--org", "acme").out.startswith("[")
    assert spaces("list", "--org", "acme", "--json").out.startswith("[")
    assert "request id" in spaces("-v", "status", "acme/none").err
    assert "request id" not in spaces("status", "acme/none").err


def test_anonymous_and_token_file(
    org: FakeHub, spaces: Spaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks decides what is seen; a token comes from a file, never as a text."""
    assert len(spaces("list", "--org", "acme", "--anonymous").lines) == 5
    monkeypatch.delenv("HF_TOKEN")
    file = tmp_path / "token"
    file.write_text(f"{org.token}\n")
    assert len(spaces("--token-file", str(file), "list", "--org", "acme").lines) == 6
    assert spaces("--token", org.token, "list", "--org", "acme").code == 2


def test_exit_code_3_for_a_wrong_token(
    org: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused token ends with 3 and with what to do, in one line."""
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    result = spaces("status", "--org", "acme")
    assert result.code == 3
    assert result.err.startswith("Error: ")
    assert "hf auth login" in result.err
    assert result.err.count("\n") == 1
    assert spaces("status", "acme/run-1").code == 3


def test_exit_code_4_for_a_listing(org: FakeHub, spaces: Spaces) -> None:
    """A quota that opens later than --max-wait ends with 4."""
    org.spend(1000)
    org.faults("GET /api/spaces", Fault.rate_limit(120), times=None)
    result = spaces("--max-wait", "1", "list", "--org", "acme")
    assert result.code == 4
    assert "--max-wait" in result.err


def test_a_ledger_shared_with_others(
    org: FakeHub, spaces: Spaces, tmp_path: Path
) -> None:
    """What one command has learnt of the quota through it, the next knows at once."""
    ledger = tmp_path / "quota"
    org.spend(999)
    assert spaces("list", "--org", "acme", "--ledger", str(ledger)).code == 0
    assert ledger.stat().st_mode & 0o777 == 0o600
    sent = len(org.requests)
    for args in (("--sharing", "greedy"), ("--sharing", "strict"), ()):
        known = spaces("list", "--org", "acme", "--ledger", str(ledger),
                       "--max-wait", "0", *args)  # fmt: skip
        assert known.code == 4
    assert len(org.requests) == sent
    assert spaces("list", "--org", "acme", "--sharing", "mean").code == 2


def test_no_hub(spaces: Spaces, hub: FakeHub) -> None:
    """An error of one line, exit code 1; a warning before it if there was time for two."""
    result = spaces(
        "--endpoint",
        "http://127.0.0.1:9",
        "--call-timeout",
        "0.2",
        "list",
        "--org",
        "a",
    )
    assert result.code == 1
    *warnings, error = result.err.splitlines()
    assert error.startswith("Error: ")
    assert all(line.startswith("Warning: ") for line in warnings)
    assert len(warnings) <= 1


def test_a_question_ends_with_its_mark(spaces: Spaces) -> None:
    """Whoever is asked whether another word was meant sees no full stop after it."""
    for args in (("status", "--org", "acme"), ("secrets", "list", "--org", "acme")):
        result = spaces(*args, "--stage", "faild")
        assert result.err.endswith("did you mean 'failed'?\n")
