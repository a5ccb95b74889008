"""What can be done to many Spaces: each operation checked once, then called for each.

Each function here makes an `Operation` for `client.bulk.run` and `client.bulk.stream`:

```python
async with client.bulk.stream(operations.restart(), targets) as outcomes:
    ...
```
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import frozen

from spaces_async import _validate
from spaces_async._redacted import Redacted
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from spaces_async.client import SpacesClient  # noqa: TC004  (it lies above us)
    from spaces_async.models import (
        SpaceHardware,
        SpaceRuntime,
        SpaceStorage,
        SpaceVariable,
    )

__all__ = [
    "Operation",
    "add_secret",
    "add_variable",
    "as_operation",
    "delete_secret",
    "delete_storage",
    "delete_variable",
    "pause",
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
    """

    name: str
    call: Callable[[SpacesClient, str], Awaitable[T]]
    request: str = ""

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


def restart(*, factory_reboot: bool = False) -> Operation[SpaceRuntime]:
    """Restart each Space."""
    factory = _validate.flag(factory_reboot, "factory_reboot")

    def call(client: SpacesClient, repo_id: str) -> Awaitable[SpaceRuntime]:
        return client.lifecycle.restart(repo_id, factory_reboot=factory)

    query = "?factory=true" if factory else ""
    return Operation("restart", call, _request("POST", f"restart{query}"))


def pause() -> Operation[SpaceRuntime]:
    """Pause each Space."""
    return Operation(
        "pause",
        lambda client, repo_id: client.lifecycle.pause(repo_id),
        _request("POST", "pause"),
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

    return Operation("request_hardware", call, _request("POST", "hardware", body))


def set_sleep_time(seconds: int) -> Operation[SpaceRuntime]:
    """Set the sleep time of each Space."""
    wanted = _validate.sleep_time(seconds)

    def call(client: SpacesClient, repo_id: str) -> Awaitable[SpaceRuntime]:
        return client.hardware.set_sleep_time(repo_id, wanted)

    request = _request("POST", "sleeptime", {"seconds": wanted})
    return Operation("set_sleep_time", call, request)


def add_variable(
    key: str, value: str, *, description: str | None = None
) -> Operation[SpaceVariable]:
    """Add a variable to each Space."""
    _validate.key(key)
    _validate.text(value, "the value of a variable")

    def call(client: SpacesClient, repo_id: str) -> Awaitable[SpaceVariable]:
        return client.config.add_variable(repo_id, key, value, description=description)

    body = {"key": key, "value": value}
    if description is not None:
        body["description"] = _validate.text(description, "description")
    request = _request("POST", "variables", body)
    return Operation("add_variable", call, request)


def delete_variable(key: str) -> Operation[dict[str, SpaceVariable]]:
    """Delete a variable of each Space."""
    _validate.key(key)

    def call(client: SpacesClient, repo_id: str) -> Awaitable[dict[str, SpaceVariable]]:
        return client.config.delete_variable(repo_id, key)

    request = _request("DELETE", "variables", {"key": key})
    return Operation("delete_variable", call, request)


def add_secret(
    key: str, value: str | Redacted[str], *, description: str | None = None
) -> Operation[None]:
    """Add a secret to each Space; its value is never shown."""
    hidden = value if isinstance(value, Redacted) else Redacted(value)
    del value
    _validate.key(key)
    _validate.secret(hidden)

    def call(client: SpacesClient, repo_id: str) -> Awaitable[None]:
        return client.config.add_secret(
            repo_id, key, hidden.reveal(), description=description
        )

    body = {"key": key, "value": str(hidden)}
    if description is not None:
        body["description"] = _validate.text(description, "description")
    request = _request("POST", "secrets", body)
    return Operation("add_secret", call, request)


def delete_secret(key: str) -> Operation[None]:
    """Delete a secret of each Space."""
    _validate.key(key)

    def call(client: SpacesClient, repo_id: str) -> Awaitable[None]:
        return client.config.delete_secret(repo_id, key)

    return Operation("delete_secret", call, _request("DELETE", "secrets", {"key": key}))


def request_storage(tier: SpaceStorage | str) -> Operation[SpaceRuntime]:
    """Ask for a tier of the legacy storage for each Space."""
    wanted = _validate.tier(tier)

    def call(client: SpacesClient, repo_id: str) -> Awaitable[SpaceRuntime]:
        return client.storage.request_storage(repo_id, wanted)

    request = _request("POST", "storage", {"tier": wanted})
    return Operation("request_storage", call, request)


def delete_storage() -> Operation[SpaceRuntime]:
    """Delete the legacy storage of each Space."""
    return Operation(
        "delete_storage",
        lambda client, repo_id: client.storage.delete_storage(repo_id),
        _request("DELETE", "storage"),
    )


def _request(method: str, path: str, body: dict[str, Any] | None = None) -> str:
    shown = "" if body is None else f" {body}".replace("{", "{{").replace("}", "}}")
    return f"{method} /api/spaces/{{repo_id}}/{path}{shown}"
