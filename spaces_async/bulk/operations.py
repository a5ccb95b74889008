"""What can be done to many Spaces.

Each function here checks its arguments and makes an `Operation` for `client.bulk.run`,
`client.bulk.stream` and `client.bulk.resume`:

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
from spaces_async._operations import writes
from spaces_async._operations.write import Operation, Series, Tailored
from spaces_async._operations.writes import (
    add_secret,
    add_secrets,
    add_variable,
    add_variables,
    add_volumes,
    delete,
    delete_secret,
    delete_secrets,
    delete_storage,
    delete_variable,
    delete_variables,
    delete_volumes,
    pause,
    remove_volumes,
    request_hardware,
    request_storage,
    restart,
    set_custom_domain,
    set_dev_mode,
    set_replicas,
    set_sleep_time,
    set_visibility,
    set_volumes,
)
from spaces_async.errors import ConfigurationError

if TYPE_CHECKING:
    from spaces_async._redacted import Redacted
    from spaces_async.client import SpacesClient  # noqa: TC004  (it lies above us)

__all__ = [
    "Function",
    "Operation",
    "add_secret",
    "add_secrets",
    "add_variable",
    "add_variables",
    "add_volumes",
    "as_operation",
    "delete",
    "delete_secret",
    "delete_secrets",
    "delete_storage",
    "delete_variable",
    "delete_variables",
    "delete_volumes",
    "keys_of_secrets",
    "pause",
    "rebuild",
    "remove_volumes",
    "request_hardware",
    "request_storage",
    "restart",
    "set_custom_domain",
    "set_dev_mode",
    "set_replicas",
    "set_sleep_time",
    "set_visibility",
    "set_volumes",
]

T = TypeVar("T")

BY_NAME: Final[Mapping[str, Callable[..., Operation[Any]]]] = {
    name: made
    for name, made in globals().items()
    if getattr(made, "__module__", None) == writes.__name__
}
"""The package's own operations, by the names that journals have for them."""


@frozen
class Function(Operation[T], Generic[T]):
    """A function of the user's that does something to one Space.

    Attributes:
        call: The function.
        only_reads: Whether it changes nothing, so that nothing is in doubt when it is
            cancelled.
        identity: What tells it from other functions in a journal; None if nothing does.
    """

    call: Callable[[SpacesClient, str], Awaitable[T]]
    only_reads: bool = field(default=False, kw_only=True)
    identity: str | None = field(default=None, kw_only=True)


def as_operation(
    operation: Operation[T] | Callable[[SpacesClient, str], Awaitable[T]],
    *,
    name: str | None = None,
    only_reads: bool = False,
) -> Operation[T]:
    """Take an operation, or any async callable of a client and an id.

    Args:
        operation: One of them.
        name: What reports and journals call a callable; None takes its own name.
        only_reads: Whether a callable changes nothing: one that is cancelled is then
            not attempted instead of unknown.

    Raises:
        ConfigurationError: It is neither, or an operation is given a name.
    """
    if name is not None:
        _validate.text(name, "name")
    if isinstance(operation, Operation):
        if name is not None:
            raise ConfigurationError(
                f"name is for a callable, not for {operation.name}"
            )
        return operation  # pyright: ignore[reportUnknownVariableType]
    if not callable(operation):
        raise ConfigurationError(
            f"operation must be an async callable (client, repo_id), not {operation!r}"
        )
    own_name = str(getattr(operation, "__name__", "run"))
    return Function(
        operation,
        name=name or own_name,
        only_reads=only_reads,
        identity=name or _identity(operation),
    )


def _identity(function: Callable[..., Any]) -> str | None:
    """Return the module and the qualified name of a function.

    All lambdas of a scope share a name, and partials and objects have none.
    """
    qualified = getattr(function, "__qualname__", None)
    if qualified is None or "<lambda>" in qualified:
        return None
    return f"{getattr(function, '__module__', None)}:{qualified}"


def rebuild(
    name: str,
    parameters: Mapping[str, Any] | None,
    secrets: Mapping[str, Redacted[str]] | None = None,
) -> Operation[Any]:
    """Make an operation of this module again from a journal's name and parameters.

    Args:
        name: The operation.
        parameters: What it was made of.
        secrets: The values of secrets, by key; a journal never has them.

    Raises:
        ConfigurationError: There is no such operation, it is not made of these, or the
            value of a secret is missing.
    """
    if name.startswith("undo ") and parameters is not None:
        return _rebuild_undo(name, parameters)
    make = BY_NAME.get(name)
    if make is None or parameters is None:
        raise ConfigurationError(
            f"{name!r} is a function of yours: pass it again as operation="
        )
    given = dict(parameters)
    keys = keys_of_secrets(name, given)
    values = secrets or {}
    if missing := [key for key in keys if key not in values]:
        raise ConfigurationError(
            f"{name} needs the value of {', '.join(missing)} again, which is never"
            " written down: pass it as secrets={'KEY': 'value'}"
        )
    if name == "add_secret":
        given["value"] = values[keys[0]]
    elif name == "add_secrets":
        given["secrets"] = {key: values[key] for key in keys}
    try:
        return make(**given)
    except TypeError as error:
        raise ConfigurationError(f"{name} is not made of these: {error}") from None


def _rebuild_undo(name: str, parameters: Mapping[str, Any]) -> Tailored:
    by_space: dict[str, Operation[Any]] = {}
    for repo_id, made in parameters["writes"].items():
        steps = [(key, rebuild(step, given)) for key, step, given in made]
        single = len(steps) == 1
        by_space[repo_id] = steps[0][1] if single else Series(tuple(steps))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return Tailored(by_space, name=name, parameters=parameters)


def keys_of_secrets(name: str, parameters: Mapping[str, Any] | None) -> list[str]:
    """Return the keys of the secrets whose values an operation needs."""
    if parameters is None:
        return []
    if name == "add_secret":
        return [str(parameters.get("key"))]
    return list(parameters.get("secrets", ())) if name == "add_secrets" else []
