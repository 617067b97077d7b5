"""What is measured, what it costs, and what is asked for it."""

from datetime import timedelta
from decimal import Decimal

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts import identifiers
from accounts.models import Tenant, TenantOwned
from accounts.plans import Plan
from billing.money import Currency
from billing.pricing import Tariff, Tier


class UsageEvent(TenantOwned):
    """One measured quantity of finished work. Never changed; one per source, meter and speaker.

    A mistake is corrected by another event, of the difference.
    """

    class Meter(models.TextChoices):
        AUDIO_MS = "audio_ms"
        CHARACTERS = "characters"
        STORED_BYTES = "stored_bytes"  # kept at the end of a day
        GPU_MS = "gpu_ms"  # of ours; no customer is shown it

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.event_id)
    meter = models.CharField(max_length=20, choices=Meter.choices)
    quantity = models.BigIntegerField()  # below zero: of a correction
    source = models.CharField(max_length=100)  # "job:<id>": outlives the job itself
    speaker_id = models.CharField(max_length=40, blank=True)
    api_key_id = models.CharField(max_length=40, blank=True)
    project = models.CharField(max_length=500, blank=True)
    occurred_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "meter", "speaker_id"], name="one_event_per_source_and_meter"
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "occurred_at"], name="usage_by_tenant_and_time"),
            models.Index(fields=["tenant", "id"], name="usage_by_tenant_and_id"),
        ]


class UsageRollup(TenantOwned):
    """A sum of usage events, in a tenant's hour, day or month."""

    class Granularity(models.TextChoices):
        HOUR = "hour"
        DAY = "day"
        MONTH = "month"

    granularity = models.CharField(max_length=5, choices=Granularity.choices)
    starts_at = models.DateTimeField()  # of the bucket, in the tenant's billing zone
    meter = models.CharField(max_length=20, choices=UsageEvent.Meter.choices)
    api_key_id = models.CharField(max_length=40, blank=True)
    speaker_id = models.CharField(max_length=40, blank=True)
    project = models.CharField(max_length=500, blank=True)
    quantity = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=[
                    *("tenant", "granularity", "starts_at", "meter"),
                    *("api_key_id", "speaker_id", "project"),
                ],
                name="one_rollup_per_bucket",
            )
        ]


class RollupMark(TenantOwned):
    """How far the rollups are: what they have counted are the events up to this one."""

    tenant = models.OneToOneField(
        Tenant, on_delete=models.PROTECT, related_name="+", primary_key=True
    )
    counted_to = models.CharField(max_length=40)


class Price(models.Model):
    """A version of what a plan costs in a currency. Never changed: a new price is a new row.

    A part of a month is priced by the version that was in force when it began.
    """

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.price_id)
    plan = models.CharField(max_length=20, choices=Plan.choices)
    currency = models.CharField(max_length=3, choices=Currency.choices)
    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, related_name="+", null=True
    )  # its own
    valid_from = models.DateTimeField()
    base_fee_minor = models.PositiveBigIntegerField()  # of a whole month
    included_ms = models.PositiveBigIntegerField()
    tiers = models.JSONField()  # [{"up_to_ms": 600000 or null, "per_minute": "12.5"}, ...]
    tax_included = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["plan", "currency", "valid_from"],
                condition=Q(tenant=None),
                name="one_list_price_at_a_time",
            ),
            models.UniqueConstraint(
                fields=["tenant", "plan", "currency", "valid_from"], name="one_own_price_at_a_time"
            ),
        ]

    @property
    def tariff(self) -> Tariff:
        return Tariff(
            currency=self.currency,
            base_fee_minor=self.base_fee_minor,
            included_ms=self.included_ms,
            tiers=tuple(Tier(tier["up_to_ms"], Decimal(tier["per_minute"])) for tier in self.tiers),
            tax_included=self.tax_included,
        )


class PlanChange(TenantOwned):
    """From when on a tenant has a plan. The last before an instant holds at it."""

    plan = models.CharField(max_length=20, choices=Plan.choices)
    at = models.DateTimeField()
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "at"], name="one_plan_at_a_time")]


