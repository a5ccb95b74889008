"""Records, outcomes and reports become JSON, and have a repr of one line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import attrs
import fastapi
import pytest
from fastapi.encoders import jsonable_encoder
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

import spaces_async as sa
from spaces_async import models, records
from spaces_async._wire.converter import decode_info, decode_runtime
from spaces_async.bulk.report import StopReason
from spaces_async.records import Accelerator

S = sa.OutcomeStatus
NOON = datetime(2026, 6, 20, 12, tzinfo=timezone(timedelta(hours=2)))
RUNTIME_BODY = (
    b'{"stage":"RUNNING","hardware":{"current":"t4-small","requested":"new-flavor"},'
    b'"domains":[{"domain":"a.hf.space"}],"replicas":{"current":1,"requested":"auto"},'
    b'"volumes":[{"type":"bucket","source":"a/b","mountPath":"/b"}],"novel":[1]}'
)
RUNTIME = decode_runtime(RUNTIME_BODY)
INFO = decode_info(
    b'{"id":"acme/demo","createdAt":"2026-06-20T01:09:43Z","likes":"3","runtime":%b,'
    b'"cardData":{"title":"T","since":"x"}}' % RUNTIME_BODY
)
RECORDS: list[Any] = [
    RUNTIME,
    INFO,
    sa.SpaceVariable("K", "v", updated_at=NOON),
    sa.SpaceSecret("K", updated_at=NOON),
    sa.Volume("bucket", "a/b", "/b"),
    sa.Replicas(1, "auto"),
    sa.CreatedSpace("a/b", "https://huggingface.co/spaces/a/b", {"x": 1}),
    sa.Domain("a.hf.space"),
    sa.HotReloading("created", (("a", None),)),
    sa.HardwareFlavor("t4-small", accelerator=Accelerator("gpu")),
    Accelerator("gpu", "T4"),
    sa.SpaceTemplate("a/b"),
    sa.SpaceSearchResult("a/b", runtime=RUNTIME, tags=("x",)),
    sa.ZeroGpuQuota(1.0, resets_at=NOON),
    sa.Membership("acme"),
    sa.Account("me", orgs=(sa.Membership("acme", raw={"x": 1}),)),
    sa.OrganizationMember("me"),
    sa.LogLine(NOON, "text", "a/b"),
    sa.SpaceEvent("stage", {"at": "RUNNING"}, "a/b"),
    sa.SpaceMetrics(1.5, gpus={"a": {"utilization": 1}}),
    sa.BillingUsage(
        (sa.UsageLine("spaces/t4-small/minutes", total_cost_micro_usd=0.1),),
        sa.BillingPeriod("0" * 24, start=NOON),
        {"usage": {"Spaces": [{}]}},
    ),
    sa.UsageLine("spaces/t4-small/minutes", quantity=1.5, started_at=NOON),
    sa.BillingPeriod("0" * 24, end=NOON),
    sa.CostEstimate("acme", (sa.SpaceRate("a/b", usd_per_hour=Decimal("0.05")),)),
    sa.SpaceRate("a/b", sa.SpaceStage.RUNNING, usd_per_hour=Decimal("0.40002")),
    sa.KeyOutcome("K", "failed", sa.ConfigurationError("no")),
    sa.Outcome("a/b", S.DONE, RUNTIME),
    sa.BulkProgress(sa.Outcome("a/b", S.FAILED, error=ValueError("x")), 1, 1, 2),
]
one_of_each = pytest.mark.parametrize("record", RECORDS, ids=lambda r: type(r).__name__)


def test_each_record_is_tried() -> None:
    """A record that is added to the package is added here."""
    kinds = {getattr(module, n) for module in (models, records) for n in module.__all__}
    assert {k for k in kinds if attrs.has(k)} <= {*map(type, RECORDS)}


@one_of_each
def test_to_dict_is_json(record: Any) -> None:
    """`json.dumps` takes it, nothing is lost on the way, and no raw answer is in it."""
    data = record.to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert "raw" not in data
    assert dict(record) == data
    assert {**record} == data


@one_of_each
def test_to_dict_with_the_whole_answer(record: Any) -> None:
    """With `raw=True` the whole answer is added, and that is all."""
    data = record.to_dict(raw=True)
    assert json.loads(json.dumps(data)) == data
    if hasattr(record, "raw"):
        assert data.pop("raw") == record.raw
        assert data == record.to_dict()


@one_of_each
def test_a_repr_is_one_short_line(record: Any) -> None:
    """Without the raw answer and without what is not known."""
    text = repr(record)
    assert text.startswith(f"{type(record).__name__}(")
    assert text.endswith(")")
    assert len(text) <= 300
    assert text.isprintable()
    assert "raw=" not in text
    assert "=None" not in text


@one_of_each
def test_a_record_is_no_collection(record: Any) -> None:
    """A record in the place of a list is an error, not a list of its fields."""
    assert not isinstance(record, Iterable)
    with pytest.raises(TypeError):
        iter(record)
    with pytest.raises(TypeError):
        "x" in record  # noqa: B015
    with pytest.raises(KeyError):
        record["no such field"]
    with pytest.raises(KeyError):
        record["raw"]


def test_how_values_are_written() -> None:
    """Enumerations as strings, times in ISO 8601 with their zone, arrays as lists."""
    data = INFO.to_dict()
    assert data["created_at"] == "2026-06-20T01:09:43+00:00"
    assert data["problems"] == ["$.likes: expected a whole number, got a string"]
    assert data["card_data"] == {"title": "T", "since": "x"}
    runtime = data["runtime"]
    assert "raw" not in runtime
    assert (runtime["stage"], type(runtime["stage"])) == ("RUNNING", str)
    assert (runtime["hardware"], type(runtime["hardware"])) == ("t4-small", str)
    assert type(runtime["requested_hardware"]) is str
    assert runtime["replicas"] == {"current": 1, "requested": "auto"}
    assert runtime["volumes"][0]["mount_path"] == "/b"
    assert sa.SpaceVariable("K", updated_at=NOON).to_dict()["updated_at"] == (
        "2026-06-20T12:00:00+02:00"
    )
    naive = NOON.replace(tzinfo=None)
    assert sa.LogLine(naive, "", "a/b").to_dict()["timestamp"].endswith("+00:00")
    failed = sa.KeyOutcome("K", "failed", sa.ConfigurationError("no")).to_dict()
    assert (failed["error"], failed["error_type"]) == ("no", "ConfigurationError")


def test_a_value_of_any_kind_becomes_json() -> None:
    """Card data made by hand, and the data of an event, may hold anything."""
    event = sa.SpaceEvent("x", {1: {NOON, 2}, "d": NOON.date(), "o": S.DONE}, "a/b")
    data = json.loads(json.dumps(event.to_dict()))["data"]
    assert sorted(map(str, data["1"])) == ["2", "2026-06-20T12:00:00+02:00"]
    assert (data["d"], data["o"]) == ("2026-06-20", "done")


@given(st.text(max_size=2000), st.lists(st.text(), max_size=50), st.text(max_size=500))
def test_no_repr_is_long(title: str, tags: list[str], stage: str) -> None:
    """Whatever the Hub sends, the repr stays a line of at most 300 characters."""
    info = sa.SpaceInfo(
        "a/" + "b" * 500,
        title=title,
        tags=tuple(tags),
        card_data=dict.fromkeys(tags, tags),
        runtime=sa.SpaceRuntime(stage, error_message=title),
    )
    text = repr(info)
    assert len(text) <= 300
    assert text.isprintable()
    assert len(text.splitlines()) == 1


class Rude:
    """An object whose repr has many lines, and one that raises."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def __repr__(self) -> str:
        if self.text is None:
            raise RuntimeError("no repr")
        return self.text

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = object.__hash__


