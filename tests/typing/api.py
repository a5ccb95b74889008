"""What the public API is inferred as, for mypy and pyright; nothing here is ever run.

A type that changes here changes in the editor of everybody who uses the package.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, assert_type

import spaces_async as sa
from spaces_async.bulk import operations

IDS = ["acme/one", "acme/two"]


async def lifecycle(client: sa.SpacesClient) -> None:
    life = client.lifecycle
    assert_type(await life.get_runtime("acme/demo"), sa.SpaceRuntime)
    assert_type(await life.restart("acme/demo"), sa.SpaceRuntime)
    assert_type(await life.pause("acme/demo"), sa.SpaceRuntime)
    assert_type(await life.wake("acme/demo"), sa.SpaceRuntime)
    assert_type(await life.wait_until("acme/demo", "RUNNING"), sa.SpaceRuntime)
    assert_type(await life.create("acme/demo", sdk="gradio"), sa.CreatedSpace)
    assert_type(await life.duplicate("acme/demo"), sa.CreatedSpace)
    await life.move("acme/demo", "acme/moved")
    await life.delete("acme/demo", missing_ok=True)


async def config(client: sa.SpacesClient) -> None:
    config = client.config
    variables = await config.get_variables("acme/demo")
    assert_type(variables, dict[str, sa.SpaceVariable])
    assert_type(await config.add_variable("acme/demo", "K", "v"), sa.SpaceVariable)
    assert_type(
        await config.delete_variable("acme/demo", "K"), dict[str, sa.SpaceVariable]
    )
    assert_type(await config.get_secrets("acme/demo"), dict[str, sa.SpaceSecret])
    outcomes = await config.add_variables("acme/demo", {"K": "v"})
    assert_type(outcomes, list[sa.KeyOutcome])
    assert_type(await config.add_secrets("acme/demo", {"K": "v"}), list[sa.KeyOutcome])
    assert_type(await config.set_dev_mode("acme/demo", enabled=True), sa.SpaceRuntime)


async def hardware(client: sa.SpacesClient) -> None:
    hardware = client.hardware
    flavors = await hardware.list_flavors()
    assert_type(flavors, list[sa.HardwareFlavor])
    assert_type(flavors[0].usd_per_hour, Decimal | None)
    assert_type(await hardware.get_zero_gpu_quota(), sa.ZeroGpuQuota)
    assert_type(
        await hardware.request_hardware("acme/demo", "t4-small"), sa.SpaceRuntime
    )
    assert_type(await hardware.set_sleep_time("acme/demo", 300), sa.SpaceRuntime)
    assert_type(await hardware.set_replicas("acme/demo", 2), sa.SpaceRuntime)


async def billing(client: sa.SpacesClient) -> None:
    usage = await client.billing.get_usage("acme", None)
    assert_type(usage, sa.BillingUsage)
    assert_type(usage.total_usd, Decimal | None)
    assert_type(usage.spaces, tuple[sa.UsageLine, ...])
    assert_type(usage.spaces[0].cost_usd, Decimal | None)
    assert_type(usage.period, sa.BillingPeriod | None)
    estimate = await client.billing.estimate("acme")
    assert_type(estimate, sa.CostEstimate)
    assert_type(estimate.spaces, tuple[sa.SpaceRate, ...])
    assert_type(estimate.usd_per_hour, Decimal | None)


async def storage(client: sa.SpacesClient) -> None:
    storage = client.storage
    assert_type(await storage.get_volumes("acme/demo"), tuple[sa.Volume, ...])
    assert_type(
        await storage.add_volume("acme/demo", "hf://acme/m:/m"), tuple[sa.Volume, ...]
    )
    assert_type(await storage.remove_volume("acme/demo", "/m"), tuple[sa.Volume, ...])
    assert_type(await storage.request_storage("acme/demo", "small"), sa.SpaceRuntime)
    assert_type(await storage.delete_storage("acme/demo"), sa.SpaceRuntime)


async def catalog(client: sa.SpacesClient) -> None:
    catalog = client.catalog
    assert_type(catalog.list_spaces(author="acme"), AsyncIterator[sa.SpaceInfo])
    async for info in catalog.list_spaces(author="acme"):
        assert_type(info, sa.SpaceInfo)
        assert_type(info.runtime, sa.SpaceRuntime | None)
    assert_type(await catalog.get_info("acme/demo"), sa.SpaceInfo)
    assert_type(await catalog.search_spaces("x"), list[sa.SpaceSearchResult])
    assert_type(await catalog.list_templates(), list[sa.SpaceTemplate])
    assert_type(await catalog.trending(), list[sa.SpaceInfo])
    assert_type(await catalog.whoami(), sa.Account)
    assert_type(
        await catalog.list_organization_members("acme"), list[sa.OrganizationMember]
    )


async def streams(client: sa.SpacesClient) -> None:
    async with client.logs.stream_logs("acme/demo", follow=True) as lines:
        assert_type(lines, AsyncIterator[sa.LogLine])
        async for line in lines:
            assert_type(line, sa.LogLine)
            assert_type(line.text, str)
    async with client.logs.stream_many(IDS) as lines:
        assert_type(lines, AsyncIterator[sa.LogLine])
    async with client.logs.stream_events("acme/demo") as events:
        assert_type(events, AsyncIterator[sa.SpaceEvent])
    async with client.logs.stream_metrics("acme/demo") as metrics:
        assert_type(metrics, AsyncIterator[sa.SpaceMetrics])


async def the_client(client: sa.SpacesClient) -> None:
    assert_type(client.with_token("hf_other"), sa.SpacesClient)
    assert_type(client.with_token(False), sa.SpacesClient)
    assert_type(client.with_options(retry=sa.RetryPolicy.off()), sa.SpacesClient)
    assert_type(client.closed, bool)
    async with client as entered:
        assert_type(entered, sa.SpacesClient)


async def a_bulk(client: sa.SpacesClient) -> None:
    bulk = client.bulk
    selection = sa.Selection(author="acme")
    assert_type(sa.Selection(author=["a"], match=["b", "c"]), sa.Selection)
    assert_type(
        sa.Selection(
            author="a",
            stages="failed",
            sdks={sa.SpaceSdk.DOCKER},
            hardware=[sa.SpaceHardware.T4_SMALL, "l4x1"],
            exclude=(),
            visibility="private",
            tags={"a"},
            modified_before=timedelta(days=90),
            paid=True,
            having_secret="K",
            having_variable=["K"],
            resource_group="g",
        ),
        sa.Selection,
    )
    assert_type(selection.modified_before, timedelta | datetime | None)
    assert_type(await bulk.restart(selection), sa.BulkReport[sa.SpaceRuntime])
    assert_type(await bulk.pause(IDS), sa.BulkReport[sa.SpaceRuntime])
    assert_type(
        await bulk.request_hardware(IDS, flavor="t4-small"),
        sa.BulkReport[sa.SpaceRuntime],
    )
    assert_type(
        await bulk.set_sleep_time(IDS, seconds=300), sa.BulkReport[sa.SpaceRuntime]
    )
    assert_type(
        await bulk.add_variable(IDS, key="K", value="v"),
        sa.BulkReport[sa.SpaceVariable],
    )
    assert_type(
        await bulk.delete_variable(IDS, key="K"),
        sa.BulkReport[dict[str, sa.SpaceVariable]],
    )
    assert_type(await bulk.add_secret(IDS, key="K", value="v"), sa.BulkReport[None])
    assert_type(await bulk.delete_secret(IDS, key="K"), sa.BulkReport[None])
    assert_type(
        await bulk.request_storage(IDS, tier="small"), sa.BulkReport[sa.SpaceRuntime]
    )
    assert_type(await bulk.delete_storage(IDS), sa.BulkReport[sa.SpaceRuntime])
    assert_type(await bulk.resume("journal.jsonl"), sa.BulkReport[Any])


async def a_bulk_of_any_callable(client: sa.SpacesClient) -> None:
    async def count(client: sa.SpacesClient, repo_id: str) -> int:
        return len(await client.config.get_variables(repo_id))

    assert_type(await client.bulk.run(count, IDS), sa.BulkReport[int])
    assert_type(client.bulk.stream(count, IDS), sa.BulkStream[int])
    restart: sa.Operation[sa.SpaceRuntime] = operations.restart()
    add_secret: sa.Operation[None] = operations.add_secret("K", "v")
    assert_type(await client.bulk.run(add_secret, IDS), sa.BulkReport[None])
    assert_type(await client.bulk.run(restart, IDS), sa.BulkReport[sa.SpaceRuntime])
    async with client.bulk.stream(operations.restart(), IDS) as stream:
        assert_type(stream, sa.BulkStream[sa.SpaceRuntime])
        async for outcome in stream:
            assert_type(outcome, sa.Outcome[sa.SpaceRuntime])
    assert_type(stream.report, sa.BulkReport[sa.SpaceRuntime])


def a_report(report: sa.BulkReport[sa.SpaceRuntime]) -> None:
    for outcome in report:
        assert_type(outcome, sa.Outcome[sa.SpaceRuntime])
        assert_type(outcome.value, sa.SpaceRuntime | None)
        if outcome.ok:
            assert_type(outcome.result, sa.SpaceRuntime)
        assert_type(outcome.to_dict(raw=True), dict[str, Any])
        assert_type(outcome.error, Exception | None)
        assert_type(outcome.status, sa.OutcomeStatus)
    assert_type(report.ok, bool)
    assert_type(report.failed, list[sa.Outcome[sa.SpaceRuntime]])
    assert_type(
        report.by_status,
        Mapping[sa.OutcomeStatus, list[sa.Outcome[sa.SpaceRuntime]]],
    )
    assert_type(report.to_dict(), dict[str, Any])
    assert_type(report.to_dict(raw=True), dict[str, Any])


def a_record(info: sa.SpaceInfo, runtime: sa.SpaceRuntime) -> None:
    assert_type(info.to_dict(), dict[str, Any])
    assert_type(runtime.to_dict(raw=True), dict[str, Any])
    assert_type(info.problems, tuple[str, ...])
    assert_type(info.sdk_version, str | None)
    assert_type(runtime.raw_logs, bool | str | None)


async def as_the_official_client(api: sa.AsyncHfApi) -> None:
    assert_type(await api.restart_space("acme/demo"), sa.SpaceRuntime)
    assert_type(await api.get_space_runtime("acme/demo"), sa.SpaceRuntime)
    assert_type(await api.wait_for_space("acme/demo"), sa.SpaceRuntime)
    assert_type(await api.space_info("acme/demo"), sa.SpaceInfo)
    assert_type(api.list_spaces(author="acme"), AsyncIterator[sa.SpaceInfo])
    assert_type(api.search_spaces("x"), AsyncGenerator[sa.SpaceSearchResult, None])
    assert_type(await api.list_spaces_hardware(), list[sa.HardwareFlavor])
    assert_type(await api.get_space_variables("acme/demo"), dict[str, sa.SpaceVariable])
    assert_type(
        await api.add_space_variable("acme/demo", "K", "v"),
        dict[str, sa.SpaceVariable],
    )
    created = await api.create_repo("acme/demo", repo_type="space", space_sdk="gradio")
    assert_type(created, sa.CreatedSpace)
    copy = await api.duplicate_repo("acme/demo", repo_type="space")
    assert_type(copy, sa.CreatedSpace)
    assert_type(await api.whoami(), sa.Account)
    async for line in api.fetch_space_logs("acme/demo"):
        assert_type(line, str)
    async with sa.AsyncHfApi() as entered:
        assert_type(entered, sa.AsyncHfApi)


def a_failure(error: sa.SpacesError) -> None:
    assert_type(error.outcome_unknown, bool)
    if isinstance(error, sa.RateLimitError):
        assert_type(error.retry_after, float | None)
    if isinstance(error, sa.BulkError):
        assert_type(error.report, sa.BulkReport[Any] | None)
