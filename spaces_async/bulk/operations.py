"""What can be done to many Spaces: each operation checked once, then called for each.

Each function here makes an `Operation` for `client.bulk.run` and `client.bulk.stream`:

```python
async with client.bulk.stream(operations.restart(), targets) as outcomes:
    ...
```
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from attrs import field, frozen

from spaces_async import _validate
from spaces_async._operations.requests import judge_secret, recent_writes
from spaces_async._redacted import Redacted
from spaces_async._wire.calls import Done, OnLost, Verdict
from spaces_async.bulk._engine.doubt import (
    SETTLE,
    InDoubt,
    Recovery,
    judge_factory_reboot,
    judge_restart,
    shows,
)
from spaces_async.errors import ConfigurationError
from spaces_async.models import SpaceRuntime, SpaceStage

if TYPE_CHECKING:
    from spaces_async._core.session import HubSession
    from spaces_async.client import SpacesClient  # noqa: TC004  (it lies above us)
    from spaces_async.models import SpaceHardware, SpaceStorage, SpaceVariable

__all__ = [
    "Operation",
    "add_secret",
    "add_variable",
    "as_operation",
    "delete_secret",
    "delete_storage",
    "delete_variable",
    "pause",
    "rebuild",
    "request_hardware",
    "request_storage",
    "restart",
    "set_sleep_time",
]

T = TypeVar("T")


@frozen
class Operation(Generic[T]):
    """Something to do to each Space of a bulk.

    Attributes:
        name: What it is called in reports.
        call: Does it to one Space.
        request: What it sends, such as "POST /api/spaces/{repo_id}/restart"; "" if it
            is not one request.
        parameters: What it can be made of again, as JSON; None if it cannot.
        hidden: Parameters that are never written down, such as a secret's value.
        recovery: What to do when its answer is lost; None leaves that to `call`.
    """

    name: str
    call: Callable[[SpacesClient, str], Awaitable[T]]
    request: str = ""
    parameters: Mapping[str, Any] | None = field(default=None, kw_only=True)
    hidden: tuple[str, ...] = field(default=(), kw_only=True)
    recovery: Recovery[T] | None = field(default=None, kw_only=True)

    def preview(self, repo_id: str) -> str:
        """Return what would be sent for a Space."""
        return self.request.format(repo_id=repo_id) or f"{self.name} {repo_id}"


def as_operation(
    operation: Operation[T] | Callable[[SpacesClient, str], Awaitable[T]],
) -> Operation[T]:
    """Take an operation, or any async callable of a client and an id.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(operation, Operation):
        return operation  # pyright: ignore[reportUnknownVariableType]
    if not callable(operation):
        raise ConfigurationError(
            f"operation must be an async callable (client, repo_id), not {operation!r}"
        )
    return Operation(getattr(operation, "__name__", "run"), operation)


def rebuild(name: str, parameters: Mapping[str, Any] | None) -> Operation[Any]:
    """Make an operation of this module again of its name and parameters.

    Raises:
        ConfigurationError: There is none of that name, or it is not made of these.
    """
    make = _MAKERS.get(name)
    if make is None or parameters is None:
        raise ConfigurationError(
            f"{name!r} is a function of yours: pass it again as operation="
        )
    try:
        return make(**parameters)
    except TypeError as error:
        raise ConfigurationError(f"{name} is not made of these: {error}") from None


def restart(*, factory_reboot: bool = False) -> Operation[SpaceRuntime]:
    """Restart each Space."""
    factory = _validate.flag(factory_reboot, "factory_reboot")

    def call(client: SpacesClient, repo_id: str) -> Awaitable[SpaceRuntime]:
        return client.lifecycle.restart(repo_id, factory_reboot=factory)

    plain = Recovery(
        on_lost=OnLost.VERIFY_THEN_REPEAT, judge=judge_restart, settle=SETTLE
    )
    whole = Recovery(on_lost=OnLost.VERIFY, judge=judge_factory_reboot)
    query = "?factory=true" if factory else ""
    return Operation(
        "restart",
        call,
        _request("POST", f"restart{query}"),
        parameters={"factory_reboot": factory},
        recovery=whole if factory else plain,
    )


