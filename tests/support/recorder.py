"""A server on loopback that keeps what it was asked and answers as the Hub would."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import huggingface_hub
from aiohttp import web
from attrs import field, frozen
from huggingface_hub import HfApi

import spaces_async
from spaces_async import AsyncHfApi

TOKEN: Final = "hf_differential"

RUNTIME: Final = {
    "stage": "RUNNING",
    "hardware": {"current": "t4-small", "requested": "t4-small"},
    "gcTimeout": 300,
    "replicas": {"current": 1, "requested": 1},
}
INFO: Final = {
    "_id": "67cae57522fde9195aaf95c5",
    "id": "acme/demo",
    "author": "acme",
    "sdk": "gradio",
    "likes": 0,
    "tags": ["gradio"],
    "private": False,
    "createdAt": "2025-03-07T12:24:21.000Z",
    "lastModified": "2025-03-07T12:24:21.000Z",
    "runtime": RUNTIME,
}
TEMPLATES: Final = {
    "templates": [
        {
            "sdk": "docker",
            "name": "JupyterLab",
            "repoId": "SpacesExamples/jupyterlab",
            "preferredPrivate": True,
        },
        {
            "sdk": "gradio",
            "name": "chatbot",
            "repoId": "gradio-templates/chatbot",
            "preferredPrivate": False,
        },
    ]
}
FLAVOR: Final = {
    "name": "t4-small",
    "prettyName": "Nvidia T4 - small",
    "cpu": "4 vCPU",
    "ram": "15 GB",
    "accelerator": {
        "type": "gpu",
        "model": "T4",
        "quantity": "1",
        "vram": "16 GB",
        "manufacturer": "Nvidia",
    },
    "unitCostMicroUSD": 6667,
    "unitCostUSD": 0.006667,
    "unitLabel": "minute",
}
VARIABLES: Final = {
    "KEY": {"value": "123", "updatedAt": "2025-03-07T12:24:18.657Z"},
    "OTHER": {
        "value": "x",
        "description": "d",
        "updatedAt": "2025-03-07T12:24:18.657Z",
    },
}
LOG: Final = b'data: {"data":"hello\\n","timestamp":"2026-06-20T01:09:43Z"}\n\n'
CREATED: Final = {
    "url": "https://huggingface.co/spaces/acme/demo",
    "name": "acme/demo",
    "id": "67cae57522fde9195aaf95c5",
}
_ANSWERS: Final[list[tuple[str, Any]]] = [
    ("GET /api/spaces", [INFO]),
    ("GET /api/spaces/hardware", [FLAVOR]),
    ("GET /api/spaces/templates", TEMPLATES),
    ("GET /api/spaces/semantic-search", [{**INFO, "semanticRelevancyScore": 0.5}]),
    ("GET /api/spaces/zero-gpu/quota", {"base": 300, "current": 210, "resetsAt": None}),
    ("GET /api/whoami-v2", {"type": "user", "name": "tester", "orgs": []}),
    ("POST /api/repos/create", CREATED),
    ("DELETE /api/repos/delete", b"OK"),
    ("POST /api/repos/move", b""),
    ("POST /api/spaces/[^/]+/[^/]+/duplicate", CREATED),
    ("(GET|POST|DELETE) /api/spaces/[^/]+/[^/]+/variables", VARIABLES),
    ("GET /api/spaces/[^/]+/[^/]+/secrets", {"S": {"key": "S"}}),
    ("(POST|DELETE) /api/spaces/[^/]+/[^/]+/secrets", {}),
    ("(PUT|DELETE) /api/spaces/[^/]+/[^/]+/volumes", b""),
    ("PUT /api/spaces/[^/]+/[^/]+/settings", {}),
    ("GET /api/spaces/[^/]+/[^/]+/logs/(run|build)", LOG),
    ("GET /api/spaces/[^/]+/[^/]+/runtime", RUNTIME),
    ("GET /api/spaces/[^/]+/[^/]+(/revision/[^/]+)?", INFO),
    ("(POST|DELETE) /api/spaces/[^/]+/[^/]+/[a-z-]+", RUNTIME),
]


@frozen
class Request:
    """What of a request is compared: all but what names the library."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: Any
    token: str | None


