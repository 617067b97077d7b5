"""A tenant that may not use the service for now: nothing of it is answered, spoken or lost."""

from django.db import transaction
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit, limits
from accounts.models import Tenant
from voicereel_site.errors import Refusal


def suspend(tenant: Tenant, reason: str) -> None:
    """Refuse all of a tenant's requests from the next one on; jobs that wait go on waiting.

    reason: as the customer reads it, in place of an earlier one. Raises validation_error where it says
    nothing.
    """
    reason = audit.stated_reason(reason)
    with transaction.atomic():
        limits.note_change(tenant.pk)
        Tenant.objects.filter(pk=tenant.pk).update(
            suspended_at=Coalesce("suspended_at", timezone.now()), suspension_reason=reason
        )
        audit.record(tenant.pk, "tenant.suspended", tenant.pk, reason=reason)


def restore(tenant: Tenant) -> None:
    """Let a suspended tenant in again."""
    with transaction.atomic():
        limits.note_change(tenant.pk)
        rows = Tenant.objects.filter(pk=tenant.pk).exclude(suspended_at=None)
        if rows.update(suspended_at=None, suspension_reason=""):
            audit.record(tenant.pk, "tenant.restored", tenant.pk)


def refuse_suspended(tenant: Tenant) -> None:
    """Raises account_suspended."""
    if tenant.suspended_at is not None:
        detail = _("Your account is suspended: %(reason)s Write to us to have it opened again.")
        reason = tenant.suspension_reason.rstrip(".") + "."
        raise Refusal("account_suspended", detail % {"reason": reason}, 403)
