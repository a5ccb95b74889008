"""Records of things around a Space: prices, templates, search, logs, accounts.

Like those in `spaces_async.models`, they are frozen, tolerate what the Hub adds, keep
the whole JSON object in `.raw`, and become JSON with `to_dict()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from attrs import field, frozen

from spaces_async import _costs
from spaces_async._record import Record, plain
from spaces_async.models import SpaceHardware, SpaceRuntime, SpaceSdk, SpaceStage

__all__ = [
    "Accelerator",
    "Account",
    "BillingPeriod",
    "BillingUsage",
    "CostEstimate",
    "HardwareFlavor",
    "KeyOutcome",
    "LogLine",
    "Membership",
    "OrganizationMember",
    "RateLimit",
    "SpaceEvent",
    "SpaceMetrics",
    "SpaceRate",
    "SpaceSearchResult",
    "SpaceTemplate",
    "UsageLine",
    "ZeroGpuQuota",
]


def _raw() -> Any:
    return field(factory=dict[str, Any], eq=False, repr=False)


def _problems() -> Any:
    return field(default=(), eq=False, kw_only=True)


@frozen(repr=False)
class Accelerator(Record):
    """The accelerator of a hardware flavor.

    Attributes:
        type: "gpu" or "neuron".
        model: For example "T4".
        quantity: How many there are, as the Hub formats it.
        vram: Their total memory, for example "16 GB".
        manufacturer: For example "Nvidia".
    """

    type: str | None = None
    model: str | None = None
    quantity: str | None = None
    vram: str | None = None
    manufacturer: str | None = None


@frozen(repr=False)
class HardwareFlavor(Record):
    """A hardware flavor and its price.

    Attributes:
        name: The flavor, as `request_hardware` accepts it.
        pretty_name: Its display name.
        cpu: For example "2 vCPU".
        ram: For example "16 GB".
        accelerator: None for CPU flavors.
        unit_cost_usd: Price of one unit in US dollars.
        unit_cost_micro_usd: The same in millionths of a US dollar.
        unit_label: The unit, normally "minute".
        raw: The JSON object as received.
        problems: What could not be read; empty if all could.
    """

    name: SpaceHardware = field(converter=SpaceHardware)
    pretty_name: str | None = None
    cpu: str | None = None
    ram: str | None = None
    accelerator: Accelerator | None = None
    unit_cost_usd: float | None = None
    unit_cost_micro_usd: int | None = None
    unit_label: str | None = None
    raw: Mapping[str, Any] = _raw()
    problems: tuple[str, ...] = _problems()

    @property
    def usd_per_hour(self) -> Decimal | None:
        """The price of an hour in US dollars; None if it is not known."""
        return _costs.hourly(self)


@frozen(repr=False)
class UsageLine(Record):
    """One line of a bill: how long one thing was used, and what that costs.

    Amounts are the Hub's numbers. To add them up, use `BillingUsage.total_usd`, which
    does not add floats.

    Attributes:
        product: What was used, such as "spaces/t4-small/minutes".
        entity_id: The Hub's internal id of the Space, `raw["_id"]` of its info.
        label: Its name, as the Hub shows it; None if the Hub did not say.
        product_pretty_name: Display name of the product.
        unit_label: The unit of `quantity`, such as "minute".
        quantity: How many units were used.
        unit_cost_micro_usd: Price of a unit, in millionths of a US dollar.
        total_cost_micro_usd: Cost of the line, in millionths of a US dollar.
        started_at: When the use began.
        stopped_at: When it ended; None while it goes on.
        free_grant: Whether the Hub grants it for free.
        active: Whether it goes on.
        raw: The JSON object as received.
        problems: What could not be read; empty if all could.
    """

    product: str
    entity_id: str | None = None
    label: str | None = None
    product_pretty_name: str | None = None
    unit_label: str | None = None
    quantity: float | None = None
    unit_cost_micro_usd: float | None = None
    total_cost_micro_usd: float | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    free_grant: bool | None = None
    active: bool | None = None
    raw: Mapping[str, Any] = _raw()
    problems: tuple[str, ...] = _problems()

    @property
    def cost_usd(self) -> Decimal | None:
        """The cost in US dollars; 0 for a free grant, None if it cannot be read."""
        return _costs.line_cost(self)


@frozen(repr=False)
class BillingPeriod(Record):
    """The period of a bill, normally a month.

    Attributes:
        id: The Hub's id of it, which `get_usage` takes as `period`.
        entity_name: The user or org that is billed.
        entity_type: "user" or "org".
        start: When it begins.
        end: When it ends.
        raw: The JSON object as received.
        problems: What could not be read; empty if all could.
    """

    id: str
    entity_name: str | None = None
    entity_type: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    raw: Mapping[str, Any] = _raw()
    problems: tuple[str, ...] = _problems()


@frozen(repr=False)
class BillingUsage(Record):
    """What the Spaces of an owner used in a billing period.

    Attributes:
        spaces: The lines about Spaces; those that could not be read are missing, and
            `problems` names them. Other products are in `raw["usage"]`.
        period: The period; None if it could not be read.
        raw: The JSON object as received.
        problems: What could not be read; empty if all could.
    """

    spaces: tuple[UsageLine, ...]
    period: BillingPeriod | None = None
    raw: Mapping[str, Any] = _raw()
    problems: tuple[str, ...] = _problems()

    @property
    def total_usd(self) -> Decimal | None:
        """The cost of all lines about Spaces; None if one of them cannot be read."""
        return _costs.usage_total(self).exact

    def to_dict(self, *, raw: bool = False) -> dict[str, Any]:
        """Return plain data for JSON, with the total."""
        return {**super().to_dict(raw=raw), "total_usd": plain(self.total_usd)}


@frozen(repr=False)
class SpaceRate(Record):
    """What a Space costs while it stays as it is: an estimate, not the bill.

    Attributes:
        repo_id: "owner/name".
        stage: Its stage.
        hardware: The flavor that it runs on, or that was requested for it.
        replicas: How many copies are counted; None if that is not known.
        usd_per_hour: Its price for an hour, 0 if it is not billed now; None if it is
            not known.
    """

    repo_id: str
    stage: SpaceStage | None = None
    hardware: SpaceHardware | None = None
    replicas: int | None = None
    usd_per_hour: Decimal | None = None


@frozen(repr=False)
class CostEstimate(Record):
    """What the Spaces of an owner cost for an hour, by the Hub's price list.

    This is an estimate: from stages, flavors and replicas of now. It knows nothing of
    free grants, of credits and of what was spent before; `BillingUsage` does.

    Attributes:
        owner: User or org.
        spaces: Each Space that the token may see.
    """

    owner: str
    spaces: tuple[SpaceRate, ...]

    @property
    def usd_per_hour(self) -> Decimal | None:
        """The sum of all rates; None if one of them is not known."""
        return _costs.total(rate.usd_per_hour for rate in self.spaces).exact

    @property
    def unknown(self) -> tuple[SpaceRate, ...]:
        """The Spaces whose rate is not known."""
        return tuple(rate for rate in self.spaces if rate.usd_per_hour is None)

    def to_dict(self, *, raw: bool = False) -> dict[str, Any]:
        """Return plain data for JSON, with the sum; it says that it is an estimate."""
        total = plain(self.usd_per_hour)
        return {**super().to_dict(raw=raw), "usd_per_hour": total, "is_estimate": True}


@frozen(repr=False)
class SpaceTemplate(Record):
    """A template for a new Space.

    Attributes:
        repo_id: The Space that is copied.
        name: Its display name.
        sdk: Its SDK.
        preferred_private: Whether the Hub suggests to make the copy private.
        raw: The JSON object as received.
        problems: What could not be read; empty if all could.
    """

    repo_id: str
    name: str | None = None
    sdk: SpaceSdk | None = None
    preferred_private: bool | None = None
    raw: Mapping[str, Any] = _raw()
    problems: tuple[str, ...] = _problems()


@frozen(repr=False)
class SpaceSearchResult(Record):
    """A result of the semantic search.

    Attributes:
        id: "owner/name".
        author: User or org.
        title: Its title.
        emoji: Its emoji.
        sdk: Its SDK.
        likes: Number of likes.
        private: Whether only its owner or org can see it.
        tags: Its tags.
        runtime: Its current runtime.
        ai_short_description: One-line description, written by a model.
        ai_category: Category, chosen by a model.
        semantic_relevancy_score: 0 to 1; None for queries of one word.
        trending_score: Its trending score.
        raw: The JSON object as received.
        problems: What could not be read; empty if all could.
    """

    id: str
    author: str | None = None
    title: str | None = None
    emoji: str | None = None
    sdk: SpaceSdk | None = None
    likes: int | None = None
    private: bool | None = None
    tags: tuple[str, ...] | None = None
    runtime: SpaceRuntime | None = None
    ai_short_description: str | None = None
    ai_category: str | None = None
    semantic_relevancy_score: float | None = None
    trending_score: float | None = None
    raw: Mapping[str, Any] = _raw()
    problems: tuple[str, ...] = _problems()


@frozen(repr=False)
class ZeroGpuQuota(Record):
    """A user's ZeroGPU quota for today.

    Attributes:
        base: GPU seconds that the plan includes.
        current: GPU seconds left (not the seconds used).
        resets_at: When it is full again; None if none of it has been used.
        overquota_used: GPU seconds used beyond the quota.
        raw: The JSON object as received, with `runs` if the Hub sends them.
        problems: What could not be read; empty if all could.
    """

    base: float | None = None
    current: float | None = None
    resets_at: datetime | None = None
    overquota_used: float | None = None
    raw: Mapping[str, Any] = _raw()
    problems: tuple[str, ...] = _problems()


@frozen(repr=False)
class Membership(Record):
    """An org that a user belongs to.

    Attributes:
        name: Its name.
        role_in_org: admin, write, contributor, read or no_access.
        plan: team, enterprise, plus or academia; None is free.
        raw: The JSON object as received.
        problems: What could not be read; empty if all could.
    """

    name: str
    role_in_org: str | None = None
    plan: str | None = None
    raw: Mapping[str, Any] = _raw()
    problems: tuple[str, ...] = _problems()


@frozen(repr=False)
class Account(Record):
    """The account that a token belongs to.

    Attributes:
        name: User name.
        type: "user" or "org".
        fullname: Display name.
        is_pro: Whether the account has PRO.
        can_pay: Whether the account has a payment method.
        orgs: The orgs that the user belongs to.
        raw: The JSON object as received; `raw["auth"]` has the token's permissions.
        problems: What could not be read; empty if all could.
    """

    name: str
    type: str | None = None
    fullname: str | None = None
    is_pro: bool | None = None
    can_pay: bool | None = None
    orgs: tuple[Membership, ...] = ()
    raw: Mapping[str, Any] = _raw()
    problems: tuple[str, ...] = _problems()

    def __getitem__(self, key: str) -> Any:
        """Return a value by its name here or in the Hub's answer, such as "isPro"."""
        try:
            return super().__getitem__(key)
        except KeyError:
            return self.raw[key]


