"""`client.billing`: the bill and the estimate."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from spaces_async import (
    AuthenticationError,
    BillingPeriod,
    BillingUsage,
    ConfigurationError,
    CostEstimate,
    NotFoundError,
    SpaceHardware,
    SpaceRate,
    SpacesClient,
    SpaceStage,
    UnexpectedResponseError,
    UsageLine,
)
from spaces_async.billing import Billing
from tests.support.hub_mock import (
    REFUSED_ANYWHERE,
    HubMock,
    Refusal,
    check_headers,
    check_not_sent,
    public_methods,
    said,
)

ORG = "/api/organizations/acme/billing/usage"
OWN = "/api/settings/billing/usage"
WHOAMI = "/api/whoami-v2"
ME = {"type": "user", "name": "Tester"}
PERIOD = {
    "_id": "0" * 23 + "a",
    "entityId": "1" * 24,
    "entityType": "org",
    "entityName": "acme",
    "periodStart": "2026-11-01T00:00:00.000Z",
    "periodEnd": "2026-12-01T00:00:00.000Z",
    "invoice": {"type": "no-invoice", "id": "no-invoice"},
}
LINE = {
    "entityId": "2" * 24,
    "label": "acme/demo",
    "product": "spaces/t4-small/minutes",
    "productPrettyName": "Nvidia T4 - small",
    "quantity": 90.5,
    "unitLabel": "minute",
    "unitCostMicroUSD": 6667,
    "totalCostMicroUSD": 603363.5,
    "startedAt": "2026-11-02T10:00:00.000Z",
    "stoppedAt": None,
    "freeGrant": False,
    "active": True,
    "novel": [1],
}
ANSWER = {"usage": {"Endpoints": [], "Spaces": [LINE]}, "period": PERIOD}
RESULT = BillingUsage(
    (
        UsageLine(
            "spaces/t4-small/minutes",
            entity_id="2" * 24,
            label="acme/demo",
            product_pretty_name="Nvidia T4 - small",
            unit_label="minute",
            quantity=90.5,
            unit_cost_micro_usd=6667.0,
            total_cost_micro_usd=603363.5,
            started_at=datetime(2026, 11, 2, 10, tzinfo=UTC),
            free_grant=False,
            active=True,
        ),
    ),
    BillingPeriod(
        "0" * 23 + "a",
        entity_name="acme",
        entity_type="org",
        start=datetime(2026, 11, 1, tzinfo=UTC),
        end=datetime(2026, 12, 1, tzinfo=UTC),
    ),
)


def test_every_method_is_tested_here() -> None:
    """No method of billing goes without a test."""
    assert public_methods(Billing) == {"get_usage", "estimate"}


@pytest.mark.parametrize(
    ("owner", "path"), [("acme", ORG), ("Tester", OWN), ("tester", OWN)]
)
async def test_get_usage(
    mock: HubMock, client: SpacesClient, owner: str, path: str
) -> None:
    """An org is asked for by its name, one's own account by its own endpoint."""
    mock.answer("GET", WHOAMI, ME)
    mock.answer("GET", path, ANSWER)
    mock.answer("GET", path, ANSWER, query=(("periodId", "0" * 24),))
    usage = await client.billing.get_usage(owner)
    assert usage == RESULT
    assert usage.total_usd == Decimal("0.6033635")
    assert usage.raw["period"]["invoice"]["id"] == "no-invoice"
    assert usage.spaces[0].raw["novel"] == [1]
    assert usage.problems == ()
    assert await client.billing.get_usage(owner, "0" * 24) == RESULT
    # Who one is, is read once.
    assert [(sent.path, sent.query) for sent in mock.sent] == [
        (WHOAMI, ()),
        (path, ()),
        (path, (("periodId", "0" * 24),)),
    ]
    for sent in mock.sent:
        check_headers(sent)


@pytest.mark.parametrize(
    ("usage", "period", "problems"),
    [
        ({"Spaces": [LINE, 7]}, PERIOD, ["$.usage.Spaces[1]: expected an object"]),
        (
            {"Spaces": [LINE, {**LINE, "product": None}]},
            PERIOD,
            ["$.usage.Spaces[1]: product is missing"],
        ),
        ({"Spaces": [LINE]}, {"_id": 7}, ["$.period._id: expected a string"]),
    ],
)
async def test_what_cannot_be_read_costs_only_itself(
    mock: HubMock, client: SpacesClient, usage: Any, period: Any, problems: list[str]
) -> None:
    """An unreadable line or period is named, and the rest of the bill is there."""
    mock.answer("GET", WHOAMI, ME)
    mock.answer("GET", ORG, {"usage": usage, "period": period})
    found = await client.billing.get_usage("acme")
    assert found.spaces == RESULT.spaces
    assert len(found.problems) == len(problems)
    for problem, start in zip(found.problems, problems, strict=True):
        assert problem.startswith(start)
    # Never a total that is too small.
    known = len(usage["Spaces"]) == 1
    assert found.total_usd == (Decimal("0.6033635") if known else None)


