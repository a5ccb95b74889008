"""What the Hub adds, leaves out or invents crashes no record and is in its `.raw`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import pytest
from aiohttp import web
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spaces_async
from spaces_async import (
    Account,
    BillingPeriod,
    BillingUsage,
    HardwareFlavor,
    OrganizationMember,
    SpaceHardware,
    SpaceInfo,
    SpaceMetrics,
    SpaceRuntime,
    SpaceSdk,
    SpaceSearchResult,
    SpaceSecret,
    SpaceStage,
    SpaceTemplate,
    SpaceVariable,
    UsageLine,
    ZeroGpuQuota,
)
from spaces_async._wire.converter import (
    decode_info,
    decode_runtime,
    decode_secrets,
    decode_variables,
    decoder,
    list_decoder,
)
from tests.support.recorder import Pair

TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
JSON: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2)
    ),
    max_leaves=4,
)
INVENTED: Final = st.from_regex(r"[A-Z][A-Z_]{0,12}", fullmatch=True)
STAGE: Final = st.sampled_from([str(stage) for stage in SpaceStage]) | INVENTED
FLAVOR: Final = st.sampled_from(
    [str(flavor) for flavor in SpaceHardware]
) | st.from_regex(r"[a-z][a-z0-9-]{0,12}", fullmatch=True)
SDK: Final = st.sampled_from([str(sdk) for sdk in SpaceSdk]) | TEXT
INSTANT: Final = st.sampled_from(
    [
        "2025-03-07T12:24:18.657Z",
        "2026-06-20T01:09:43Z",
        "2026-06-20T01:09:50+02:00",
        "2026-06-20T01:09:50.123456",
    ]
)
FEW: Final = st.integers(0, 9) | st.floats(0, 9)
WHOLE: Final = st.integers(0, 2**40) | st.integers(0, 9).map(float)

VOLUME: Final = {
    "type": st.sampled_from(["bucket", "model", "dataset", "space", "novelty"]),
    "source": st.sampled_from(["a/b", "****/******"]),
    "mountPath": "/data",
    "revision": TEXT,
    "readOnly": st.booleans(),
    "path": TEXT,
}
RUNTIME: Final = {
    "stage": STAGE,
    "hardware": {"current": FLAVOR, "requested": FLAVOR},
    "errorMessage": TEXT,
    "gcTimeout": WHOLE,
    "replicas": {"current": st.integers(0, 9), "requested": st.just("auto") | WHOLE},
    "devMode": st.booleans(),
    "domains": [{"domain": TEXT, "isCustom": st.booleans(), "stage": INVENTED}],
    "sha": TEXT,
    "hotReloading": {
        "status": TEXT,
        "replicaStatuses": st.lists(st.tuples(TEXT, st.none() | TEXT), max_size=2),
    },
    "volumes": [VOLUME],
    "storage": st.sampled_from(["small", "medium", "large", "huge"]),
    "pySpacesVersion": TEXT,
    "sdk": SDK,
    "sdkVersion": TEXT,
    "rawLogs": TEXT | st.booleans(),
}
CARD: Final = {
    "author": TEXT,
    "title": TEXT,
    "sdk": SDK,
    "likes": st.integers(0, 9),
    "private": st.booleans(),
    "tags": st.lists(TEXT, max_size=2),
    "runtime": RUNTIME,
    "trendingScore": FEW,
}
USAGE_LINE: Final = {
    "entityId": TEXT,
    "label": TEXT,
    "product": TEXT,
    "productPrettyName": TEXT,
    "quantity": FEW,
    "unitLabel": TEXT,
    "unitCostMicroUSD": FEW,
    "totalCostMicroUSD": FEW,
    "startedAt": INSTANT,
    "stoppedAt": INSTANT,
    "freeGrant": st.booleans(),
    "active": st.booleans(),
}
BILLING_PERIOD: Final = {
    "_id": TEXT,
    "entityId": TEXT,
    "entityType": TEXT,
    "entityName": TEXT,
    "periodStart": INSTANT,
    "periodEnd": INSTANT,
    "invoice": {"type": TEXT, "totalCents": WHOLE},
}
RECORDS: Final[dict[type, dict[str, Any]]] = {
    UsageLine: USAGE_LINE,
    BillingPeriod: BILLING_PERIOD,
    BillingUsage: {
        "usage": {"Spaces": [USAGE_LINE], "Endpoints": [{"quantity": FEW}]},
        "period": BILLING_PERIOD,
    },
    SpaceRuntime: RUNTIME,
    SpaceInfo: {
        **CARD,
        "_id": TEXT,
        "id": "acme/demo",
        "sha": TEXT,
        "createdAt": INSTANT,
        "lastModified": INSTANT,
        "subdomain": TEXT,
        "host": TEXT,
        "gated": st.booleans() | TEXT,
        "disabled": st.booleans(),
        "region": TEXT,
        "usedStorage": WHOLE,
        "shortDescription": TEXT,
        "ai_short_description": TEXT,
        "models": st.lists(TEXT | st.fixed_dictionaries({"id": TEXT}), max_size=2),
        "datasets": st.lists(TEXT, max_size=2),
        "siblings": [{"rfilename": TEXT, "size": WHOLE}],
        "cardData": {"title": TEXT, "sdk": SDK, "sdk_version": TEXT},
        "resourceGroup": {"id": TEXT, "numUsers": WHOLE},
    },
    SpaceSearchResult: {
        **CARD,
        "id": "acme/demo",
        "emoji": TEXT,
        "ai_short_description": TEXT,
        "ai_category": TEXT,
        "semanticRelevancyScore": FEW,
    },
    HardwareFlavor: {
        "name": FLAVOR,
        "prettyName": TEXT,
        "cpu": TEXT,
        "ram": TEXT,
        "accelerator": {
            "type": TEXT,
            "model": TEXT,
            "quantity": TEXT | st.integers(1, 9),
            "vram": TEXT,
            "manufacturer": TEXT,
        },
        "unitCostMicroUSD": WHOLE,
        "unitCostUSD": FEW,
        "unitLabel": TEXT,
    },
    SpaceTemplate: {
        "repoId": "acme/template",
        "name": TEXT,
        "sdk": SDK,
        "preferredPrivate": st.booleans(),
    },
    ZeroGpuQuota: {
        "base": FEW,
        "current": FEW,
        "resetsAt": INSTANT,
        "overquotaUsed": FEW,
        "runs": {"used": FEW, "limit": FEW, "remaining": FEW, "resetsAt": INSTANT},
    },
    Account: {
        "name": TEXT,
        "type": TEXT,
        "id": TEXT,
        "fullname": TEXT,
        "isPro": st.booleans(),
        "canPay": st.booleans(),
        "orgs": [{"name": TEXT, "roleInOrg": TEXT, "plan": TEXT, "type": "org"}],
        "auth": {"type": TEXT, "accessToken": {"role": TEXT}},
    },
    OrganizationMember: {
        "user": TEXT,
        "fullname": TEXT,
        "role": TEXT,
        "isPro": st.booleans(),
        "avatarUrl": TEXT,
    },
    SpaceVariable: {
        "key": TEXT,
        "value": TEXT,
        "description": TEXT,
        "updatedAt": INSTANT,
    },
    SpaceSecret: {"key": TEXT, "description": TEXT, "updatedAt": INSTANT},
    SpaceMetrics: {
        "cpu_usage_pct": FEW,
        "cpu_millicores": FEW,
        "memory_used_bytes": WHOLE,
        "memory_total_bytes": WHOLE,
        "rx_bps": FEW,
        "tx_bps": FEW,
        "gpus": {"d901cd7f": {"utilization": FEW, "memory_used_bytes": WHOLE}},
        "replica": TEXT,
    },
}
# What is read from a key of another name.
READ_WITH: Final = {
    "hardware": ["requestedHardware"],
    "cardData": ["title", "sdkVersion"],
    "ai_short_description": ["shortDescription"],
    "author": [],
    "unitCostUSD": ["unit_cost_usd"],
    "unitCostMicroUSD": ["unit_cost_micro_usd"],
    "totalCostMicroUSD": ["total_cost_micro_usd"],
    "periodStart": ["start"],
    "periodEnd": ["end"],
}
# What the Hub has always sent: without it a record would say nothing.
NEEDED: Final = {
    "stage", "id", "name", "repoId", "user", "domain", "type", "source", "mountPath",
    "rfilename", "_id", "product", "usage",
}  # fmt: skip
DECODE: Final[dict[type, Callable[[bytes], Any]]] = {
    SpaceRuntime: decode_runtime,
    SpaceInfo: decode_info,
    HardwareFlavor: lambda body: list_decoder(HardwareFlavor)(b"[%b]" % body)[0],
    SpaceTemplate: lambda body: list_decoder(SpaceTemplate, key="templates")(
        b'{"templates":[%b],"more":1}' % body
    )[0],
    SpaceVariable: lambda body: decode_variables(b'{"K":%b}' % body)["K"],
    SpaceSecret: lambda body: decode_secrets(b'{"K":%b}' % body)["K"],
}


def known_keys(sample: Any) -> set[str]:
    if isinstance(sample, list):
        return known_keys(sample[0])
    if not isinstance(sample, dict):
        return set()
    inner = set[str]().union(*map(known_keys, sample.values()))
    return {*sample, *inner}


KNOWN: Final = set[str]().union(*map(known_keys, RECORDS.values()))
UNKNOWN: Final = (TEXT | st.sampled_from(["raw", "newThing", "class", "from"])).filter(
    lambda key: key not in KNOWN
)


@st.composite
def grown(draw: st.DrawFn, sample: Any) -> Any:
    """Draw JSON like the sample: with keys more, keys fewer, and null for some."""
    if isinstance(sample, st.SearchStrategy):
        return draw(sample)
    if isinstance(sample, list):
        return draw(st.lists(grown(sample[0]), max_size=2))
    if not isinstance(sample, dict):
        return sample
    grown_up: dict[str, Any] = {}
    for key, value in sample.items():
        fate = draw(st.sampled_from(["kept", "kept", "dropped", "null"]))
        if fate == "kept" or key in NEEDED:
            grown_up[key] = draw(grown(value))
        elif fate == "null":
            grown_up[key] = None
    return {**draw(st.dictionaries(UNKNOWN, JSON, max_size=2)), **grown_up}


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def check_fields(record: Any, data: dict[str, Any]) -> None:
    """Where a field is a text or a boolean of the answer, it is told as it came."""
    for attribute in attrs.fields(type(record)):
        if attribute.name in ("raw", "problems"):
            continue
        sent = data.get(camel(attribute.name), data.get(attribute.name))
        told = getattr(record, attribute.name)
        if isinstance(sent, bool | str) and not isinstance(told, datetime):
            assert told == sent, attribute.name


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nothing_crashes_and_nothing_is_lost(
    kind: type[Any], data: st.DataObject
) -> None:
    """Each record decodes, tells what it knows, and keeps the rest in `.raw`."""
    sent = as_json(data.draw(grown(RECORDS[kind])))
    if kind in (SpaceVariable, SpaceSecret):
        sent["key"] = "K"
    decode = DECODE.get(kind) or decoder(kind)
    record: Any = decode(json.dumps(sent).encode())
    assert isinstance(record, kind)
    assert record.raw == sent
    assert record.problems == ()
    check_fields(record, sent)


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_odd_value_costs_its_own_field_only(
    kind: type[Any], data: st.DataObject
) -> None:
    """Any JSON in any documented field: the others are as if it had not been sent."""
    sent = as_json(data.draw(grown(RECORDS[kind])))
    if kind in (SpaceVariable, SpaceSecret):
        sent["key"] = "K"
    without = [key for key in RECORDS[kind] if key not in NEEDED]
    odd = data.draw(st.sampled_from([key for key in without if key != "key"]))
    if kind is SpaceVariable and odd == "value":
        odd = "description"  # the value is what the call is for
    sent[odd] = data.draw(JSON)
    decode = DECODE.get(kind) or decoder(kind)
    record: Any = decode(json.dumps(sent).encode())
    sent = as_json(sent)
    assert record.raw == sent
    assert all(problem.startswith(f"$.{odd}") for problem in record.problems)
    del sent[odd]
    plain: Any = decode(json.dumps(sent).encode())
    assert plain.problems == ()
    taken = {odd, *READ_WITH.get(odd, ())}
    for attribute in attrs.fields(kind):
        name = attribute.name
        names = {name, camel(name), "gcTimeout" if name == "sleep_time" else name}
        if name not in ("raw", "problems") and not names & taken:
            assert getattr(record, name) == getattr(plain, name), name
    assert json.dumps(record.to_dict(raw=True))


def test_every_record_is_tried() -> None:
    """A record that is added to the package is added here."""
    with_raw = {
        kind
        for name in spaces_async.__all__
        if attrs.has(kind := getattr(spaces_async, name))
        and "raw" in attrs.fields_dict(kind)
    }
    # A membership is part of an account; a created Space is tried with its calls.
    others = {spaces_async.Membership, spaces_async.CreatedSpace}
    assert with_raw - others == set(RECORDS)


@given(INVENTED)
def test_an_invented_stage_says_that_it_is_unknown(word: str) -> None:
    """It keeps its word and is neither running, failed, idle nor on its way."""
    stage = decode_runtime(json.dumps({"stage": word}).encode()).stage
    assert stage == word
    assert stage.is_known is (word in set(SpaceStage))
    if not stage.is_known:
        assert not stage.is_running
        assert not stage.is_failed
        assert not stage.is_idle
        assert not stage.is_transitional


@frozen
class Said:
    """An event on the wire: its kind, and the line that goes as its data."""

    kind: str | None
    data: str

    def wire(self) -> str:
        head = "" if self.kind is None else f"event: {self.kind}\n"
        return f": keep-alive\n\n{head}data: {self.data}\nid: 7\nnovel: field\n\n"


ASCII_WORD: Final = st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True)
LOG_LINE: Final = st.fixed_dictionaries(
    {"data": TEXT | JSON},
    optional={
        "timestamp": st.sampled_from(
            ["2024-06-20T01:09:43Z", "2024-06-20T01:09:50.031Z", "yesterday", None, 7]
        ),
        "stream": TEXT,
        "level": JSON,
    },
)

streams = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def stream(pair: Pair, path: str, said: list[Said]) -> None:
    """Let the server answer with these events."""
    pair.recorder.refusals[f"GET /api/spaces/acme/demo/{path}"] = web.Response(
        text="".join(event.wire() for event in said),
        content_type="text/event-stream",
    )


async def take(source: AsyncIterator[Any], count: int) -> list[Any]:
    taken: list[Any] = []
    while len(taken) < count:
        taken.append(await anext(source))
    return taken


@streams
@given(st.lists(LOG_LINE | JSON, max_size=5))
async def test_every_log_line_is_told(pair: Pair, payloads: list[Any]) -> None:
    """A line of any shape is a `LogLine`: its text, or all that was sent."""
    stream(pair, "logs/run", [Said(None, json.dumps(each)) for each in payloads])
    async with pair.ours.client.logs.stream_logs("acme/demo") as lines:
        told = [line async for line in lines]
    assert len(told) == len(payloads)
    for line, payload in zip(told, payloads, strict=True):
        text = payload.get("data") if isinstance(payload, dict) else None
        if isinstance(text, str):
            assert line.text == text.removesuffix("\n")
        else:
            assert line.text == json.dumps(payload)
        assert line.timestamp is None or line.timestamp.tzinfo is not None
        assert line.repo_id == "acme/demo"


@streams
@given(
    st.lists(
        st.builds(
            Said,
            st.sampled_from(["stage", "zero-gpu-count", "space"]) | ASCII_WORD,
            INVENTED | ASCII_WORD | JSON.map(json.dumps),
        ),
        min_size=1,
        max_size=5,
    )
)
async def test_every_event_is_told(pair: Pair, said: list[Said]) -> None:
    """An event of any kind comes with its payload: JSON where it is some, else text."""
    stream(pair, "events", said)
    async with pair.ours.client.logs.stream_events("acme/demo") as events:
        told = await take(events, len(said))
    for event, sent in zip(told, said, strict=True):
        assert event.kind == sent.kind
        try:
            assert event.data == json.loads(sent.data)
        except json.JSONDecodeError:
            assert event.data == sent.data
        if event.kind == "stage" and isinstance(event.data, str):
            assert event.stage == event.data


@streams
@given(st.lists(grown(RECORDS[SpaceMetrics]), min_size=1, max_size=3))
async def test_every_measurement_is_told(
    pair: Pair, payloads: list[dict[str, Any]]
) -> None:
    """A measurement with more or with fewer keys is there, and whole in `.raw`."""
    stream(pair, "metrics", [Said("metric", json.dumps(each)) for each in payloads])
    async with pair.ours.client.logs.stream_metrics("acme/demo") as metrics:
        told = await take(metrics, len(payloads))
    assert [each.raw for each in told] == as_json(payloads)
    assert {type(each) for each in told} == {SpaceMetrics}


def test_instants_are_aware() -> None:
    """An instant without a zone is UTC."""
    info = decode_info(b'{"id":"a/b","createdAt":"2026-06-20T01:09:50.123456"}')
    assert info.created_at == datetime(2026, 6, 20, 1, 9, 50, 123456, tzinfo=UTC)