@frozen
class Recorder:
    """The server: where it is, what it was asked, what it refuses."""

    requests: list[Request] = field(factory=list[Request])
    refusals: dict[str, web.Response] = field(factory=dict[str, web.Response])
    pages: dict[str, int] = field(factory=dict[str, int])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        sent = Request(
            request.method,
            request.raw_path.partition("?")[0],
            tuple(sorted(request.query.items())),
            json.loads(text) if text else None,
            request.headers.get("Authorization"),
        )
        self.requests.append(sent)
        line = f"{sent.method} {sent.path}"
        refusal = self.refusals.get(line)
        if refusal is not None:
            return web.Response(
                status=refusal.status, headers=refusal.headers, body=refusal.body
            )
        headers: dict[str, str] = {}
        page = int(request.query.get("cursor", "1"))
        if page < self.pages.get(line, 1):
            following = request.url.update_query(cursor=str(page + 1))
            headers["Link"] = f'<{following}>; rel="next"'
        for pattern, body in _ANSWERS:
            if re.fullmatch(pattern, line):
                if body is LOG:
                    headers["Content-Type"] = "text/event-stream"
                elif not isinstance(body, bytes):
                    headers["Content-Type"] = "application/json"
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                return web.Response(body=raw, headers=headers)
        return web.json_response({"error": "no such page"}, status=404)

    def refuse(
        self,
        line: str,
        status: int,
        body: Any,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.refusals[line] = web.json_response(body, status=status, headers=headers)

    def take(self) -> list[Request]:
        taken = list(self.requests)
        self.requests.clear()
        return taken


@frozen
class Pair:
    """Both clients, and what both of them talk to."""

    recorder: Recorder
    official: HfApi
    ours: AsyncHfApi

    async def both(
        self, method: str, *args: Any, **kwargs: Any
    ) -> tuple[list[Request], list[Request]]:
        """Make one call with each, and return what each has sent."""
        self.recorder.take()
        await asyncio.to_thread(
            _run_official, getattr(self.official, method), args, kwargs
        )
        theirs = self.recorder.take()
        await run_ours(getattr(self.ours, method), args, kwargs)
        return theirs, self.recorder.take()


@frozen
class Mount:
    """A volume that each client gets as its own."""

    fields: Mapping[str, Any]

    def official(self) -> Any:
        return huggingface_hub.Volume(**self.fields)

    def ours(self) -> Any:
        return spaces_async.Volume(**self.fields)


def _made(value: Any, side: str) -> Any:
    if isinstance(value, Mount):
        return getattr(value, side)()
    if isinstance(value, list):
        return [_made(item, side) for item in value]
    return value


def _run_official(
    method: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    result = method(
        *(_made(arg, "official") for arg in args),
        **{name: _made(arg, "official") for name, arg in kwargs.items()},
    )
    # Three of the methods send nothing until somebody looks at their first result.
    return list(result) if hasattr(result, "__next__") else result


async def run_ours(
    method: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    result = method(
        *(_made(arg, "ours") for arg in args),
        **{name: _made(arg, "ours") for name, arg in kwargs.items()},
    )
    if isinstance(result, AsyncIterator):
        return [item async for item in result]
    assert isinstance(result, Awaitable)
    return await result


@asynccontextmanager
async def recording(token: str | bool | None = TOKEN) -> AsyncIterator[Pair]:
    """Serve both clients until the context is left."""
    recorder = Recorder()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", recorder.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        url = f"http://{host}:{port}"
        async with AsyncHfApi(endpoint=url, token=token) as ours:
            yield Pair(recorder, HfApi(endpoint=url, token=token), ours)
    finally:
        await runner.cleanup()
