"""What Spaces have cost, and what they cost for an hour."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from spaces_async import _costs, _validate
from spaces_async._hints import Resource
from spaces_async._operations.requests import (
    flavors_call,
    listing_call,
    whoami_call,
)
from spaces_async._wire.calls import Action, Call
from spaces_async._wire.converter import decoder
from spaces_async.errors import ConfigurationError
from spaces_async.records import BillingUsage, CostEstimate, SpaceRate

if TYPE_CHECKING:
    from spaces_async._core.session import HubSession
    from spaces_async.models import SpaceInfo

__all__ = ["Billing"]

GET_USAGE: Final = Action("get_usage", "GET")

_PERIOD: Final = re.compile(r"[0-9a-f]{24}")


class Billing(Resource):
    """Bills and estimates. Reached as `client.billing`."""

    __slots__ = ("_session",)

    def __init__(self, session: HubSession) -> None:
        self._session = session

    async def get_usage(self, owner: str, period: str | None = None) -> BillingUsage:
        """Return what the Spaces of an owner used in a billing period, with its cost.

        Endpoint: `GET /api/organizations/{owner}/billing/usage`, for the token's own
        user `GET /api/settings/billing/usage`. Which of the two it is, `whoami` tells,
        which is read once for each token. Safe to repeat. Cancelling it leaves nothing
        behind.

        Args:
            owner: An org, or the token's own user.
            period: The id of a period, `usage.period.id` of another answer; None is
                the current one.

        Returns:
            The usage; `total_usd` is None if a line of the bill cannot be read.

        Raises:
            AuthenticationError: There is no token, or it may not read billing.
            PermissionDeniedError: The token may not read the bill of this org.
            NotFoundError: There is no such org or period, or the token may not see it.
        """
        name = _validate.name(owner, "owner")
        query = () if period is None else (("periodId", _period(period)),)
        account = await self._session.send(whoami_call())
        is_own = account.name.lower() == name.lower()
        place = ("settings",) if is_own else ("organizations", name)
        return await self._session.send(
            Call(
                action=GET_USAGE,
                segments=(*place, "billing", "usage"),
                query=query,
                decode=decoder(BillingUsage),
            )
        )

    async def estimate(self, owner: str) -> CostEstimate:
        """Return what the Spaces of an owner cost for an hour, by the price list.

        Endpoint: `GET /api/spaces/hardware` and `GET /api/spaces`, one call for each
        500 Spaces. Safe to repeat. Cancelling it leaves nothing behind.

        It needs no right to read the bill, and it is no bill: it is made of the prices,
        stages, flavors and replicas of now.

        Args:
            owner: User or org. Private Spaces that the token may not see are missing.

        Returns:
            The rate of each Space; its `usd_per_hour` is None if one is not known.
        """
        call = listing_call(owner, "runtime", "sdk")
        flavors = await self._session.send(flavors_call())
        prices = _costs.prices(flavors)
        rates: list[SpaceRate] = []
        async with aclosing(self._session.pages(call)) as pages:
            async for page in pages:
                rates += [_rate(info, prices) for info in page]
        return CostEstimate(owner, tuple(rates))


def _rate(info: SpaceInfo, prices: _costs.Prices) -> SpaceRate:
    runtime = info.runtime
    return SpaceRate(
        info.id,
        stage=info.stage,
        hardware=None if runtime is None else _costs.billed_flavor(runtime),
        replicas=None if runtime is None else _costs.replica_count(runtime),
        usd_per_hour=_costs.rate(info, prices),
    )


def _period(value: object) -> str:
    if isinstance(value, str) and _PERIOD.fullmatch(value):
        return value
    raise ConfigurationError(
        "period must be the id of a billing period, 24 hexadecimal digits such as"
        f" usage.period.id, not {value!r}"
    )
