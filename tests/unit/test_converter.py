"""Decoding: strict where a wrong type would be a lie, open where the Hub grows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async import (
    Domain,
    HotReloading,
    Replicas,
    SpaceHardware,
    SpaceInfo,
    SpaceRuntime,
    SpaceSdk,
    SpaceStage,
    Volume,
    VolumeType,
)
from spaces_async._wire.converter import (
    DecodeError,
    decode_info,
    decode_infos,
    decode_polled_infos,
    decode_runtime,
    decode_runtime_with_volumes,
    decode_secrets,
    decode_variables,
    decode_written_variables,
    dump_json,
    is_unreadable,
    parse_json,
)

BUILDING_2025 = (
    '{"stage":"BUILDING","hardware":{"current":null,"requested":"cpu-basic"},'
    '"storage":null,"gcTimeout":172800,"replicas":{"requested":1},"devMode":false,'
    '"domains":[{"domain":"user-tmp-test-space.hf.space","stage":"READY"}]}'
)
BUILDING_2023 = (
    '{"stage":"BUILDING","hardware":{"current":null,"requested":"cpu-basic"},'
    '"storage":null,"gcTimeout":172800,"replicas":{"current":1,"requested":1}}'
)
STATIC_2025 = (
    '{"stage":"RUNNING","hardware":{"current":null,"requested":null},'
    '"storage":null,"replicas":{"requested":1,"current":1}}'
)
PAUSED_2026 = (
    '{"stage":"PAUSED","hardware":{"current":null,"requested":"cpu-basic"},'
    '"replicas":{"current":null,"requested":1}}'
)
AUTO_2026 = (
    '{"stage":"RUNNING","hardware":{"current":"zero-a10g","requested":"zero-a10g"},'
    '"replicas":{"current":3,"requested":"auto"}}'
)
LIVE_2026 = (
    '{"_id":"67e454cdd4f34388bcd19c38","id":"enzostvs/deepsite","author":"enzostvs",'
    '"disabled":false,"lastModified":"2026-02-06T12:47:43.000Z","likes":16610,'
    '"private":false,"sha":"d4c8bedc29019597fa5dd25cd8a73e875f1ea8b9",'
    '"subdomain":"enzostvs-deepsite","sdk":"docker","runtime":{"stage":"RUNNING",'
    '"hardware":{"current":"cpu-xl","requested":"cpu-xl"},"gcTimeout":172800,'
    '"replicas":{"current":1,"requested":1},"devMode":false,'
    '"domains":[{"domain":"enzostvs-space-generator.hf.space","stage":"READY"},'
    '{"domain":"deepsite.hf.co","stage":"EXPIRED_CHALLENGE"}],'
    '"pySpacesVersion":"0.48.2"},"region":"us","tags":["docker","region:us"],'
    '"createdAt":"2025-03-26T19:26:05.000Z"}'
)
BASIC = SpaceHardware.CPU_BASIC
ZERO = SpaceHardware.ZERO_A10G


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (
            BUILDING_2025,
            SpaceRuntime(
                stage=SpaceStage.BUILDING,
                requested_hardware=BASIC,
                sleep_time=172800,
                dev_mode=False,
                replicas=Replicas(requested=1),
                domains=(Domain("user-tmp-test-space.hf.space", "READY"),),
            ),
        ),
        (
            BUILDING_2023,
            SpaceRuntime(
                stage=SpaceStage.BUILDING,
                requested_hardware=BASIC,
                sleep_time=172800,
                replicas=Replicas(1, 1),
            ),
        ),
        (STATIC_2025, SpaceRuntime(SpaceStage.RUNNING, replicas=Replicas(1, 1))),
        (
            PAUSED_2026,
            SpaceRuntime(
                SpaceStage.PAUSED,
                requested_hardware=BASIC,
                replicas=Replicas(None, 1),
            ),
        ),
        (
            AUTO_2026,
            SpaceRuntime(
                SpaceStage.RUNNING,
                hardware=ZERO,
                requested_hardware=ZERO,
                replicas=Replicas(3, "auto"),
            ),
        ),
    ],
)
def test_recorded_runtimes(recorded: str, expected: SpaceRuntime) -> None:
    """The answers that were recorded from the Hub decode to the last key."""
    runtime = decode_runtime(recorded.encode())
    assert runtime == expected
    assert runtime.raw == json.loads(recorded)


def test_a_live_listing_element() -> None:
    """An element of a real listing decodes, its runtime included."""
    (info,) = decode_infos(f"[{LIVE_2026}]".encode())
    assert (info.id, info.author, info.name) == (
        "enzostvs/deepsite",
        "enzostvs",
        "deepsite",
    )
    assert info.sdk is SpaceSdk.DOCKER
    assert info.stage is SpaceStage.RUNNING
    assert info.tags == ("docker", "region:us")
    assert info.created_at is not None
    assert info.created_at.isoformat() == "2025-03-26T19:26:05+00:00"
    assert info.runtime is not None
    assert info.runtime.raw["pySpacesVersion"] == "0.48.2"


def test_a_listing_with_expand_may_lack_everything_but_the_id() -> None:
    """With `expand` only what was asked for comes; the author is read off the id."""
    info = decode_info(b'{"_id":"1","id":"acme/demo"}')
    assert info.author == "acme"
    assert info.private is None
    assert info.runtime is None


def test_info_shapes_that_differ() -> None:
    """Files, models and card data come in several shapes."""
    info = decode_info(
        b'{"id":"a/b","siblings":[{"rfilename":"app.py"}],"models":["m/1",{"id":"m/2"}],'
        b'"cardData":{"title":"T"},"gated":"auto","trendingScore":3,'
        b'"ai_short_description":"does things","likes":2.0}'
    )
    assert info.siblings == ("app.py",)
    assert info.models == ("m/1", "m/2")
    assert info.title == "T"
    assert info.gated == "auto"
    assert info.trending_score == 3.0
    assert info.short_description == "does things"
    assert info.likes == 2


DOCUMENTED = (
    '{"stage":"RUNNING","hardware":{"current":"cpu-basic","requested":"cpu-basic"},'
    '"gcTimeout":300,"rawLogs":true,"sdk":"gradio","sdkVersion":"4.0.0"}'
)


def test_the_documented_runtime() -> None:
    """The answer that the Hub's own documentation gives decodes without a problem."""
    runtime = decode_runtime(DOCUMENTED.encode())
    assert runtime == SpaceRuntime(
        "RUNNING",
        hardware=BASIC,
        requested_hardware=BASIC,
        sleep_time=300,
        sdk=SpaceSdk.GRADIO,
        sdk_version="4.0.0",
        raw_logs=True,
    )
    assert runtime.problems == ()
    assert decode_runtime(b'{"stage":"X","rawLogs":"text"}').raw_logs == "text"


