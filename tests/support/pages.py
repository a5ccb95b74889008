"""The programs and commands that the pages show, and what runs them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Final

from attrs import frozen

from tests.support.virtual_shell import Ended, VirtualShell

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_THEN: Final = ("&&", "||", ";")


@frozen
class Block:
    """A program, or some commands, on a page.

    Attributes:
        page: Where it stands, from the root of the repository.
        line: The line of its first line.
        language: What the page says that it is.
        text: All of it.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def is_shared(self) -> bool:
        """Whether it needs a Redis for a run of many hosts."""
        return "redis://" in self.text and "store" in self.text

    @property
    def place(self) -> str:
        """Where it stands, as editors understand it."""
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Block]:
    """Return all blocks in a language, in the order of the pages."""
    return [block for page in PAGES for block in _blocks_of(page, language)]


def _blocks_of(page: Path, language: str) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for found in _BLOCK.finditer(text):
        if found[1] == language:
            line = text.count("\n", 0, found.start(2)) + 1
            yield Block(page.relative_to(ROOT).as_posix(), line, language, found[2])


def lines_of(block: str) -> list[str]:
    """Return the lines of commands; what goes on in the next line is one of them."""
    whole = re.sub(r"\\\n\s*|(?<=\|\|)\n\s*", " ", block)
    lines = (line.strip() for line in whole.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


class Prompt:
    """Runs lines as a shell would: pipes, conditions, variables, files.

    Our own command runs in this process. Everything else is a program of the machine; a
    filter that it does not have lets everything through.
    """

    def __init__(
        self, shell: VirtualShell, env: MutableMapping[str, str], *, answer: str | None
    ) -> None:
        """Prepare it.

        Args:
            shell: What runs our command.
            env: The environment, which `export` changes.
            answer: What is typed where a command asks; None lets it have no terminal.
        """
        self._shell = shell
        self._env = env
        self._answer = answer

    def run(self, line: str) -> list[Ended]:
        """Run a line, and return what each use of our command left."""
        ended: list[Ended] = []
        code, operator = 0, ";"
        for words, following in _split(_words(line), _THEN):
            skip = (operator, bool(code)) in {("&&", True), ("||", False)}
            operator = following
            if not skip:
                code = self._pipeline(words, ended)
        return ended

    def _pipeline(self, words: list[str], ended: list[Ended]) -> int:
        text, code = "", 0
        parts = [part for part, _ in _split(words, ("|",))]
        for number, part in enumerate(parts):
            command, file = _redirected(part)
            if command[0] == "export":
                command = command[1:]
            if all(_ASSIGNMENT.fullmatch(word) for word in command):
                for word in command:
                    name, _, value = word.partition("=")
                    self._env[name] = value
                continue
            if command[0] == "spaces-async":
                alone = len(parts) == 1 and file is None
                ended.append(self._ours(command, text, alone=alone))
                text, code = ended[-1].out, ended[-1].code
            elif number == 0 or shutil.which(command[0]):
                made = subprocess.run(
                    command, input=text, capture_output=True, text=True, check=False
                )
                text, code = made.stdout, made.returncode
            if file is not None:
                Path(file).write_text(text, "utf-8")
        return code

    def _ours(self, command: list[str], stdin: str, *, alone: bool) -> Ended:
        line = shlex.join(command)
        if self._answer is None or not alone:
            return self._shell.run_without_terminal(line, stdin)
        shown = self._shell.run(line, always=self._answer)
        return Ended(line, shown.code, shown.text, "")


def _words(line: str) -> list[str]:
    """Return the words of a line with variables in place, and its operators."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    return [os.path.expandvars(word) for word in lexer]


def _split(
    words: list[str], operators: tuple[str, ...]
) -> Iterator[tuple[list[str], str]]:
    """Give the words up to each operator, and the operator that follows them."""
    part: list[str] = []
    for word in words:
        if word in operators:
            yield part, word
            part = []
        else:
            part.append(word)
    if part:
        yield part, ""


def _redirected(words: list[str]) -> tuple[list[str], str | None]:
    """Return a command without its `> file`, and the file."""
    if ">" not in words:
        return words, None
    place = words.index(">")
    return words[:place] + words[place + 2 :], words[place + 1]
