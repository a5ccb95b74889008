"""The journals that the shell keeps by itself: one file for each bulk.

They are in `$XDG_STATE_HOME/spaces-async/runs`, which only its owner may read. A file
that is named with `--journal` is elsewhere; a link to it makes it a run like the others.
Of a run with `--store` there is a note with its URL, without what may be secret in it.
Whatever is done about that run later goes on with the same note.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click
from attrs import asdict, fields, frozen

from spaces_async.bulk._journal.format import Entry, Header, State
from spaces_async.bulk._journal.reader import read_state
from spaces_async.bulk._journal.writer import check_free
from spaces_async.bulk.report import SUCCESSES, OutcomeStatus
from spaces_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "COUNTED",
    "IN_STORE",
    "Run",
    "RunState",
    "StoreNote",
    "as_json",
    "find_any_run",
    "find_run",
    "find_store",
    "folder_text",
    "is_url",
    "link_to",
    "new_run",
    "note_store",
    "own_name",
    "owners_of",
    "runs",
    "shown_path",
]

MAX_RUNS: Final = 100
MAX_AGE: Final = timedelta(days=90)

IN_STORE: Final = "in a store"
"""The state of a run of which there is only a note: its store is not asked."""

COUNTED: Final = ("done", "skipped", "failed", "unknown", "left")
"""What is counted of a run, as its columns are called."""

_END: Final = ".jsonl"
_END_OF_NOTE: Final = ".store"
_TIME: Final = "%Y%m%dT%H%M%SZ"
_TIME_LENGTH: Final = len("20260101T000000Z")
_TRIES: Final = 1000
_SHOWN_RUNS: Final = 3
"""How many runs a message names."""


def folder() -> Path:
    """Return where runs are kept; it need not be there.

    Raises:
        OSError: There is no home directory.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    if Path(state).is_absolute():  # The specification ignores others.
        return Path(state, "spaces-async", "runs")
    try:
        return Path.home() / ".local" / "state" / "spaces-async" / "runs"
    except RuntimeError as error:
        raise OSError(str(error)) from None


def folder_text() -> str:
    """Return where runs are kept, for messages."""
    try:
        return str(folder())
    except OSError:
        return "the folder of runs"


@frozen
class Run:
    """A bulk of the shell.

    Attributes:
        name: What the commands call it.
        path: Its journal.
    """

    name: str
    path: Path

    @property
    def is_in_store(self) -> bool:
        """Whether its file is only a note of where it is kept."""
        return self.path.suffix == _END_OF_NOTE

    def note(self) -> StoreNote:
        """Read where it is kept, if it is in a store.

        Raises:
            JournalError: That cannot be read.
        """
        try:
            record = json.loads(self.path.read_text("utf-8"))
            names = [each.name for each in fields(StoreNote)]
            return StoreNote(**{name: record[name] for name in names if name in record})
        except (OSError, ValueError, TypeError):
            path = str(self.path)
            raise JournalError(f"{path} cannot be read", path=path) from None

    @property
    def began(self) -> datetime | None:
        """When it began; None if its name does not tell."""
        with contextlib.suppress(ValueError):
            return datetime.strptime(self.name[:_TIME_LENGTH], "%Y%m%dT%H%M%S%z")
        return None

    def read(self) -> RunState:
        """Read its journal.

        Raises:
            JournalError: It cannot be read.
        """
        header, state = read_state(self.path)
        try:
            check_free(self.path)
        except JournalError:
            return RunState(header, state, runs=True)
        return RunState(header, state)


@frozen
class StoreNote:
    """Where a run is that a command with `--store`, or `work`, has been at.

    Attributes:
        store: The URL of the run, without user, password and options.
        is_whole: Whether that is all of the URL.
        operation: What the run does.
        owners: The orgs and users whose Spaces it is about, as far as they are known.
        used: What a run would be called that had begun when it was last used; "" if
            that was when it was noted.
    """

    store: str
    is_whole: bool
    operation: str
    owners: list[str]
    used: str = ""


@frozen
class RunState:
    """How far a run is.

    Attributes:
        header: What it does.
        state: What its journal says.
        runs: Whether it runs now.
    """

    header: Header
    state: State
    runs: bool = False

    @property
    def word(self) -> Literal["running", "finished", "interrupted"]:
        """How it is, in a word."""
        if self.runs:
            return "running"
        return "finished" if self.state.finished else "interrupted"

    def counts(self) -> dict[str, int]:
        """Return how many Spaces ended how; what was so already is done."""
        found = Counter(map(self._column, self.state.entries.values()))
        return {word: found[word] for word in COUNTED}

    def _column(self, entry: Entry) -> str:
        status = entry.status
        if status is OutcomeStatus.UNKNOWN or (entry.in_doubt and not self.runs):
            return "unknown"
        if status in {OutcomeStatus.SKIPPED, OutcomeStatus.FAILED}:
            return str(status)
        return "done" if status in SUCCESSES else "left"

    @property
    def owners(self) -> list[str]:
        """The orgs and users whose Spaces it is about, in the order of the Spaces."""
        return owners_of(self.state.entries)