@pytest.mark.parametrize(
    ("sent", "field", "problem"),
    [
        (
            '"devMode":"false"',
            "dev_mode",
            "$.devMode: expected a boolean, got a string",
        ),
        ('"gcTimeout":"12"', "sleep_time", "$.gcTimeout: expected a whole number"),
        ('"gcTimeout":true', "sleep_time", "$.gcTimeout: expected a whole number"),
        ('"gcTimeout":1.5', "sleep_time", "$.gcTimeout: expected a whole number"),
        ('"hardware":[]', "hardware", "$.hardware: expected an object, got an array"),
        ('"hardware":"t4"', "requested_hardware", "$.hardware: expected an object"),
        (
            '"hardware":{"current":1}',
            "hardware",
            "$.hardware.current: expected a string",
        ),
        ('"sha":123', "sha", "$.sha: expected a string, got a number"),
        ('"rawLogs":7', "raw_logs", "$.rawLogs: expected a boolean or a string"),
        ('"storage":{"current":"small"}', "storage", "$.storage: expected a string"),
        ('"replicas":1', "replicas", "$.replicas: expected an object, got a number"),
        ('"volumes":{}', "volumes", "$.volumes: expected an array, got an object"),
    ],
)
def test_an_odd_value_costs_its_field_only(sent: str, field: str, problem: str) -> None:
    """A wrong type is no value: the field is None, and `problems` says where and why."""
    body = '{"errorMessage":"x","stage":"PAUSED",' + sent + "}"
    runtime = decode_runtime(body.encode())
    assert getattr(runtime, field) is None
    assert len(runtime.problems) == 1
    assert runtime.problems[0].startswith(problem)
    assert (runtime.stage, runtime.error_message) == (SpaceStage.PAUSED, "x")
    assert runtime.raw == json.loads(body)
    assert is_unreadable(runtime, field)
    assert not is_unreadable(runtime, "error_message", "domains")


