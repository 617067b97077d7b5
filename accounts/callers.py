"""Who calls: what ``request.auth`` is. A key, or a member at a browser; both have a tenant and scopes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Impersonation, Membership, Tenant
from accounts.scopes import IMPERSONATED_READS, IMPERSONATED_WRITES, ROLE_SCOPES
from accounts.tenancy import act_for, acting_for, acting_for_member

_CHOSEN, _IMPERSONATION = "tenant_id", "impersonation"


class Caller(Protocol):
    """What routes and domain functions know of who calls, whichever kind it is."""

    @property
    def pk(self) -> str: ...
    @property
    def called(self) -> str:
        """How a refusal names it."""

    @property
    def tenant(self) -> Tenant: ...
    @property
    def live(self) -> bool: ...
    @property
    def scopes(self) -> list[str]: ...
    @property
    def networks(self) -> list[str]: ...
    @property
    def expires_at(self) -> datetime | None: ...


@dataclass(frozen=True)
class Member:
    """A person for a tenant, or an operator in that person's place."""

    membership: Membership
    impersonation: Impersonation | None = None
    live = True
    expires_at = None

    @property
    def pk(self) -> str:
        """Of who really acts."""
        if self.impersonation is not None:
            return str(self.impersonation.operator_id)
        return str(self.membership.user_id)

    @property
    def called(self) -> str:
        if self.impersonation is None:
            return _("Your role, %(role)s,") % {"role": self.membership.role}
        if self.impersonation.may_write:
            called = _("An operator in the place of a member (%(role)s, with changes)")
        else:
            called = _("An operator in the place of a member (%(role)s, to look)")
        return called % {"role": self.membership.role}

    @property
    def tenant(self) -> Tenant:
        return self.membership.tenant

    @property
    def networks(self) -> list[str]:
        return []

    @property
    def scopes(self) -> list[str]:
        own = ROLE_SCOPES[self.membership.role]
        if self.impersonation is None:
            return list(own)
        left = IMPERSONATED_WRITES if self.impersonation.may_write else IMPERSONATED_READS
        return [scope for scope in own if scope in left]


def memberships_of(user_id: str) -> list[Membership]:
    """A person's memberships, with their tenants, by the tenants' names."""
    with acting_for_member(user_id):
        rows = Membership.objects.filter(user=user_id).select_related("tenant")
        return sorted(rows, key=lambda row: (row.tenant.name, row.tenant_id))


def member_of(request: HttpRequest) -> Member | None:
    """For whom the person at this browser comes, and act for that tenant from here on.

    An operator comes for the member whom they impersonate; a member for the tenant that they chose last,
    or their first one. None: for nobody.
    """
    user = request.user
    if not user.is_authenticated or not user.is_active:
        return None
    if (impersonating := _impersonating(request)) is not None:
        return impersonating
    memberships = memberships_of(user.pk)
    if not memberships:
        return None
    chosen = request.session.get(_CHOSEN)
    membership = next((row for row in memberships if row.tenant_id == chosen), memberships[0])
    membership.user = user
    act_for(membership.tenant_id)
    return Member(membership)


def choose_tenant(request: HttpRequest, tenant_id: str) -> None:
    """Come for this tenant from the next request on, if the person is a member of it."""
    request.session[_CHOSEN] = tenant_id


def _impersonating(request: HttpRequest) -> Member | None:
    row = impersonation_of(request)
    if row is None:
        return None
    act_for(row.tenant_id)
    return Member(row.membership, row)


def impersonation_of(request: HttpRequest) -> Impersonation | None:
    """The impersonation that this browser's operator is in the middle of, with the member and tenant."""
    named = request.session.get(_IMPERSONATION)
    if named is None:
        return None
    tenant_id, impersonation_id = named
    with acting_for(tenant_id):
        row: Impersonation | None = (
            Impersonation.objects.for_tenant(tenant_id)
            .filter(
                pk=impersonation_id,
                operator=request.user.pk,
                ended_at=None,
                expires_at__gt=timezone.now(),
            )
            .select_related("membership__tenant", "membership__user")
            .first()
        )
    if row is None or not request.user.is_operator:
        del request.session[_IMPERSONATION]
        return None
    return row


def enter(request: HttpRequest, impersonation: Impersonation) -> None:
    """Have this browser's requests come in the member's place from the next one on."""
    request.session[_IMPERSONATION] = [impersonation.tenant_id, impersonation.pk]


def leave(request: HttpRequest) -> None:
    """Come as oneself again."""
    request.session.pop(_IMPERSONATION, None)
