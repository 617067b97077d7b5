"""Who pays for a tenant, with which plan and since when; and the part of the month that runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from accounts.models import Tenant
from accounts.plans import Plan
from accounts.prepared import prepared
from billing.models import BillingAccount, PlanChange, Price, UsageEvent
from billing.periods import Month
from billing.pricing import price_audio, prorated

TRIAL = timedelta(days=14)


@dataclass(frozen=True)
class Part:
    """A part of a month, [start, end), in which one plan held, at one price.

    base_fee_minor, included_ms: of this part, by its share of the month's days.
    """

    month: Month
    start: datetime
    end: datetime
    plan: str
    price: Price
    base_fee_minor: int
    included_ms: int
    days: int

    def cost(self, audio_ms: int) -> Decimal:
        """The fee, and the audio, in minor units, not rounded."""
        audio = price_audio(audio_ms, self.price.tariff, self.included_ms)
        return self.base_fee_minor + audio


def price_at(tenant_id: str, plan: str, currency: str, at: datetime) -> Price:
    """The version of a plan's price that was in force at an instant: the tenant's own, or the list's."""
    versions = Price.objects.filter(plan=plan, currency=currency, valid_from__lte=at)
    own_first = F("tenant").desc(nulls_last=True)
    known = versions.filter(Q(tenant=tenant_id) | Q(tenant=None))
    price = known.order_by(own_first, "-valid_from").first()
    if price is None:
        raise LookupError(f"There is no price of {plan} in {currency} at {at:%Y-%m-%d}.")
    return price


def parts_of(account: BillingAccount, month: Month) -> list[Part]:
    """The parts of a month, in order; none before the tenant was there."""
    changes = list(
        PlanChange.objects.for_tenant(account.tenant_id)
        .filter(at__lt=month.end)
        .order_by("at")
        .values_list("at", "plan")
    )
    parts: list[Part] = []
    for index, (at, plan) in enumerate(changes):
        following = changes[index + 1][0] if index + 1 < len(changes) else month.end
        start, end = max(at, month.start), min(following, month.end)
        if start >= end:
            continue
        price = price_at(account.tenant_id, plan, account.currency, start)
        share = month.share_of(start, end)
        included_ms = prorated(price.included_ms, share)
        if plan == Plan.TRIAL:
            # All at once, and not once more with a new month.
            included_ms = max(
                0, price.included_ms - audio_between(account.tenant_id, min(at, start), start)
            )
        parts.append(
            Part(
                month,
                start,
                end,
                plan,
                price,
                prorated(price.base_fee_minor, share),
                included_ms,
                int(share * month.days),
            )
        )
    return parts


def audio_between(tenant_id: str, start: datetime, end: datetime) -> int:
    """Milliseconds of audio in [start, end), by the ledger."""
    events = UsageEvent.objects.for_tenant(tenant_id).filter(
        meter=UsageEvent.Meter.AUDIO_MS, occurred_at__gte=start, occurred_at__lt=end
    )
    return int(events.aggregate(audio_ms=Sum("quantity"))["audio_ms"] or 0)


def account_of(tenant: Tenant, at: datetime) -> BillingAccount:
    """A tenant's billing account, in the part of the month that an instant lies in.

    Made when it is first asked for, and moved on when a part has ended. at: now.
    """
    return up_to_date(next(iter(_account(tenant.pk)), None), tenant, at)


def up_to_date(row: BillingAccount | None, tenant: Tenant, at: datetime) -> BillingAccount:
    """As account_of, of a row that was read with its price; None: there is none yet."""
    if row is not None and at < row.until:
        return row
    with transaction.atomic():
        if row is None:
            _begin(tenant)
        return held_account(tenant.pk, at)


@prepared
def _account(tenant_id: str) -> "QuerySet[BillingAccount]":
    return BillingAccount.objects.for_tenant(tenant_id).select_related("price")


def held_account(tenant_id: str, at: datetime) -> BillingAccount:
    """As account_of, held until the transaction ends. The account is there already."""
    rows = BillingAccount.objects.for_tenant(tenant_id).select_for_update(of=("self",))
    row: BillingAccount = rows.select_related("price").get()
    if at >= row.until:
        run_part(row, at)
    return row


def _begin(tenant: Tenant) -> None:
    """The first plan, from when the tenant was made; a trial is followed by the plan after it."""
    changes = [(tenant.created_at, tenant.plan)]
    if tenant.plan == Plan.TRIAL:
        changes.append((tenant.created_at + TRIAL, Plan.STANDARD))
    for at, plan in changes:
        PlanChange.objects.get_or_create(tenant=tenant, at=at, defaults={"plan": plan})
    currency = BillingAccount._meta.get_field("currency").default
    price = price_at(tenant.pk, changes[0][1], currency, tenant.created_at)
    BillingAccount.objects.get_or_create(
        tenant=tenant,
        # Of no length: whoever uses it next moves it on.
        defaults={"since": tenant.created_at, "until": tenant.created_at, "price": price},
    )


def run_part(account: BillingAccount, at: datetime) -> None:
    """Have the account run the part of the month that an instant lies in, as the ledger has it."""
    month = Month.containing(max(at, account.tenant.created_at), account.time_zone)
    parts = parts_of(account, month)
    part = next(part for part in parts if at < part.end)
    if account.until <= month.start:
        account.alerted_percent = 0
    account.since, account.until, account.price = part.start, part.end, part.price
    account.base_fee_minor, account.included_ms = part.base_fee_minor, part.included_ms
    account.audio_ms = audio_between(account.tenant_id, part.start, part.end)
    account.spent_before = _cost_of(account.tenant_id, parts[: parts.index(part)])
    account.save()


def _cost_of(tenant_id: str, parts: Sequence[Part]) -> Decimal:
    costs = (part.cost(audio_between(tenant_id, part.start, part.end)) for part in parts)
    return sum(costs, Decimal(0))


def change_plan(tenant: Tenant, plan: str, at: datetime) -> None:
    """Have a tenant on another plan from an instant on, which is now or later. Inside a transaction.

    Changes that were to come later are given up. Who has the plan by then goes on with it: a part of a month
    of its own would begin with the tiers anew.
    """
    account_of(tenant, timezone.now())
    changes = PlanChange.objects.for_tenant(tenant)
    changes.filter(at__gte=at).delete()
    if current_plan(tenant.pk, at) == plan:
        return
    PlanChange.objects.create(tenant=tenant, plan=plan, at=at)
    account = BillingAccount.objects.for_tenant(tenant).select_for_update().get()
    if account.until > at:
        account.until = at  # whoever uses it next moves it on
        account.save(update_fields=["until"])


def current_plan(tenant_id: str, at: datetime) -> str | None:
    """The plan that holds at an instant; None: nobody asked yet what the tenant pays."""
    changes = PlanChange.objects.for_tenant(tenant_id).filter(at__lte=at)
    return changes.order_by("-at").values_list("plan", flat=True).first()


def spent(account: BillingAccount, audio_ms: int | None = None) -> Decimal:
    """What the month comes to so far, or would with other audio in the running part; minor units."""
    used = account.audio_ms if audio_ms is None else audio_ms
    audio = price_audio(used, account.price.tariff, account.included_ms)
    return account.spent_before + account.base_fee_minor + audio