@frozen(repr=False)
class OrganizationMember(Record):
    """A member of an org.

    Attributes:
        user: User name.
        fullname: Display name.
        role: Role in the org; None if the token may not see it.
        is_pro: Whether the user has PRO.
        raw: The JSON object as received.
        problems: What could not be read; empty if all could.
    """

    user: str
    fullname: str | None = None
    role: str | None = None
    is_pro: bool | None = None
    raw: Mapping[str, Any] = _raw()
    problems: tuple[str, ...] = _problems()


@frozen(repr=False)
class LogLine(Record):
    """One line of a log.

    Attributes:
        timestamp: When it was written; None if the Hub did not say.
        text: The line without its line ending; may contain ANSI colour codes. A line of
            more than 1 MiB is cut, and says so at its end.
        repo_id: The Space that wrote it.
    """

    timestamp: datetime | None
    text: str
    repo_id: str


@frozen(repr=False)
class SpaceEvent(Record):
    """Something that happened to a Space.

    The Hub does not document the payload of these events. The format assumed here is
    the one that the same stream at api.hf.space uses.

    Attributes:
        kind: "stage", "zero-gpu-count", "space", ...
        data: The payload: parsed JSON, or the string if it is not JSON.
        repo_id: The Space.
    """

    kind: str
    data: Any
    repo_id: str

    @property
    def stage(self) -> SpaceStage | None:
        """The new stage, for an event of kind "stage"."""
        if self.kind == "stage" and isinstance(self.data, str):
            return SpaceStage(self.data)
        return None


