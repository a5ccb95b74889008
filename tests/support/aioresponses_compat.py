"""aioresponses 0.7.9 with aiohttp 3.14: two changed constructors, patched.

`ClientResponse` now wants the `stream_writer` that has sent the request, and a
`StreamReader` that reaches its high-water mark asks a parser to pause, which a mock has
not (aioresponses#289). Both are patched where the mock builds its response.
"""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import aioresponses.core
from aiohttp.client_proto import ResponseHandler

_PARAMETERS: Final = inspect.signature(aiohttp.ClientResponse.__init__).parameters
_NEVER_FULL: Final = 2**30


class _Response(aiohttp.ClientResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "stream_writer" in _PARAMETERS:
            kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


def _stream_reader(loop: Any = None) -> aiohttp.StreamReader:
    return aiohttp.StreamReader(
        ResponseHandler(loop=loop), limit=_NEVER_FULL, loop=loop
    )


def install() -> None:
    """Patch aioresponses; a second time changes nothing."""
    core: Any = aioresponses.core
    core.ClientResponse = _Response
    core.stream_reader_factory = _stream_reader