def test_what_can_be_read_of_a_part_is_read() -> None:
    """An odd item of an array and an odd key of an object cost nothing around them."""
    runtime = decode_runtime(
        b'{"stage":"X","domains":[{"domain":1},{"domain":"a.hf.space","stage":2}],'
        b'"replicas":{"current":2,"requested":"many"},'
        b'"hotReloading":{"status":"created","replicaStatuses":[["a"],["b",null]]}}'
    )
    assert runtime.domains == (Domain("a.hf.space"),)
    assert runtime.replicas == Replicas(2)
    assert runtime.hot_reloading == HotReloading("created", (("b", None),))
    assert runtime.problems == (
        "$.replicas.requested: expected a whole number, got a string",
        "$.domains[0].domain: expected a string, got a number",
        "$.domains[1].stage: expected a string, got a number",
        "$.hotReloading.replicaStatuses[0]: expected an array of 2, got an array",
    )


def test_volumes_are_read_whole_or_not_at_all() -> None:
    """They are written again with one more: one left out would be unmounted."""
    body = (
        b'{"stage":"X","volumes":[{"type":"bucket","source":"a/b","mountPath":"/b"},'
        b'{"type":"model","source":"a/m","mountPath":"/m","revision":3}]}'
    )
    runtime = decode_runtime(body)
    assert runtime.volumes is None
    assert runtime.problems == (
        "$.volumes[1].revision: expected a string, got a number",
    )
    with pytest.raises(DecodeError) as caught:
        decode_runtime_with_volumes(body)
    assert caught.value.problems == runtime.problems
    assert decode_runtime_with_volumes(b'{"stage":"X","sha":1}').volumes is None


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ('{"stage":null}', "$: stage is missing"),
        ('{"stage":7}', "$.stage: expected a string, got a number"),
        ('{"stage":7,"sha":1}', "$.stage: expected a string, got a number"),
        ("{}", "$: stage is missing"),
        ("[]", "expected an object"),
        ("null", "expected an object"),
        ('{"error":"down for maintenance"}', "down for maintenance"),
    ],
)
def test_what_is_no_runtime_is_refused_and_named(body: str, place: str) -> None:
    """Without a stage it is no runtime: the error says where it is wrong."""
    with pytest.raises(DecodeError) as caught:
        decode_runtime(body.encode())
    assert any(place in problem for problem in caught.value.problems)


def test_an_odd_space_of_a_listing(caplog: pytest.LogCaptureFixture) -> None:
    """Each Space is there with what can be read; one log record tells of the page."""
    odd: dict[str, Any] = {
        "id": "acme/odd",
        "cardData": {"title": 2048, "sdk_version": 4.1},
        "tags": ["a", None, 3],
        "private": "protected",
        "createdAt": "2022-03-02 23:29:05 UTC",
        "runtime": {"stage": "RUNNING", "gcTimeout": "172800"},
        "siblings": [{"size": 3}, {"rfilename": "app.py"}],
        "models": "gpt2",
        "ai_short_description": 7,
    }
    rows = [{"id": "acme/a"}, odd, {"id": "acme/b", "runtime": {}}, {"id": "acme/c"}]
    first, info, third, _ = decode_infos(json.dumps(rows).encode())
    assert first == SpaceInfo("acme/a", "acme")
    assert first.problems == ()
    assert info.tags == ("a",)
    assert info.siblings == ("app.py",)
    assert info.runtime == SpaceRuntime("RUNNING")
    assert is_unreadable(info.runtime, "sleep_time")
    assert (info.private, info.created_at, info.models) == (None, None, None)
    assert (info.title, info.sdk_version, info.short_description) == (None, None, None)
    assert info.card_data == odd["cardData"]
    assert info.raw == odd
    assert [problem.partition(":")[0] for problem in info.problems] == [
        "$.private",
        "$.tags[1]",
        "$.tags[2]",
        "$.createdAt",
        "$.runtime.gcTimeout",
        "$.models",
        "$.siblings[0]",
        "$.cardData.title",
        "$.ai_short_description",
        "$.cardData.sdk_version",
    ]
    assert third.runtime is None
    assert third.problems == ("$.runtime: stage is missing",)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "of a page of 4 SpaceInfo: 2 with unreadable fields" in record.message
    assert "'acme/odd'" in record.message


