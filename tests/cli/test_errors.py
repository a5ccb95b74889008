"""What the library says reaches the user of the shell in the shell's own words."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import spaces_async
from spaces_async import errors
from spaces_async.cli._errors import full_text, in_shell_words, reason, sentence
from spaces_async.testing import FakeHub, Fault

Spaces = Callable[..., Any]

PACKAGE = Path(spaces_async.__file__).parent

LIBRARY_WORDS = re.compile(
    r"\b(?!HF_|HTTP_)\w*[a-z]_[a-z]\w*|\w+=|\b(None|True|False)\b|"
    r"\b(ClientSettings|Timeouts|RetryPolicy|SpacesClient)\b|\bbulk\b"
)
"""Names with an underscore, keyword arguments, and what only Python has."""


@pytest.mark.parametrize(
    ("library", "shell"),
    [
        (
            (
                "the quota of this token opens again in 60 s, longer than"
                " max_rate_limit_wait (5 s)"
            ),
            (
                "the quota of this token opens again in 60 s, longer than --max-wait allows"
                " (5 s)"
            ),
        ),
        (
            (
                "the quota of this token opens again in 60 s, longer than the 9 s that the"
                " call has left"
            ),
            (
                "the quota of this token opens again in 60 s, longer than the 9 s that are"
                " left of --call-timeout"
            ),
        ),
        (
            (
                "all connections (max_connections) were busy until the call's total time"
                " had passed"
            ),
            "all connections were busy until --call-timeout had passed",
        ),
        (
            "the answer is larger than max_response_bytes (9 bytes)",
            "the answer is larger than 9 bytes",
        ),
        (
            (
                "the token would be sent to http://hub unencrypted; use https, pass"
                " token=False, or set ClientSettings(allow_insecure_http=True)"
            ),
            (
                "the token would be sent to http://hub unencrypted; use https,"
                " --anonymous or --insecure-http"
            ),
        ),
        (
            (
                "the environment variable HTTP_PROXY has no host; correct it, or set"
                " ClientSettings(trust_env=False) to ignore it"
            ),
            (
                "the environment variable HTTP_PROXY has no host; correct or unset it,"
                " or use --no-proxy"
            ),
        ),
        (
            "token is empty; pass None to look up the token, or False for no token",
            "the file of --token-file is empty",
        ),
        (
            "endpoint must not contain a user, a password, a query or a fragment",
            "--endpoint must not contain a user, a password, a query or a fragment",
        ),
        (
            "repo_id must be a string 'owner/name', not 3",
            "a Space's id must be 'owner/name', not 3",
        ),
        (
            (
                "the journal a.jsonl belongs to another job,"
                " request_hardware(flavor='t4-small', sleep_time=7200) at https://hub; this"
                " is pause() at https://hub"
            ),
            (
                "the journal a.jsonl belongs to another command, request hardware (flavor:"
                " 't4-small', sleep time: 7200) at https://hub; this is pause at"
                " https://hub; name another file"
            ),
        ),
        (
            (
                "the journal a.jsonl belongs to a job with other targets: it names 3, given"
                " are 2, and 1 are the same; leave them out to resume it, or take a new"
                " journal"
            ),
            (
                "the journal a.jsonl belongs to a command for other Spaces: it names 3,"
                " this command 2, and 1 are the same; continue that one with"
                " `spaces-async resume`, or name another file"
            ),
        ),
        (
            (
                "add_secret needs the value of A, B again, which is never written down:"
                " pass it as secrets={'KEY': 'value'}"
            ),
            "the value of A, B is never written down: give it again with --from-env",
        ),
        (
            "'tidy' is a function of yours: pass it again as operation=",
            "'tidy' is a function of a program: only that program can continue it",
        ),
        (
            (
                "acme/demo: the set_sleep_time may have been sent by an earlier run of this"
                " bulk; the Space does not show whether it took effect"
            ),
            (
                "acme/demo: the set sleep time may have been sent by an earlier run; the"
                " Space does not show whether it took effect"
            ),
        ),
        (
            (
                "acme/demo: the request_storage may have been sent by a host that was lost;"
                " whether it took effect was not looked up"
            ),
            (
                "acme/demo: the request storage may have been sent by a host that was lost;"
                " whether it took effect was not looked up"
            ),
        ),
        ("what the Hub says stays: max_size=3", "what the Hub says stays: max_size=3"),
    ],
)
def test_rewording(library: str, shell: str) -> None:
    """Each text has the same facts, with the option in place of the setting."""
    assert in_shell_words(library) == shell


# Raised for arguments that no command can give, each by the place that checks them.
NOT_FROM_THE_SHELL = {
    "settings.py": "the shell makes its settings from checked options",
    "hf_api.py": "the shell does not use it",
    "bulk/_engine/targets.py": "the shell passes ids and limits that it has checked",
    "bulk/_engine/stream.py": "how a stream is used in Python",
    "bulk/_bulk.py": "how a bulk is started in Python",
    "bulk/report.py": "only `raise_for_failures` makes it",
    "bulk/selection.py": "the options of a selection are checked by the shell",
    "catalog.py": "the shell never combines these",
    "config.py": "only with `check_collision`, which the shell does not use",
}
NEVER_GIVEN = re.compile(
    r"^(pass (private|gated|visibility)|gated must|with_token needs|kind must|"
    r"revision must|sdk must|volumes is empty|operation must|.* must be a list|"
    r".* must be \{'KEY'|each file must|.* must be True or False|"
    r".* is not made of these|.* must be a whole number|"
    r"healthy must be|"
    r"this report (is of no bulk|does not keep))"  # the shell retries journals
)
"""Checks of types and combinations that the options of the shell rule out."""


def raised_messages() -> Iterator[tuple[str, str]]:
    """Yield each message that the library builds an error with, and its module."""
    kinds = set(errors.__all__)
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(("cli/", "testing/")) or name in NOT_FROM_THE_SHELL:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func
            if isinstance(called, ast.Name) and called.id in kinds:
                text = template(node.args[0])
                if text is not None:
                    yield name, text


def template(node: ast.expr) -> str | None:
    """Return a literal text, with a word in place of each inserted value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [
            part.value if isinstance(part, ast.Constant) else "7"
            for part in node.values
        ]
        return "".join(map(str, parts))
    return None


