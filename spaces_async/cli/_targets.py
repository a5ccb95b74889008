"""Which Spaces a command is for: ids, ids from stdin, or a part of an org.

The options that name them are in `_target_options`.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click
from attrs import frozen

from spaces_async import _validate
from spaces_async.bulk import Selection
from spaces_async.cli._errors import FAILED, full_text
from spaces_async.client import session_of
from spaces_async.errors import ConfigurationError
from spaces_async.models import SpaceHardware, SpaceInfo, SpaceSdk, SpaceStage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from enum import StrEnum

    from spaces_async.bulk._engine.resolver import Listed
    from spaces_async.client import SpacesClient

__all__ = ["Targets", "targets_of"]

_STAGE_GROUPS: Final[dict[str, frozenset[SpaceStage]]] = {
    "failed": frozenset(stage for stage in SpaceStage if stage.is_failed),
    "running": frozenset(stage for stage in SpaceStage if stage.is_running),
    "building": frozenset(stage for stage in SpaceStage if stage.is_transitional),
    "idle": frozenset(stage for stage in SpaceStage if stage.is_idle),
}
_NAMED_SPACES: Final = 3


class UnseenOrgError(click.ClickException):
    """An org shows no Space: far more likely a slip than an empty org."""

    exit_code = FAILED

    def __init__(self, author: str) -> None:
        super().__init__(
            f"No Space of {author} is seen. Check the name, and whether the token may"
            " see its Spaces."
        )


@frozen
class Targets:
    """The Spaces that a command is for.

    Attributes:
        ids: Their ids; empty for a selection.
        selection: Which Spaces of an org; None for ids.
        any_flavor: Whether a flavor need not be known.
    """

    ids: tuple[str, ...] = ()
    selection: Selection | None = None
    any_flavor: bool = False

    @property
    def org(self) -> str | None:
        """The users or orgs of the selection, for messages."""
        return " and ".join(self.selection.author) if self.selection else None

    async def listed(self, client: SpacesClient) -> list[Listed]:
        """Return the Spaces of the selection with the time of their listing."""
        from spaces_async.bulk._engine.resolver import Listed

        asked = client.clock.monotonic()
        return [Listed(info, asked) for info in await self.resolve(client)]

    async def resolve(self, client: SpacesClient) -> list[SpaceInfo]:
        """Return the Spaces of the selection: one call for each 500 of the org.

        Raises:
            UnseenOrgError: An org shows no Space at all, whatever the conditions.
            ConfigurationError: A flavor is unknown.
        """
        selection = self.selection
        if selection is None:
            return [SpaceInfo(repo_id) for repo_id in self.ids]
        await selection.require_known(session_of(client))
        found: list[SpaceInfo] = []
        for author in selection.author:
            seen = 0
            async for info in Selection(author=author).resolve(client):
                seen += 1
                if selection.fits(info):
                    found.append(info)
            if not seen:
                raise UnseenOrgError(author)
        return found


def stages_of(words: Iterable[str]) -> frozenset[SpaceStage]:
    """Parse stages, in any case, and the words for groups of them.

    Raises:
        UsageError: A word is unknown.
    """
    stages: set[SpaceStage] = set()
    for word in split(words):
        name = word.upper().replace("-", "_")
        # "running" and "building" are groups; "RUNNING" and "BUILDING" are stages.
        if word in _STAGE_GROUPS:
            stages |= _STAGE_GROUPS[word]
        elif SpaceStage(name).is_known:
            stages.add(SpaceStage(name))
        elif word.lower() in _STAGE_GROUPS:
            stages |= _STAGE_GROUPS[word.lower()]
        else:
            raise _unknown("stage", word, SpaceStage, _STAGE_GROUPS)
    return frozenset(stages)


def split(words: Iterable[str]) -> list[str]:
    """Split the values of an option that may be repeated or comma-separated."""
    return [w for word in words for w in (p.strip() for p in word.split(",")) if w]


def stage_counts(spaces: Iterable[SpaceInfo]) -> list[tuple[SpaceStage, int]]:
    """Count the Spaces by stage, the most frequent first."""
    counted = Counter(info.stage for info in spaces if info.stage is not None)
    return counted.most_common()


def names(spaces: Sequence[SpaceInfo]) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(info.id for info in spaces[:_NAMED_SPACES])
    more = len(spaces) - _NAMED_SPACES
    return f"{shown} and {more} more" if more > 0 else shown


def targets_of(
    ids: tuple[str, ...],
    *,
    org: tuple[str, ...],
    stage: tuple[str, ...],
    sdk: tuple[str, ...],
    hardware: tuple[str, ...],
    match: tuple[str, ...],
    any_flavor: bool,
) -> Targets:
    """Return what the arguments and options name.

    Raises:
        UsageError: They do not fit together, or one has no meaning.
    """
    filters: dict[str, Any] = {
        "stages": stages_of(stage) or None,
        "sdks": sdks_of(sdk),
        "hardware": split(hardware) or None,
        "match": match or None,
    }
    filtered = any(value is not None for value in filters.values())
    if org:
        if ids:
            raise click.UsageError("Name ids or an --org, not both.")
        selection = Selection(author=org, any_flavor=any_flavor, **filters)
        return Targets(selection=selection, any_flavor=any_flavor)
    if filtered:
        raise click.UsageError(
            "--stage, --sdk, --hardware and --match narrow down an --org: add --org NAME."
        )
    if not ids:
        raise click.UsageError(
            "Which Spaces? Name their ids ('owner/name', or - to read them from"
            " stdin), or all of an org with --org NAME."
        )
    return Targets(ids=_checked(ids), any_flavor=any_flavor)


def _checked(ids: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for given in ids:
        for repo_id in _from_stdin() if given == "-" else (given,):
            if "=" in repo_id:
                # Not shown in any form: what is before the "=" may be the value, too.
                raise click.UsageError(
                    "One of the ids is KEY=VALUE. A value in a command is seen by"
                    " others: give a secret with --from-env, --from-file or"
                    " --from-stdin, and a variable to `variables add` only."
                )
            try:
                _validate.repo_id(repo_id)
            except ConfigurationError as error:
                hint = (
                    ""
                    if "/" in repo_id
                    else f" For all Spaces of {repo_id}: --org {repo_id}."
                )
                raise click.UsageError(f"{full_text(error)}.{hint}") from None
            found[repo_id] = None
    if not found:
        raise click.UsageError("There are no ids on stdin.")
    return tuple(found)


def _from_stdin() -> list[str]:
    lines = (line.partition("#")[0].strip() for line in sys.stdin)
    return [line for line in lines if line]


def sdks_of(words: Iterable[str]) -> list[str] | None:
    """Parse SDKs, in any case; None if there are none.

    Raises:
        UsageError: A word is unknown.
    """
    given = split(words)
    for word in given:
        if not SpaceSdk(word.lower()).is_known:
            raise _unknown("SDK", word, SpaceSdk)
    return [word.lower() for word in given] or None


def _unknown(
    what: str, word: str, known: type[StrEnum], groups: Iterable[str] = ()
) -> click.UsageError:
    listed = ", ".join([*(str(member) for member in known), *groups])
    return click.UsageError(f"There is no {what} {word!r}. Known: {listed}.")


def doubt_about(flavor: str, shown: str | None = None) -> str | None:
    """Return a note if this version does not know a flavor; None if it does.

    Args:
        flavor: The flavor.
        shown: What the note calls it; None for itself.
    """
    if SpaceHardware(flavor).is_known:
        return None
    return (
        f"Note: {shown or repr(flavor)} is not a flavor that this version knows; the Hub decides."
        f" Known: {', '.join(SpaceHardware)}."
    )
