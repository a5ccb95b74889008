"""What a Space runs on, and when it goes to sleep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spaces_async._hints import Resource
from spaces_async._operations import writes
from spaces_async._operations.requests import flavors_call
from spaces_async._wire.calls import Action, Call
from spaces_async._wire.converter import decoder
from spaces_async.records import ZeroGpuQuota

if TYPE_CHECKING:
    from spaces_async._core.session import HubSession
    from spaces_async.models import SpaceHardware, SpaceRuntime
    from spaces_async.records import HardwareFlavor

__all__ = ["Hardware"]

ZERO_GPU_QUOTA: Final = Action("get_zero_gpu_quota", "GET")


class Hardware(Resource):
    """Flavors, sleep time, replicas. Reached as `client.hardware`."""

    __slots__ = ("_session",)

    def __init__(self, session: HubSession) -> None:
        self._session = session

    async def list_flavors(self) -> list[HardwareFlavor]:
        """Return the flavors that can be asked for, with their prices.

        Endpoint: `GET /api/spaces/hardware`. Safe to repeat. Cancelling it leaves
        nothing behind. Needs no token. Some flavors that exist are not listed.
        """
        return await self._session.send(flavors_call())

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
        return await self._session.send(writes.set_replicas(replicas).to(repo_id))

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
        write = writes.request_hardware(flavor, sleep_time=sleep_time)
        runtime = await self._session.send(write.to(repo_id))
        write.warn(repo_id, runtime)
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
        write = writes.set_sleep_time(seconds)
        runtime = await self._session.send(write.to(repo_id))
        write.warn(repo_id, runtime)
        return runtime
