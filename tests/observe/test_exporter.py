"""The exporter: what a scrape costs, shows, and leaves out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

import spaces_async as sa
from spaces_async._exporter import fleet as fleets
from spaces_async._exporter.fleet import Fleet
from spaces_async._exporter.server import serve
from spaces_async.cli import main
from spaces_async.testing import FakeHub, Fault, ManualClock, Quota
from tests.observe.promtool import check_metrics

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@asynccontextmanager
async def exporter(
    hub: FakeHub,
    *owners: str,
    probe: str | None = None,
    limit: float = 30.0,
    app_url: str | None = None,
) -> AsyncIterator[tuple[str, Fleet]]:
    """Serve the metrics of some owners of a Hub; give the URL."""
    settings = sa.ClientSettings(app_url=app_url or hub.app_url, reserve=0)
    async with sa.SpacesClient(
        token=hub.token, endpoint=hub.url, settings=settings
    ) as client:
        quick = client.with_options(retry=sa.RetryPolicy.off(max_rate_limit_wait=0.0))
        fleet = Fleet(quick, owners or ("acme",), probe=probe, limit=limit)
        async with serve(fleet, "127.0.0.1", 0) as urls:
            yield urls[0], fleet


async def scrape(url: str, headers: Mapping[str, str] | None = None) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers) as response,
    ):
        assert response.status == 200
        return await response.text()


def samples(text: str) -> Samples:
    """Parse a scrape; a series that comes twice is an error, as in Prometheus."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def value(text: str, name: str, **labels: str) -> float | None:
    """Return the only value of a metric that has these labels, if there is one."""
    wanted = {*labels.items()}
    values = [
        number
        for (metric, given), number in samples(text).items()
        if metric == name and wanted <= given
    ]
    assert len(values) < 2
    return values[0] if values else None


def of_space(text: str, name: str, space: str) -> float | None:
    return value(text, name, org="acme", space=f"acme/{space}")


async def test_what_a_scrape_shows(hub: FakeHub) -> None:
    """Of each Space: its stage, what it is, its replicas and its cost."""
    hub.add_space("acme/gpu", hardware="t4-small", visibility="private")
    hub.add_space("acme/broken", stage="RUNTIME_ERROR", sdk="docker")
    hub.add_space("acme/paused", stage="PAUSED", hardware="t4-small")
    hub.add_space("acme/page", sdk="static")
    async with exporter(hub) as (url, _):
        text = await scrape(url)
    assert value(text, "hf_space_stage", space="acme/gpu", stage="RUNNING") == 1
    assert value(text, "hf_space_stage", space="acme/broken") == 1
    assert value(text, "hf_space_stage", stage="RUNTIME_ERROR") == 1
    info = {"space": "acme/gpu", "hardware": "t4-small", "visibility": "private"}
    assert value(text, "hf_space_info", **info) == 1
    assert value(text, "hf_space_info", space="acme/broken", sdk="docker") == 1
    replicas = {"gpu": 1.0, "broken": 0.0, "paused": 0.0, "page": None}
    assert {n: of_space(text, "hf_space_replicas", n) for n in replicas} == replicas
    assert of_space(text, "hf_space_cost_usd_per_hour", "gpu") == pytest.approx(
        0.4, 0.01
    )
    assert of_space(text, "hf_space_cost_usd_per_hour", "paused") == 0
    assert value(text, "hf_fleet_spaces", org="acme") == 5
    assert value(text, "hf_fleet_scrape_success", org="acme") == 1
    assert (value(text, "hf_fleet_scrape_duration_seconds", org="acme") or 0) > 0
    assert value(text, "hf_hub_quota_limit") == 1000
    assert value(text, "hf_hub_quota_remaining") == hub.remaining()
    assert value(text, "hf_fleet_prices_success") == 1
    assert value(text, "hf_exporter_build_info", version=sa.__version__) == 1


