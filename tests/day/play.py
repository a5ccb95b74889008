"""Plays the day, and makes the page and its pictures of what was shown."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

from attrs import Factory, define
from rich.text import Text

from spaces_async.testing import FakeHub
from tests.day.pictures import picture
from tests.day.story import START, STORY, At, Happens, Say, Screen, fill
from tests.support.virtual_shell import COLUMNS, Shown, VirtualShell

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "day.md"
PICTURES: Final = ROOT / "docs" / "images"
_NOTE: Final = (
    "<!-- `make day` writes this page and its pictures from tests/day/story.py. -->"
)


@define
class Day:
    """A day that has been played.

    Attributes:
        page: The text of the page.
        pictures: The text of each picture, by the name of its file.
        shown: What each screen showed, by its name.
        spaces: The stage of each Space, and how often it was restarted: before the day
            as "", then by the name of the screen after which it was so.
    """

    page: str = ""
    pictures: dict[str, str] = Factory(dict[str, str])
    shown: dict[str, list[Shown]] = Factory(dict[str, list[Shown]])
    spaces: dict[str, dict[str, tuple[str, int]]] = Factory(dict[str, Any])


def play(folder: Path) -> Day:
    """Play the whole day, on a Hub of its own.

    Args:
        folder: An empty one, for the runs of the shell.
    """
    # The pauses between two looks at a Space have some chance in them.
    random.seed(0)
    day = Day()
    parts = [_NOTE]
    with VirtualShell(
        START, folder, latency=(0.2, 0.4), build_seconds=40, start_seconds=8
    ) as shell:
        fill(shell.hub)
        day.spaces[""] = _spaces(shell.hub)
        for step in STORY:
            match step:
                case Say():
                    parts.append(step.text)
                case At():
                    shell.pass_until(step.time)
                case Happens():
                    step.change(shell.hub)
                case Screen():
                    parts.append(_show(day, step, shell))
                    day.spaces[step.name] = _spaces(shell.hub)
    day.page = "\n\n".join(parts) + "\n"
    return day


def write(day: Day) -> list[Path]:
    """Write the page and its pictures, and return the files."""
    files = {PAGE: day.page} | {
        PICTURES / name: text for name, text in day.pictures.items()
    }
    for path, text in files.items():
        path.write_text(text, "utf-8")
    return list(files)


def _show(day: Day, screen: Screen, shell: VirtualShell) -> str:
    shown: list[Shown] = []
    for command, answer in screen.commands:
        shown.append(shell.run(command, () if answer is None else (answer,)))
        shell.pass_time(60)  # what it began goes on until then
    day.shown[screen.name] = shown
    typed = "\n".join(command for command, _ in screen.commands)
    if screen.picture is None:
        plain = "\n".join(_plain(f"$ {each.command}\n{each.text}") for each in shown)
        return f"```console\n{plain.rstrip()}\n```"
    drawn = "\n".join(f"\x1b[1m$ {each.command}\x1b[0m\n{each.text}" for each in shown)
    name = f"{screen.name}.svg"
    day.pictures[name] = picture(screen.name, drawn, COLUMNS)
    return f"```bash\n{typed}\n```\n\n![{screen.picture}](images/{name})"


def _plain(shown: str) -> str:
    """Return what a terminal shows as text, without blanks at the ends of lines."""
    lines = Text.from_ansi(shown).plain.splitlines()
    return "\n".join(line.rstrip() for line in lines)


def _spaces(hub: FakeHub) -> dict[str, tuple[str, int]]:
    return {id_: (str(s.stage), s.restarts) for id_, s in hub.spaces.items()}
