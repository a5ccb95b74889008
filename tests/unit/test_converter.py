"""Decoding: strict where a wrong type would be a lie, open where the Hub grows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces_async import (
    Domain,
    Replicas,
    SpaceHardware,
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
    decode_runtime,
    decode_secrets,
    decode_variables,
    dump_json,
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


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ('{"stage":"X","devMode":"false"}', "$.devMode"),
        ('{"stage":"X","gcTimeout":"12"}', "$.gcTimeout"),
        ('{"stage":"X","gcTimeout":true}', "$.gcTimeout"),
        ('{"stage":"X","gcTimeout":1.5}', "$.gcTimeout"),
        ('{"stage":"X","hardware":[]}', "hardware"),
        ('{"stage":"X","hardware":["x"]}', "hardware"),
        ('{"stage":"X","hardware":{"current":1}}', "$.hardware"),
        ('{"stage":"X","sha":123}', "$.sha"),
        ('{"stage":"X","domains":"abc"}', "$.domains"),
        ('{"stage":"X","domains":[{"domain":1}]}', "domain"),
        ('{"stage":"X","replicas":{"requested":"many"}}', "$.replicas.requested"),
        ('{"stage":"X","hotReloading":{"replicaStatuses":[["a"]]}}', "hotReloading"),
        ('{"stage":null}', "stage is missing"),
        ('{"stage":7}', "$.stage"),
        ("{}", "stage is missing"),
        ("[]", "expected an object"),
        ("null", "expected an object"),
        ('{"error":"down for maintenance"}', "down for maintenance"),
    ],
)
def test_wrong_types_are_refused_and_named(body: str, place: str) -> None:
    """A wrong type is no value: the error says where it is."""
    with pytest.raises(DecodeError) as caught:
        decode_runtime(body.encode())
    assert any(place in problem for problem in caught.value.problems)


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


def test_a_variable_that_is_no_object_is_refused() -> None:
    """A map whose values are bare texts is not what the Hub documents."""
    with pytest.raises(DecodeError):
        decode_variables(b'{"foo":"123"}')


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
