"""An operator in a member's place: for an hour at most, to look unless more was asked for, on record."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import Impersonation, Membership, User
from voicereel_site.errors import FieldError, Refusal

LONGEST = timedelta(hours=1)
_SHORTEST_REASON = 10  # characters


def start_impersonation(
    operator: User, membership: Membership, *, reason: str, minutes: int, may_write: bool
) -> Impersonation:
    """Let an operator come in a member's place for so many minutes. The tenant's log says why.

    Raises validation_error.
    """
    if len(reason.strip()) < _SHORTEST_REASON:
        detail = "Say why, in a few words: the customer will read it."
        raise Refusal("validation_error", detail, errors=[FieldError("/reason", detail)])
    length = timedelta(minutes=minutes)
    if not timedelta() < length <= LONGEST:
        detail = f"From 1 to {LONGEST // timedelta(minutes=1)} minutes."
        raise Refusal("validation_error", detail, errors=[FieldError("/minutes", detail)])
    with transaction.atomic():
        row = Impersonation.objects.create(
            tenant_id=membership.tenant_id,
            membership=membership,
            operator=operator,
            reason=reason.strip(),
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
