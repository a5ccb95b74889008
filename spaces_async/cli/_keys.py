"""Keys at a terminal while a command works. The terminal is left as it was found.

While keys are read, the terminal sends each one at once and shows none. Whatever ends or
stops the process meanwhile puts its mode back: the end of the work, an error, Ctrl-C and
SIGTERM (which cancel the work), the third Ctrl-C, Ctrl-Z and SIGQUIT.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

    from spaces_async.cli._output import Output

__all__ = ["END_OF_INPUT", "keys_read"]

END_OF_INPUT: Final = "\x04"
"""What is passed on when the terminal has gone."""

_MOST_BYTES: Final = 64
_FOREGROUND_PAUSE_SECONDS: Final = 1.0
"""How often a job in the background looks whether it is in front again."""


@contextmanager
def keys_read(output: Output, act: Callable[[str], None]) -> Generator[bool]:
    """Pass on each key that is pressed, where stdin is a terminal.

    Args:
        output: Its `restore` puts the terminal's mode back at once.
        act: Called in the event loop with a character, or with the sequence of an arrow
            key and its like.

    Yields:
        Whether keys are read.
    """
    keys = _make_keys(output, act)
    if keys is None:
        yield False
        return
    before = output.restore
    output.restore = keys.restore
    try:
        with keys.signals_handled():
            keys.begin()
            yield True
    finally:
        keys.end()
        output.restore = before


def _make_keys(output: Output, act: Callable[[str], None]) -> _Keys | None:
    try:
        file = sys.stdin.fileno()
        return _Keys(output, act, file) if os.isatty(file) else None
    except (ImportError, OSError, ValueError):  # Windows, or no stdin at all
        return None


class _Keys:
    """Reads keys, as long as this process is in the foreground of its terminal."""

    def __init__(self, output: Output, act: Callable[[str], None], file: int) -> None:
        import termios
        import tty

        self._output = output
        self._act = act
        self._file = file
        self._termios: Any = termios
        self._tty: Any = tty
        self._before = termios.tcgetattr(file)
        self._is_set = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    # The mode of the terminal ----------------------------------------------------------

    def _set(self) -> None:
        if not self._is_set and _in_foreground(self._file):
            # Line by line no longer, but Ctrl-C stays a signal. What was typed before
            # is dropped: it was not meant for this.
            self._tty.setcbreak(self._file)
            self._is_set = True

    def restore(self) -> None:
        """Put the mode back. Safe in a signal handler, and to call twice."""
        # The shell has its own mode while this process is in the background, where a
        # change would stop it.
        if self._is_set and _in_foreground(self._file):
            with suppress(self._termios.error):  # The terminal has gone.
                self._termios.tcsetattr(self._file, self._termios.TCSANOW, self._before)
        self._is_set = False

    # Reading ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Read keys from now on, or as soon as this process is in the foreground."""
        self._timer = None
        if _in_foreground(self._file):
            self._set()
            self._loop.add_reader(self._file, self._read)
        else:
            self._timer = self._loop.call_later(_FOREGROUND_PAUSE_SECONDS, self.begin)

    def end(self) -> None:
        """Read no more, and put the mode back."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._file)
        self.restore()

    def _read(self) -> None:
        if not _in_foreground(self._file):
            # To read would stop this process: what is typed is for the shell.
            self._loop.remove_reader(self._file)
            self.begin()
            return
        try:
            data = os.read(self._file, _MOST_BYTES).decode("ascii", "ignore")
            has_gone = False
        except OSError:
            data, has_gone = "", True
        if has_gone or not data:
            self._loop.remove_reader(self._file)
            self._act(END_OF_INPUT)
        elif data.startswith("\x1b"):
            self._act(data)
        else:
            for key in data:
                self._act(key)

    # Signals ---------------------------------------------------------------------------

    @contextmanager
    def signals_handled(self) -> Generator[None]:
        """Put the mode back before Ctrl-Z stops this process, or SIGQUIT kills it."""
        before: list[tuple[signal.Signals, Any]] = []
        with suppress(ValueError):  # not outside of the main thread
            for number in (signal.SIGTSTP, signal.SIGQUIT):
                found = signal.getsignal(number)
                if found is signal.SIG_DFL:  # else somebody wants something of it
                    signal.signal(number, self._leave)
                    before.append((number, found))
        try:
            yield
        finally:
            for number, found in before:
                signal.signal(number, found)

    def _leave(self, number: int, _frame: FrameType | None) -> None:
        """Do what the signal does by default, and go on when the shell says so."""
        self.restore()
        console = self._output.err
        console.show_cursor()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Here it goes on after `fg` or `bg`.
        signal.signal(number, self._leave)
        self._set()
        console.show_cursor(show=False)


def _in_foreground(file: int) -> bool:
    try:
        return os.tcgetpgrp(file) == os.getpgrp()
    except OSError:
        return True  # It is not the terminal that controls this process.