def owners_of(repo_ids: Iterable[str]) -> list[str]:
    """Return the owners of Spaces, each once."""
    return list(dict.fromkeys(repo_id.partition("/")[0] for repo_id in repo_ids))


def runs() -> list[Run]:
    """Return the runs that there are, the newest first."""
    return list(_newest_first())


def _newest_first() -> Iterator[Run]:
    try:
        paths = _sorted(folder())
    except OSError:
        return
    for path in paths:
        # A link whose file is gone is no run any more.
        if path.is_file():
            yield Run(path.stem, path)


def _sorted(where: Path) -> list[Path]:
    """Return the files of runs, the newest first."""
    ends = {_END, _END_OF_NOTE}
    found = (path for path in where.iterdir() if path.suffix in ends)
    return sorted(found, key=_order, reverse=True)


def _order(path: Path) -> tuple[str, int]:
    """Return the second in which a run began, and its number in it.

    One in a store counts from its last use: it has no command of its own that goes on
    with it, so that is as good as a new one.
    """
    name = path.stem
    if path.suffix == _END_OF_NOTE:
        with contextlib.suppress(JournalError):
            name = Run(name, path).note().used or name
    number = name.rpartition("~")[2]
    return name[:_TIME_LENGTH], int(number) if number.isdigit() else 1


def is_url(given: str) -> bool:
    """Return whether a run is named by the URL of its store."""
    return "://" in given


def find_run(given: str | None, *, last: bool) -> Run:
    """Return the run with a journal that a command is about.

    Args:
        given: A file, the name of a run, or the beginning of the name of one.
        last: Whether it is the newest one instead.

    Raises:
        UsageError: There is none, several begin so, it is in a store, or not just one
            of the two is given.
    """
    found = find_any_run(given, last=last)
    if isinstance(found, Run):
        return found
    # It may have a password, so it is not shown.
    raise click.UsageError(
        f"{'The newest run' if last else 'This run'} is in a store, and this command"
        " takes one with a journal. `spaces-async work URL` goes on with a run that many"
        " hosts work on; when it is over, `spaces-async retry-failed URL` tries again"
        " what failed."
    )


def find_any_run(given: str | None, *, last: bool) -> Run | str:
    """Return the run that a command is about, or the URL of one in a store.

    Args:
        given: As in `find_run`, or a URL.
        last: As in `find_run`.

    Raises:
        UsageError: As in `find_run`, or the URL of the run is not known as a whole.
    """
    if given is not None and not last and is_url(given):
        return given
    run = _find(given, last=last)
    if not run.is_in_store:
        return run
    try:
        note = run.note()
    except JournalError as error:
        raise click.UsageError(f"{error}.") from None
    if note.is_whole:
        return note.store
    raise click.UsageError(
        f"Run {run.name} is in a store, {note.store}. A user, a password or options of"
        " its URL are not kept: name it by the whole URL."
    )


def _find(given: str | None, *, last: bool) -> Run:
    if (given is not None) is last:
        raise click.UsageError("Which run? Name it, or take the newest by --last.")
    if given is None:
        for run in _newest_first():
            return run
        raise click.UsageError("There is no run yet: `spaces-async runs` lists them.")
    if Path(given).is_file():
        return Run(given, Path(given))
    # An empty word is a variable that is not set, and no beginning of a name.
    begin_so = [run for run in _newest_first() if given and run.name.startswith(given)]
    for run in begin_so:
        if run.name == given or len(begin_so) == 1:
            return run
    if begin_so:
        shown = ", ".join(run.name for run in begin_so[:_SHOWN_RUNS])
        more = len(begin_so) - _SHOWN_RUNS
        raise click.UsageError(
            f"{len(begin_so)} runs begin with {given!r}:"
            f" {shown}{f' and {more} more' if more > 0 else ''}. Give more of the name."
        )
    # What has an "@" may be a URL that lacks a part, with a password.
    shown = "of that name" if "@" in given else repr(given)
    raise click.UsageError(
        f"There is no file and no run {shown}: `spaces-async runs` lists the runs."
    )


def find_store(given: str | None, *, last: bool) -> str:
    """Return the URL of the run in a store that a command is about.

    Args:
        given: The URL, or the name of a run, or the beginning of one.
        last: Whether it is the newest run of all instead.

    Raises:
        UsageError: As in `find_any_run`, or the run is not in a store.
    """
    found = find_any_run(given, last=last)
    if isinstance(found, str):
        return found
    raise click.UsageError(
        f"{'The newest run' if last else 'This run'}, {found.name}, has a journal of this"
        " host, and this command takes a run in a store: its URL, or its name in"
        " `spaces-async runs`."
    )


