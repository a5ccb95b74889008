"""The documentation: its links lead somewhere, and what it names exists."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pytest

from spaces_async import SpacesClient, errors
from spaces_async.bulk import operations

ROOT: Final = Path(__file__).parent.parent
ROOMS: Final = (
    "catalog",
    "lifecycle",
    "config",
    "hardware",
    "billing",
    "storage",
    "logs",
)
AT_THE_TOP: Final = (
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
)
PAGES: Final = sorted(
    path
    for path in (*(ROOT / name for name in AT_THE_TOP), *(ROOT / "docs").rglob("*.md"))
    if path.exists()
)

_FENCE: Final = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`[^`\n]+`")
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_TARGET: Final = r"\]\(([^()\s]+)(?: +\"[^\"]*\")?\)"
_LINK: Final = re.compile(rf"{_TARGET}|^ {{0,3}}\[[^]]+\]: +(\S+)", re.MULTILINE)
_LINKED_TEXT: Final = re.compile(r"\[([^]]*)\]\([^)]*\)")
_SCHEME: Final = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
# Not the end of a longer word, such as `my_spaces_async.x`, and no host name or path.
_NAME: Final = re.compile(r"(?<![\w./-])spaces_async((?:\.[A-Za-z_]\w*)+)")
_REQUEST: Final = re.compile(r"`((?:GET|POST|PUT|DELETE)\s[^`]+)`")
_PATH: Final = re.compile(r"(?<![\w./-])((?:spaces_async|tests|examples)/[\w./*-]*)")


def named(page: Path) -> str:
    """Name a page as it is named in the repository."""
    return page.relative_to(ROOT).as_posix()


@cache
def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def prose_of(page: Path) -> str:
    """Return a page without its programs: `](` in them is no link, `#` no heading."""
    return _FENCE.sub("", text_of(page))


def links_in(prose: str) -> list[str]:
    """Return the targets of all links, but for those that stand in code."""
    found = _LINK.findall(_CODE.sub("", prose))
    return [inline or reference for inline, reference in found]


def anchors_in(prose: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings."""
    anchors: set[str] = set()
    used: Counter[str] = Counter()
    for heading in _HEADING.findall(prose):
        shown = _LINKED_TEXT.sub(r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        anchors.add(f"{slug}-{used[slug]}" if used[slug] else slug)
        used[slug] += 1
    return anchors


def names_in(text: str) -> set[str]:
    """Return each dotted name below the package that a text mentions."""
    return {f"spaces_async{found}" for found in _NAME.findall(text)}


def paths_in(text: str) -> set[str]:
    """Return each path of ours that a text mentions."""
    return {found.rstrip(".") for found in _PATH.findall(text)}


def problem_of_link(page: Path, target: str) -> str | None:
    """Say what is wrong with a link; None if it leads somewhere, or elsewhere."""
    if _SCHEME.match(target):
        return None
    file, _, anchor = target.partition("#")
    place = page if not file else page.parent / unquote(file)
    if not place.exists():
        return "no such file"
    if anchor and unquote(anchor) not in anchors_in(prose_of(place.resolve())):
        return "no such heading"
    return None


def spellings(endpoint: str) -> set[str]:
    """Return how the page may write an endpoint of the docstrings."""
    # A query may be optional there: `POST .../restart[?factory=true]`.
    line = " ".join(re.split(r"[?\[]", endpoint)[0].split())
    line = line.replace("{repo_id}", "{id}").replace("{from_id}", "{id}")
    line = line.replace("{organization}", "{org}").replace("{owner}", "{org}")
    made = {line.replace("{kind}", kind) for kind in ("run", "build")}
    return made | {spelled.replace("/api/spaces/{id}", "...") for spelled in made}


def is_importable(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        module = ".".join(parts[:end])
        try:
            if importlib.util.find_spec(module) is None:
                continue
        except ModuleNotFoundError:
            continue
        value: object = importlib.import_module(module)
        for part in parts[end:]:
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False


def is_there(path: str) -> bool:
    """Whether a path of the repository exists; `*` stands for any name."""
    return any(ROOT.glob(path)) if "*" in path else (ROOT / path).exists()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link leads to a file, and its anchor to a heading of that file."""
    problems = {
        target: problem
        for target in links_in(prose_of(page))
        if (problem := problem_of_link(page, target)) is not None
    }
    assert not problems


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_names_exist(page: Path) -> None:
    """Each name written as `spaces_async.something` exists, private or not."""
    assert {
        name for name in names_in(text_of(page)) if not is_importable(name)
    } == set()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_paths_exist(page: Path) -> None:
    """Each path of the package, the tests or the examples exists."""
    assert {path for path in paths_in(text_of(page)) if not is_there(path)} == set()


def test_the_guides_are_among_the_pages() -> None:
    """The tests above look at something: at the guides, and at pages of all depths."""
    found = {named(page) for page in PAGES}
    assert {"README.md", "SECURITY.md", "docs/pacing.md", "docs/hub-api.md"} <= found
    assert "docs/decisions/README.md" in found
    assert sum(len(links_in(prose_of(page))) for page in PAGES) >= 30
    assert any(names_in(text_of(page)) for page in PAGES)
    assert any(paths_in(text_of(page)) for page in PAGES)


def test_every_endpoint_is_described() -> None:
    """The page on the Hub has each endpoint that a docstring of the client names."""
    page = text_of(ROOT / "docs" / "hub-api.md")
    described = {line.partition("?")[0] for line in _REQUEST.findall(page)}
    client = SpacesClient(token=False)
    used: set[str] = set()
    for room in ROOMS:
        for name, method in inspect.getmembers(getattr(client, room), callable):
            if not name.startswith("_"):
                used |= set(_REQUEST.findall(inspect.getdoc(method) or ""))
    assert len(used) > 30
    missing = {
        endpoint for endpoint in used if described.isdisjoint(spellings(endpoint))
    }
    assert not missing


def test_every_operation_is_listed() -> None:
    """The table of operations names each public method of each room."""
    client = SpacesClient(token=False)
    table, _ = text_of(ROOT / "docs" / "endpoints.md").split("## In bulk")
    for room in ROOMS:
        for name, _ in inspect.getmembers(getattr(client, room), callable):
            if not name.startswith("_"):
                assert re.search(rf"`(?:{room}\.)?{name}\b", table), f"{room}.{name}"


def test_every_write_of_a_bulk_is_listed() -> None:
    """The table of the bulk's methods has each write, with its parameters."""
    _, table = text_of(ROOT / "docs" / "endpoints.md").split("## In bulk")
    listed = re.findall(r"`(\w+)\(([^()`]*)\)`", table)
    wanted = {
        (name, ", ".join(f"{key}=" for key in inspect.signature(made).parameters))
        for name, made in operations.BY_NAME.items()
    }
    assert wanted == {entry for entry in listed if entry[0] != "run"}


def test_every_error_is_listed() -> None:
    """The page on errors names each error that can be met."""
    table = text_of(ROOT / "docs" / "errors.md")
    umbrellas = {"TransportError", "HubResponseError"}
    for name in errors.__all__:
        if name not in umbrellas:
            assert f"`{name}`" in table, name


def test_every_decision_is_in_the_index() -> None:
    """The index of the decisions links each of them, in order, and none that is not."""
    folder = ROOT / "docs" / "decisions"
    listed = [t for t in links_in(prose_of(folder / "README.md")) if t[:1].isdigit()]
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))
    numbers = [int(name.partition("-")[0]) for name in listed]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("docs/quota.md", None),
        ("docs/quota.md#the-ledger", None),
        ("docs", None),
        ("https://example.org/no-such-page", None),
        ("mailto:someone@example.org", None),
        ("docs/no-such-page.md", "no such file"),
        ("docs/quota.md#no-such-heading", "no such heading"),
        ("#no-such-heading", "no such heading"),
        ("#in-the-shell", None),
    ],
)
def test_bad_links_are_found(target: str, problem: str | None) -> None:
    """A link to a file or a heading that does not exist is found."""
    assert problem_of_link(ROOT / "README.md", target) == problem


