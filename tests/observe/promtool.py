"""Prometheus's own checks, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def check_metrics(text: str) -> None:
    """See that `promtool check metrics` finds nothing."""
    assert _run("check", "metrics", given=text) == ""


def check_rules(path: Path) -> str:
    """See that `promtool check rules` accepts a file; return what it says."""
    return _run("check", "rules", str(path))


def run_rule_tests(path: Path) -> str:
    """See that `promtool test rules` accepts a file; return what it says."""
    return _run("test", "rules", str(path))


def _run(*arguments: str, given: str | None = None) -> str:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    done = subprocess.run(
        [promtool, *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
