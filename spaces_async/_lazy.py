"""Public names that are imported when they are first used (PEP 562).

A package lists its names three times: under `TYPE_CHECKING` for type checkers and
editors, in `__all__`, and in the table that is given to `lazy_names`. Tests compare them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def lazy_names(
    package: str, modules: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package.

    Args:
        package: Its name.
        modules: The names that each of its modules defines. The modules themselves
            are attributes of the package, too.
    """
    places = {name: module for module, names in modules.items() for name in names}
    this = sys.modules[package]

    def get(name: str) -> Any:
        if name in places:
            value = getattr(import_module(f"{package}.{places[name]}"), name)
        elif name in modules:
            value = import_module(f"{package}.{name}")
        else:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}", name=name, obj=this
            )
        # The next use finds it at once.
        setattr(this, name, value)
        return value

    def names() -> list[str]:
        rooms = {module for module in modules if not module.startswith("_")}
        return sorted({*vars(this), *places, *rooms})

    return get, names
