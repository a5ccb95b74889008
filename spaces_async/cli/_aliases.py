"""Other names of commands, and what is proposed for a name that there is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spaces_async._words import closest, is_opposite

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["ALIASES", "alias", "other_options", "proposal"]

ALIASES: Final = {"ls": "list", "rm": "delete", "stop": "pause"}
"""Each with exactly the effect of the command. `unpause`, `wake` and `whoami` are
commands of their own."""

_OTHER_TOOLS: Final = {
    **dict.fromkeys(("start", "reboot", "run"), "restart"),
    **dict.fromkeys(("suspend", "shutdown", "kill"), "pause"),
    **dict.fromkeys(("show", "get", "describe"), "info"),
    **dict.fromkeys(("ps", "top", "state"), "status"),
    **dict.fromkeys(("env", "vars"), "variables"),
    **dict.fromkeys(("copy", "cp", "fork"), "duplicate"),
    **dict.fromkeys(("mv", "rename"), "move"),
    **dict.fromkeys(("remove", "del", "destroy"), "delete"),
    **dict.fromkeys(("new", "init"), "create"),
    **dict.fromkeys(("price", "prices", "hardwares"), "flavors"),
    **dict.fromkeys(("bill", "billing", "cost"), "costs"),
    **dict.fromkeys(("ratelimit", "limits", "limit"), "rate-limit"),
    **dict.fromkeys(("tail", "follow"), "logs"),
    "scale": "replicas",
}
"""What other tools call it: proposed, but not done."""


def alias(name: str, commands: Collection[str]) -> str:
    """Return the command that an alias stands for, if there is one in a group."""
    target = ALIASES.get(name, name)
    return target if name not in commands and target in commands else name


def proposal(name: str, commands: Collection[str]) -> str | None:
    """Return the command that was probably meant; None if nothing is like it."""
    word = name.lower().replace("_", "-")
    known = [*commands, *(a for a, of in ALIASES.items() if of in commands)]
    if word in known:
        return word
    other = _OTHER_TOOLS.get(word)
    return other if other in commands else closest(word, known)


def other_options(typed: str, options: Collection[str]) -> list[str]:
    """Return the options that a wrong one may stand for, without its opposite."""
    bare = typed.lstrip("-")
    return [each for each in options if not is_opposite(bare, each.lstrip("-"))]
