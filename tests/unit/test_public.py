"""The public face: names, docstrings, and what an import costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import spaces_async
from spaces_async import SpacesClient

ROOMS = ("catalog", "lifecycle", "config", "hardware", "billing", "storage", "bulk")


def public_methods() -> list[tuple[str, object]]:
    client = SpacesClient(token=False)
    found: list[tuple[str, object]] = []
    for room in ROOMS:
        owner = getattr(client, room)
        found += [
            (f"{room}.{name}", method)
            for name, method in inspect.getmembers(owner, callable)
            if not name.startswith("_")
        ]
    return found


def test_all_is_sorted_and_complete() -> None:
    """`__all__` is sorted, without gaps, and each name is there."""
    names = spaces_async.__all__
    assert names == sorted(set(names))
    assert all(hasattr(spaces_async, name) for name in names)


@pytest.mark.parametrize("name", spaces_async.__all__)
def test_public_names_are_documented(name: str) -> None:
    """Every public name says what it is."""
    if name != "__version__":
        assert inspect.getdoc(getattr(spaces_async, name))


@pytest.mark.parametrize(("name", "method"), public_methods())
def test_methods_say_what_they_send(name: str, method: object) -> None:
    """Each method names its endpoint and its repeat-safety, or where they stand."""
    doc = " ".join((inspect.getdoc(method) or "").split())
    room = name.partition(".")[0]
    if room == "bulk":
        assert "client." in doc or "Args:" in doc
        return
    assert "Endpoint: `" in doc
    assert "repeat" in doc
    assert "Cancelling it" in doc or "Leaving the loop" in doc


def test_importing_costs_no_click_no_rich_no_server() -> None:
    """A web worker that imports the package loads nothing that it does not use."""
    code = (
        "import sys, spaces_async;"
        "bad = [m for m in ('click', 'rich', 'spaces_async.testing', 'spaces_async.cli')"
        " if m in sys.modules]; sys.exit(', '.join(bad) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
