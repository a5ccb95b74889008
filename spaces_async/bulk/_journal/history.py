"""What a bulk knows of earlier ones, and leaves for later ones: its journal, if any."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from spaces_async.bulk._engine.doubt import InDoubt
from spaces_async.bulk._engine.targets import Source
from spaces_async.bulk._journal.writer import Journal
from spaces_async.bulk.report import Outcome, OutcomeStatus
from spaces_async.errors import ConfigurationError, SpacesError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spaces_async.bulk._journal.format import Entry, Header
    from spaces_async.bulk._journal.reader import JournalPath
    from spaces_async.client import SpacesClient


class JournalHistory:
    """The journal of a bulk; without one, all of this does nothing.

    Attributes:
        journal: None before it is opened, and if there is none.
    """

    def __init__(self, path: JournalPath | None, header: Header) -> None:
        self.journal: Journal | None = None
        self._path = path
        self._header = header
        # What earlier bulks have left; the journal's own state goes on changing.
        self._before: dict[str, Entry] = {}

    async def open(self, given: Source | None, client: SpacesClient) -> Source:
        """Open the journal and say which Spaces this bulk is for.

        Args:
            given: Those that were given; None are those that the journal names.
            client: Whose bulk it is.

        Raises:
            JournalError: It cannot be read, written or locked.
            ConfigurationError: It belongs to another job, or does not name all targets.
        """
        if self._path is None:
            return given or Source((), client)
        journal = await Journal.open(self._path, self._header)
        try:
            source = self._source(journal, given, client)
        except BaseException:
            await journal.aclose()
            raise
        self._before = dict(journal.state.entries)
        if source.listed is not None:
            journal.name(source.listed)
            journal.complete()
        self.journal = journal
        return source

    def _source(
        self, journal: Journal, given: Source | None, client: SpacesClient
    ) -> Source:
        state = journal.state
        if given is None:
            if state.complete:
                return Source(list(state.entries), client)
            raise ConfigurationError(
                f"the journal {journal.path} names {len(state.entries)} targets, and"
                " its bulk ended before it had seen the last one: pass the targets"
                " again"
            )
        if given.listed is None and state.finished:
            raise ConfigurationError(
                f"the journal {journal.path} is finished: all of its"
                f" {len(state.entries)} Spaces are done. Another round needs a new"
                " file; `resume` reports on this one"
            )
        if given.listed is None or not state.complete:
            given.begin_with(list(state.entries))
        elif set(given.listed) != state.entries.keys():
            raise ConfigurationError(
                f"the journal {journal.path} belongs to a job with other targets: it"
                f" names {len(state.entries)}, given are {len(given.listed)}, and"
                f" {len(state.entries.keys() & set(given.listed))} are the same; leave"
                " them out to resume it, or take a new journal"
            )
        return given

    def name(self, repo_id: str) -> None:
        """Record that a Space is one of the targets."""
        if self.journal is not None:
            self.journal.name([repo_id])

    def exhausted(self) -> None:
        """Record that all targets have been named."""
        if self.journal is not None:
            self.journal.complete()

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
        if self.doubt(repo_id) is None:
            return self.settled(repo_id)
        error = SpacesError(f"{repo_id}: an earlier bulk left it in doubt")
        error.outcome_unknown = True
        unknown = OutcomeStatus.UNKNOWN
        return Outcome(repo_id, unknown, error=error, from_journal=True)

    def doubt(self, repo_id: str) -> InDoubt | None:
        """Return when an earlier bulk sent a call of which nobody knows more."""
        entry = self._before.get(repo_id)
        if entry is None or not entry.in_doubt:
            return None
        return InDoubt(datetime.fromtimestamp(entry.sent_at or 0.0, UTC))

    def doubts(self) -> Iterator[tuple[str, InDoubt]]:
        """Yield all Spaces that an earlier bulk has left in doubt, and since when."""
        for repo_id in self._before:
            if (doubt := self.doubt(repo_id)) is not None:
                yield repo_id, doubt

    def note(self, outcome: Outcome[Any]) -> None:
        """Record what became of a Space."""
        if self.journal is None or outcome.from_journal:
            return
        if outcome.repo_id in self.journal.state.entries:
            self.journal.note(outcome, private=bool(self._header.hidden))

    async def aclose(self) -> None:
        """Make everything durable, and let the journal go.

        Raises:
            JournalError: Something is not durable.
        """
        if self.journal is not None:
            await self.journal.aclose()