@pytest.mark.parametrize("text", ["a\nb\r\n" * 200, None])
def test_the_value_of_a_callable_may_be_anything(text: str | None) -> None:
    """It is neither compared nor written as JSON, and its repr is cut."""
    outcome = sa.Outcome("a/b", S.DONE, Rude(text))
    assert len(repr(outcome)) <= 300
    assert len(repr(outcome).splitlines()) == 1
    assert outcome.to_dict()["value"] is None


def test_the_value_of_an_outcome() -> None:
    """A record, or a collection of records, is in its JSON; nothing else is."""
    variables = {"K": sa.SpaceVariable("K", "v", raw={"x": 1})}
    outcome = sa.Outcome("a/b", S.DONE, variables)
    assert outcome.to_dict()["value"]["K"]["value"] == "v"
    assert "raw" not in outcome.to_dict()["value"]["K"]
    assert outcome.to_dict(raw=True)["value"]["K"]["raw"] == {"x": 1}
    runtime = sa.Outcome("a/b", S.DONE, RUNTIME).to_dict(raw=True)
    assert runtime["stage"] == "RUNNING"
    assert runtime["value"]["raw"]["novel"] == [1]
    volumes = sa.Outcome("a/b", S.DONE, RUNTIME.volumes).to_dict()
    assert volumes["value"][0]["source"] == "a/b"
    for other in ("hush-hush", {"K": "hush-hush"}, ["hush-hush"], 7):
        assert sa.Outcome("a/b", S.DONE, other).to_dict()["value"] is None


