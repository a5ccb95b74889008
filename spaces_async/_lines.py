"""Texts from outside as one line. Pure."""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(text: str) -> str:
    """Make a text one line, its spaces kept, without what a terminal acts on."""
    return "".join(c if c.isprintable() else " " for c in text)
