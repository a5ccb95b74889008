"""Pictures of a terminal as SVG. They load nothing, so they show in a README, too."""

from __future__ import annotations

import io
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

_FORMAT: Final = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px;
line-height: {line_height}px;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""That of rich, without fonts from elsewhere."""


def picture(name: str, shown: str, columns: int) -> str:
    """Draw what a terminal shows.

    Args:
        name: What the names of the styles begin with, so that pages may have several.
        shown: The text, with escape codes for the colours.
        columns: How wide the terminal is.
    """
    console = Console(
        record=True,
        width=columns,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        legacy_windows=False,
    )
    console.print(Text.from_ansi(shown.rstrip("\n")), soft_wrap=False)
    drawn = console.export_svg(
        title="", theme=MONOKAI, code_format=_FORMAT, unique_id=name
    )
    return "\n".join(line.strip() for line in drawn.splitlines() if line.strip()) + "\n"
