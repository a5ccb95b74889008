"""A FastAPI service that restarts Spaces for its callers, each with their own token.

It shows one client for the whole service, a view of it for each request, the Hub's
errors as HTTP statuses, and a bulk operation that streams its outcomes as server-sent
events and stops when the caller disconnects.

    pip install fastapi uvicorn
    python examples/fastapi_app.py
    curl -H "Authorization: Bearer hf_..." localhost:8000/spaces/acme/demo
    curl -N -X POST -H "Authorization: Bearer hf_..." \
        "localhost:8000/orgs/acme/restart?stage=failed"

Without a token, against the local Hub in this package:

    python -m spaces_async.testing --port 8080      # in another terminal
    HF_ENDPOINT=http://127.0.0.1:8080 python examples/fastapi_app.py

Then call it with the token `hf_test_token`.
"""

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, TypedDict

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

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

# A caller is waiting: try twice, and fail rather than wait long for the quota.
FAIL_FAST = RetryPolicy(max_attempts=2, max_rate_limit_wait=2.0)


class State(TypedDict):
    """The attributes that the lifespan adds to `request.state`."""

    client: SpacesClient
    time_limit: float
    bulk_time_limit: float


def create_app(
    endpoint: str | None = None,
    *,
    time_limit: float = 20.0,
    bulk_time_limit: float = 600.0,
) -> FastAPI:
    """Create the service.

    Args:
        endpoint: URL of the Hub; None uses `HF_ENDPOINT`, else huggingface.co.
        time_limit: Seconds for one call to the Hub, with all its attempts.
        bulk_time_limit: Seconds for a whole bulk operation.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        # token=False: a request without a token must not use the service's own token.
        async with SpacesClient(token=False, endpoint=endpoint) as client:
            yield State(
                client=client, time_limit=time_limit, bulk_time_limit=bulk_time_limit
            )

    app = FastAPI(title="Spaces", lifespan=lifespan)
    app.include_router(router)
    app.add_exception_handler(SpacesError, answer_error)
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


async def answer_error(_request: Request, error: Exception) -> JSONResponse:
    """Respond with the Hub's message and request id. No error contains a token."""
    if not isinstance(error, SpacesError):
        raise error
    headers = {}
    if isinstance(error, RateLimitError) and error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    body = {
        "error": type(error).__name__,
        "message": str(error),
        "request_id": getattr(error, "request_id", None),
        "outcome_unknown": error.outcome_unknown,
    }
    return JSONResponse(body, status_of(error), headers)


# Callers -----------------------------------------------------------------------------

Bearer = Annotated[
    HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))
]


async def callers_client(request: Request, bearer: Bearer) -> SpacesClient:
    """Return a view of the client with the caller's token and short time limits."""
    if bearer is None:
        raise HTTPException(
            401,
            "send your token in the header Authorization: Bearer",
            {"WWW-Authenticate": "Bearer"},
        )
    client: SpacesClient = request.state.client
    return client.with_token(bearer.credentials).with_options(
        timeouts=Timeouts(total=request.state.time_limit), retry=FAIL_FAST
    )


Client = Annotated[SpacesClient, Depends(callers_client)]


# Routes ------------------------------------------------------------------------------

router = APIRouter()


def shown(repo_id: str, runtime: SpaceRuntime) -> dict[str, Any]:
    """Return the part of a runtime that a caller needs."""
    return {
        "repo_id": repo_id,
        "stage": runtime.stage,
        "hardware": runtime.hardware,
        "error_message": runtime.error_message,
    }


@router.get("/spaces/{owner}/{name}")
async def get_space(owner: str, name: str, client: Client) -> dict[str, Any]:
    """Return the current state of a Space."""
    repo_id = f"{owner}/{name}"
    return shown(repo_id, await client.lifecycle.get_runtime(repo_id))


@router.post("/spaces/{owner}/{name}/restart")
async def restart_space(owner: str, name: str, client: Client) -> dict[str, Any]:
    """Restart a Space."""
    repo_id = f"{owner}/{name}"
    return shown(repo_id, await client.lifecycle.restart(repo_id))


@router.post("/orgs/{org}/restart")
async def restart_org(
    request: Request,
    client: Client,
    org: str,
    stage: Literal["failed", "paused", "sleeping"] = "failed",
) -> StreamingResponse:
    """Restart an org's Spaces and stream the outcomes as server-sent events."""
    selection = Selection(author=org, stages=stage)
    # List the Spaces first, so that an error can still set the HTTP status.
    targets = [space async for space in selection.resolve(client)]

    async def events() -> AsyncIterator[str]:
        # When the caller disconnects, Starlette cancels this generator. Leaving the
        # stream's context then cancels the calls in flight, and no further call starts.
        # A slow reader slows down the bulk operation; memory use does not grow.
        bulk = client.bulk.stream(
            restart(), targets, deadline=request.state.bulk_time_limit
        )
        async with bulk as outcomes:
            async for outcome in outcomes:
                yield event("outcome", outcome.to_dict())
        report = bulk.report.to_dict()
        del report["outcomes"]  # they were sent one by one
        yield event("report", report)

    return StreamingResponse(
        events(),
        media_type="text/event-stream",
        # Otherwise a proxy such as nginx buffers the events.
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


def event(name: str, data: dict[str, Any]) -> str:
    """Format a server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


if __name__ == "__main__":
    uvicorn.run(create_app(), host="127.0.0.1", port=8000)