async def test_a_commit_that_does_not_run_yet_lags(hub: FakeHub) -> None:
    """It is 1 where the newest commit is another one than runs, and absent at rest."""
    hub.add_space("acme/behind").head_sha = "f" * 40
    hub.add_space("acme/resting", stage="SLEEPING").head_sha = "f" * 40
    async with exporter(hub) as (url, _):
        text = await scrape(url)
    assert of_space(text, "hf_space_commit_lag", "demo") == 0
    assert of_space(text, "hf_space_commit_lag", "behind") == 1
    assert of_space(text, "hf_space_commit_lag", "resting") is None


async def test_what_is_not_known_is_absent(hub: FakeHub) -> None:
    """A price, a stage or a probe that is not known makes no series, and no 0."""
    hub.add_space("acme/gpu", hardware="t4-small")
    hub.faults("GET /api/spaces/hardware", Fault.status(500), times=None)
    async with exporter(hub) as (url, _):
        text = await scrape(url)
    assert value(text, "hf_fleet_prices_success") == 0
    assert of_space(text, "hf_space_cost_usd_per_hour", "gpu") is None
    assert of_space(text, "hf_space_cost_usd_per_hour", "demo") == 0  # it is free
    assert of_space(text, "hf_space_replicas", "gpu") == 1
    assert "hf_space_probe_up{" not in text


async def test_a_scrape_costs_one_call_for_500_spaces(hub: FakeHub) -> None:
    """A scrape lists the owner and reads nothing else, the prices once."""
    hub.add_space("acme/gpu", hardware="t4-small")
    for number in range(599):
        hub.add_space(f"acme/s{number}")
    async with exporter(hub) as (url, _):
        await scrape(url)
        assert [r.path for r in hub.requests] == [
            "/api/spaces",
            "/api/spaces",
            "/api/spaces/hardware",
        ]
        text = await scrape(url)
    assert hub.count("GET", "/hardware") == 1
    assert hub.count("GET", "/api/spaces") == 4
    assert value(text, "hf_fleet_spaces") == 601


async def test_scrapes_that_overlap_share_a_listing() -> None:
    """However many ask while one is read, the Hub is asked once."""
    clock = ManualClock()
    async with FakeHub(clock=clock) as hub:
        hub.add_org("acme", members={"tester": "write"})
        hub.add_space("acme/demo")
        hub.faults("GET /api/spaces", Fault.delay(5.0))
        async with exporter(hub) as (_, fleet), asyncio.timeout(30):
            first = asyncio.create_task(fleet.read())
            while not hub.in_flight:
                await asyncio.sleep(0)
            others = [asyncio.create_task(fleet.read()) for _ in range(4)]
            await asyncio.sleep(0)
            clock.advance(5.0)
            for scrape_ in (first, *others):
                assert [owner.success for owner in (await scrape_).owners] == [True]
            assert hub.count("GET", "/api/spaces") == 1
            await fleet.read()
            assert hub.count("GET", "/api/spaces") == 2


async def test_an_owner_that_cannot_be_listed(hub: FakeHub) -> None:
    """The others are shown all the same; the failure is a metric."""
    hub.add_org("beta", members={"tester": "write"})
    hub.add_space("beta/one")
    async with exporter(hub, "acme", "beta") as (url, _):
        hub.faults("GET /api/spaces", Fault.status(500))
        text = await scrape(url)
    # Which of the two the fault hits is open.
    failed, good = sorted(
        (value(text, "hf_fleet_scrape_success", org=org), org)
        for org in ("acme", "beta")
    )
    assert (failed[0], good[0]) == (0, 1)
    assert value(text, "hf_fleet_spaces", org=failed[1]) is None
    assert value(text, "hf_fleet_spaces", org=good[1]) == 1
    assert f'org="{failed[1]}",space=' not in text
    assert f'org="{good[1]}"' in text


