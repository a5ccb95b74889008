"""Reading a journal without writing it, and why one cannot be used."""

from __future__ import annotations

import asyncio
import os

from spaces_async.bulk._journal.format import DamagedError, Header, State, read
from spaces_async.errors import ConfigurationError, JournalError

__all__ = [
    "JournalPath",
    "OptionalJournal",
    "file_name",
    "read_file",
    "read_header",
    "read_state",
    "unreadable",
]

JournalPath = str | os.PathLike[str]


class OptionalJournal(str):
    """The path of a journal that a bulk goes on without where it cannot be written.

    Then the file is deleted: a journal that lacks writes would have them sent twice.
    """

    __slots__ = ()


def file_name(path: JournalPath) -> str:
    """Return the name of the file of a journal.

    Raises:
        ConfigurationError: It is the URL of a run in a store, which may have a password
            and so is not shown.
    """
    name = os.fspath(path)
    if "://" in name:
        raise ConfigurationError(
            "a journal is a file, and this is a URL: `work` goes on with a run in a store"
        )
    return name


def unreadable(path: str, error: OSError | DamagedError | RuntimeError) -> JournalError:
    """Say why a journal cannot be opened, for people."""
    if isinstance(error, BlockingIOError):
        why = "is in use: another bulk, perhaps in another process, has it open"
    elif isinstance(error, DamagedError):
        why = (
            f"is damaged or no journal: {error}. What it says after that cannot be"
            " trusted; nothing was sent and nothing was changed"
        )
    else:
        why = f"cannot be opened: {getattr(error, 'strerror', None) or error}"
    return JournalError(f"the journal {path} {why}", path=path)


def read_state(path: JournalPath, *, whole: bool = True) -> tuple[Header, State]:
    """Read what a journal holds, without locking it. It blocks.

    Args:
        path: Where it is.
        whole: Read all of it; else its first line, the header.

    Raises:
        JournalError: It cannot be read, or is none.
    """
    state = read_file(path, whole=whole)
    if state.header is None:
        name = file_name(path)
        raise JournalError(f"{name} is no journal: it has no header", path=name)
    return state.header, state


def read_file(path: JournalPath, *, whole: bool = True) -> State:
    """Do the same where the file may be empty, without a header.

    Raises:
        JournalError: It cannot be read, or is no journal.
    """
    name = file_name(path)
    try:
        with open(name, "rb") as file:  # noqa: PTH123  (any path-like)
            state, _ = read(file.read() if whole else file.readline())
    except (OSError, DamagedError) as error:
        raise unreadable(name, error) from error
    return state


async def read_header(path: JournalPath) -> Header:
    """Read the header of a journal, without locking it.

    Raises:
        JournalError: It cannot be read, or is none.
    """
    # The first line alone: the writer may be at work at the other end.
    header, _ = await asyncio.to_thread(read_state, path, whole=False)
    return header