def test_every_error_of_the_library() -> None:
    """No error that can reach the shell names a setting or a parameter there."""
    messages = [
        (module, text)
        for module, text in raised_messages()
        if not NEVER_GIVEN.search(text)
    ]
    assert len(messages) > 40
    shown = [(module, in_shell_words(text)) for module, text in messages]
    assert [entry for entry in shown if LIBRARY_WORDS.search(entry[1])] == []


def test_the_check_itself() -> None:
    """Before they are reworded, many of them do name settings."""
    found = [t for _, t in raised_messages() if LIBRARY_WORDS.search(t)]
    assert len(found) > 8


def test_all_forms_are_reworded() -> None:
    """The row of a table, the verbose line and the last line of a command."""
    error = errors.RateLimitError("longer than max_rate_limit_wait (5 s)")
    for text in (reason(error), full_text(error), sentence(error)):
        assert "longer than --max-wait allows (5 s)" in text


def test_json_has_the_words_of_the_shell(org: FakeHub, spaces: Spaces) -> None:
    """The report for machines says the same as the table."""
    org.spend(999)
    both = ("acme/run-1", "acme/run-2", "--concurrency", "1")
    result = spaces("restart", *both, "--max-wait", "0", "--json")
    assert result.code == 4
    assert "longer than --max-wait allows (0 s)" in result.out
    assert "max_rate_limit_wait" not in result.out + result.err


def test_the_log_has_the_words_of_the_shell(org: FakeHub, spaces: Spaces) -> None:
    """A warning of the library's log is reworded, too."""
    org.faults("*", Fault.status(503), times=None)
    result = spaces("restart", "acme/run-1", "acme/run-2", "--max-outage", "0.1")
    assert result.code == 1
    assert not re.search(r"\bbulk\b", result.err)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["status", "acme"], "a Space's id must be 'owner/name'"),
        (["--endpoint", "ftp://hub", "status", "a/b"], "--endpoint must be an http"),
        (["--endpoint", "http://10.0.0.1", "status", "a/b"], "--insecure-http"),
        (["wait", "a/b", "--for", ""], "Which stage? --for names none."),
        (["volumes", "set", "a/b", "hf://a/c:/.."], "the place of a mount must be"),
        (["create", "a/b", "--sdk", "docker", "--description", "x" * 61], "--descript"),
        (["--ledger", "/nowhere/file", "status", "a/b"], "the ledger '/nowhere/file'"),
        (["--ledger", "redis://:x@/0", "status", "a/b"], "--ledger has no host"),
        (["--ledger", "redis://h/0?a=b", "status", "a/b"], "--ledger has an unknown"),
    ],
)
def test_wrong_usage_names_options(
    hub: FakeHub, spaces: Spaces, args: list[str], says: str
) -> None:
    """What the library refuses names the option or the argument; nothing is sent."""
    result = spaces(*args)
    assert result.code == 2, result.err
    assert says in " ".join(result.err.split())
    assert not LIBRARY_WORDS.search(result.err.partition("Error: ")[2])
    assert hub.requests == []