def test_the_result_of_an_outcome() -> None:
    """It is the value where there is one; else it raises and says why there is none."""
    assert sa.Outcome("a/b", S.DONE, RUNTIME).result is RUNTIME
    assert sa.Outcome("a/b", S.UNCHANGED, RUNTIME).result is RUNTIME
    nothing: sa.Outcome[None] = sa.Outcome("a/b", S.DONE)
    assert nothing.result is None
    error = sa.ConfigurationError("no")
    with pytest.raises(sa.ConfigurationError) as caught:
        _ = sa.Outcome("a/b", S.FAILED, error=error).result
    assert caught.value is error
    with pytest.raises(sa.SpacesError, match="a/b has no result: not_attempted"):
        _ = sa.Outcome("a/b", S.NOT_ATTEMPTED).result
    with pytest.raises(sa.SpacesError, match="an earlier bulk did it"):
        _ = sa.Outcome("a/b", S.DONE, from_journal=True).result


def test_a_created_space_is_its_url() -> None:
    """As the official `RepoUrl` is; without a URL it is the id."""
    url = "https://huggingface.co/spaces/a/b"
    assert str(sa.CreatedSpace("a/b", url)) == f"{sa.CreatedSpace('a/b', url)}" == url
    assert str(sa.CreatedSpace("a/b")) == "a/b"
    assert repr(sa.CreatedSpace("a/b")) == "CreatedSpace(repo_id='a/b')"


app = fastapi.FastAPI()


@app.get("/plain", response_model=None)
async def plain() -> Any:
    return RUNTIME


@app.get("/annotated")
async def annotated() -> sa.SpaceRuntime:
    return RUNTIME


@app.get("/several")
async def several() -> list[sa.SpaceInfo]:
    return [INFO]


@app.get("/perhaps", response_model=sa.SpaceInfo | None)
async def perhaps() -> Any:
    return INFO


@app.get("/nested", response_model=None)
async def nested() -> Any:
    return {"spaces": [INFO], "raw": RUNTIME.raw}


@app.get("/outcome")
async def outcome() -> sa.Outcome[sa.SpaceRuntime]:
    return sa.Outcome("a/b", S.DONE, RUNTIME)


@app.get("/report", response_model=None)
async def report() -> Any:
    return sa.BulkReport[None]("restart")


def test_fastapi_returns_records() -> None:
    """With a return annotation, without one, and inside other data."""
    runtime, info = RUNTIME.to_dict(), INFO.to_dict()
    expected = {
        "/plain": runtime,
        "/annotated": runtime,
        "/several": [info],
        "/perhaps": info,
        "/nested": {"spaces": [info], "raw": dict(RUNTIME.raw)},
        "/outcome": sa.Outcome("a/b", S.DONE, RUNTIME).to_dict(),
        "/report": sa.BulkReport[None]("restart").to_dict(),
    }
    with TestClient(app) as client:
        for path, data in expected.items():
            response = client.get(path)
            assert (response.status_code, response.json()) == (200, data), path
        schema = client.get("/openapi.json").json()
    assert "/annotated" in schema["paths"]


@one_of_each
def test_fastapi_encodes_each_record(record: Any) -> None:
    """What FastAPI makes of a record is what `to_dict` makes of it."""
    assert jsonable_encoder(record) == record.to_dict()


def test_the_repr_of_a_report() -> None:
    """It has the counts that matter, and no outcomes."""
    made = sa.BulkReport[None]("restart")
    for number in range(200):
        status = S.FAILED if number % 100 == 0 else S.DONE
        made._slots[f"a/{number}"] = sa.Outcome(f"a/{number}", status)
    made.stopped_by = StopReason.DEADLINE
    made.elapsed = 12.34567
    assert repr(made) == (
        "BulkReport(operation='restart', stopped_by='deadline', done=198, failed=2,"
        " elapsed=12.346)"
    )


def test_utc_is_written_as_such() -> None:
    """Times of the Hub are UTC."""
    instant = datetime(2026, 1, 2, tzinfo=UTC)
    assert sa.SpaceSecret("K", updated_at=instant).to_dict()["updated_at"] == (
        "2026-01-02T00:00:00+00:00"
    )
