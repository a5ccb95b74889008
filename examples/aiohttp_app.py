"""An aiohttp service that restarts Spaces for its callers, each with their own token.

It shows one client for the whole service, a view of it for each request, the Hub's
errors as HTTP statuses, and a bulk operation that streams its outcomes as server-sent
events and stops when the caller disconnects. It needs only aiohttp.

    python examples/aiohttp_app.py
    curl -H "Authorization: Bearer hf_..." localhost:8000/spaces/acme/demo
    curl -N -X POST -H "Authorization: Bearer hf_..." \
        "localhost:8000/orgs/acme/restart?stage=failed"

Without a token, against the local Hub in this package:

    python -m spaces_async.testing --port 8080      # in another terminal
    HF_ENDPOINT=http://127.0.0.1:8080 python examples/aiohttp_app.py

Then call it with the token `hf_test_token`.
"""

import json
import math
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from spaces_async import (
    ClientClosedError,
    ConfigurationError,
    HubResponseError,
    HubServerError,
    RateLimitError,
    RedirectRefusedError,
    RequestTimeoutError,
    RetryPolicy,
    Selection,
    SpaceRuntime,
    SpacesClient,
    SpacesError,
    Timeouts,
    TransportError,
    UnexpectedResponseError,
    UnseenOwnerError,
)
from spaces_async.bulk.operations import restart

CLIENT = web.AppKey("CLIENT", SpacesClient)
TIME_LIMIT = web.AppKey("TIME_LIMIT", float)
BULK_TIME_LIMIT = web.AppKey("BULK_TIME_LIMIT", float)

# A caller is waiting: try twice, and fail rather than wait long for the quota.
FAIL_FAST = RetryPolicy(max_attempts=2, max_rate_limit_wait=2.0)


def create_app(
    endpoint: str | None = None,
    *,
    time_limit: float = 20.0,
    bulk_time_limit: float = 600.0,
) -> web.Application:
    """Create the service.

    Args:
        endpoint: URL of the Hub; None uses `HF_ENDPOINT`, else huggingface.co.
        time_limit: Seconds for one call to the Hub, with all its attempts.
        bulk_time_limit: Seconds for a whole bulk operation.
    """

    async def hub_client(app: web.Application) -> AsyncIterator[None]:
        # token=False: a request without a token must not use the service's own token.
        async with SpacesClient(token=False, endpoint=endpoint) as client:
            app[CLIENT] = client
            yield

    app = web.Application(middlewares=[answer_errors])
    app[TIME_LIMIT] = time_limit
    app[BULK_TIME_LIMIT] = bulk_time_limit
    app.cleanup_ctx.append(hub_client)
    app.add_routes(routes)
    return app


# Errors ------------------------------------------------------------------------------


def status_of(error: SpacesError) -> int:
    """Return the HTTP status that describes an error to the caller."""
    match error:
        case ConfigurationError():
            return 400
        case ClientClosedError():
            return 503
        case RequestTimeoutError():
            return 504
        case (
            HubServerError()
            | RedirectRefusedError()
            | TransportError()
            | UnexpectedResponseError()
        ):
            return 502
        case HubResponseError():  # 400, 401, 402, 403, 404, 409, 429: the Hub's own
            return error.status
        case _:
            return 404 if isinstance(error, UnseenOwnerError) else 500


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Respond with the Hub's message and request id. No error contains a token."""
    try:
        return await handler(request)
    except SpacesError as error:
        headers = {}
        if isinstance(error, RateLimitError) and error.retry_after is not None:
            headers["Retry-After"] = str(math.ceil(error.retry_after))
        body = {
            "error": type(error).__name__,
            "message": str(error),
            "request_id": getattr(error, "request_id", None),
            "outcome_unknown": error.outcome_unknown,
        }
        return web.json_response(body, status=status_of(error), headers=headers)


# Callers -----------------------------------------------------------------------------


def callers_client(request: web.Request) -> SpacesClient:
    """Return a view of the client with the caller's token and short time limits."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise web.HTTPUnauthorized(
            text="send your token in the header Authorization: Bearer",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return (
        request.app[CLIENT]
        .with_token(token)
        .with_options(timeouts=Timeouts(total=request.app[TIME_LIMIT]), retry=FAIL_FAST)
    )


# Routes ------------------------------------------------------------------------------

routes = web.RouteTableDef()


def shown(repo_id: str, runtime: SpaceRuntime) -> web.Response:
    """Respond with the part of a runtime that a caller needs."""
    return web.json_response(
        {
            "repo_id": repo_id,
            "stage": runtime.stage,
            "hardware": runtime.hardware,
            "error_message": runtime.error_message,
        }
    )


@routes.get("/spaces/{owner}/{name}")
async def get_space(request: web.Request) -> web.Response:
    """Return the current state of a Space."""
    repo_id = "{owner}/{name}".format_map(request.match_info)
    client = callers_client(request)
    return shown(repo_id, await client.lifecycle.get_runtime(repo_id))


@routes.post("/spaces/{owner}/{name}/restart")
async def restart_space(request: web.Request) -> web.Response:
    """Restart a Space."""
    repo_id = "{owner}/{name}".format_map(request.match_info)
    client = callers_client(request)
    return shown(repo_id, await client.lifecycle.restart(repo_id))


@routes.post("/orgs/{org}/restart")
async def restart_org(request: web.Request) -> web.StreamResponse:
    """Restart an org's Spaces and stream the outcomes as server-sent events."""
    client = callers_client(request)
    # A stage, or a word for several; another word is a ConfigurationError.
    stage = request.query.get("stage", "failed")
    selection = Selection(author=request.match_info["org"], stages=stage)
    # List the Spaces first, so that an error can still set the HTTP status.
    targets = [space async for space in selection.resolve(client)]

    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache",
            # Otherwise a proxy such as nginx buffers the events.
            "X-Accel-Buffering": "no",
        }
    )
    await response.prepare(request)
    # When the caller disconnects, aiohttp cancels this handler (`handler_cancellation`,
    # see below; without it, the next write raises). Leaving the stream's context then
    # cancels the calls in flight, and no further call starts. A slow reader slows down
    # the bulk operation; memory use does not grow.
    bulk = client.bulk.stream(restart(), targets, deadline=request.app[BULK_TIME_LIMIT])
    async with bulk as outcomes:
        async for outcome in outcomes:
            await response.write(event("outcome", outcome.to_dict()))
    report = bulk.report.to_dict()
    del report["outcomes"]  # they were sent one by one
    await response.write(event("report", report))
    return response


def event(name: str, data: dict[str, Any]) -> bytes:
    """Format a server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


if __name__ == "__main__":
    # handler_cancellation is off by default, here and in AppRunner.
    web.run_app(create_app(), host="127.0.0.1", port=8000, handler_cancellation=True)
