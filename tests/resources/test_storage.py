"""`client.storage`: the legacy persistent storage."""

from __future__ import annotations

from typing import Any

import pytest

from spaces_async import (
    BadRequestError,
    HubResponseError,
    Replicas,
    SpaceHardware,
    SpaceRuntime,
    SpacesClient,
    SpaceStage,
    SpaceStorage,
    UnexpectedResponseError,
)
from spaces_async.storage import Storage

from .hub_mock import (
    BAD_REPO_IDS,
    BAD_TIERS,
    DEMO,
    INVALID_BODY,
    REFUSED_FOR_SPACE,
    RUNTIME,
    STATIC,
    Case,
    HubMock,
    Refusal,
    cases,
    check_call,
    check_not_sent,
    check_refusal,
    one_per_method,
    public_methods,
    said,
)


def _wire(storage: str | None) -> dict[str, Any]:
    return {
        "stage": "RUNNING",
        "hardware": {"current": "t4-small", "requested": "t4-small"},
        "storage": storage,
        "gcTimeout": None,
        "replicas": {"current": 1, "requested": 1},
    }


def _runtime(storage: SpaceStorage | None) -> SpaceRuntime:
    return SpaceRuntime(
        stage=SpaceStage.RUNNING,
        hardware=SpaceHardware.T4_SMALL,
        requested_hardware=SpaceHardware.T4_SMALL,
        storage=storage,
        replicas=Replicas(current=1, requested=1),
    )


def _request(name: str, tier: Any) -> Case:
    return Case(
        id=f"request_storage-{name}",
        name="request_storage",
        invoke=lambda c: c.storage.request_storage("acme/demo", tier),
        method="POST",
        path=f"{DEMO}/storage",
        body={"tier": "large" if tier == "large" else tier},
        answer=_wire(str(tier)),
        result=_runtime(SpaceStorage(tier)),
    )


CASES = [
    _request("text", "small"),
    _request("medium", "medium"),
    _request("enum", SpaceStorage.LARGE),
    Case(
        id="delete_storage",
        name="delete_storage",
        invoke=lambda c: c.storage.delete_storage("acme/demo"),
        method="DELETE",
        path=f"{DEMO}/storage",
        answer=_wire(None),
        result=_runtime(None),
    ),
]
REFUSALS = [
    *REFUSED_FOR_SPACE,
    STATIC,
    INVALID_BODY,
    said("410", 410, HubResponseError, "Persistent storage is no longer available"),
    said("400-smaller", 400, BadRequestError, "Cannot downgrade storage"),
]


def test_every_method_has_a_row() -> None:
    """No method of the storage goes without a test."""
    assert {case.name for case in CASES} == public_methods(Storage)


@cases(CASES)
async def test_call(mock: HubMock, client: SpacesClient, case: Case) -> None:
    """Exactly the documented request goes out, and the runtime comes back."""
    await check_call(mock, client, case)


@cases(REFUSALS, "refusal")
@cases(one_per_method(CASES))
async def test_refusal(
    mock: HubMock, client: SpacesClient, case: Case, refusal: Refusal
) -> None:
    """Each status of the Hub becomes its error, sent once."""
    await check_refusal(mock, client, case, refusal)


@pytest.mark.parametrize("repo_id", BAD_REPO_IDS, ids=repr)
@pytest.mark.parametrize("name", ["request_storage", "delete_storage"])
async def test_malformed_id_is_not_sent(
    mock: HubMock, client: SpacesClient, name: str, repo_id: Any
) -> None:
    """A malformed id is refused before anything is sent."""
    arguments = ("small",) if name == "request_storage" else ()
    method = getattr(client.storage, name)
    await check_not_sent(mock, client, lambda: method(repo_id, *arguments))


@pytest.mark.parametrize("tier", [*BAD_TIERS, None], ids=repr)
async def test_unknown_tier_is_not_sent(
    mock: HubMock, client: SpacesClient, tier: Any
) -> None:
    """The tiers are a closed list: another one is refused, naming the three."""
    error = await check_not_sent(
        mock, client, lambda: client.storage.request_storage("acme/demo", tier)
    )
    assert "small, medium, large" in str(error)


@pytest.mark.parametrize("body", ["", "OK", "[]", '{"stage": 5}'])
async def test_answer_that_is_no_runtime(
    mock: HubMock, client: SpacesClient, body: str
) -> None:
    """Nobody knows what the endpoint answers today: what is no runtime is told apart."""
    mock.answer("POST", f"{DEMO}/storage", body=body)
    with pytest.raises(UnexpectedResponseError) as caught:
        await client.storage.request_storage("acme/demo", "small")
    assert (caught.value.status, caught.value.body) == (200, body)


@cases(one_per_method(CASES))
async def test_lost_answer(mock: HubMock, persistent: SpacesClient, case: Case) -> None:
    """After a lost answer the runtime is read, and what it shows is not sent again."""
    mock.answer(case.method, case.path, status=502)
    mock.answer("GET", RUNTIME, case.answer)
    assert await case.invoke(persistent) == case.result
    assert mock.lines() == [f"{case.method} {case.path}", f"GET {RUNTIME}"]


async def test_lost_answer_of_what_did_not_happen(
    mock: HubMock, persistent: SpacesClient
) -> None:
    """If the runtime does not show the tier, the request is sent again."""
    mock.answer("POST", f"{DEMO}/storage", status=502)
    mock.answer("GET", RUNTIME, _wire(None))
    mock.answer("POST", f"{DEMO}/storage", _wire("small"))
    runtime = await persistent.storage.request_storage("acme/demo", "small")
    assert runtime == _runtime(SpaceStorage.SMALL)
    lines = [f"POST {DEMO}/storage", f"GET {RUNTIME}", f"POST {DEMO}/storage"]
    assert mock.lines() == lines
