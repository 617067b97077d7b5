"""What may be spent: a quote before the run, and ends that hold."""

from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.mail import send_mail
from accounts.people.members import addresses_of
from accounts.plans import Plan
from accounts.scopes import Role
from accounts.tenancy import operating_for
from accounts.webhooks.events import Event, tell
from billing.accounts import spent
from billing.models import BillingAccount
from billing.money import ceiling, shown
from billing.pricing import highest_price
from voicereel_site.errors import FieldError, Refusal

THRESHOLDS = (50, 80, 100)  # percent of what may be spent


@dataclass(frozen=True)
class Quote:
    """What some audio will cost at most, in minor units."""

    amount_minor: int
    currency: str


def quote(account: BillingAccount, longest_ms: int) -> Quote:
    """The price of audio that is not longer than this, whatever is used before it."""
    return Quote(highest_price(longest_ms, account.price.tariff), account.currency)


def admit_spending(
    account: BillingAccount, quoted: Quote, longest_ms: int, reserved_ms: int, max_cost: int | None
) -> None:
    """Let a job's audio be spoken, if it may be paid. Before any engine work.

    reserved_ms: of the tenant's unfinished jobs, at most. max_cost: minor units, the job's own end.
    Raises cost_limit_exceeded or quota_exceeded (402).
    """
    if max_cost is not None and quoted.amount_minor > max_cost:
        detail = _(
            "This script may cost up to %(price)s, more than its max_cost_minor, %(limit)s. Shorten it, "
            "or raise the limit."
        ) % {
            "price": shown(quoted.amount_minor, quoted.currency),
            "limit": shown(max_cost, quoted.currency),
        }
        errors = [FieldError("/max_cost_minor", detail)]
        raise Refusal("cost_limit_exceeded", detail, 402, errors)
    if refusal := _refusal(account, account.audio_ms + reserved_ms + longest_ms):
        raise Refusal("quota_exceeded", refusal, 402)


def _refusal(account: BillingAccount, audio_ms: int) -> str | None:
    """Why the running part of the month may not come to so much audio, or None."""
    if account.standing in (BillingAccount.Standing.RESTRICTED, BillingAccount.Standing.CLOSED):
        return _(
            "An invoice is overdue, so nothing new is spoken. Pay it (GET /v1/invoices names it), and "
            "new jobs are taken again at once. Everything you have is kept."
        )
    if not account.price.tiers and audio_ms > account.included_ms:
        minutes = account.included_ms // 60_000
        left = max(0, account.included_ms - account.audio_ms) // 1000
        if account.price.plan == Plan.TRIAL:
            detail = _(
                "Your trial includes %(minutes)s minutes of audio; %(left_s)s s are left, and with what "
                "is under way this script may need more. Shorten it, or choose a plan."
            )
        else:
            detail = _(
                "Your plan includes %(minutes)s minutes of audio; %(left_s)s s are left, and with what "
                "is under way this script may need more. Shorten it, or choose a plan."
            )
        return detail % {"minutes": f"{minutes:,}", "left_s": f"{left:,}"}
    if account.cap_minor is not None and spent(account, audio_ms) > account.cap_minor:
        cap = shown(account.cap_minor, account.currency)
        so_far = shown(ceiling(spent(account)), account.currency)
        return _(
            "Your limit for a month is %(cap)s; %(spent)s are spent, and with what is under way this "
            "script may pass it. Raise cap_minor (PATCH /v1/billing), or wait for the next month."
        ) % {"cap": cap, "spent": so_far}
    return None


def spent_percent(account: BillingAccount) -> int | None:
    """How much of what may be spent this month is spent; None where there is no end."""
    if account.cap_minor is not None:
        if not account.cap_minor:
            return 100
        return int(spent(account) * 100 / account.cap_minor)
    if not account.price.tiers and account.included_ms:
        return account.audio_ms * 100 // account.included_ms
    return None


def watch_spending() -> int:
    """Tell of thresholds that were reached since the last look. Returns of how many."""
    told = 0
    limited = BillingAccount.objects.exclude(cap_minor=None) | BillingAccount.objects.filter(
        price__tiers=[]
    )
    changed = limited.filter(until__gt=timezone.now()).exclude(audio_ms=0, spent_before=0)
    for row in changed.select_related("price", "tenant").order_by("pk"):
        told += _watch(row)
    return told


def _watch(row: BillingAccount) -> int:
    percent = spent_percent(row)
    reached = max(
        (step for step in THRESHOLDS if percent is not None and percent >= step), default=0
    )
    if reached <= row.alerted_percent:
        return 0
    with operating_for(row.tenant_id), transaction.atomic():
        rows = BillingAccount.objects.for_tenant(row.tenant_id)
        if not rows.filter(alerted_percent=row.alerted_percent).update(alerted_percent=reached):
            return 0
        facts = {
            "percent": reached,
            "spent_minor": ceiling(spent(row)),
            "cap_minor": row.cap_minor,
            "currency": row.currency,
            "audio_ms": row.audio_ms,
            "included_ms": row.included_ms,
        }
        tell(row.tenant_id, Event.USAGE_THRESHOLD_REACHED, lambda: facts)
        send_mail(
            billing_addresses(row),
            "usage_threshold",
            of_tenant=row.tenant_id,
            tenant=row.tenant.name,
            percent=reached,
            spent=shown(ceiling(spent(row)), row.currency),
            cap=None if row.cap_minor is None else shown(row.cap_minor, row.currency),
            minutes=row.audio_ms // 60_000,
            included=row.included_ms // 60_000,
            language=row.language,
        )
    return 1


def billing_addresses(row: BillingAccount) -> list[str]:
    """Who gets what is about money: the address that was given, or the members who may see it."""
    if row.email:
        return [row.email]
    return addresses_of(row.tenant_id, Role.OWNER, Role.ADMIN, Role.BILLING)
