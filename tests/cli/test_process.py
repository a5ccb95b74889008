"""`python -m spaces_async` as a process of its own: signals, pipes, a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spaces_async.cli import _demo as demo
from spaces_async.cli import _signals
from spaces_async.cli._output import Output
from spaces_async.cli._signals import NO_UVLOOP
from spaces_async.testing import FakeHub, Fault, seed_org

Spaces = Callable[..., Any]
Writes = Callable[[FakeHub], list[str]]
HubThread = Any

BOTH_LOOPS = pytest.mark.usefixtures("each_loop")
"""For what a loop has a part in: signals, pipes, the terminal."""

COMMAND = (sys.executable, "-m", "spaces_async")


@pytest.fixture(autouse=True)
def signals_of_a_terminal() -> Iterator[None]:
    """Let no command inherit that SIGINT and SIGQUIT are ignored.

    A shell without job control starts what is in its background, such as these tests,
    in that way.
    """
    on_int = signal.signal(signal.SIGINT, signal.default_int_handler)
    on_quit = signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, on_int)
    signal.signal(signal.SIGQUIT, on_quit)


@pytest.fixture(params=["uvloop", "asyncio"])
def each_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with commands in uvloop, which is taken where it is, and in asyncio."""
    if request.param == "asyncio":
        monkeypatch.setenv(NO_UVLOOP, "1")
    else:
        pytest.importorskip("uvloop", reason="it has no wheels for all Pythons")
        monkeypatch.delenv(NO_UVLOOP, raising=False)


def environment(hub: FakeHub, **more: str) -> dict[str, str]:
    names = ("PATH", "HOME", NO_UVLOOP)
    kept = {name: os.environ[name] for name in names if name in os.environ}
    hub_env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token}
    return {**kept, **hub_env, "TERM": "xterm", "COLUMNS": "120", **more}