async def test_failures_in_a_row_are_logged_once(
    hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage fills no log: the first failure says why, and so does the next one."""
    async with exporter(hub) as (url, _):
        for fails in (True, True, False, True):
            if fails:
                hub.faults("GET /api/spaces", Fault.status(500, message="no luck"))
            await scrape(url)
    told = [r.message for r in caplog.records if "cannot be listed" in r.message]
    assert len(told) == 2
    assert all("no luck" in line for line in told)


async def test_a_scrape_has_a_time_limit(hub: FakeHub) -> None:
    """A Hub that hangs does not hang the scrape: it is answered, without success."""
    hub.faults("GET /api/spaces", Fault.hang())
    async with exporter(hub, limit=0.3) as (url, _):
        text = await scrape(url)
        assert value(text, "hf_fleet_scrape_success", org="acme") == 0


async def test_the_time_limit_is_that_of_prometheus(hub: FakeHub) -> None:
    """Prometheus says how long it waits; an odd header changes nothing."""
    header = "X-Prometheus-Scrape-Timeout-Seconds"
    async with exporter(hub) as (url, _):
        hub.faults("GET /api/spaces", Fault.hang())
        text = await scrape(url, {header: "0.7"})
        assert value(text, "hf_fleet_scrape_success", org="acme") == 0
        hub.clear_faults()
        for odd in ("soon", "-1", "nan", "inf"):
            text = await scrape(url, {header: odd})
            assert value(text, "hf_fleet_scrape_success", org="acme") == 1


async def test_who_cannot_wait_gets_an_answer_while_others_wait(hub: FakeHub) -> None:
    """A scrape that joins another one keeps to its own limit."""
    async with exporter(hub) as (_, fleet):
        hub.faults("GET /api/spaces", Fault.hang())
        first = asyncio.create_task(fleet.read())
        async with asyncio.timeout(30):
            while not hub.in_flight:
                await asyncio.sleep(0)
        reading = await fleet.read(0.05)
        assert [owner.success for owner in reading.owners] == [False]
        assert not first.done()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_why_nothing_is_read_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A Hub that cannot be reached is not called slow, and no price is called read."""
    async with FakeHub() as hub:
        pass
    async with exporter(hub, limit=3.0) as (url, _):
        text = await scrape(url)
    assert value(text, "hf_fleet_scrape_success", org="acme") == 0
    assert value(text, "hf_fleet_prices_success") is None
    (told,) = [r.message for r in caplog.records if "cannot be listed" in r.message]
    assert "connection refused" in told


async def test_who_waits_longer_gets_what_was_read_meanwhile(hub: FakeHub) -> None:
    """The limit of one scrape cuts no other one short."""
    hub.faults("GET /api/spaces", Fault.delay(0.5))
    async with exporter(hub) as (_, fleet):
        short = asyncio.create_task(fleet.read(0.05))
        long = asyncio.create_task(fleet.read())
        assert [owner.success for owner in (await short).owners] == [False]
        assert [owner.success for owner in (await long).owners] == [True]
    assert hub.count("GET", "/api/spaces") == 1


async def test_a_reading_that_nobody_waits_for_ends(hub: FakeHub) -> None:
    """A Hub that hung once does not hang the next scrape."""
    hub.faults("GET /api/spaces", Fault.hang())
    async with exporter(hub) as (_, fleet), asyncio.timeout(30):
        late = await fleet.read(0.3)
        assert [owner.success for owner in late.owners] == [False]
        hub.clear_faults()
        assert [owner.success for owner in (await fleet.read()).owners] == [True]


async def test_an_old_price_list_is_used_on_and_said_to_be_old(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Costs stay where the list cannot be read any more, and the alert sees it."""
    monkeypatch.setattr(fleets, "_PRICES_SECONDS", 0.0)
    hub.add_space("acme/gpu", hardware="t4-small")
    async with exporter(hub) as (url, _):
        before = await scrape(url)
        hub.faults("GET /api/spaces/hardware", Fault.status(403), times=None)
        text = await scrape(url)
    cost = of_space(before, "hf_space_cost_usd_per_hour", "gpu")
    assert cost
    assert of_space(text, "hf_space_cost_usd_per_hour", "gpu") == cost
    assert value(before, "hf_fleet_prices_success") == 1
    assert value(text, "hf_fleet_prices_success") == 0


async def test_a_quota_that_is_used_up_is_seen() -> None:
    """Nothing waits for the next window: the scrape fails, and says what is left."""
    async with FakeHub(quota=Quota(1, 300.0)) as hub:
        hub.add_org("acme", members={"tester": "write"})
        hub.add_space("acme/demo")
        async with exporter(hub) as (url, _):
            await scrape(url)
            text = await scrape(url)
    assert value(text, "hf_fleet_scrape_success", org="acme") == 0
    assert value(text, "hf_hub_quota_remaining") == 0
    assert (value(text, "hf_hub_quota_reset_seconds") or 0) > 200


async def test_probes_ask_the_apps(hub: FakeHub) -> None:
    """Running apps are asked, private ones with a key that is used again."""
    hub.add_space("acme/well", visibility="private")
    hub.add_space("acme/ill").app_status = 500
    hub.add_space("acme/resting", stage="SLEEPING")
    hub.add_space("acme/page", sdk="static")
    asked: list[str] = []

    def status(rest: str) -> int:
        asked.append(rest)
        return 204

    hub.space("acme/demo").app_status = status
    async with exporter(hub, probe="/health") as (url, _):
        text = await scrape(url)
        await scrape(url)
    up = {"demo": 1.0, "well": 1.0, "ill": 0.0, "resting": None, "page": None}
    assert {n: of_space(text, "hf_space_probe_up", n) for n in up} == up
    assert asked == ["/health", "/health"]
    assert hub.count("GET", "/jwt") == 1


async def test_a_probe_without_a_key_says_nothing(hub: FakeHub) -> None:
    """Where no key is to be had, the app was not asked: unknown, and not down."""
    hub.add_space("acme/closed", visibility="private")
    hub.faults("GET /jwt", Fault.status(403), times=None)
    async with exporter(hub, probe="/") as (url, _):
        text = await scrape(url)
    assert of_space(text, "hf_space_probe_up", "closed") is None
    assert of_space(text, "hf_space_probe_up", "demo") == 1


async def test_a_probe_that_has_no_proxy(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with the environment costs the probe, and not the scrape."""
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:9")
    async with exporter(hub, probe="/", app_url="https://{subdomain}.example") as (
        url,
        _,
    ):
        text = await scrape(url)
    assert value(text, "hf_fleet_scrape_success", org="acme") == 1
    assert of_space(text, "hf_space_probe_up", "demo") == 0


async def test_probes_end_with_the_scrape(hub: FakeHub) -> None:
    """An app that hangs costs its own value, not that of the listing."""
    hub.faults("GET /_app/{name}/health", Fault.hang())
    async with exporter(hub, probe="/health", limit=1.0) as (url, _):
        text = await scrape(url)
    if value(text, "hf_fleet_scrape_success", org="acme"):
        assert of_space(text, "hf_space_probe_up", "demo") is None


async def test_no_token_is_in_a_scrape(hub: FakeHub) -> None:
    """Neither the token nor the key to an app is shown."""
    hub.add_space("acme/closed", visibility="private")
    async with exporter(hub, probe="/") as (url, _):
        text = await scrape(url)
        (key,) = hub.space("acme/closed").app_keys
    assert of_space(text, "hf_space_probe_up", "closed") == 1
    assert hub.token not in text
    assert key not in text


async def test_both_formats(hub: FakeHub) -> None:
    """Prometheus gets OpenMetrics if it asks for it; promtool finds nothing."""
    wanted = "application/openmetrics-text; version=1.0.0"
    hub.add_space("acme/gpu", hardware="t4-small", visibility="private")
    async with exporter(hub, probe="/") as (url, _):
        text = await scrape(url)
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"Accept": wanted}) as response,
        ):
            assert response.content_type == "application/openmetrics-text"
            assert (await response.text()).endswith("# EOF\n")
    check_metrics(text)


