"""The journal of a bulk command: what it holds, and how to continue."""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async.bulk import operations
from spaces_async.bulk._journal.reader import read_state
from spaces_async.bulk._journal.writer import check_free, set_aside_if_finished
from spaces_async.bulk.report import OutcomeStatus
from spaces_async.cli._output import plural
from spaces_async.cli._wording import described
from spaces_async.errors import JournalError

if TYPE_CHECKING:
    from spaces_async.bulk import Operation
    from spaces_async.bulk._journal.format import Entry, Header, State
    from spaces_async.cli._output import Output
    from spaces_async.cli._values import GivenSecrets

__all__ = [
    "JournalSummary",
    "about_doubts",
    "described_state",
    "rebuild",
    "secret_options",
]

_PROGRESS_WORDS: Final = (
    *("done", "unchanged", "skipped"),
    *("failed", "in doubt", "not started"),
)


def _progress_of(entry: Entry) -> str:
    """Return what a journal says of a Space, in a word or two."""
    if entry.in_doubt:
        return "in doubt"
    if entry.settled:
        return str(entry.status)
    started = entry.status not in {None, OutcomeStatus.NOT_ATTEMPTED}
    return "failed" if started else "not started"


def _counts(state: State) -> str:
    """Return how many Spaces of a journal are how far."""
    found = Counter(_progress_of(entry) for entry in state.entries.values())
    counts = [f"{found[word]} {word}" for word in _PROGRESS_WORDS if found[word]]
    return ", ".join(counts) or "no Spaces yet"


def described_state(
    path: str, header: Header, state: State, *, name: str | None = None
) -> str:
    """Return what a journal is of, and how far it is.

    Args:
        path: Where it is.
        header: What it is of.
        state: How far it is.
        name: What the shell calls the run; None for a file that is elsewhere.
    """
    what = described(header.operation, header.parameters)
    where = f"Journal {path}" if name is None else f"Run {name}"
    return f"{where}: {what}, {plural(len(state.entries))}: {_counts(state)}."


class JournalSummary:
    """What the journal of one run of a command says before it and after it.

    Attributes:
        path: Where it is.
        name: What the shell calls the run, if it keeps the journal by itself; else
            None.
        before: What this run goes on with; None if it starts from scratch.
    """

    def __init__(
        self,
        path: str,
        operation: Operation[Any] | None,
        *,
        resumes: bool,
        name: str | None = None,
    ) -> None:
        """Read the journal.

        Args:
            path: Where it is.
            operation: What this run does; None for an undo.
            resumes: Whether to go on with a finished one, too.
            name: See `name`.

        Raises:
            JournalError: Another program has it open.
        """
        check_free(path)
        self.path = path
        self.name = name
        self.before = self._read()
        self._operation = operation
        self._finished: State | None = None
        over = self.before is not None and self.before.finished
        if over and not resumes and self._is_of_operation(self.before):
            self._finished, self.before = self.before, None

    def _is_of_operation(self, state: State | None) -> bool:
        """Return whether a journal is of what this run does, to whatever Spaces."""
        if state is None or state.header is None or self._operation is None:
            return False
        recorded = state.header.operation, state.header.parameters
        return recorded == (self._operation.name, self._operation.parameters)

    async def begin(self, output: Output) -> None:
        """Set a finished journal aside, just before the new one begins.

        Raises:
            JournalError: It cannot be renamed, or another program has it open.
        """
        if self._finished is None:
            return
        kept = await asyncio.to_thread(set_aside_if_finished, self.path)
        if kept is not None:
            output.say(f"The earlier journal is {kept} now.")

    def _read(self) -> State | None:
        try:
            return read_state(self.path)[1]
        except JournalError:
            return None  # opening it for the bulk will say why

    def finished_spaces(self) -> frozenset[str]:
        """Return the Spaces with which earlier runs of the operation are finished."""
        state = self.before
        if state is None or not self._is_of_operation(state):
            return frozenset()
        return frozenset(r for r, entry in state.entries.items() if entry.settled)

    @property
    def has_left(self) -> bool:
        """Whether earlier runs have left something to do."""
        return self.before is not None and not self.before.settled

    def show_content(self, output: Output) -> None:
        """Say what earlier runs have left."""
        state = self.before or self._finished
        if state is None or state.header is None:
            return
        output.say(described_state(self.path, state.header, state, name=self.name))
        if state is self._finished:
            output.say("That run is over; this one starts from scratch.")
        elif state.settled:
            output.say("Nothing is left to do.")

    def show_result(self, output: Output) -> None:
        """Say how what was in doubt or had failed ended, and how to continue."""
        after = self._read()
        if after is None:
            return
        if self.before is not None:
            self._show_repeated(output, self.before, after)
        left = {r: e for r, e in after.entries.items() if not e.settled}
        if not left:
            return
        if self.name is not None and self.before is None and after.finished:
            self._advise_retry(output, after, len(left))
            return
        command = f"spaces-async resume {shlex.quote(self.name or self.path)}"
        values = secret_options(after.header)
        doubts = sum(entry.in_doubt for entry in left.values())
        if left.keys() <= self._in_doubt_before():
            output.advise(
                f"To send to the {plural(doubts)} in doubt again:",
                f"{command} --on-unknown retry{values}",
            )
            return
        output.advise(
            f"To continue with the {plural(len(left))} left:", f"{command}{values}"
        )
        if doubts:
            output.say(about_doubts(doubts, "resume"))

    def _advise_retry(self, output: Output, after: State, failed: int) -> None:
        """Say how to try again what failed, unless that is all there was."""
        if len(after.entries) > 1:
            values = secret_options(after.header)
            output.advise(
                f"To try the {failed} again:",
                f"spaces-async retry-failed {self.name}{values}",
            )
            if doubts := sum(entry.in_doubt for entry in after.entries.values()):
                output.say(about_doubts(doubts, "retry-failed"))

    def _in_doubt_before(self) -> frozenset[str]:
        entries = {} if self.before is None else self.before.entries
        return frozenset(r for r, entry in entries.items() if entry.in_doubt)

    def _show_repeated(self, output: Output, before: State, after: State) -> None:
        for word in ("in doubt", "failed"):
            ids = [r for r, e in before.entries.items() if _progress_of(e) == word]
            pairs = [(before.entries[r], after.entries[r]) for r in ids]
            changes = Counter(_change(was, now) for was, now in pairs)
            if changes:
                text = ", ".join(f"{count} {what}" for what, count in changes.items())
                output.say(f"Of the {len(ids)} {word}: {text}.")


