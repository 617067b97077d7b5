"""The members of a tenant: who they are, who may join, and who is shown the door."""

from datetime import timedelta

from allauth.account.models import EmailAddress
from django.core import signing
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.callers import Caller
from accounts.lookup import find_row
from accounts.mail import send_mail
from accounts.models import AuditEvent, Invitation, Membership, Tenant, TenantQuerySet, User
from accounts.plans import Plan
from accounts.scopes import ROLE_SCOPES, Role, beyond
from accounts.tenancy import act_for, acting_for
from voicereel_site.errors import FieldError, Refusal, not_found

MOST_INVITATIONS = 100  # that wait, of a tenant
MOST_INVITATIONS_A_DAY, _SAME_ADDRESS_A_DAY = 100, 3
_INVITED_FOR = timedelta(days=7)
_SALT = "voicereel.invitation"


def found_tenant(user: User, name: str) -> Tenant:
    """Make a tenant of which this person is the owner, on trial."""
    tenant = Tenant(name=name, plan=Plan.TRIAL)
    with acting_for(tenant.pk), transaction.atomic():
        tenant.save(force_insert=True)
        Membership.objects.create(tenant=tenant, user=user, role=Role.OWNER)
        audit.record(tenant.pk, "account.created", tenant.pk, name=name)
    return tenant


def list_members(tenant: Tenant) -> TenantQuerySet:
    """Memberships with their people, and whether those have a second factor."""
    from allauth.mfa.models import Authenticator  # its models need their app to be loaded

    factors = Authenticator.objects.filter(user=OuterRef("user"))
    rows = Membership.objects.for_tenant(tenant).select_related("user")
    return rows.annotate(has_second_factor=Exists(factors))


def get_member(tenant: Tenant, membership_id: str) -> Membership:
    """This tenant's member. Raises not_found."""
    found: Membership = find_row(list_members(tenant), membership_id, "member")
    return found


def change_role(caller: Caller, row: Membership, role: str) -> Membership:
    """Give a member another role.

    Raises insufficient_scope where the old or the new one may do more than the caller, validation_error
    (409) if nobody would be left to own the account.
    """
    _refuse_more_power(caller, row.role)
    _refuse_more_power(caller, role)
    with transaction.atomic():
        row = _locked(row)
        _refuse_more_power(caller, row.role)  # it may have risen meanwhile
        if row.role == Role.OWNER and role != Role.OWNER:
            _require_another_owner(row)
        if row.role != role:
            audit.record(
                row.tenant_id, "member.role_changed", row.user.email, old=row.role, new=role
            )
            row.role = role
            row.save(update_fields=["role"])
    return get_member(caller.tenant, row.pk)


def remove_member(caller: Caller, row: Membership) -> None:
    """End a membership: from the person's next request on they see nothing of the tenant's.

    Everybody may leave. Raises as change_role.
    """
    if row.user_id != caller.pk:
        _refuse_more_power(caller, row.role)
    with transaction.atomic():
        row = _locked(row)
        if row.user_id != caller.pk:
            _refuse_more_power(caller, row.role)  # it may have risen meanwhile
        if row.role == Role.OWNER:
            _require_another_owner(row)
        audit.record(row.tenant_id, "member.removed", row.user.email, role=row.role)
        row.delete()


def _locked(row: Membership) -> Membership:
    """The row as it is, while nobody else changes a member of this tenant."""
    Tenant.objects.select_for_update(no_key=True).get(pk=row.tenant_id)
    rows = Membership.objects.for_tenant(row.tenant_id).filter(pk=row.pk)
    held: Membership | None = rows.select_related("user").first()
    if held is None:
        raise not_found("member")
    return held


def _require_another_owner(row: Membership) -> None:
    owners = Membership.objects.for_tenant(row.tenant_id).filter(role=Role.OWNER)
    if not owners.exclude(pk=row.pk).exists():
        detail = _("An account needs an owner. Make another member one first.")
        raise Refusal("validation_error", detail, 409)


def _refuse_more_power(caller: Caller, role: str) -> None:
    """What a caller could not do itself, or not for ever and from everywhere, nobody does by its help."""
    if caller.expires_at is not None or caller.networks:
        raise Refusal(
            "insufficient_scope",
            _("%(caller)s ends, or is bound to networks: it can give no role, which is not.")
            % {"caller": caller.called},
            403,
        )
    if lacking := beyond(caller.scopes, ROLE_SCOPES[role]):
        raise Refusal(
            "insufficient_scope",
            _(
                "%(caller)s does not hold %(scopes)s, which %(role)s does, and can neither give this "
                "role nor take it away."
            )
            % {"caller": caller.called, "scopes": ", ".join(lacking), "role": role},
            403,
        )


def invite_by_mail(caller: Caller, email: str, role: str, base_url: str) -> Invitation:
    """Ask a person to join, by mail; base_url: of the pages, ``https://app.example.com``.

    An earlier invitation of the same address ends. Raises insufficient_scope, or validation_error for
    members and for too many.
    """
    with transaction.atomic():
        row = _invite(caller, email, role)
        _mail_invitation(row, base_url)
    return row