def start(hub: FakeHub, *args: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *args],
        env=environment(hub, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Screen:
    """A process at a terminal of its own, and what it has written there."""

    def __init__(self, hub: FakeHub, *args: str, **given: Any) -> None:
        self.text = ""
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 120))
        self.process = subprocess.Popen(
            [*COMMAND, *args],
            env=environment(hub),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            **(given or {"start_new_session": True}),
        )
        os.close(slave)

    def wait_for(self, what: Callable[[str], bool], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not what(self.text):
            ready = select.select([self._master], [], [], end - time.monotonic())[0]
            assert ready, self.text
            if not self._read():
                assert what(self.text), self.text

    def is_line_by_line(self) -> bool:
        return bool(termios.tcgetattr(self._master)[3] & termios.ICANON)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        while self._read():
            pass
        os.close(self._master)
        return self.process.wait(30)

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux reports so that the terminal is closed
            return False
        self.text += data.decode()
        return bool(data)


def test_streams_are_apart(org: FakeHub) -> None:
    """In a real process, too, stdout has results alone and no control codes."""
    process = start(org, "restart", "acme/run-1", FORCE_COLOR="1")
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0
    assert out == "acme/run-1\tdone\tRUNNING\n"
    assert "Restart: 1 done" in err
    assert "\x1b" not in out + err


def press_twice(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Press Ctrl-C, and again a second after it was heard; return all that was printed."""
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    heard = ""
    while "Press Ctrl-C again" not in heard:
        line = process.stderr.readline()
        assert line, heard
        heard += line
    time.sleep(1.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    return out, heard + err


@BOTH_LOOPS
def test_sigint_in_the_middle(
    org: FakeHub, hub_thread: HubThread, writes: Writes
) -> None:
    """A second Ctrl-C ends with 130 and the report so far, without a traceback."""
    org.faults("POST /restart", Fault.hang(), repo_id="acme/run-2", times=None)
    process = start(
        org, "restart", "acme/run-1", "acme/run-2", "acme/off", "--concurrency", "1"
    )
    hub_thread.until(lambda: "POST /api/spaces/acme/run-2/restart" in writes(org))
    out, err = press_twice(process)
    assert process.returncode == 130
    assert out.splitlines()[0] == "acme/run-1\tdone\tRUNNING"
    assert "acme/run-2\tunknown" in out
    assert "acme/off\tnot attempted" in out
    assert "Traceback" not in err


@BOTH_LOOPS
@pytest.mark.parametrize("pause", [0.0, 0.0005, 0.002, 0.02])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_pressed_twice(
    org: FakeHub,
    hub_thread: HubThread,
    writes: Writes,
    number: signal.Signals,
    pause: float,
) -> None:
    """Twice within moments is once: what is in flight is done, wherever it finds the program."""
    org.faults("POST /restart", Fault.delay(1.5), repo_id="acme/run-2", times=None)
    process = start(
        org, "restart", "acme/run-1", "acme/run-2", "acme/off", "--concurrency", "1"
    )
    hub_thread.until(lambda: "POST /api/spaces/acme/run-2/restart" in writes(org))
    process.send_signal(number)
    time.sleep(pause)
    process.send_signal(number)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130
    words = [line.split("\t")[1] for line in out.splitlines()]
    assert words == ["done", "done", "not attempted"], out + err
    assert err.endswith("\nInterrupted.\n")
    assert "Traceback" not in err


STUBBORN = """
import asyncio
from spaces_async.cli._signals import run
from spaces_async.cli._output import Output

async def work():
    print("begun", flush=True)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            print("cancelled", flush=True)

run(work(), Output())
"""


@BOTH_LOOPS
def test_pressed_until_it_ends() -> None:
    """What does not end is told of with the second press, and ended by the third."""
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stdout, stderr = process.stdout, process.stderr
    assert stdout is not None
    assert stderr is not None
    assert stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert stdout.readline() == "cancelled\n"
    time.sleep(1.1)
    process.send_signal(signal.SIGINT)
    assert stderr.readline().startswith("Ending the calls in flight.")
    time.sleep(1.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == -signal.SIGINT
    assert out + err == ""


WITHIN = """
import asyncio, os, signal
from spaces_async.cli import _signals
from spaces_async.cli._output import Output

class Loop(asyncio.SelectorEventLoop):
    begun = False

    def is_closed(self):
        if self.begun:  # the handler of the first signal asks
            self.begun = False
            os.kill(os.getpid(), signal.SIGTERM)
        return super().is_closed()

async def work():
    asyncio.get_running_loop().begun = True
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.05)
    print("not cancelled", flush=True)

def stop():
    print("stopped", flush=True)
    return True

_signals.loop_factory = lambda: Loop
try:
    _signals.run(work(), Output(), stop)
except asyncio.CancelledError:
    print("ended")
"""


def test_a_signal_within_the_handler_of_another() -> None:
    """It is the same press, also where Python runs one handler inside the other."""
    done = subprocess.run(
        [sys.executable, "-c", WITHIN],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.stdout == "stopped\nnot cancelled\nended\n", done.stderr


def test_killed_by_the_third_press(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the process dies, the mode of its terminal is put back."""
    handlers: list[tuple[int, Any]] = []
    calls: list[object] = []
    monkeypatch.setattr(_signals, "_install", handlers.extend)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "kill", lambda _, number: calls.append(number))
    output = Output()
    output.restore = lambda: calls.append("restored")
    counter = _signals._SignalCounter(output, lambda: False)
    loop = asyncio.new_event_loop()
    counter.watch(loop, None)
    counter.count = 2
    handle = dict(handlers)[signal.SIGINT]
    handle(signal.SIGINT, None)
    loop.close()
    assert calls == ["restored", signal.SIGINT]


