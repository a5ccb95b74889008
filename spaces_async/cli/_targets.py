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
from spaces_async.bulk._choice import Choice
from spaces_async.bulk._engine.resolver import Listed
from spaces_async.cli._errors import full_text
from spaces_async.cli._filters import FILTERS
from spaces_async.cli._stdin import ids_in
from spaces_async.cli._values import split
from spaces_async.client import session_of
from spaces_async.errors import ConfigurationError
from spaces_async.models import SpaceHardware, SpaceInfo, SpaceStage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spaces_async.cli._output import Output
    from spaces_async.client import SpacesClient

__all__ = ["Targets", "targets_of"]

_NAMED_SPACES: Final = 3


@frozen
class Targets:
    """The Spaces that a command is for.

    Attributes:
        ids: Their ids; empty for a selection.
        selection: Which Spaces of an org; None for ids.
        any_flavor: Whether a flavor need not be known.
        are_typed: Whether the command itself names each of them.
        from_stdin: Whether stdin names some of them.
    """

    ids: tuple[str, ...] = ()
    selection: Selection | None = None
    any_flavor: bool = False
    are_typed: bool = False
    from_stdin: bool = False

    @property
    def org(self) -> str | None:
        """The users or orgs of the selection, for messages."""
        return " and ".join(self.selection.author) if self.selection else None

    @property
    def is_whole(self) -> bool:
        """Whether all Spaces of the owners are meant, so that new ones are, too."""
        chosen = self.selection
        return chosen is not None and chosen == Selection(
            author=chosen.author, any_flavor=chosen.any_flavor
        )

    async def listed(self, client: SpacesClient, output: Output) -> list[Listed]:
        """Return the Spaces of the selection with the time of their listing.

        Args:
            client: Lists.
            output: Where to name the Spaces for which a condition is not known.

        Raises:
            UnseenOwnerError: An org shows no Space at all, whatever the conditions.
            ConfigurationError: A flavor is unknown.
        """
        if self.selection is None:
            now = client.clock.monotonic()
            return [Listed(SpaceInfo(repo_id), now) for repo_id in self.ids]

        def tell(text: str) -> None:
            output.complain(f"Note: {text}.")

        found: list[Listed] = []
        choice = Choice(self.selection, session_of(client), tell)
        async for page in choice.pages():
            found += [Listed(info, page.asked) for info in page.spaces]
        return found

    async def resolve(self, client: SpacesClient, output: Output) -> list[SpaceInfo]:
        """Return the Spaces of the selection; see `listed`."""
        return [entry.info for entry in await self.listed(client, output)]


def stages_of(words: Iterable[str]) -> frozenset[SpaceStage]:
    """Parse stages, in any case, and the words for groups of them.

    Raises:
        ConfigurationError: A word is unknown.
    """
    return _validate.stages(split(words))


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
    org: tuple[str, ...],
    filters: Mapping[str, Any],
    *,
    any_flavor: bool,
) -> Targets:
    """Return what the arguments and options name.

    Args:
        ids: Ids of Spaces; "-" reads them from stdin.
        org: Users or orgs.
        filters: Conditions of a `Selection`; None is no condition.
        any_flavor: Whether a flavor need not be known.

    Raises:
        UsageError: They do not fit together, or one has no meaning.
    """
    if org:
        if ids:
            raise click.UsageError("Name ids or an --org, not both.")
        selection = Selection(author=org, any_flavor=any_flavor, **filters)
        return Targets(selection=selection, any_flavor=any_flavor)
    if given := [f.option for f in FILTERS if filters.get(f.parameter) is not None]:
        verb = "narrow" if len(given) > 1 else "narrows"
        raise click.UsageError(
            f"{' and '.join(given)} {verb} down an --org: add --org NAME."
        )
    if not ids:
        raise click.UsageError(
            "Which Spaces? Name their ids ('owner/name', or - to read them from"
            " stdin), or all of an org with --org NAME."
        )
    from_stdin = "-" in ids
    return Targets(
        ids=_checked(ids),
        any_flavor=any_flavor,
        are_typed=not from_stdin,
        from_stdin=from_stdin,
    )


def _checked(ids: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for given in ids:
        if given == "-":
            found |= dict.fromkeys(_from_stdin())
            continue
        if "=" in given:
            # Not shown in any form: what is before the "=" may be the value, too.
            raise click.UsageError(
                "One of the ids is KEY=VALUE. A value in a command is seen by"
                " others: give a secret with --from-env, --from-file or"
                " --from-stdin, and a variable to `variables add` only."
            )
        try:
            _validate.repo_id(given)
        except ConfigurationError as error:
            hint = "" if "/" in given else f" For all Spaces of {given}: --org {given}."
            raise click.UsageError(f"{full_text(error)}.{hint}") from None
        found[given] = None
    return tuple(found)


def _from_stdin() -> list[str]:
    try:
        text = sys.stdin.read()
    except UnicodeDecodeError:
        raise click.UsageError("What is on stdin is no text.") from None
    return ids_in(text)


def sdks_of(words: Iterable[str]) -> list[str] | None:
    """Parse SDKs, in any case; None if there are none.

    Raises:
        ConfigurationError: A word is unknown.
    """
    return sorted(map(str, _validate.sdks(split(words)))) or None


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
