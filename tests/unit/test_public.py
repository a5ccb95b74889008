"""The public face: names and docstrings."""

from __future__ import annotations

import inspect

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


def test_all_is_sorted() -> None:
    """`__all__` is sorted and has each name once; `test_imports` looks for gaps."""
    names = spaces_async.__all__
    assert names == sorted(set(names))


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
