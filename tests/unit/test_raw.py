"""The JSON object of a runtime is kept as bytes and behaves like the dict that it is."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import sys
import threading
import tracemalloc
from collections.abc import Mapping

import pytest

from spaces_async import SpaceRuntime
from spaces_async._wire.converter import decode_info, decode_infos, decode_runtime
from spaces_async._wire.raw import RawObject

BODY = (
    b'{"stage":"RUNNING","hardware":{"current":"cpu-xl","requested":"cpu-xl"},'
    b'"gcTimeout":172800,"replicas":{"current":1,"requested":1},"devMode":false,'
    b'"domains":[{"domain":"acme-demo.hf.space","stage":"READY"},'
    b'{"domain":"demo.acme.example","stage":"PENDING"}],"pySpacesVersion":"0.48.2",'
    b'"sha":"d4c8bedc29019597fa5dd25cd8a73e875f1ea8b9"}'
)
DATA = json.loads(BODY)


def test_it_is_read_like_a_dict() -> None:
    """Keys, values, membership, length and defaults are those of the object."""
    raw = decode_runtime(BODY).raw
    assert isinstance(raw, Mapping)
    assert raw["hardware"]["current"] == "cpu-xl"
    assert list(raw) == list(raw.keys()) == list(DATA)
    assert list(raw.values()) == list(DATA.values())
    assert dict(raw) == dict(raw.items()) == {**raw} == DATA
    assert len(raw) == len(DATA)
    assert "sha" in raw
    assert raw.get("none", 1) == 1
    with pytest.raises(KeyError, match="none"):
        raw["none"]


def test_it_compares_copies_pickles_and_reprs_as_a_dict() -> None:
    """Whatever came as the same object is equal, in any spelling."""
    raw = RawObject(BODY)
    assert raw == RawObject(BODY) == RawObject(json.dumps(DATA, indent=1).encode())
    assert raw == DATA
    assert DATA == raw  # noqa: SIM300  (a dict asks the other side)
    assert raw != {**DATA, "stage": "PAUSED"}
    assert raw != 1
    assert repr(raw) == repr(DATA)
    assert copy.copy(raw) == copy.deepcopy(raw) == pickle.loads(pickle.dumps(raw))  # noqa: S301  (our own)
    with pytest.raises(TypeError):
        hash(raw)


def test_what_is_read_changes_nothing() -> None:
    """A caller that changes what it got changes no other caller's."""
    raw = RawObject(BODY)
    raw["hardware"]["current"] = "t4-small"
    assert raw == DATA


def test_a_runtime_with_it_copies_and_pickles() -> None:
    """As one that was made by hand."""
    runtime = decode_runtime(BODY)
    for again in (copy.deepcopy(runtime), pickle.loads(pickle.dumps(runtime))):  # noqa: S301  (our own)
        assert again == runtime
        assert again.raw == DATA
    assert runtime.to_dict(raw=True)["raw"] == DATA
    assert json.loads(json.dumps(runtime.to_dict(raw=True)))["raw"] == DATA
    assert hash(runtime) == hash(copy.copy(runtime))


def test_a_listing_keeps_no_page_alive() -> None:
    """A record of a page has the bytes of its own object, and not those of the page."""
    page = (
        b'[{"id":"a/b","runtime":{"stage":"X"}},{"id":"a/c","runtime":{"stage":"Y"}}]'
    )
    first, second = decode_infos(page)
    assert first.raw == {"id": "a/b", "runtime": {"stage": "X"}}
    assert second.raw == {"id": "a/c", "runtime": {"stage": "Y"}}
    assert first.runtime is not None
    assert second.runtime is not None
    assert first.runtime.raw == {"stage": "X"} != second.runtime.raw
    kept = pickle.dumps((second, second.runtime))
    assert b"a/c" in kept
    assert b"a/b" not in kept
    copied = copy.deepcopy(second.runtime)
    assert copied.raw == pickle.loads(kept)[1].raw == {"stage": "Y"}  # noqa: S301  (our own)
    assert type(decode_info(b'{"id":"a/b"}').raw) is dict


def test_a_listing_takes_little_memory() -> None:
    """A Space with its runtime takes less than 2,000 bytes; with dicts it took 3,200."""
    item = b'{"_id":"%024d","id":"acme/s%d","tags":["docker","region:us"],"runtime":%b}'
    count = 300
    page = b"[%b]" % b",".join(item % (n, n, BODY) for n in range(count))
    decode_infos(page)
    gc.collect()
    tracemalloc.start()
    try:
        infos = decode_infos(page)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(infos) == count
    assert size / count < 2000


def test_a_runtime_takes_little_memory() -> None:
    """With its raw answer it takes less than 1,500 bytes; as a dict it took 2,100."""
    count = 500
    decode_runtime(BODY)
    gc.collect()
    bodies = [bytes(bytearray(BODY)) for _ in range(count)]
    tracemalloc.start()
    try:
        runtimes = [decode_runtime(body) for body in bodies]
        size, _ = tracemalloc.get_traced_memory()
        for runtime in runtimes:
            assert runtime.raw["sha"]
            runtime.to_dict(raw=True)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The bodies were there before tracing began, and are kept from now on.
    each = size / count + sys.getsizeof(BODY)
    assert each < 1500
    assert after - size < count * 50, "what was parsed is kept"


def test_threads_share_it() -> None:
    """It never changes, so it is the same in all threads at any time."""
    runtime = decode_runtime(BODY)
    wrong: list[object] = []

    def look() -> None:
        wrong.extend(runtime.raw for _ in range(300) if runtime.raw != DATA)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_runtime_made_by_hand_has_what_it_was_given() -> None:
    """Tests of users make records without any answer."""
    assert SpaceRuntime("RUNNING").raw == {}
    assert SpaceRuntime("RUNNING", raw=DATA).raw is DATA