class BillingAccount(TenantOwned):
    """Who pays for a tenant, and how far the running part of the month is."""

    class Standing(models.TextChoices):
        GOOD = "good"
        PAST_DUE = "past_due"  # reminded
        RESTRICTED = "restricted"  # no new jobs; everything is kept
        CLOSED = "closed"

    class PaysBy(models.TextChoices):
        CARD = "card"
        TRANSFER = "transfer"

    tenant = models.OneToOneField(
        Tenant, on_delete=models.PROTECT, related_name="+", primary_key=True
    )
    currency = models.CharField(max_length=3, choices=Currency.choices, default=Currency.USD)
    time_zone = models.CharField(max_length=50, default="UTC")
    country = models.CharField(max_length=2, blank=True)  # ISO 3166-1
    legal_name = models.CharField(max_length=200, blank=True)
    address = models.CharField(max_length=500, blank=True)
    email = models.CharField(max_length=254, blank=True)  # "": members who may see invoices
    language = models.CharField(max_length=2, default="en")  # of invoices and mails: en or ko
    tax_id = models.CharField(
        max_length=30, blank=True
    )  # in Korea the business registration number
    # What a Korean tax invoice names besides.
    representative = models.CharField(max_length=100, blank=True)
    business_type = models.CharField(max_length=100, blank=True)
    business_item = models.CharField(max_length=100, blank=True)
    pays_by = models.CharField(max_length=10, choices=PaysBy.choices, default=PaysBy.TRANSFER)
    cap_minor = models.PositiveBigIntegerField(null=True)  # of a month, before tax; None: no end
    standing = models.CharField(max_length=10, choices=Standing.choices, default=Standing.GOOD)
    stripe_customer_id = models.CharField(max_length=64, blank=True)
    has_card = models.BooleanField(default=False)

    # The part of the month that runs, with one plan at one price.
    since = models.DateTimeField()
    until = models.DateTimeField()  # not of it any more
    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="+")
    base_fee_minor = models.PositiveBigIntegerField(default=0)  # of this part
    included_ms = models.PositiveBigIntegerField(default=0)
    audio_ms = models.BigIntegerField(default=0)  # of events that occurred in it
    # What the earlier parts of the month came to, in minor units.
    spent_before = models.DecimalField(max_digits=30, decimal_places=12, default=0)
    alerted_percent = models.PositiveSmallIntegerField(default=0)  # of the cap, this month


class Credit(TenantOwned):
    """Money off a tenant's next invoices, before tax."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.credit_id)
    amount_minor = models.PositiveBigIntegerField()
    currency = models.CharField(max_length=3, choices=Currency.choices)
    reason = models.CharField(max_length=200)
    granted_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)


class ServiceCredit(TenantOwned):
    """A month in which we kept less than we promised, and what that is worth. An operator decides on it."""

    class Status(models.TextChoices):
        PROPOSED = "proposed"
        GRANTED = "granted"
        DECLINED = "declined"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.service_credit_id)
    month = models.CharField(max_length=7)  # 2026-11, as the tenant counts it
    # Shares of 1, in full: what the tiers were compared with.
    availability = models.DecimalField(max_digits=12, decimal_places=10)
    on_time = models.DecimalField(max_digits=12, decimal_places=10, null=True)
    percent = models.PositiveSmallIntegerField()  # of what the month costs
    base_minor = models.PositiveBigIntegerField()  # what it costs, before credits and tax
    amount_minor = models.PositiveBigIntegerField()
    currency = models.CharField(max_length=3, choices=Currency.choices)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PROPOSED)
    proposed_at = models.DateTimeField(auto_now_add=True)
    decided_at = models.DateTimeField(null=True)
    credit = models.OneToOneField(Credit, on_delete=models.PROTECT, related_name="+", null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "month"], name="one_service_credit_a_month")
        ]


class InvoiceSeries(models.Model):
    """Numbers without gaps: the next one is taken in the transaction that uses it."""

    name = models.CharField(primary_key=True, max_length=20)
    last = models.PositiveIntegerField(default=0)


class Invoice(TenantOwned):
    """What a tenant is asked to pay for a month. Once it has a number it is never changed: only whether
    it is paid, and what others call it.
    """

    class Status(models.TextChoices):
        DRAFT = "draft"
        FINALIZED = "finalized"
        PAID = "paid"
        VOID = "void"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.invoice_id)
    number = models.CharField(max_length=30, blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.DRAFT)
    month = models.CharField(max_length=7)  # 2026-11
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    time_zone = models.CharField(max_length=50)
    currency = models.CharField(max_length=3, choices=Currency.choices)
    language = models.CharField(max_length=2)
    net_minor = models.BigIntegerField(default=0)  # the lines; in Korea the supply value
    tax_minor = models.BigIntegerField(default=0)
    total_minor = models.BigIntegerField(default=0)
    tax_percent = models.DecimalField(max_digits=5, decimal_places=2, default=0)
    tax_note = models.CharField(max_length=200, blank=True)  # a key of billing.taxes.NOTES
    seller = models.JSONField(default=dict)
    buyer = models.JSONField(default=dict)
    pays_by = models.CharField(max_length=10, choices=BillingAccount.PaysBy.choices)
    drafted_at = models.DateTimeField(default=timezone.now)
    finalized_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    # What may still change.
    paid_at = models.DateTimeField(null=True)
    voided_at = models.DateTimeField(null=True)
    reminded_at = models.DateTimeField(null=True)
    reminders = models.PositiveSmallIntegerField(default=0)
    # What the issuing service calls the electronic tax invoice.
    tax_approval_number = models.CharField(max_length=40, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "month"],
                condition=~Q(status="void"),
                name="one_invoice_per_month",
            ),
            models.UniqueConstraint(
                fields=["number"], condition=~Q(number=""), name="one_invoice_per_number"
            ),
        ]
        indexes = [models.Index(fields=["status", "period_end"], name="invoices_by_status")]


class InvoiceLine(TenantOwned):
    """One thing that an invoice asks for. Its amount is rounded once."""

    class Kind(models.TextChoices):
        BASE_FEE = "base_fee"
        AUDIO = "audio"
        LATE_AUDIO = "late_audio"  # of an earlier month
        CREDIT = "credit"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.invoice_line_id)
    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="lines")
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=12, choices=Kind.choices)
    plan = models.CharField(max_length=20, blank=True)
    starts_at = models.DateTimeField()  # what the line is for
    ends_at = models.DateTimeField()
    quantity_ms = models.BigIntegerField(default=0)
    steps = models.JSONField(default=list)  # billing.pricing.Step
    days = models.PositiveSmallIntegerField(null=True)  # of a base fee
    reason = models.CharField(max_length=200, blank=True)  # of a credit
    credit = models.ForeignKey(Credit, on_delete=models.PROTECT, related_name="uses", null=True)
    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="+", null=True)
    amount_minor = models.BigIntegerField()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "position"], name="one_line_per_place")
        ]


class InvoiceLineEvent(TenantOwned):
    """Which line bills an event. One at most, for good."""

    # Its event and its line name the tenant, which is looked up for them: a third of what a draft takes
    # are such checks.
    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    event = models.OneToOneField(UsageEvent, on_delete=models.CASCADE, primary_key=True)
    line = models.ForeignKey(InvoiceLine, on_delete=models.CASCADE, related_name="events")


class CreditNote(TenantOwned):
    """Takes back a part or all of a finalized invoice. Never changed."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.credit_note_id)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="credit_notes")
    number = models.CharField(max_length=30, unique=True)
    reason = models.CharField(max_length=200)
    net_minor = models.PositiveBigIntegerField()
    tax_minor = models.PositiveBigIntegerField()
    total_minor = models.PositiveBigIntegerField()
    issued_at = models.DateTimeField(default=timezone.now)
    refunded = models.BooleanField(default=False)  # money that was paid goes back


