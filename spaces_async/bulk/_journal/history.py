"""What a bulk knows of earlier ones, and leaves for later ones: its journal, if any."""

from __future__ import annotations

import contextlib
import logging
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from spaces_async.bulk._journal.format import body_of_intent
from spaces_async.bulk._journal.reader import OptionalJournal
from spaces_async.bulk._journal.writer import Journal, in_thread
from spaces_async.bulk.report import Outcome, OutcomeStatus
from spaces_async.errors import ConfigurationError, JournalError, SpacesError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from spaces_async.bulk._journal.format import Entry, Header
    from spaces_async.bulk._journal.reader import JournalPath

logger = logging.getLogger(__name__)


class JournalHistory:
    """The journal of a bulk; without one, all of this does nothing.

    Attributes:
        is_kept: Whether there is a journal. One that is optional, and that cannot be
            written, is given up with a warning.
        sent_by: Who may have sent a write that is in doubt.
    """

    sent_by = "by an earlier run of this bulk"

    def __init__(
        self,
        path: JournalPath | None,
        header: Header,
        left: Mapping[str, Entry] | None = None,
    ) -> None:
        """Make it; nothing is opened yet.

        Args:
            path: The file; None is no journal.
            header: What the bulk does.
            left: What a run in a store has left of the targets; None is no such run.
        """
        self._journal: Journal | None = None
        self._path = path
        self.is_kept = path is not None
        self._header = header
        # What earlier bulks have left.
        self._before: Mapping[str, Entry] = left or {}
        self._inherits = left is not None

    async def open(self) -> None:
        """Open the journal, if there is one.

        Raises:
            JournalError: It cannot be read, written or locked.
            ConfigurationError: It belongs to another job.
        """
        if self._path is None:
            return
        try:
            self._journal = await Journal.open(self._path, self._header)
        except JournalError as error:
            self._give_up(error)
        else:
            if not self._inherits:
                self._before = self._journal.state.entries

    async def inherit(self) -> None:
        """Record what a run in a store has left in doubt, before anything is sent.

        So this is known as well where the bulk is continued from its journal.

        Raises:
            JournalError: It cannot be written.
        """
        if not self._inherits or self._journal is None:
            return
        doubts = [
            body_of_intent(repo_id, at.timestamp(), self.before(repo_id) or None)
            for repo_id, at in self.in_doubt()
        ]
        if not doubts:
            return
        try:
            await self._journal.add_durably(*doubts)
        except JournalError as error:
            self._give_up(error)

    def _give_up(self, error: JournalError) -> None:
        """Go on without an optional journal; said once.

        Raises:
            JournalError: This one, if the journal is not optional.
        """
        if not isinstance(self._path, OptionalJournal):
            raise error
        if self.is_kept:
            self.is_kept = False
            logger.warning(
                "there is no journal of this, so it cannot be undone: %s",
                error.__cause__ or error,
            )

    def targets(self, *, only: Collection[str] | None = None) -> list[str] | None:
        """Return the targets that the journal names, if it names all.

        Args:
            only: Return those of them that are among these; then it need not name all.

        Raises:
            ConfigurationError: It does not name all.
        """
        journal = self._journal
        if journal is None:
            return None
        if only is not None:
            return [repo_id for repo_id in journal.state.entries if repo_id in only]
        if journal.state.complete:
            return list(journal.state.entries)
        raise ConfigurationError(
            f"the journal {journal.path} names {len(journal.state.entries)} targets, and"
            " its bulk ended before it had seen the last one: pass the targets again"
        )

    def first_targets(self, given: list[str] | None) -> list[str] | None:
        """Return the targets that have to come before those that were given.

        Args:
            given: Those that were given, where they are known.

        Raises:
            ConfigurationError: The journal is finished, or of other targets.
        """
        journal = self._journal
        if journal is None:
            return None
        state = journal.state
        if given is None and state.finished:
            left = sum(not entry.settled for entry in state.entries.values())
            what = f"{left} of" if left else "none of"
            raise ConfigurationError(
                f"the journal {journal.path} is finished: {what} its"
                f" {len(state.entries)} Spaces are left. Another round needs a new"
                " file; `resume` goes on with what is left"
            )
        if given is None or not state.complete:
            return list(state.entries)
        if set(given) != state.entries.keys():
            raise ConfigurationError(
                f"the journal {journal.path} belongs to a job with other targets: it"
                f" names {len(state.entries)}, given are {len(given)}, and"
                f" {len(state.entries.keys() & set(given))} are the same; leave them"
                " out to resume it, or take a new journal"
            )
        return None

    def name(self, repo_ids: Sequence[str], *, all_of_them: bool = False) -> None:
        """Record that Spaces are among the targets, or are all of them."""
        if self._journal is not None:
            self._journal.name(repo_ids)
            if all_of_them:
                self._journal.complete()

    def exhausted(self) -> None:
        """Record that all targets have been named."""
        if self._journal is not None:
            self._journal.complete()

    def ended(self) -> None:
        """Record that the bulk ended by itself: each target has an outcome."""
        if self._journal is not None:
            self._journal.end()

    async def announce(
        self, repo_id: str, at: datetime, before: Mapping[str, Any] | None
    ) -> None:
        """Record that a write is going to be sent, and wait until that is durable.

        Args:
            repo_id: The Space.
            at: The time.
            before: The state before, as JSON; None if it is not recorded.

        Raises:
            JournalError: It is not, so nothing may be sent.
        """
        if self._journal is None or not self.is_kept:
            return
        try:
            await self._journal.intend(repo_id, at, before)
        except JournalError as error:
            self._give_up(error)

    def settled(self, repo_id: str) -> Outcome[Any] | None:
        """Return the outcome of a Space that an earlier bulk is done with."""
        entry = self._before.get(repo_id)
        if entry is None or entry.status is None or not entry.settled:
            return None
        return Outcome(
            repo_id, entry.status, attempts=entry.attempts, from_journal=True
        )

    def left(self, repo_id: str) -> Outcome[Any] | None:
        """Return what is known of a Space whose turn does not come in this bulk."""
        if self.in_doubt_since(repo_id) is None:
            return self.settled(repo_id)
        error = SpacesError(f"{repo_id}: an earlier bulk left it in doubt")
        error.outcome_unknown = True
        unknown = OutcomeStatus.UNKNOWN
        return Outcome(repo_id, unknown, error=error, from_journal=True)

    def in_doubt_since(self, repo_id: str) -> datetime | None:
        """Return when an earlier bulk sent a write whose effect is not known."""
        entry = self._before.get(repo_id)
        if entry is None or not entry.in_doubt:
            return None
        return datetime.fromtimestamp(entry.doubt_since or 0.0, UTC)

    def before(self, repo_id: str) -> Mapping[str, Any]:
        """Return the state before an earlier bulk's write, as its journal keeps it."""
        entry = self._before.get(repo_id)
        return (None if entry is None else entry.before) or {}

    def in_doubt(self) -> Iterator[tuple[str, datetime]]:
        """Yield all Spaces that an earlier bulk left in doubt, and since when."""
        for repo_id in self._before:
            if (since := self.in_doubt_since(repo_id)) is not None:
                yield repo_id, since

    def note(self, outcome: Outcome[Any]) -> None:
        """Record the outcome of a Space that is among the targets."""
        if self._journal is not None and not outcome.from_journal:
            self._journal.note(outcome, private=bool(self._header.hidden))

    async def aclose(self) -> None:
        """Make everything durable, and close the journal.

        Raises:
            JournalError: Something is not durable.
        """
        if self._journal is None:
            return
        try:
            await self._journal.aclose()
        except JournalError as error:
            self._give_up(error)
        if not self.is_kept:
            await in_thread(_delete, self._journal.path)


def _delete(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108  (any path-like)