@BOTH_LOOPS
def test_a_reader_that_leaves(hub: FakeHub) -> None:
    """`| head -1` gets its line and no traceback, however much would follow."""
    for number in range(3000):
        hub.add_space(f"acme/a-rather-long-name-for-a-space-{number}")
    shell = f"{sys.executable} -m spaces_async list --org acme | head -1"
    done = subprocess.run(
        ["/bin/sh", "-c", shell],
        env=environment(hub),
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    assert done.stdout.startswith("acme/a-rather-long-name")
    assert done.stderr == ""


@BOTH_LOOPS
def test_terminal_prompt_and_table(
    org: FakeHub, hub_thread: HubThread, writes: Writes
) -> None:
    """At a terminal it asks, shows progress and ends with the successes in a line."""
    hub_thread.slow_down(0.4)
    screen = Screen(org, "restart", "--org", "acme", "--stage", "failed", "--wait")
    screen.wait_for(lambda text: "[y/N]" in text)
    assert writes(org) == []
    screen.type("y\n")
    assert screen.end() == 0
    assert "Restart 2 Spaces of acme? [y/N]" in screen.text
    assert "waiting for 2" in screen.text
    assert "\x1b[32m2 done (RUNNING): acme/bad-2, acme/bad-1" in screen.text
    assert len(writes(org)) == 2


@BOTH_LOOPS
def test_watch_at_a_terminal(org: FakeHub) -> None:
    """A live table on a screen of its own: keys sort it, q ends it with the totals."""
    screen = Screen(org, "status", "--org", "acme", "--watch", "--every", "0.05")
    screen.wait_for(lambda text: "by stage" in text)
    org.space("acme/off").set_stage("BUILDING")
    screen.wait_for(lambda text: "BUILDING" in text)
    screen.type("s")
    screen.wait_for(lambda text: "by rate" in text)
    screen.type("q")
    assert screen.end() == 0
    before, _, after = screen.text.rpartition("\x1b[?1049l")
    assert "\x1b[?1049h" in before
    assert "2 failed, 1 building, 3 running; $0.40/h now." in after


@BOTH_LOOPS
@BOTH_LOOPS
def test_ctrl_z_at_a_terminal(org: FakeHub, tmp_path: Path) -> None:
    """The shell gets its terminal back while the command is stopped, and at its end."""
    screen = Screen(
        org,
        *("pause", "acme/run-1", "acme/run-2", "--waves", "1,2"),
        *("--pause-between", "1h"),
        process_group=0,  # A session of its own would have no shell to continue it.
        cwd=tmp_path,
    )
    process = screen.process
    screen.wait_for(lambda text: "a: abort" in text)
    assert not screen.is_line_by_line()
    process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert screen.is_line_by_line()
    before = len(screen.text)
    process.send_signal(signal.SIGCONT)
    screen.wait_for(
        lambda text: not screen.is_line_by_line() and "a: abort" in text[before:]
    )
    screen.type("h")
    screen.wait_for(lambda text: "held" in text)
    process.send_signal(signal.SIGQUIT)
    assert process.wait(30) == -signal.SIGQUIT
    assert screen.is_line_by_line()
    screen.end()


def test_ctrl_c_at_the_prompt(org: FakeHub, writes: Writes) -> None:
    """Ctrl-C at the question means no, at once and with 130."""
    screen = Screen(org, "pause", "--org", "acme")
    screen.wait_for(lambda text: "[y/N]" in text)
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert "Traceback" not in screen.text
    assert writes(org) == []


def test_delete_at_a_terminal(org: FakeHub) -> None:
    """At a terminal even one Space that is named is asked for."""
    screen = Screen(org, "delete", "acme/off")
    screen.wait_for(lambda text: "[y/N]" in text)
    assert "acme/off" in org.spaces
    screen.type("y\n")
    assert screen.end() == 0
    assert "acme/off" not in org.spaces


@BOTH_LOOPS
def test_ctrl_c_ends_a_log(org: FakeHub) -> None:
    """Ctrl-C, typed at the terminal, is how following a log ends."""
    org.space("acme/run-1").log("\x1b[32mgreen\x1b[0m")
    screen = Screen(org, "logs", "-f", "acme/run-1", "acme/run-2", "--timestamps")
    screen.wait_for(lambda text: "green" in text)
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert "\x1b[32mgreen" in screen.text
    assert screen.text.endswith("\r\nInterrupted.\r\n")
    assert "Traceback" not in screen.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk(org: FakeHub) -> None:
    """Where stdout takes nothing, stderr still says what was done, and what is wrong."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [*COMMAND, "restart", "acme/run-1"],
            env=environment(org),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.returncode == 1
    summary, error = done.stderr.splitlines()
    assert summary.startswith("Restart: 1 done in ")
    assert error == "Error: stdout cannot be written: No space left on device."


def test_no_stdout_at_all(org: FakeHub) -> None:
    """A program started with `>&-` does its work."""
    shell = f"{sys.executable} -m spaces_async pause acme/run-1 >&- 2>&-"
    done = subprocess.run(
        ["/bin/sh", "-c", shell], env=environment(org), timeout=90, check=False
    )
    assert done.returncode == 0
    assert org.space("acme/run-1").stage == "PAUSED"


@BOTH_LOOPS
def test_a_reader_of_a_log_that_leaves(org: FakeHub) -> None:
    """`logs -f | head -1` ends with its line, although no other one comes."""
    for number in range(2):
        org.space("acme/run-1").log(f"line {number}")
    shell = f"{sys.executable} -m spaces_async logs -f acme/run-1 acme/off | head -1"
    done = subprocess.run(
        ["/bin/sh", "-c", shell],
        env=environment(org),
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    assert done.stdout == "acme/run-1\tline 0\n"
    assert done.stderr == ""


def test_hidden_value_at_a_terminal(org: FakeHub) -> None:
    """A secret that is typed at a terminal does not appear there."""
    screen = Screen(org, "secrets", "add", "acme/run-1", "--from-stdin", "KEY")
    # `getpass` throws away what was typed before it turned the echo off; the space comes after.
    screen.wait_for(lambda text: "Value of KEY: " in text)
    screen.type("typed-secret\n")
    assert screen.end() == 0
    assert "typed-secret" not in screen.text
    assert org.space("acme/run-1").secrets["KEY"].value == "typed-secret"


def test_secrets_stay_out_of_ps(org: FakeHub, hub_thread: HubThread) -> None:
    """A value from the environment is not in the arguments that `ps` shows."""
    hang = org.faults("POST /secrets", Fault.hang(), times=None)
    process = start(
        org, "secrets", "add", "acme/run-1", "--from-env", "KEY", KEY="in-no-argv"
    )
    hub_thread.until(lambda: hang.hits > 0)
    assert b"in-no-argv" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    process.terminate()
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130
    assert "in-no-argv" not in out + err


@pytest.mark.parametrize("how", ["--from-file", "--from-stdin"])
def test_secrets_stay_out_of_the_process_table(
    org: FakeHub, hub_thread: HubThread, tmp_path: Path, how: str
) -> None:
    """Nor is one of a file or of stdin, in arguments, environment or a child."""
    canary = "in-no-process-table"
    hang = org.faults("POST /secrets", Fault.hang(), times=None)
    file = tmp_path / "value"
    file.write_text(canary, "utf-8")
    given = f"KEY={file}" if how == "--from-file" else "KEY"
    journal = tmp_path / "journal"
    with file.open("rb") as stdin:
        process = subprocess.Popen(
            [*COMMAND, *f"secrets add acme/run-1 {how}".split(), given,
             "--journal", str(journal)],
            env=environment(org),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
    hub_thread.until(lambda: hang.hits > 0)
    place = Path(f"/proc/{process.pid}")
    for name in ("cmdline", "environ"):
        assert canary.encode() not in (place / name).read_bytes()
    children = (place / "task" / str(process.pid) / "children").read_text()
    assert children.split() == []
    out, err = press_twice(process)
    assert process.returncode == 130
    assert f"spaces-async resume {journal}" in err
    assert canary not in out + err + journal.read_text("utf-8")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra(missing: str) -> None:
    """Without click or rich it says in one line what to install, and ends with 2."""
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from spaces_async.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'spaces-async[cli]'" in done.stderr


def test_completion() -> None:
    """The shell completion of the help text works."""
    done = subprocess.run(
        [sys.executable, "-c", "from spaces_async.__main__ import main; main()"],
        env={**os.environ, "_SPACES_ASYNC_COMPLETE": "bash_source"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert "_SPACES_ASYNC_COMPLETE=bash_complete" in done.stdout


def test_demo(tmp_path: Path) -> None:
    """`demo` needs nothing from outside, tells its steps and ends by itself."""
    hostile = {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_TOKEN": "not a token",
        "HF_HUB_OFFLINE": "1",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [*COMMAND, "demo"],
        env={
            "PATH": os.environ["PATH"],
            **hostile,
        },
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for step in (
        "1. Look at the org",
        "2. Restart the 12 that have failed",
        "and wait until they run",
        "3. Compare",
        "10 done, 2 failed",
        "CUDA out of memory",
        "export HF_TOKEN=hf_...",
        "spaces-async restart --org YOUR_ORG --stage failed --wait",
    ):
        assert step in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_demo_at_a_terminal(
    hub: FakeHub, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a terminal it tells the same in colour, and leaves the environment alone."""
    monkeypatch.setattr(demo, "_BUILD_SECONDS", 0.4)
    monkeypatch.setattr(demo, "_START_SECONDS", 0.0)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = spaces("demo", terminal=True)
    assert result.code == 0
    assert "\x1b[1m3. Compare" in result.out
    assert "10 done, 2 failed" in result.out
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert hub.requests == []


def test_the_commands_of_the_demo_are_real(hub_thread: HubThread, hub: FakeHub) -> None:
    """What the demo tells people to type works, on the same org."""

    async def seed() -> None:
        seed_org(hub)

    hub_thread.do(seed())
    hub_thread.slow_down(0.6)
    status = start(hub, "status", "--org", "acme", "--summary")
    assert "RUNTIME_ERROR\t8" in status.communicate(timeout=90)[0]
    restart = start(
        hub, "restart", "--org", "acme", "--stage", "failed", "--wait", "--yes"
    )
    out, err = restart.communicate(timeout=90)
    assert restart.returncode == 1
    assert len(out.splitlines()) == 12
    assert "10 done, 2 failed" in err