def test_a_record_without_an_id_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """It could not be named; the others of the page are there."""
    rows = [{"id": "a/b"}, {"id": None}, {"id": 7}, None, "a/c", {"id": "a/d"}]
    assert [i.id for i in decode_infos(json.dumps(rows).encode())] == ["a/b", "a/d"]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message == (
        "of a page of 6 SpaceInfo: 4 left out as unreadable: number 1 ($: id is"
        " missing); number 2 ($.id: expected a string, got a number); number 3 ($:"
        " expected an object, got null); 1 more"
    )


def test_a_listing_of_which_nothing_can_be_read_is_none() -> None:
    """It would look like an empty one."""
    with pytest.raises(DecodeError, match="documented shape"):
        decode_infos(b'[{"name":"a"},{"name":"b"}]')
    assert decode_infos(b"[]") == []


def test_a_polled_listing_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is read every few seconds, and none of its other fields is looked at."""
    (info,) = decode_polled_infos(b'[{"id":"a/b","likes":"3"}]')
    assert info.problems
    assert not caplog.records


def test_a_log_stays_short_and_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever an id holds, and however much is odd."""
    rows = [{"id": f"a\n\x1b[31m{'x' * 500}/{n}", "likes": "3"} for n in range(500)]
    assert len(decode_infos(json.dumps(rows).encode())) == 500
    (record,) = caplog.records
    assert "\n" not in record.message
    assert "\x1b" not in record.message
    assert "497 more" in record.message
    assert len(record.message) < 1000


def test_problems_are_bounded() -> None:
    """A million odd items are a few problems, and as good as no array."""
    few = decode_info(b'{"id":"a/b","tags":["x"' + b",0" * 500 + b"]}")
    assert few.tags == ("x",)
    assert few.problems[-1] == "$.tags: 497 more unreadable items"
    assert len(few.problems) == 4
    many = decode_info(b'{"id":"a/b","tags":["x"' + b",0" * 1_000_000 + b"]}")
    assert many.tags is None
    assert many.problems[-1] == "$.tags: too many unreadable items"
    assert len(many.problems) == 4


def test_the_card_tells_title_and_sdk_version() -> None:
    """What the answer itself says comes first."""
    card = b'"cardData":{"title":"T","sdk_version":"5.0.1"}'
    info = decode_info(b'{"id":"a/b",' + card + b"}")
    assert (info.title, info.sdk_version) == ("T", "5.0.1")
    info = decode_info(b'{"id":"a/b","sdkVersion":"6.0",' + card + b"}")
    assert (info.title, info.sdk_version) == ("T", "6.0")