def pause() -> Operation[SpaceRuntime]:
    """Pause each Space."""
    return Operation(
        "pause",
        lambda client, repo_id: client.lifecycle.pause(repo_id),
        _request("POST", "pause"),
        parameters={},
        recovery=Recovery(judge=shows(lambda r: r.stage is SpaceStage.PAUSED)),
    )


def request_hardware(
    flavor: SpaceHardware | str, *, sleep_time: int | None = None
) -> Operation[SpaceRuntime]:
    """Ask for a flavor for each Space."""
    wanted = _validate.flavor(flavor)
    body: dict[str, Any] = {"flavor": wanted}
    if sleep_time is not None:
        body["sleepTimeSeconds"] = _validate.sleep_time(sleep_time)

    def call(client: SpacesClient, repo_id: str) -> Awaitable[SpaceRuntime]:
        return client.hardware.request_hardware(repo_id, wanted, sleep_time=sleep_time)

    def done(runtime: SpaceRuntime) -> bool:
        return runtime.requested_hardware == wanted and (
            sleep_time is None or _sleeps_after(runtime, sleep_time)
        )

    return Operation(
        "request_hardware",
        call,
        _request("POST", "hardware", body),
        parameters={"flavor": wanted, "sleep_time": sleep_time},
        recovery=Recovery(judge=shows(done)),
    )


def set_sleep_time(seconds: int) -> Operation[SpaceRuntime]:
    """Set the sleep time of each Space."""
    wanted = _validate.sleep_time(seconds)

    def call(client: SpacesClient, repo_id: str) -> Awaitable[SpaceRuntime]:
        return client.hardware.set_sleep_time(repo_id, wanted)

    return Operation(
        "set_sleep_time",
        call,
        _request("POST", "sleeptime", {"seconds": wanted}),
        parameters={"seconds": wanted},
        # A paused Space does not tell, which looks like "never".
        recovery=Recovery(judge=shows(lambda r: r.sleep_time == wanted)),
    )


def add_variable(
    key: str, value: str, *, description: str | None = None
) -> Operation[SpaceVariable]:
    """Add a variable to each Space."""
    _validate.key(key)
    _validate.text(value, "the value of a variable")

    def call(client: SpacesClient, repo_id: str) -> Awaitable[SpaceVariable]:
        return client.config.add_variable(repo_id, key, value, description=description)

    async def look(
        client: SpacesClient, repo_id: str, _doubt: InDoubt
    ) -> Done[SpaceVariable] | Verdict:
        found = (await client.config.get_variables(repo_id)).get(key)
        if found is None or found.value != value:
            return Verdict.NOT_DONE
        same = description is None or found.description == description
        return Done(found) if same else Verdict.NOT_DONE

    body = {"key": key, "value": value}
    if description is not None:
        body["description"] = _validate.text(description, "description")
    return Operation(
        "add_variable",
        call,
        _request("POST", "variables", body),
        parameters={"key": key, "value": value, "description": description},
        recovery=Recovery(look=look),
    )


def delete_variable(key: str) -> Operation[dict[str, SpaceVariable]]:
    """Delete a variable of each Space."""
    _validate.key(key)

    def call(client: SpacesClient, repo_id: str) -> Awaitable[dict[str, SpaceVariable]]:
        return client.config.delete_variable(repo_id, key)

    async def look(
        client: SpacesClient, repo_id: str, _doubt: InDoubt
    ) -> Done[dict[str, SpaceVariable]] | Verdict:
        left = await client.config.get_variables(repo_id)
        return Verdict.NOT_DONE if key in left else Done(left)

    return Operation(
        "delete_variable",
        call,
        _request("DELETE", "variables", {"key": key}),
        parameters={"key": key},
        recovery=Recovery(look=look),
    )


