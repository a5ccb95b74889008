"""Programs of this folder that fork for each job, so that only the first one imports."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any


class Forker:
    """A program that reads a job a line, as JSON, and prints the id of its process."""

    def __init__(self, parent: asyncio.subprocess.Process) -> None:
        assert parent.stdin is not None
        assert parent.stdout is not None
        self._stdin, self._stdout = parent.stdin, parent.stdout
        self._lock = asyncio.Lock()

    async def start(self, job: Any) -> int:
        """Start a job; return the id of its process."""
        async with self._lock:
            self._stdin.write(json.dumps(job).encode() + b"\n")
            return int(await self._stdout.readline())

    async def next_line(self) -> bytes:
        """Return what the program prints next."""
        return await self._stdout.readline()


@asynccontextmanager
async def forker(program: Path, *, quiet: bool = False) -> AsyncGenerator[Forker]:
    """Run such a program.

    Args:
        program: Its file.
        quiet: Whether what its processes write to stderr is dropped.
    """
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL if quiet else None,
    )
    try:
        yield Forker(parent)
    finally:
        await parent.communicate(b"")
