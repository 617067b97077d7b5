"""What a tenant may change of who pays for it, how, and how much at most."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import Tenant
from billing.accounts import account_of, run_part
from billing.models import BillingAccount, Invoice, UsageEvent
from billing.rollups import rebuild_rollups
from billing.taxes import HOME, business_number
from voicereel_site.errors import FieldError, Refusal

# What is usual at home, where nothing else was asked for and nothing was used yet.
_AT_HOME = {"currency": "KRW", "time_zone": "Asia/Seoul", "language": "ko"}


def update_account(tenant: Tenant, asked: Mapping[str, Any]) -> BillingAccount:
    """Change a billing account. Raises validation_error (409 for what is too late)."""
    now = timezone.now()
    account_of(tenant, now)
    with transaction.atomic():
        rows = BillingAccount.objects.for_tenant(tenant).select_for_update(of=("self",))
        row: BillingAccount = rows.select_related("price", "tenant").get()
        used = UsageEvent.objects.for_tenant(tenant).exists()
        invoiced = Invoice.objects.for_tenant(tenant).exclude(status=Invoice.Status.VOID).exists()
        changes = dict(asked)
        if changes.get("country") == HOME and not row.country and not used and not invoiced:
            changes = {**_AT_HOME, **changes}
        before = {name: getattr(row, name) for name in changes}
        _refuse_late(row, changes, used=used, invoiced=invoiced)
        for name, value in changes.items():
            setattr(row, name, value)
        _check(row)
        if before.get("time_zone", row.time_zone) != row.time_zone:
            row.save()
            rebuild_rollups(tenant.pk)
        if any(
            before.get(name, getattr(row, name)) != getattr(row, name)
            for name in ("time_zone", "currency")
        ):
            run_part(row, now)
        if before.get("cap_minor", row.cap_minor) != row.cap_minor:
            row.alerted_percent = 0  # of the new limit
        row.save()
        changed = sorted(name for name in changes if before[name] != changes[name])
        if changed:
            audit.record(tenant.pk, "billing.changed", tenant.pk, fields=changed)
    return row


def _refuse_late(
    row: BillingAccount, changes: Mapping[str, Any], *, used: bool, invoiced: bool
) -> None:
    late = None
    if changes.get("currency", row.currency) != row.currency and (used or invoiced):
        late = "currency", _("The currency can be changed until something was used. Ask us.")
    if changes.get("time_zone", row.time_zone) != row.time_zone and invoiced:
        late = "time_zone", _("The time zone can be changed until the first invoice. Ask us.")
    if changes.get("pays_by") == BillingAccount.PaysBy.CARD and not row.has_card:
        late = "pays_by", _("There is no card yet. Add one first (POST /v1/billing/card).")
    if late:
        name, detail = late
        raise Refusal("validation_error", detail, 409, [FieldError(f"/{name}", detail)])


def _check(row: BillingAccount) -> None:
    if row.country == HOME and row.tax_id:
        number = business_number(row.tax_id)
        if number is None:
            detail = _(
                "This is no business registration number: it has ten digits, such as 123-45-67891, and "
                "its last one checks the others."
            )
            raise Refusal("validation_error", detail, errors=[FieldError("/tax_id", detail)])
        row.tax_id = number
