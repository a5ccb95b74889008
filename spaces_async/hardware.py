"""What a Space runs on, and when it goes to sleep."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from spaces_async import _validate
from spaces_async._operations import requests
from spaces_async._operations.requests import json_body, space_call
from spaces_async._wire.calls import Action, Call
from spaces_async._wire.converter import decode_runtime, decoder, list_decoder
from spaces_async.models import SpaceHardware, SpaceRuntime
from spaces_async.records import HardwareFlavor, ZeroGpuQuota

if TYPE_CHECKING:
    from spaces_async._core.session import HubSession

__all__ = ["Hardware"]

REQUEST_HARDWARE: Final = Action("request_hardware", "POST")
SET_SLEEP_TIME: Final = Action("set_sleep_time", "POST")
SET_REPLICAS: Final = Action("set_replicas", "POST")
LIST_FLAVORS: Final = Action("list_flavors", "GET")
ZERO_GPU_QUOTA: Final = Action("get_zero_gpu_quota", "GET")


class Hardware:
    """Flavors, sleep time, replicas. Reached as `client.hardware`."""

    __slots__ = ("_session",)

    def __init__(self, session: HubSession) -> None:
        self._session = session

    async def list_flavors(self) -> list[HardwareFlavor]:
        """Return the flavors that can be asked for, with their prices.

        Endpoint: `GET /api/spaces/hardware`. Safe to repeat. Cancelling it leaves
        nothing behind. Needs no token. Some flavors that exist are not listed.
        """
        return await self._session.send(
            Call(
                action=LIST_FLAVORS,
                segments=("spaces", "hardware"),
                decode=list_decoder(HardwareFlavor),
            )
        )

    async def get_zero_gpu_quota(self) -> ZeroGpuQuota:
        """Return how many GPU seconds of ZeroGPU the token's user has left.

        Endpoint: `GET /api/spaces/zero-gpu/quota`. Safe to repeat. Cancelling it
        leaves nothing behind.

        Raises:
            AuthenticationError: There is no token, or it may not read billing.
        """
        return await self._session.send(
            Call(
                action=ZERO_GPU_QUOTA,
                segments=("spaces", "zero-gpu", "quota"),
                decode=decoder(ZeroGpuQuota),
            )
        )

    async def set_replicas(self, repo_id: str, replicas: int) -> SpaceRuntime:
        """Set how many copies of the app run; on paid hardware only, each one bills.

        Endpoint: `POST /api/spaces/{repo_id}/replicas`. Safe to repeat: the end state
        is the same; after a lost answer the runtime is read first. What it answers is
        not documented: if it is no runtime, the runtime is read. Cancelling it may
        leave the number requested.

        Args:
            repo_id: "owner/name".
            replicas: At least 1.

        Returns:
            The runtime: `replicas.requested` changes at once, `current` later.

        Raises:
            BadRequestError: The hardware does not allow it.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        wanted = _validate.whole(replicas, "replicas")

        def done(runtime: SpaceRuntime) -> bool:
            return runtime.replicas is not None and runtime.replicas.requested == wanted

        return await self._session.send(
            space_call(
                SET_REPLICAS,
                repo_id,
                "replicas",
                body=json_body({"replicas": wanted}),
                decode=decode_runtime,
                verify=requests.runtime_shows(self._session, repo_id, done),
                recover=requests.recover_runtime(self._session, repo_id),
            )
        )

    async def request_hardware(
        self,
        repo_id: str,
        flavor: SpaceHardware | str,
        *,
        sleep_time: int | None = None,
    ) -> SpaceRuntime:
        """Ask for another hardware flavor. The Space restarts on it; paid ones bill.

        Endpoint: `POST /api/spaces/{repo_id}/hardware`. Safe to repeat: the end state
        is the same; after a lost answer the requested flavor is read first. Cancelling
        it may leave the flavor requested.

        Args:
            repo_id: "owner/name".
            flavor: Such as "t4-small" or `SpaceHardware.T4_SMALL`.
            sleep_time: Seconds without a visit until it sleeps, -1 for never; None
                leaves it to the Hub.

        Returns:
            The runtime: `requested_hardware` changes at once, `hardware` later.

        Raises:
            InvalidHardwareError: The Hub refuses the flavor.
            PaymentRequiredError: The plan of the account does not include it.
            PermissionDeniedError: The token may not do it, or no payment method is
                set.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        wanted = _validate.flavor(flavor)
        body: dict[str, Any] = {"flavor": wanted}
        if sleep_time is not None:
            body["sleepTimeSeconds"] = _validate.sleep_time(sleep_time)

        def done(runtime: SpaceRuntime) -> bool:
            return runtime.requested_hardware == wanted and (
                sleep_time is None or _sleeps_after(runtime, sleep_time)
            )

        runtime = await self._session.send(
            space_call(
                REQUEST_HARDWARE,
                repo_id,
                "hardware",
                body=json_body(body),
                decode=decode_runtime,
                verify=requests.runtime_shows(self._session, repo_id, done),
                recover=requests.recover_runtime(self._session, repo_id),
                refine=requests.name_hardware(wanted),
            )
        )
        if sleep_time is not None:
            _warn_of_fixed_sleep(repo_id, runtime)
        return runtime

    async def set_sleep_time(self, repo_id: str, seconds: int) -> SpaceRuntime:
        """Set after how long without a visit a Space goes to sleep.

        Endpoint: `POST /api/spaces/{repo_id}/sleeptime`. Safe to repeat. Cancelling it
        may leave it set.

        On cpu-basic the Hub keeps to 48 hours whatever is set: a `UserWarning` says so.

        Args:
            repo_id: "owner/name".
            seconds: Above 0, or -1 for never.

        Returns:
            The runtime; `sleep_time` is None for never.

        Raises:
            ConfigurationError: 0 or below -1; nothing was sent.
            PermissionDeniedError: The token may not write to the Space.
            SpaceNotFoundError: It does not exist, or the token may not see it.
        """
        body = {"seconds": _validate.sleep_time(seconds)}
        runtime = await self._session.send(
            space_call(
                SET_SLEEP_TIME,
                repo_id,
                "sleeptime",
                body=json_body(body),
                decode=decode_runtime,
                recover=requests.recover_runtime(self._session, repo_id),
            )
        )
        _warn_of_fixed_sleep(repo_id, runtime)
        return runtime


def _sleeps_after(runtime: SpaceRuntime, seconds: int) -> bool:
    return runtime.sleep_time == (None if seconds == -1 else seconds)


def _warn_of_fixed_sleep(repo_id: str, runtime: SpaceRuntime) -> None:
    flavor = runtime.requested_hardware or runtime.hardware
    if flavor is SpaceHardware.CPU_BASIC:
        warnings.warn(
            f"{repo_id} runs on cpu-basic, where the Hub keeps the sleep time at 48"
            " hours: what was set has no effect until it has other hardware",
            UserWarning,
            stacklevel=3,
        )