def _invite(caller: Caller, email: str, role: str) -> Invitation:
    _refuse_more_power(caller, role)
    tenant = caller.tenant
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    if Membership.objects.for_tenant(tenant).filter(user__email=email).exists():
        detail = _("This person is a member already.")
        raise Refusal("validation_error", detail, errors=[FieldError("/email", detail)])
    waiting = list_invitations(tenant)
    waiting.filter(email=email).delete()
    if waiting.count() >= MOST_INVITATIONS:
        detail = _("%(count)s invitations are waiting. Withdraw one first.")
        detail %= {"count": MOST_INVITATIONS}
        raise Refusal("validation_error", detail, 409)
    _refuse_more_mail(tenant, email)
    inviter = audit.current_actor().name
    row = Invitation.objects.create(
        tenant=tenant,
        email=email,
        role=role,
        invited_by=inviter,
        expires_at=timezone.now() + _INVITED_FOR,
    )
    audit.record(tenant.pk, "member.invited", email, role=role)
    return row


def _refuse_more_mail(tenant: Tenant, email: str) -> None:
    """An invitation is a mail to a stranger. The log, which nobody can shorten, counts them."""
    a_day_ago = timezone.now() - timedelta(days=1)
    sent = AuditEvent.objects.for_tenant(tenant).filter(action="member.invited", at__gt=a_day_ago)
    if (
        sent.count() >= MOST_INVITATIONS_A_DAY
        or sent.filter(target=email).count() >= _SAME_ADDRESS_A_DAY
    ):
        raise Refusal(
            "rate_limited",
            _(
                "An account may invite %(same)s times a day at one address, and %(most)s times in "
                "all. Try again tomorrow."
            )
            % {"same": _SAME_ADDRESS_A_DAY, "most": MOST_INVITATIONS_A_DAY},
            429,
            headers={"Retry-After": str(24 * 3600)},
        )


def _mail_invitation(row: Invitation, base_url: str) -> None:
    send_mail(
        [row.email],
        "invitation",
        of_tenant=row.tenant_id,
        invitation=row,
        url=base_url + reverse("invitation", args=[_token(row)]),
        days=_INVITED_FOR.days,
    )


def _token(row: Invitation) -> str:
    """What proves that the link was in our mail, and says whose row to look for."""
    return signing.Signer(salt=_SALT).sign_object([row.tenant_id, row.pk])


def list_invitations(tenant: Tenant) -> TenantQuerySet:
    """Those that may still be accepted."""
    return Invitation.objects.for_tenant(tenant).filter(expires_at__gt=timezone.now())


def withdraw_invitation(tenant: Tenant, invitation_id: str) -> None:
    """End an invitation: its link opens nothing any more. Raises not_found."""
    row = find_row(list_invitations(tenant), invitation_id, "invitation")
    with transaction.atomic():
        row.delete()
        audit.record(tenant.pk, "member.invitation_withdrawn", row.email)


def open_invitation(token: str) -> Invitation | None:
    """The invitation behind a link, with its tenant, for whom this request acts from here on; None if
    it is over.
    """
    try:
        tenant_id, invitation_id = signing.Signer(salt=_SALT).unsign_object(token)
    except (signing.BadSignature, ValueError):
        return None
    rows = Invitation.objects.for_tenant(tenant_id).filter(expires_at__gt=timezone.now())
    with acting_for(tenant_id):
        row: Invitation | None = rows.filter(pk=invitation_id).select_related("tenant").first()
    if row is not None:
        act_for(tenant_id)
    return row


def accept_invitation(row: Invitation, user: User) -> None:
    """Make the person a member. Raises insufficient_scope unless the address is verified as theirs."""
    own = EmailAddress.objects.filter(user=user, email__iexact=row.email, verified=True)
    if not own.exists():
        raise Refusal(
            "insufficient_scope",
            _("This invitation is for %(address)s. Log in with that address to accept it.")
            % {"address": row.email},
            403,
        )
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=row.tenant_id)
        taken, __ = Invitation.objects.for_tenant(row.tenant_id).filter(pk=row.pk).delete()
        if not taken:
            raise not_found("invitation")
        if Membership.objects.for_tenant(row.tenant_id).filter(user=user).exists():
            raise Refusal("validation_error", _("You are a member already."), 409)
        Membership.objects.create(tenant_id=row.tenant_id, user=user, role=row.role)
        audit.record(row.tenant_id, "member.joined", user.email, role=row.role)


def addresses_of(tenant_id: str, *roles: str) -> list[str]:
    """The addresses of a tenant's members with these roles."""
    rows = Membership.objects.for_tenant(tenant_id).filter(role__in=roles, user__is_active=True)
    return sorted(rows.values_list("user__email", flat=True))