async def test_the_other_pages(hub: FakeHub) -> None:
    """A page for people, and one for what looks whether the process is alive."""
    async with exporter(hub) as (url, _), aiohttp.ClientSession() as session:
        for path, part in (("/", "/metrics"), ("/-/healthy", "ok")):
            async with session.get(url.replace("/metrics", path)) as response:
                assert response.status == 200
                assert part in await response.text()
        async with session.post(url) as response:
            assert response.status == 405
    assert not hub.requests


async def test_the_end_does_not_wait_for_a_scrape(hub: FakeHub) -> None:
    """A scrape that goes on is ended with the server, and leaves nothing behind."""
    hub.faults("GET /api/spaces", Fault.hang())
    async with exporter(hub) as (url, _):
        pending = asyncio.create_task(scrape(url))
        async with asyncio.timeout(30):
            while not hub.in_flight:
                await asyncio.sleep(0)
    with pytest.raises(aiohttp.ClientError):
        await pending


# The command ----------------------------------------------------------------------


@pytest.fixture
def shell_env(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    return dict(os.environ)


async def test_the_command_serves_until_it_is_told_to_end(
    hub: FakeHub, shell_env: dict[str, str]
) -> None:
    """It says where, and what it sees; SIGTERM is its usual end, so the code is 0."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spaces_async", "exporter"),
        *("--org", "acme", "--org", "nobody", "--port", "0"),
        env=shell_env,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(50):
            said = [(await process.stderr.readline()).decode() for _ in range(3)]
            url = said[0].removeprefix("Serving ").partition(";")[0]
            text = await scrape(url)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    assert value(text, "hf_fleet_spaces", org="acme") == 1
    assert said[1:] == [
        "acme: 1 Space\n",
        "nobody: 0 Spaces. Is the name right, and may the token see its Spaces?\n",
    ]


@pytest.mark.parametrize(
    ("token", "option", "said"),
    [
        (
            "",
            (),
            "Warning: there is no token, so private Spaces are not seen: HF_TOKEN",
        ),
        (
            None,
            (),
            "Warning: there is no token, so private Spaces are not seen: set HF",
        ),
        ("", ("--anonymous",), "acme: 1 Space"),
    ],
)
async def test_without_a_token(  # noqa: PLR0917
    hub: FakeHub,
    shell_env: dict[str, str],
    tmp_path: Path,
    token: str | None,
    option: tuple[str, ...],
    said: str,
) -> None:
    """It says at once that it sees less, and why, unless that is what is asked for."""
    del shell_env["HF_TOKEN"]
    more = {"HF_HOME": str(tmp_path)} | ({} if token is None else {"HF_TOKEN": token})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spaces_async", "exporter"),
        *("--org", "acme", "--port", "0", *option),
        env=shell_env | more,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(50):
            lines = [(await process.stderr.readline()).decode() for _ in range(2)]
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    assert lines[0].startswith("Serving ")
    assert lines[1].startswith(said)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((), "Missing option '--org'"),
        (("--org", "acme/x"), "--org must be 1 to 96 letters"),
        (("--org", "acme", "--probe", "health"), "probe must be a path of the app"),
        (("--org", "acme", "--port", "70000"), "70000 is not in the range"),
        (("--org", "acme", "--timeout", "0"), "not a duration of more than 0"),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake is told before anything is sent or opened."""
    assert main(["exporter", *arguments]) == 2
    assert part in capsys.readouterr().err


def test_a_port_that_is_taken(
    fake_hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It says which, and why."""
    monkeypatch.setenv("HF_ENDPOINT", fake_hub.url)
    monkeypatch.setenv("HF_TOKEN", fake_hub.token)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["exporter", "--org", "acme", "--port", port]) == 1
    said = capsys.readouterr().err
    assert (
        said
        == f"Error: Cannot listen on 127.0.0.1 port {port}: Address already in use.\n"
    )


def test_without_prometheus_client(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert main(["exporter", "--org", "acme"]) == 2
    assert "pip install 'spaces-async[cli,prometheus]'" in capsys.readouterr().err


def test_the_help_needs_no_server() -> None:
    """Neither aiohttp nor prometheus_client is imported before the command runs."""
    code = (
        "import contextlib, io, sys; from spaces_async.__main__ import main\n"
        "sys.argv = ['spaces-async', 'exporter', '--help']\n"
        "with contextlib.redirect_stdout(io.StringIO()): main()\n"
        "print({'aiohttp', 'prometheus_client', 'attr'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
