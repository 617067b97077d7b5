"""An operator in a member's place: for an hour at most, to look unless more was asked for, on record."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import Impersonation, Membership, User
from voicereel_site.errors import FieldError, Refusal

LONGEST = timedelta(hours=1)


def start_impersonation(
    operator: User, membership: Membership, *, reason: str, minutes: int, may_write: bool
) -> Impersonation:
    """Let an operator come in a member's place for so many minutes. The tenant's log says why.

    Raises validation_error.
    """
    reason = audit.stated_reason(reason)
    length = timedelta(minutes=minutes)
    if not timedelta() < length <= LONGEST:
        detail = _("From 1 to %(most)s minutes.") % {"most": LONGEST // timedelta(minutes=1)}
        raise Refusal("validation_error", detail, errors=[FieldError("/minutes", detail)])
    with transaction.atomic():
        row = Impersonation.objects.create(
            tenant_id=membership.tenant_id,
            membership=membership,
            operator=operator,
            reason=reason,
            may_write=may_write,
            expires_at=timezone.now() + length,
        )
        audit.record(
            row.tenant_id,
            "impersonation.started",
            membership.user.email,
            reason=row.reason,
            may_write=may_write,
            minutes=minutes,
        )
    return row


def end_impersonation(row: Impersonation) -> None:
    """End it before its time."""
    with transaction.atomic():
        going = Impersonation.objects.for_tenant(row.tenant_id).filter(pk=row.pk, ended_at=None)
        if going.update(ended_at=timezone.now()):
            audit.record(row.tenant_id, "impersonation.ended", row.membership.user.email)