def test_keys_called_as_our_own_fields_are_only_raw() -> None:
    """The Hub may send `problems` or `raw`; ours are not theirs."""
    info = decode_info(b'{"id":"a/b","problems":["x"],"raw":1}')
    assert info.problems == ()
    assert info.raw == {"id": "a/b", "problems": ["x"], "raw": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b'{"stage": "RUNN',
        b"\xff\xfe{}",
        b'\xef\xbb\xbf{"stage":"X"}',
        '{"stage":"X"}'.encode("utf-16"),
        b'{"stage":NaN}',
        b"<html></html>",
        b"[" * 200_000,
        b'{"stage":"\\ud800"}',
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Cut, badly encoded or absurdly nested JSON is a decode error, never a crash."""
    with pytest.raises(DecodeError):
        decode_runtime(body)


def test_variables_of_both_years() -> None:
    """The map of variables decodes with and without keys inside."""
    variables = decode_variables(
        b'{"foo":{"value":"123","updatedAt":"2025-03-07T12:24:18.657Z"},'
        b'"MODEL_PAPER":{"key":"MODEL_PAPER","value":"arXiv","description":"there"}}'
    )
    assert variables["foo"].key == "foo"
    assert variables["foo"].updated_at is not None
    assert variables["foo"].updated_at.microsecond == 657_000
    assert variables["MODEL_PAPER"].description == "there"
    assert decode_variables(b"{}") == {}


def test_a_value_of_another_type_is_refused_when_it_is_read() -> None:
    """A copy of the variables must not lose one; a write was done all the same."""
    body = b'{"A":{"value":"1"},"B":{"value":2,"updatedAt":"yesterday"}}'
    with pytest.raises(DecodeError) as caught:
        decode_variables(body)
    assert caught.value.problems == ("$.B.value: expected a string, got a number",)
    written = decode_written_variables(body)
    assert written["A"].value == "1"
    assert written["B"].value is None
    assert [p.partition(":")[0] for p in written["B"].problems] == [
        "$.value",
        "$.updatedAt",
    ]
    odd = decode_variables(b'{"A":{"value":"1","updatedAt":"yesterday"}}')["A"]
    assert (odd.value, odd.updated_at) == ("1", None)
    assert odd.problems == (
        "$.updatedAt: expected an ISO 8601 date and time, got a string",
    )


def test_a_variable_that_is_no_object_is_refused() -> None:
    """A map whose values are bare texts is not what the Hub documents."""
    with pytest.raises(DecodeError) as caught:
        decode_variables(b'{"foo":"123"}')
    assert caught.value.problems == ("$.foo: expected an object, got a string",)


def test_secrets_have_names_only() -> None:
    """The map of secrets tells names, descriptions and times."""
    secrets = decode_secrets(b'{"S":{"key":"S","updatedAt":"2026-01-01T00:00:00Z"}}')
    assert secrets["S"].key == "S"
    assert not hasattr(secrets["S"], "value")


def test_volumes_go_out_as_the_hub_spells_them() -> None:
    """A volume is written in camelCase, without what was left open."""
    volumes = [
        Volume(VolumeType.BUCKET, "a/b", "/data"),
        Volume(VolumeType.MODEL, "a/b", "/m", revision="v1", read_only=True, path="x"),
    ]
    assert parse_json(dump_json(volumes)) == [
        {"type": "bucket", "source": "a/b", "mountPath": "/data"},
        {
            "type": "model",
            "source": "a/b",
            "mountPath": "/m",
            "revision": "v1",
            "readOnly": True,
            "path": "x",
        },
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
KNOWN = set(json.loads(BUILDING_2025)) | {
    *("sha", "volumes", "hotReloading", "errorMessage", "sdk", "sdkVersion"),
    *("rawLogs", "hardware", "requestedHardware", "raw"),
}


@given(
    st.dictionaries(st.text(max_size=12), json_values, max_size=4),
    st.sets(st.sampled_from(sorted(json.loads(BUILDING_2025)))),
    st.text("ABCXYZ_", min_size=1, max_size=20),
    st.text("abcxyz-0123", min_size=1, max_size=20),
)
def test_drift_is_survived(
    extra: dict[str, Any], dropped: set[str], stage: str, flavor: str
) -> None:
    """Unknown keys, absent keys, new stages and flavors decode; nothing is lost."""
    data = {k: v for k, v in json.loads(BUILDING_2025).items() if k not in dropped}
    data |= {k: v for k, v in extra.items() if k not in KNOWN}
    data |= {"stage": stage, "hardware": {"current": flavor, "requested": None}}
    runtime = decode_runtime(json.dumps(data).encode())
    assert runtime.stage == stage
    assert runtime.hardware == flavor
    assert runtime.raw == data


@given(st.binary(max_size=60) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_body_decodes_or_is_refused(body: bytes) -> None:
    """Whatever comes, it is a record or a decode error."""
    for decode in (decode_runtime, decode_info, decode_infos, decode_variables):
        try:
            decode(body)
        except DecodeError:
            continue
