"""The journal of a bulk command: what is in it, what came of it, how to go on."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click

from spaces_async.bulk import operations
from spaces_async.bulk._journal.reader import read_state
from spaces_async.bulk._journal.writer import check_free
from spaces_async.bulk.report import OutcomeStatus
from spaces_async.cli._output import plural
from spaces_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spaces_async._redacted import Redacted
    from spaces_async.bulk import Operation
    from spaces_async.bulk._journal.format import Entry, Header, State
    from spaces_async.cli._output import Output

__all__ = ["Record", "rebuild"]

_KINDS: Final = ("done", "skipped", "failed", "in doubt", "not begun")


def kind_of(entry: Entry) -> str:
    """Return what a journal says of a Space, in a word or two."""
    if entry.in_doubt:
        return "in doubt"
    if entry.status is OutcomeStatus.SKIPPED:
        return "skipped"
    if entry.settled:
        return "done"
    begun = entry.status not in {None, OutcomeStatus.NOT_ATTEMPTED}
    return "failed" if begun else "not begun"


def counts(state: State) -> str:
    """Return how many Spaces of a journal are how far."""
    found = Counter(kind_of(entry) for entry in state.entries.values())
    return ", ".join(f"{found[kind]} {kind}" for kind in _KINDS if found[kind])


class Record:
    """The journal of one run of a command, which nobody else must have open.

    Attributes:
        path: Where it is.
        before: What was in it; None if there was none, or none that can be read.
    """

    def __init__(self, path: str) -> None:
        check_free(path)
        self.path = path
        self.before = self._read()

    def _read(self) -> State | None:
        try:
            return read_state(self.path)[1]
        except JournalError:
            return None  # whoever opens it to write says why

    def settled(self, operation: Operation[Any]) -> frozenset[str]:
        """Return the Spaces that earlier runs of the same are done with."""
        state = self.before
        if state is None or state.header is None:
            return frozenset()
        its = state.header.operation, state.header.parameters
        if its != (operation.name, operation.parameters):
            return frozenset()
        return frozenset(r for r, entry in state.entries.items() if entry.settled)

    def say_what_is_in_it(self, output: Output) -> None:
        """Tell what earlier runs have left."""
        state = self.before
        if state is None or state.header is None:
            return
        name = state.header.operation.replace("_", " ")
        spaces = plural(len(state.entries))
        output.say(f"{self.path}: {name} of {spaces}: {counts(state)}.")
        if state.finished:
            output.say("Nothing of it is left to do; another round needs a new file.")

    def say_what_came(self, output: Output) -> None:
        """Tell what became of what was in doubt or had failed, and how to go on."""
        after = self._read()
        if after is None:
            return
        if self.before is not None:
            self._say_what_was_repeated(output, self.before, after)
        open_ones = {r: e for r, e in after.entries.items() if not e.settled}
        if not open_ones:
            return
        command = f"spaces-async resume {shlex.quote(self.path)}"
        values = "".join(f" --from-env {key}" for key in hidden_keys(after.header))
        doubts = sum(entry.in_doubt for entry in open_ones.values())
        if open_ones.keys() <= self._looked_at():
            output.say(
                f"To send {plural(doubts)} in doubt once more:"
                f" {command} --on-unknown retry{values}"
            )
            return
        output.say(f"To go on with the other {len(open_ones)}: {command}{values}")
        if doubts:
            output.say(
                f"{doubts} of them are in doubt: it looks at these first; with"
                " --on-unknown retry it sends them again."
            )

    def _looked_at(self) -> frozenset[str]:
        """Return those of which this run could find out no more than earlier ones."""
        entries = {} if self.before is None else self.before.entries
        return frozenset(r for r, entry in entries.items() if entry.in_doubt)

    def _say_what_was_repeated(
        self, output: Output, before: State, after: State
    ) -> None:
        for kind in ("in doubt", "failed"):
            ids = [r for r, e in before.entries.items() if kind_of(e) == kind]
            pairs = [(before.entries[r], after.entries[r]) for r in ids]
            words = Counter(_what_came(was, now) for was, now in pairs)
            if words:
                told = ", ".join(f"{count} {what}" for what, count in words.items())
                output.say(f"Of the {len(ids)} {kind}: {told}.")


def _what_came(was: Entry, now: Entry) -> str:
    if now.sent_at != was.sent_at:
        return f"sent again, now {kind_of(now)}"
    return "had been done" if now.settled else "not sent again"


def hidden_keys(header: Header | None) -> list[str]:
    """Return the keys of the secrets whose values a journal lacks."""
    if header is None:
        return []
    return operations.keys_of_secrets(header.operation, header.parameters)


def rebuild(
    path: str, header: Header, secrets: Mapping[str, Redacted[str]]
) -> Operation[Any]:
    """Make the operation of a journal again.

    Args:
        path: Where the journal is.
        header: What it says of the operation.
        secrets: The values that are never written down.

    Raises:
        UsageError: A value is missing or not needed, or no command made the journal.
    """
    needed = hidden_keys(header)
    if missing := [key for key in needed if key not in secrets]:
        raise click.UsageError(
            f"{path} sets {', '.join(missing)}, and the value of a secret is never"
            " written down: give it again with --from-env, --from-file or --from-stdin."
        )
    if needless := sorted(secrets.keys() - set(needed)):
        raise click.UsageError(f"{path} sets no secret {', '.join(needless)}.")
    if header.parameters is None:
        raise click.UsageError(
            f"{path} is of {header.operation!r}, a function of some program: only that"
            " program can go on with it."
        )
    return operations.rebuild(header.operation, header.parameters, secrets)