def new_run(operation: str) -> Run:
    """Return a new run, whose file is there and empty; old ones are deleted.

    Args:
        operation: What it does.

    Raises:
        OSError: There is no place for it.
    """
    return _new_run(operation.replace(" ", "-").replace("_", "-"))


def _new_run(word: str) -> Run:
    """Return a new run that has a word in its name; see `new_run`."""
    where = folder()
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # of somebody else
        where.chmod(0o700)
    _delete_old(where)
    now = datetime.now(UTC).strftime(_TIME)
    first = _next_number(where, now)
    for number in range(first, first + _TRIES):
        name = f"{now}-{word}" + (f"~{number}" if number > 1 else "")
        path = where / f"{name}{_END}"
        with contextlib.suppress(FileExistsError):
            # Made here, so that no other command of this second takes it as well.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            return Run(name, path)
    raise OSError("all names of this second are taken")


def _next_number(where: Path, second: str) -> int:
    """Return the number of what is newer than all runs of a second."""
    orders = [_order(path) for path in _sorted(where)]
    return max((number for time, number in orders if time == second), default=0) + 1


def link_to(path: str, operation: str) -> None:
    """Make a journal that is elsewhere the newest run; it does not matter if that fails."""
    with contextlib.suppress(OSError):
        target = Path(path).resolve()
        for run in runs():
            if run.path.is_symlink() and run.path.resolve() == target:
                run.path.unlink()
        run = new_run(operation)
        run.path.unlink()
        run.path.symlink_to(target)


def note_store(store: str, operation: str, owners: list[str]) -> None:
    """Make a run in a store the newest run; it does not matter if that fails.

    Args:
        store: Its URL. What may be secret of it is not written down.
        operation: What it does.
        owners: The owners of its Spaces, as far as they are known.
    """
    from spaces_async.bulk._store.url import place_of

    place = place_of(store)
    with contextlib.suppress(OSError):
        run, known = _noted(place.shown)
        if run is None:
            # With the name that it has in the store, which tells it from others there.
            new, used = _new_run(place.name).path, ""
            path = new.with_suffix(_END_OF_NOTE)
        else:
            path, now = run.path, datetime.now(UTC).strftime(_TIME)
            # Other commands may write the same note at this moment.
            new = path.with_name(f"{path.stem}.{os.getpid()}.new")
            used = f"{now}~{_next_number(folder(), now)}"
            new.touch(0o600)
        note = StoreNote(
            store=place.shown,
            is_whole=place.shown == store,
            operation=operation,
            owners=list(dict.fromkeys([*known, *owners])),
            used=used,
        )
        # Whoever reads it meanwhile finds the note of before, or the whole new one.
        new.write_text(json.dumps(asdict(note)), "utf-8")
        new.rename(path)


def _noted(shown: str) -> tuple[Run | None, list[str]]:
    """Return the run with the note of a store, and the owners that the note knows."""
    for run in _newest_first():
        with contextlib.suppress(JournalError):
            if run.is_in_store and (note := run.note()).store == shown:
                return run, note.owners
    return None, []


def own_name(run: Run) -> str | None:
    """Return the name of a run; None for a file that is elsewhere."""
    with contextlib.suppress(OSError):
        return run.name if run.path.parent == folder() else None
    return None


def shown_path(run: Run) -> str:
    """Return the file of a run for people: not the link to it."""
    return str(run.path.resolve() if run.path.is_symlink() else run.path)


def _delete_old(where: Path) -> None:
    """Delete the oldest runs, so that there is room for one more."""
    oldest = datetime.now(UTC) - MAX_AGE
    kept = 0
    for path in _sorted(where):
        with contextlib.suppress(OSError, JournalError):
            # Links count by themselves, not by the file that they name.
            changed = datetime.fromtimestamp(path.lstat().st_mtime, UTC)
            if kept < MAX_RUNS - 1 and changed >= oldest and path.exists():
                kept += 1
                continue
            if not path.is_symlink():
                check_free(path)
            path.unlink()


def as_json(run: Run, found: RunState | StoreNote | JournalError) -> dict[str, Any]:
    """Return a run as JSON."""
    document: dict[str, Any] = {
        "run": run.name,
        "file": shown_path(run),
        "began": run.began,
    }
    if isinstance(found, JournalError):
        return document | {"state": "unreadable", "problem": str(found)}
    if isinstance(found, StoreNote):
        return document | {
            "operation": found.operation,
            "state": IN_STORE,
            "owners": found.owners,
            "store": found.store,
        }
    return document | {
        "operation": found.header.operation,
        "state": found.word,
        "owners": found.owners,
        "spaces": len(found.state.entries),
        **found.counts(),
    }
