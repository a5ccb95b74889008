"""The records of everything around a Space: prices, templates, search, logs, people.

Like those of `spaces_async.models`, they are frozen, tolerant of what the Hub adds, and
keep the whole JSON object in `.raw`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from attrs import field, frozen

from spaces_async.models import SpaceHardware, SpaceRuntime, SpaceSdk, SpaceStage

__all__ = [
    "Accelerator",
    "Account",
    "HardwareFlavor",
    "KeyOutcome",
    "LogLine",
    "Membership",
    "OrganizationMember",
    "SpaceEvent",
    "SpaceMetrics",
    "SpaceSearchResult",
    "SpaceTemplate",
    "ZeroGpuQuota",
]


def _raw() -> Any:
    return field(factory=dict[str, Any], eq=False, repr=False)


@frozen
class Accelerator:
    """What a flavor computes with besides its CPU.

    Attributes:
        type: "gpu" or "neuron".
        model: Such as "T4".
        quantity: How many, as the Hub writes it.
        vram: Memory of all of them, such as "16 GB".
        manufacturer: Such as "Nvidia".
    """

    type: str | None = None
    model: str | None = None
    quantity: str | None = None
    vram: str | None = None
    manufacturer: str | None = None


@frozen
class HardwareFlavor:
    """A flavor and its price.

    Attributes:
        name: The flavor, as `request_hardware` takes it.
        pretty_name: The same for people.
        cpu: Such as "2 vCPU".
        ram: Such as "16 GB".
        accelerator: None for CPU flavors.
        unit_cost_usd: Price of a unit in US dollars.
        unit_cost_micro_usd: The same in millionths.
        unit_label: The unit, "minute".
        raw: The answer as it came.
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

    @property
    def usd_per_hour(self) -> float | None:
        """The price of an hour; None if the Hub names another unit than minutes."""
        if self.unit_cost_usd is None or self.unit_label != "minute":
            return None
        return self.unit_cost_usd * 60


@frozen
class SpaceTemplate:
    """Something to start a new Space from.

    Attributes:
        repo_id: The Space that is copied.
        name: Its name for people.
        sdk: What it is made with.
        preferred_private: Whether the Hub proposes to keep the copy private.
        raw: The answer as it came.
    """

    repo_id: str
    name: str | None = None
    sdk: SpaceSdk | None = None
    preferred_private: bool | None = None
    raw: Mapping[str, Any] = _raw()


@frozen
class SpaceSearchResult:
    """A Space as the semantic search finds it.

    Attributes:
        id: "owner/name".
        author: User or org.
        title: Its title.
        emoji: Its emoji.
        sdk: What it is made with.
        likes: How many like it.
        private: Whether only its owner and their org see it.
        tags: Its tags.
        runtime: What it does now.
        ai_short_description: What it does, in a line that a model wrote.
        ai_category: The category that a model gave it.
        semantic_relevancy_score: 0 to 1; None for queries of one word.
        trending_score: How much it trends.
        raw: The answer as it came.
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


@frozen
class ZeroGpuQuota:
    """How many GPU seconds of ZeroGPU a user has left today.

    Attributes:
        base: What the plan gives, in GPU seconds.
        current: What is left of it (and not what is used).
        resets_at: When it is full again; None if none of it is used yet.
        overquota_used: Seconds used beyond the quota.
        raw: The answer as it came, with `runs` where the Hub sends them.
    """

    base: float | None = None
    current: float | None = None
    resets_at: datetime | None = None
    overquota_used: float | None = None
    raw: Mapping[str, Any] = _raw()


@frozen
class Membership:
    """An org that a user belongs to.

    Attributes:
        name: Its name.
        role_in_org: admin, write, contributor, read or no_access.
        plan: team, enterprise, plus or academia; None is free.
        raw: The answer as it came.
    """

    name: str
    role_in_org: str | None = None
    plan: str | None = None
    raw: Mapping[str, Any] = _raw()


@frozen
class Account:
    """Who a token belongs to.

    Attributes:
        name: User name.
        type: "user" or "org".
        fullname: The name for people.
        is_pro: Whether they have PRO.
        can_pay: Whether a payment method is set.
        orgs: Where they belong.
        raw: The answer as it came; `raw["auth"]` tells what the token may do.
    """

    name: str
    type: str | None = None
    fullname: str | None = None
    is_pro: bool | None = None
    can_pay: bool | None = None
    orgs: tuple[Membership, ...] = ()
    raw: Mapping[str, Any] = _raw()


@frozen
class OrganizationMember:
    """A member of an org.

    Attributes:
        user: User name.
        fullname: The name for people.
        role: Their role; None if the token may not see it.
        is_pro: Whether they have PRO.
        raw: The answer as it came.
    """

    user: str
    fullname: str | None = None
    role: str | None = None
    is_pro: bool | None = None
    raw: Mapping[str, Any] = _raw()


@frozen
class LogLine:
    """A line of a log.

    Attributes:
        timestamp: When it was written; None if the Hub did not say.
        text: The line without its end; may hold ANSI colours.
        repo_id: The Space that it is from.
    """

    timestamp: datetime | None
    text: str
    repo_id: str


@frozen
class SpaceEvent:
    """Something that happened to a Space.

    The Hub does not document the payload of these events: what is assumed here is what
    its twin at api.hf.space sends.

    Attributes:
        kind: "stage", "zero-gpu-count", "space", ...
        data: The payload: parsed JSON where it is some, else the text.
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


@frozen
class SpaceMetrics:
    """What a replica of a Space uses at a moment.

    Attributes:
        cpu_usage_pct: Percent of its CPUs.
        cpu_millicores: Thousandths of a core that it has.
        memory_used_bytes: Memory in use.
        memory_total_bytes: Memory that it has.
        rx_bps: Bits per second received.
        tx_bps: Bits per second sent.
        replica: Which replica.
        gpus: `utilization`, `memory_used_bytes` and `memory_total_bytes` by GPU.
        raw: The answer as it came.
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


@frozen
class KeyOutcome:
    """What became of one key when several were written.

    Attributes:
        key: The variable or secret.
        status: "done", "unchanged" (it was so already, nothing was sent), "failed" or
            "unknown" (its answer was lost, and the state did not tell).
        error: Why it failed.
    """

    key: str
    status: Literal["done", "unchanged", "failed", "unknown"]
    error: Exception | None = None
