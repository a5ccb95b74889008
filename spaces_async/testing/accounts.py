"""Users, organizations and tokens, and their permissions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Accounts",
    "FlavorLimit",
    "Identity",
    "Org",
    "OrgRole",
    "Token",
    "TokenRole",
    "User",
]

OrgRole = Literal["admin", "write", "contributor", "read", "no_access"]
TokenRole = Literal["write", "read", "none"]


@define
class User:
    """A person with an account.

    Attributes:
        name: Name of the account.
        is_pro: Whether the user has PRO.
        can_pay: Whether there is a payment method.
    """

    name: str
    is_pro: bool = False
    can_pay: bool = True


@define
class Org:
    """An organization.

    Attributes:
        name: Name of the account.
        members: The role of each member.
        can_pay: Whether there is a payment method.
        plan: Its plan; None means the free plan.
    """

    name: str
    members: dict[str, OrgRole] = field(factory=dict[str, OrgRole])
    can_pay: bool = True
    plan: str | None = None


@frozen
class Token:
    """An access token.

    Attributes:
        value: The secret string.
        user: Name of the user that it belongs to.
        role: "write" and "read" as on the Hub; "none" is a fine-grained token without
            any permission.
    """

    value: str = field(repr=False)
    user: str
    role: TokenRole = "write"


@frozen
class Identity:
    """The identity of a caller.

    Attributes:
        user: The token's user; None without a token or with an unknown one.
        token: The token; None in the same cases.
        bad: Whether the call had an unknown token.
    """

    user: User | None = None
    token: Token | None = None
    bad: bool = False


@frozen
class FlavorLimit:
    """The compute quota of an account for one flavor.

    Attributes:
        count: How many Spaces may run on it at the same time.
        pauses: Whether one more is started and then paused, instead of refused.
    """

    count: int
    pauses: bool = False


class Accounts:
    """All accounts and tokens of this Hub."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.orgs: dict[str, Org] = {}
        self.tokens: dict[str, Token] = {}
        self.flavor_limits: dict[tuple[str, str], FlavorLimit] = {}

    def identify(self, token: str | None) -> Identity:
        """Return the identity that a token belongs to."""
        if token is None:
            return Identity()
        known = self.tokens.get(token)
        if known is None:
            return Identity(bad=True)
        return Identity(user=self.users[known.user], token=known)

    def add_org(
        self, name: str, members: Mapping[str, OrgRole], *, can_pay: bool = True
    ) -> Org:
        """Add an organization, or members to an existing one."""
        org = self.orgs.setdefault(name, Org(name))
        org.members.update(members)
        org.can_pay = can_pay
        return org

    def role_in(self, namespace: str, caller: Identity) -> OrgRole | None:
        """Return the caller's role in a namespace; None for an outsider."""
        if caller.user is None:
            return None
        if caller.user.name == namespace:
            return "admin"
        org = self.orgs.get(namespace)
        return org.members.get(caller.user.name) if org else None

    def may_see(self, namespace: str, caller: Identity) -> bool:
        """Whether the caller may see private Spaces of this namespace."""
        if caller.token is None or caller.token.role == "none":
            return False
        return self.role_in(namespace, caller) not in {None, "no_access"}

    def may_write(self, namespace: str, caller: Identity, creator: str | None) -> bool:
        """Whether the caller may change a Space that `creator` created there."""
        if caller.token is None or caller.token.role != "write" or caller.user is None:
            return False
        role = self.role_in(namespace, caller)
        if role == "contributor":
            return creator == caller.user.name
        return role in {"admin", "write"}

    def may_create(self, namespace: str, caller: Identity) -> bool:
        """Whether the caller may create a Space there."""
        if caller.token is None or caller.token.role != "write":
            return False
        return self.role_in(namespace, caller) in {"admin", "write", "contributor"}

    def can_pay(self, namespace: str) -> bool:
        """Whether the namespace has a payment method."""
        owner = self.users.get(namespace) or self.orgs.get(namespace)
        return owner.can_pay if owner else False

    def has_plan(self, namespace: str) -> bool:
        """Whether the namespace has PRO, or a plan for organizations."""
        user = self.users.get(namespace)
        if user is not None:
            return user.is_pro
        org = self.orgs.get(namespace)
        return bool(org and org.plan)