def _change(was: Entry, now: Entry) -> str:
    if now.sent_at != was.sent_at:
        if was.unhealthy and now.settled and not now.healthy:
            # It failed for its health, and that is not known to be any better.
            return "sent again, its health not checked"
        return f"sent again, now {_progress_of(now)}"
    return "turned out to be done" if now.settled else "not sent again"


def _secret_keys(header: Header | None) -> list[str]:
    """Return the keys of the secrets whose values a journal lacks."""
    if header is None:
        return []
    return operations.keys_of_secrets(header.operation, header.parameters)


def about_doubts(count: int, command: str) -> str:
    """Return what a command does about Spaces to which something may have been sent."""
    return (
        f"{plural(count)} in doubt: {command} looks before it sends again; with"
        " --on-unknown retry it sends without looking."
    )


def secret_options(header: Header | None) -> str:
    """Return the options with which a command is given again what a journal lacks."""
    return "".join(f" --from-env {key}" for key in _secret_keys(header))


def rebuild(path: str, header: Header, given: GivenSecrets) -> Operation[Any]:
    """Make the operation of a journal again.

    Args:
        path: Where the journal is.
        header: What it says of the operation.
        given: The values that are never written down.

    Raises:
        UsageError: A value is missing or not needed, or no command made the journal.
    """
    if header.parameters is None:
        raise click.UsageError(
            f"{path} is of {header.operation!r}, a function of a program: only that"
            " program can continue it."
        )
    needed = _secret_keys(header)
    # A file of all settings may have more than this journal needs.
    spare = {k: v for k, v in given.of_file.items() if k in needed}
    secrets = {**spare, **given.values}
    if missing := [key for key in needed if key not in secrets]:
        again = "".join(f" --from-env {key}" for key in missing)
        raise click.UsageError(
            f"{path} adds the secret {', '.join(missing)}, and a journal never has"
            f" values: give it again with{again}, or --from-file, --from-stdin or"
            " --env-file."
        )
    if needless := sorted(secrets.keys() - set(needed)):
        raise click.UsageError(f"{path} adds no secret {', '.join(needless)}.")
    return operations.rebuild(header.operation, header.parameters, secrets)
