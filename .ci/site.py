"""A hook of MkDocs: which files are the pages of the site, and the reference.

The site has the folders of the repository, so that each link that works there works here.
The reference is made from what the package exports, so that no public name is missing.
"""

from __future__ import annotations

import importlib
from enum import EnumMeta
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = ("*.md", "LICENSE", "docs/**/*", "examples/*.py")

ROOMS: Final = (
    "catalog",
    "lifecycle",
    "config",
    "hardware",
    "billing",
    "storage",
    "logs",
)
PACKAGES: Final = (
    *(f"spaces_async.{room}" for room in ROOMS),
    "spaces_async.bulk",
    "spaces_async.bulk.operations",
    "spaces_async.testing",
    "spaces_async.observe",
    "spaces_async.observe.otel",
    "spaces_async.observe.prometheus",
    "spaces_async.observe.structlog",
    "spaces_async",
)
"""What exports something; of two that export the same, the first one counts."""
PAGES: Final = {
    "client": "The client",
    "resources": "Resources: one Space",
    "bulk": "Bulk: many Spaces",
    "operations": "Operations of a bulk",
    "hf_api": "AsyncHfApi",
    "settings": "Settings",
    "observe": "Observers",
    "records": "Records",
    "errors": "Errors",
    "testing": "FakeHub",
}
"""The pages of the reference, by the part of a module's name that belongs there."""
_ELSEWHERE: Final = {"models": "records", **dict.fromkeys(ROOMS, "resources")}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take the files of the repository, and the pages of the reference."""
    del files  # those of docs_dir, without their folder
    pages = [
        File.generated(
            config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)
        )
        for pattern in SOURCES
        for path in sorted(ROOT.glob(pattern))
        if path.is_file()
    ]
    names: dict[str, list[tuple[str, int, str]]] = {page: [] for page in PAGES}
    for name, module, place in _public_names():
        names[_page_of(module, name)].append((module, place, name))
    for page, title in PAGES.items():
        # In the order of the source: what belongs together stands together there.
        entries = "".join(map(_entry, (name for _, _, name in sorted(names[page]))))
        pages.append(
            File.generated(
                config, f"reference/{page}.md", content=f"# {title}\n\n{entries}"
            )
        )
    return Files(pages)


def _public_names() -> Iterator[tuple[str, str, int]]:
    """Give each public name, the module that defines it, and its place there."""
    seen: set[int] = set()
    for package in PACKAGES:
        exporting = importlib.import_module(package)
        for name in exporting.__all__:
            value = getattr(exporting, name)
            if isinstance(value, str | UnionType) or hasattr(value, "__all__"):
                continue  # the version, `Event`, or a module that has an entry above
            if id(value) in seen:
                continue  # an alias
            seen.add(id(value))
            module = importlib.import_module(value.__module__)
            place = list(vars(module)).index(value.__name__)
            yield f"{package}.{name}", module.__name__, place


def _entry(name: str) -> str:
    """Return the entry of a name; that of an enumeration ends with its words."""
    package, _, short = name.rpartition(".")
    value = getattr(importlib.import_module(package), short)
    if not isinstance(value, EnumMeta):
        return f"::: {name}\n\n"
    words = ", ".join(f"`{word}`" for word in value.__members__)
    return f"::: {name}\n\nWords: {words}\n\n"


def _page_of(module: str, name: str) -> str:
    """Return the page of what a module defines, and what it is exported as.

    Raises:
        LookupError: There is none.
    """
    for dotted in (module, name):
        for part in reversed(dotted.split(".")):
            page = _ELSEWHERE.get(part, part)
            if page in PAGES:
                return page
    raise LookupError(f"PAGES has no page for {module}")
