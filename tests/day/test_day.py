"""The page on a day with an org: it shows what the shell prints, and that works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.day.play import PAGE, PICTURES, Day, play
from tests.day.story import CANARY, STORY, Screen
from tests.support.virtual_shell import COLUMNS, Shown

SCREENS = [step for step in STORY if isinstance(step, Screen)]
DRAWN = sorted(f"{screen.name}.svg" for screen in SCREENS if screen.picture)
DEMOS = {
    f"acme/{word}-demo"
    for word in ("avatar", "captions", "chat", "depth", "vision", "speech", "music")
}


@pytest.fixture(autouse=True)
def short_silence() -> None:
    """The day takes as long as it takes users."""


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """The day, played once for all tests."""
    return play(tmp_path_factory.mktemp("runs"))


def stages(day: Day, name: str) -> dict[str, str]:
    return {repo_id: stage for repo_id, (stage, _) in day.spaces[name].items()}


def restarts(day: Day, since: str, name: str) -> dict[str, int]:
    """Return how often each Space was restarted between two screens, if it was."""
    before, after = day.spaces[since], day.spaces[name]
    counts = {repo_id: after[repo_id][1] - before[repo_id][1] for repo_id in after}
    return {repo_id: count for repo_id, count in counts.items() if count}


def said(day: Day, name: str) -> str:
    """Return what a screen showed, as plain text."""
    text = "\n".join(shown.text for shown in day.shown[name])
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_the_page_is_what_the_shell_prints(day: Day) -> None:
    """The page has the output of now; if not, `make day` writes it anew."""
    assert PAGE.read_text("utf-8") == day.page


@pytest.mark.parametrize("name", DRAWN)
def test_the_pictures_are_what_the_shell_prints(day: Day, name: str) -> None:
    """Each picture shows the output of now; if not, `make day` draws it anew."""
    assert (PICTURES / name).read_text("utf-8") == day.pictures[name]


def test_no_picture_is_left_over(day: Day) -> None:
    """The folder has the pictures of the page and no others of a day."""
    assert sorted(path.name for path in PICTURES.glob("day-*")) == DRAWN
    assert sorted(day.pictures) == DRAWN


def test_a_picture_loads_nothing(day: Day) -> None:
    """No picture names a font, a script or anything else at another place."""
    for drawn in day.pictures.values():
        addresses = set(re.findall(r"https?://[^\"\s)]+", drawn))
        assert addresses == {"http://www.w3.org/2000/svg"}
        assert "<script" not in drawn


def test_each_command_ends_as_the_story_says(day: Day) -> None:
    """Only the roll-out that is halted ends with 1."""
    codes = {name: {each.code for each in shown} for name, shown in day.shown.items()}
    assert codes == {screen.name: {screen.code} for screen in SCREENS}
    assert [s.name for s in SCREENS if s.code] == ["day-halt"]


def test_all_of_it_fits_the_terminal(day: Day) -> None:
    """No line is wider than 80 columns, but for a command that has its own line."""

    def too_wide(shown: Shown) -> list[str]:
        lines = re.sub(r"\x1b\[[\d;]*m", "", shown.text).splitlines()
        return [line for line in lines if len(line.rstrip()) > COLUMNS]

    for each in day.shown.values():
        assert [line for shown in each for line in too_wide(shown)] == []


def test_nothing_of_this_machine_is_shown(day: Day) -> None:
    """Neither the token, nor a folder, nor the address of the Hub."""
    for text in (day.page, *day.pictures.values()):
        assert not re.search(r"hf_|127\.0\.0\.1|localhost|/tmp|/home", text)


def test_the_failed_ones_run_again(day: Day) -> None:
    """The first screen restarts the two that had failed, and no others."""
    assert restarts(day, "", "day-look") == {
        "acme/music-demo": 1,
        "acme/speech-demo": 1,
    }
    assert not {"RUNTIME_ERROR", "BUILD_ERROR"} & set(stages(day, "day-look").values())


def test_choosing_and_planning_change_nothing(day: Day) -> None:
    """A list and a dry run name the seven demos that run, and restart none."""
    assert day.spaces["day-plan"] == day.spaces["day-choose"] == day.spaces["day-look"]
    for name in ("day-choose", "day-plan"):
        assert set(re.findall(r"^acme/\S+", said(day, name), re.MULTILINE)) == DEMOS


def test_a_canary_that_fails_halts_the_roll_out(day: Day) -> None:
    """Only the canary is restarted; the other six run on, and it says why it failed."""
    assert restarts(day, "day-plan", "day-halt") == {CANARY: 1}
    found = stages(day, "day-halt")
    assert {i for i in DEMOS if found[i] != "RUNNING"} == {CANARY}
    assert "6 not attempted" in said(day, "day-halt")
    assert "ValueError: unknown model type" in said(day, "day-halt")


def test_retry_and_resume_finish_it(day: Day) -> None:
    """Each demo is restarted once more, none twice, and all run."""
    assert restarts(day, "day-halt", "day-retry") == dict.fromkeys(DEMOS, 1)
    assert {stages(day, "day-retry")[repo_id] for repo_id in DEMOS} == {"RUNNING"}


def test_the_night_pauses_all_but_production(day: Day) -> None:
    """What runs is paused; production and the static page run on, what sleeps sleeps on."""
    found = stages(day, "day-pause")
    running = {repo_id for repo_id, stage in found.items() if stage == "RUNNING"}
    assert running == {"acme/docs", "acme/prod-chat", "acme/prod-search"}
    assert found["acme/ocr-demo"] == "SLEEPING"


def test_the_morning_brings_back_what_ran(day: Day) -> None:
    """Each Space is as it was before the night, also those that slept or were paused."""
    assert stages(day, "day-undo") == stages(day, "day-retry")
    woken = restarts(day, "day-pause", "day-undo")
    assert woken == dict.fromkeys({*DEMOS, "acme/tables-lab"}, 1)


def test_the_costs_are_those_of_what_runs(day: Day) -> None:
    """The rates add up, and `sweep` pauses what `costs` calls unused."""
    text = said(day, "day-costs")
    rates = [float(rate) for rate in re.findall(r" \$([\d.]+)/h  ", text)]
    total = re.search(r"In all: \$([\d.]+)/h", text)
    assert total is not None
    assert float(total[1]) == pytest.approx(sum(rates))
    unused = set(re.findall(r"^(acme/\S+).* unused$", text, re.MULTILINE))
    before, after = stages(day, "day-costs"), stages(day, "day-sweep")
    assert {i for i in before if before[i] != after[i]} == unused != set()


def test_two_days_are_the_same(day: Day, tmp_path: Path) -> None:
    """The day is the same in each run, to the second."""
    assert play(tmp_path) == day