def test_what_counts_as_a_link() -> None:
    """Links in code do not count; titles, images and references do."""
    prose = '[a](b.md "B") `[c](d.md)` ![e](f.png)\n\n[g]: h.md\n'
    assert links_in(prose) == ["b.md", "f.png", "h.md"]


def test_anchors_are_those_of_github() -> None:
    """Punctuation goes, blanks become hyphens, a second heading gets a number."""
    prose = "# 6. Rate limits\n## `GET /api/x`: a\n## Again\n## Again\n## A - b_c\n"
    assert anchors_in(prose) == {
        "6-rate-limits",
        "get-apix-a",
        "again",
        "again-1",
        "a---b_c",
    }


@pytest.mark.parametrize(
    ("text", "names", "paths"),
    [
        ("`spaces_async.bulk.operations`.", {"spaces_async.bulk.operations"}, set()),
        ("`spaces_async/errors.py`, so", set(), {"spaces_async/errors.py"}),
        ("in `tests/unit/`.", set(), {"tests/unit/"}),
        ("my_spaces_async.x and /a/spaces_async/b", set(), set()),
    ],
)
def test_what_counts_as_a_name(text: str, names: set[str], paths: set[str]) -> None:
    """Names end where the sentence goes on, and longer words are other names."""
    assert names_in(text) == names
    assert paths_in(text) == paths


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("spaces_async.SpacesClient.with_token", True),
        ("spaces_async.bulk.operations.restart", True),
        ("spaces_async.testing", True),
        ("spaces_async.NoSuchClient", False),
        ("spaces_async.no_such_module.SpacesClient", False),
        ("spaces_async.bulk.no_such_name", False),
    ],
)
def test_names_that_are_not_there_are_found(name: str, there: bool) -> None:
    """A module, a class or a method that does not exist is found."""
    assert is_importable(name) is there
