"""What callers may pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from spaces_async import ConfigurationError, SpacesClient, Volume, VolumeType
from spaces_async import _validate as v

GOOD = ["acme/demo", "a/b", "A-b_c.d/0", "x" * 96 + "/" + "y" * 96, "_a/_b"]
BAD: list[object] = [
    "",
    "demo",
    "/",
    "acme/",
    "/demo",
    "acme//demo",
    "acme/demo/x",
    "../demo",
    "acme/..",
    "acme/a..b",
    "./demo",
    "acme/.",
    "acme/de mo",
    "acme/demo?x=1",
    "acme/demo#f",
    "acme/de%2fmo",
    "acme/demo\n",
    "acme/demo\r\nX: y",
    "acme/\x00",
    "acme\\demo",
    "acme/dém",
    "acme／demo",  # noqa: RUF001  (on purpose)
    "acme/-x",
    "acme/x.",
    "x" * 97 + "/demo",
    "acme/" + "x" * 97,
    None,
    7,
    b"acme/demo",
    ("acme", "demo"),
]


@pytest.mark.parametrize("value", GOOD)
def test_good_ids_come_apart(value: str) -> None:
    """An id is its owner and its name."""
    assert "/".join(v.repo_id(value)) == value


@pytest.mark.parametrize("value", BAD)
def test_bad_ids_are_refused(value: object) -> None:
    """What is no id is refused with a clear error."""
    with pytest.raises(ConfigurationError, match="repo_id must be"):
        v.repo_id(value)


def test_a_url_gets_a_hint() -> None:
    """Who pastes the URL of a Space is told what the id is."""
    with pytest.raises(ConfigurationError, match="after /spaces/"):
        v.repo_id("https://huggingface.co/spaces/acme/demo")


@given(st.text(max_size=200))
def test_no_id_reaches_another_path(value: str) -> None:
    """An id that is accepted is exactly two segments, as they stand."""
    try:
        owner, name = v.repo_id(value)
    except ConfigurationError:
        return
    url = URL("https://hub.example").joinpath("api", "spaces", owner, name, "restart")
    assert url.raw_path == f"/api/spaces/{value}/restart"
    assert url.raw_path.count("/") == 5
    assert not url.query_string
    assert not url.fragment


@pytest.mark.parametrize("key", ["A", "a1", "HF_TOKEN", "x_"])
def test_good_keys(key: str) -> None:
    """The Hub's rule: a letter, then letters, digits and underscores."""
    assert v.key(key) == key


@pytest.mark.parametrize("key", ["", "1a", "_a", "a-b", "a b", "a\n", "é", None, 3])
def test_bad_keys(key: object) -> None:
    """Everything else is refused."""
    with pytest.raises(ConfigurationError, match="key"):
        v.key(key)


@pytest.mark.parametrize("seconds", [-1, 1, 172_800])
def test_good_sleep_times(seconds: int) -> None:
    """Above zero, or -1 for never."""
    assert v.sleep_time(seconds) == seconds


@pytest.mark.parametrize("seconds", [0, -2, True, 1.5, "60", None])
def test_bad_sleep_times(seconds: object) -> None:
    """Zero, other negatives and what is no whole number are refused."""
    with pytest.raises(ConfigurationError, match="sleep time"):
        v.sleep_time(seconds)


@pytest.mark.parametrize("flavor", ["cpu-basic", "t4-small", "h300x16"])
def test_well_formed_flavors_pass(flavor: str) -> None:
    """A new flavor is the Hub's business."""
    assert v.flavor(flavor) == flavor


@pytest.mark.parametrize("flavor", ["", "T4", "t4 small", "-x", "x/y", None, 4])
def test_malformed_flavors(flavor: object) -> None:
    """What cannot be a flavor is refused, and the known ones are named."""
    with pytest.raises(ConfigurationError, match="cpu-basic"):
        v.flavor(flavor)


@pytest.mark.parametrize("tier", ["huge", "", "Small", None])
def test_bad_tiers(tier: object) -> None:
    """The list of legacy tiers is closed."""
    with pytest.raises(ConfigurationError, match="small, medium, large"):
        v.tier(tier)


@pytest.mark.parametrize(
    "paths", [["data"], ["/"], ["/a/../b"], ["/data", "/data"], [""]]
)
def test_bad_mounts(paths: list[str]) -> None:
    """A mount path is absolute, stays inside and is used once."""
    with pytest.raises(ConfigurationError):
        v.volumes(Volume(VolumeType.BUCKET, "a/b", path) for path in paths)


def test_long_values_are_cut_in_errors() -> None:
    """An error stays one readable line."""
    with pytest.raises(ConfigurationError) as caught:
        v.repo_id("x" * 10_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "endpoint",
    [
        "huggingface.co",
        "ftp://hub.example",
        "https://",
        "https://user:pw@hub.example",
        "https://hub.example?x=1",
        "https://hub.example#x",
        "http://[",
    ],
)
def test_bad_endpoints(endpoint: str) -> None:
    """An endpoint is a plain http or https URL; a password in it is not repeated."""
    with pytest.raises(ConfigurationError) as caught:
        SpacesClient(token=False, endpoint=endpoint)
    assert "pw" not in str(caught.value)