async def test_an_odd_amount_is_unknown(mock: HubMock, client: SpacesClient) -> None:
    """Text where a number is meant is no amount, and not 0."""
    odd = {**LINE, "totalCostMicroUSD": "603363", "quantity": None}
    mock.answer("GET", WHOAMI, ME)
    mock.answer("GET", ORG, {"usage": {"Spaces": [odd]}})
    found = await client.billing.get_usage("acme")
    assert found.spaces[0].cost_usd is None
    assert found.spaces[0].problems == (
        "$.totalCostMicroUSD: expected a number, got a string",
    )
    assert found.total_usd is None
    assert found.period is None


async def test_no_paid_space_is_no_error(mock: HubMock, client: SpacesClient) -> None:
    """A bill that has no lines about Spaces comes to 0."""
    mock.answer("GET", WHOAMI, ME)
    mock.answer("GET", ORG, {"usage": {}, "period": PERIOD})
    found = await client.billing.get_usage("acme")
    assert found.spaces == ()
    assert found.total_usd == 0


@pytest.mark.parametrize("answer", [{}, {"usage": 7}, {"usage": {"Spaces": {}}}, []])
async def test_what_is_no_bill_is_an_error(
    mock: HubMock, client: SpacesClient, answer: Any
) -> None:
    """An answer without usage does not look like a bill of 0."""
    mock.answer("GET", WHOAMI, ME)
    mock.answer("GET", ORG, answer)
    with pytest.raises(UnexpectedResponseError):
        await client.billing.get_usage("acme")


@pytest.mark.parametrize(
    "refusal",
    [*REFUSED_ANYWHERE, said("404", 404, NotFoundError, "Organization not found")],
    ids=lambda refusal: refusal.id,
)
async def test_refused(mock: HubMock, client: SpacesClient, refusal: Refusal) -> None:
    """A bill that may not be read has the error of its status, and blames no Space."""
    mock.answer("GET", WHOAMI, ME)
    mock.answer(
        "GET", ORG, status=refusal.status, body=refusal.body, headers=refusal.headers
    )
    with pytest.raises(refusal.error) as caught:
        await client.billing.get_usage("acme")
    assert type(caught.value) is refusal.error
    assert caught.value.message == refusal.message
    assert not caught.value.outcome_unknown


async def test_a_bill_needs_a_token(mock: HubMock, anonymous: SpacesClient) -> None:
    """Without a token the Hub is not even asked for the bill."""
    mock.answer("GET", WHOAMI, {"error": "Invalid username or password."}, status=401)
    with pytest.raises(AuthenticationError):
        await anonymous.billing.get_usage("acme")
    assert [sent.path for sent in mock.sent] == [WHOAMI]


@pytest.mark.parametrize("period", ["2026-11", "0" * 23, "G" * 24, "", 7])
async def test_malformed_period_is_not_sent(
    mock: HubMock, client: SpacesClient, period: Any
) -> None:
    """What cannot be the id of a period is refused here."""
    error = await check_not_sent(
        mock, client, lambda: client.billing.get_usage("acme", period)
    )
    assert "usage.period.id" in str(error)


@pytest.mark.parametrize("owner", ["", "acme/demo", "../x", None])
async def test_malformed_owner_is_not_sent(
    mock: HubMock, client: SpacesClient, owner: Any
) -> None:
    """An owner stays one segment of the path."""
    await check_not_sent(mock, client, lambda: client.billing.get_usage(owner))
    with pytest.raises(ConfigurationError):
        await client.billing.estimate(owner)
    assert mock.sent == []


async def test_estimate(mock: HubMock, client: SpacesClient) -> None:
    """An estimate is made of the price list and one listing; no bill is read."""
    flavors = [{"name": "t4-small", "unitCostMicroUSD": 6667, "unitLabel": "minute"}]
    spaces = [
        {"id": "acme/a", "sdk": "docker", "runtime": _runtime("RUNNING", "t4-small", 2)},
        {"id": "acme/b", "sdk": "docker", "runtime": _runtime("PAUSED", "t4-small", 1)},
        {"id": "acme/c", "sdk": "gradio", "runtime": _runtime("RUNNING", "tpu-v9", 1)},
        {"id": "acme/d", "sdk": "static"},
    ]  # fmt: skip
    query = (
        ("author", "acme"),
        ("limit", "500"),
        ("expand", "runtime"),
        ("expand", "sdk"),
    )
    mock.answer("GET", "/api/spaces/hardware", flavors)
    mock.answer("GET", "/api/spaces", spaces, query=query)
    t4, rate = SpaceHardware.T4_SMALL, Decimal("0.80004")
    found = await client.billing.estimate("acme")
    assert found == CostEstimate(
        "acme",
        (
            SpaceRate("acme/a", SpaceStage.RUNNING, t4, 2, rate),
            SpaceRate("acme/b", SpaceStage.PAUSED, t4, 1, Decimal(0)),
            SpaceRate("acme/c", SpaceStage.RUNNING, SpaceHardware("tpu-v9"), 1),
            SpaceRate("acme/d", usd_per_hour=Decimal(0)),
        ),
    )
    assert found.usd_per_hour is None
    assert [rate.repo_id for rate in found.unknown] == ["acme/c"]
    assert len(mock.sent) == 2


def _runtime(stage: str, flavor: str, replicas: int) -> dict[str, Any]:
    running = stage == "RUNNING"
    return {
        "stage": stage,
        "hardware": {"current": flavor if running else None, "requested": flavor},
        "replicas": {"current": replicas if running else None, "requested": replicas},
    }