def _session(client: SpacesClient) -> HubSession:
    return client._session  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def add_secret(
    key: str, value: str | Redacted[str], *, description: str | None = None
) -> Operation[None]:
    """Add a secret to each Space; its value is never shown."""
    hidden = value if isinstance(value, Redacted) else Redacted(value)
    del value
    _validate.key(key)
    _validate.secret(hidden)

    # Where it was sent right after another write of the same secret.
    soon: set[str] = set()

    async def call(client: SpacesClient, repo_id: str) -> None:
        recent = await recent_writes(_session(client))
        holds = recent.holds((repo_id, key), client.clock.monotonic())
        (soon.add if holds else soon.discard)(repo_id)
        await client.config.add_secret(
            repo_id, key, hidden.reveal(), description=description
        )

    async def look(
        client: SpacesClient, repo_id: str, doubt: InDoubt
    ) -> Done[None] | Verdict:
        found = (await client.config.get_secrets(repo_id)).get(key)
        # That answer has told what the Hub's clock shows.
        since = _session(client).shared.by_hub_clock(doubt.at)
        return judge_secret(found, since, soon=repo_id in soon)

    body = {"key": key, "value": str(hidden)}
    if description is not None:
        body["description"] = _validate.text(description, "description")
    return Operation(
        "add_secret",
        call,
        _request("POST", "secrets", body),
        parameters={"key": key, "description": description},
        hidden=("value",),
        recovery=Recovery(look=look),
    )


def delete_secret(key: str) -> Operation[None]:
    """Delete a secret of each Space."""
    _validate.key(key)

    def call(client: SpacesClient, repo_id: str) -> Awaitable[None]:
        return client.config.delete_secret(repo_id, key)

    async def look(
        client: SpacesClient, repo_id: str, _doubt: InDoubt
    ) -> Done[None] | Verdict:
        left = await client.config.get_secrets(repo_id)
        return Verdict.NOT_DONE if key in left else Done(None)

    return Operation(
        "delete_secret",
        call,
        _request("DELETE", "secrets", {"key": key}),
        parameters={"key": key},
        recovery=Recovery(look=look),
    )


def request_storage(tier: SpaceStorage | str) -> Operation[SpaceRuntime]:
    """Ask for a tier of the legacy storage for each Space."""
    wanted = _validate.tier(tier)

    def call(client: SpacesClient, repo_id: str) -> Awaitable[SpaceRuntime]:
        return client.storage.request_storage(repo_id, wanted)

    return Operation(
        "request_storage",
        call,
        _request("POST", "storage", {"tier": wanted}),
        parameters={"tier": wanted},
        recovery=Recovery(judge=shows(lambda r: r.storage == wanted)),
    )


def delete_storage() -> Operation[SpaceRuntime]:
    """Delete the legacy storage of each Space."""
    return Operation(
        "delete_storage",
        lambda client, repo_id: client.storage.delete_storage(repo_id),
        _request("DELETE", "storage"),
        parameters={},
        recovery=Recovery(judge=shows(lambda r: r.storage is None)),
    )


_MAKERS: Final[Mapping[str, Callable[..., Operation[Any]]]] = {
    "restart": restart,
    "pause": pause,
    "request_hardware": request_hardware,
    "set_sleep_time": set_sleep_time,
    "add_variable": add_variable,
    "delete_variable": delete_variable,
    "delete_secret": delete_secret,
    "request_storage": request_storage,
    "delete_storage": delete_storage,
}


def _sleeps_after(runtime: SpaceRuntime, seconds: int) -> bool:
    return runtime.sleep_time == (None if seconds == -1 else seconds)


def _request(method: str, path: str, body: dict[str, Any] | None = None) -> str:
    shown = "" if body is None else f" {body}".replace("{", "{{").replace("}", "}}")
    return f"{method} /api/spaces/{{repo_id}}/{path}{shown}"