class Payment(TenantOwned):
    """Money that came in for an invoice, or went back (below zero). Never changed."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.payment_id)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="payments")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3, choices=Currency.choices)
    method = models.CharField(max_length=10, choices=BillingAccount.PaysBy.choices)
    # The bank's or the card processor's own name for it: the same money is booked once.
    reference = models.CharField(max_length=120, unique=True)
    received_at = models.DateTimeField()


class UnmatchedDeposit(models.Model):
    """Money that a bank's statement tells of and that fits no open invoice: an operator decides."""

    reference = models.CharField(primary_key=True, max_length=120)
    payer = models.CharField(max_length=200)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3, choices=Currency.choices)
    received_at = models.DateTimeField()


class StripeMirror(TenantOwned):
    """How far an invoice, or a credit note, is written down at Stripe."""

    class State(models.TextChoices):
        WAITING = "waiting"
        CREATED = "created"
        LINED = "lined"
        FINALIZED = "finalized"  # and yet to be paid
        DECLINED = "declined"  # the card was; another may be tried
        PAID = "paid"  # or, of a credit note, done
        HELD = "held"  # totals differ: an operator decides
        DROPPED = "dropped"  # paid otherwise, or void: the card has nothing to pay

        @classmethod
        def open(cls) -> list[str]:
            """Those in which there is something to do by ourselves."""
            return [cls.WAITING, cls.CREATED, cls.LINED, cls.FINALIZED]

    subject = models.CharField(primary_key=True, max_length=40)  # inv_ or cnt_
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    stripe_id = models.CharField(max_length=64, blank=True, db_index=True)
    cards_tried = models.PositiveSmallIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["state", "next_attempt_at"], name="mirrors_by_due")]


class StripeEvent(models.Model):
    """An event of Stripe's that was taken. It may come twice, late, and in any order."""

    id = models.CharField(primary_key=True, max_length=64)
    kind = models.CharField(max_length=80)
    subject = models.CharField(max_length=64)  # the id of what it is about
    received_at = models.DateTimeField(auto_now_add=True)
    handled_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["received_at"], name="stripe_unhandled", condition=Q(handled_at=None)
            )
        ]


# How long an invoice is a draft, for what is reported late; and how long there is to pay it.
GRACE, TERM = timedelta(days=2), timedelta(days=14)