@frozen(repr=False)
class SpaceMetrics(Record):
    """A measurement of what one replica of a Space uses.

    Attributes:
        cpu_usage_pct: CPU usage in percent.
        cpu_millicores: CPU allotted, in thousandths of a core.
        memory_used_bytes: Memory in use.
        memory_total_bytes: Memory available.
        rx_bps: Bits received per second.
        tx_bps: Bits sent per second.
        replica: Id of the replica.
        gpus: `utilization`, `memory_used_bytes` and `memory_total_bytes` by GPU.
        raw: The JSON object as received.
        problems: What could not be read; empty if all could.
    """

    cpu_usage_pct: float | None = None
    cpu_millicores: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    rx_bps: float | None = None
    tx_bps: float | None = None
    replica: str | None = None
    gpus: Mapping[str, Any] | None = field(default=None, hash=False)
    raw: Mapping[str, Any] = _raw()
    problems: tuple[str, ...] = _problems()


@frozen(repr=False)
class RateLimit(Record):
    """What is known of a token's quota of calls to the Hub.

    Attributes:
        limit: Calls in a window; None if it is not known.
        remaining: Calls left in this window; None if it is not known, as before the
            first call and after the window's end.
        resets_in: Seconds until the window ends, at most; None if it is not known.
    """

    limit: int | None = None
    remaining: int | None = None
    resets_in: float | None = None


@frozen(repr=False)
class KeyOutcome(Record):
    """The outcome for one key when several are written.

    Attributes:
        key: Name of the variable or secret.
        status: "done", "unchanged" (already set, nothing was sent), "skipped" (changed
            by somebody else since the plan), "failed" or "unknown" (the response was
            lost, and the state does not prove it).
        error: Why it failed.
    """

    key: str
    status: Literal["done", "unchanged", "skipped", "failed", "unknown"]
    error: Exception | None = None

    def to_dict(self, *, raw: bool = False) -> dict[str, Any]:
        """Return plain data for JSON; there is no `raw` to add."""
        kind = None if self.error is None else type(self.error).__name__
        return {**super().to_dict(raw=raw), "error_type": kind}
