"""Who owns what: tenants, their keys, and two ledgers that every app writes to."""

from datetime import datetime

from django.db import models

from accounts import identifiers
from accounts.plans import Plan
from accounts.scopes import everything

LONGEST_RETENTION_HOURS = 10 * 365 * 24  # but for ever, which is no number


class Region(models.TextChoices):
    """Where a tenant's data lives. There is one."""

    HOME = "home"


class Tenant(models.Model):
    """A customer organisation. Everything a customer makes belongs to exactly one."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.tenant_id)
    name = models.CharField(max_length=200)
    # Where everything of the tenant's is kept and rendered.
    region = models.CharField(
        max_length=20, choices=Region.choices, default=Region.HOME, db_default=Region.HOME
    )
    plan = models.CharField(
        max_length=20, choices=Plan.choices, default=Plan.STANDARD, db_default=Plan.STANDARD
    )
    created_at = models.DateTimeField(auto_now_add=True)
    # How long a finished job and its files are kept, unless the job says otherwise; None: for ever.
    retention_hours = models.PositiveIntegerField(null=True, default=30 * 24)

    def __str__(self) -> str:
        return self.name


class TenantQuerySet(models.QuerySet):
    """The only door to tenant data."""

    def for_tenant(self, tenant: Tenant | str) -> "TenantQuerySet":
        """This tenant's rows alone; another tenant's id finds nothing, as if it did not exist.

        tenant: the row or its id.
        """
        return self.filter(tenant=tenant)


class TenantOwned(models.Model):
    """A row that belongs to a tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")

    objects = TenantQuerySet.as_manager()

    class Meta:
        abstract = True


def mode_name(live: bool) -> str:
    """What the API calls it."""
    return "live" if live else "test"


class ApiKey(TenantOwned):
    """A key to the API. The key itself is shown once and never stored: only its HMAC is."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.key_id)
    public_id = models.CharField(max_length=8, unique=True)  # the readable part, for looking it up
    digest = models.CharField(max_length=64)  # HMAC-SHA256 of the whole key under the pepper
    label = models.CharField(max_length=200, blank=True)
    live = models.BooleanField(default=True)  # vr_live_ or vr_test_
    scopes = models.JSONField(default=everything)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)  # to the minute
    # In CIDR notation, where it may be used; none: anywhere.
    networks = models.JSONField(default=list, db_default=[])
    require_signature = models.BooleanField(default=False)
    signing_secret = models.BinaryField(null=True)  # encrypted for this row (accounts.encryption)
    # The key that took its place: it works beside this one until this one expires.
    replaced_by_id = models.CharField(max_length=40, blank=True)

    @property
    def mode(self) -> str:
        return mode_name(self.live)

    @property
    def prefix(self) -> str:
        """How the key begins: enough to recognise it by, and of no use to anybody else."""
        return f"vr_{self.mode}_{self.public_id}"

    def is_dead(self, at: datetime) -> bool:
        """Whether it opens nothing any more."""
        return self.revoked_at is not None or (
            self.expires_at is not None and self.expires_at <= at
        )


class UsedNonce(TenantOwned):
    """A signed request that was taken, so that it is not taken again."""

    api_key_id = models.CharField(max_length=40)
    nonce = models.CharField(max_length=128)
    used_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["api_key_id", "nonce"], name="one_use_of_a_nonce")
        ]


class IdempotentReply(TenantOwned):
    """What was answered to a POST with an Idempotency-Key, written with what that POST made."""

    key = models.CharField(max_length=255)
    route = models.CharField(max_length=100)
    fingerprint = models.CharField(max_length=64)  # SHA-256 of the request
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(default="{}")  # JSON as it was sent: PostgreSQL's own reorders it
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key"], name="one_reply_per_idempotency_key")
        ]


class OutboxMessage(models.Model):
    """Something that must leave the database, written in the transaction of its cause.

    Messages of one subject leave in the order they were written. One that nobody would take for a
    day is given up: a dead letter, which stands in no other's way and waits for an operator.
    """

    class Kind(models.TextChoices):
        # payload: {"task": its registered name, "origin": of the request}; its arguments are the tenant
        # and the subject
        TASK = "task"
        DELETE_FILES = "delete_files"  # subject: a path of the audio storage

    kind = models.CharField(max_length=20, choices=Kind.choices)
    # No foreign key: files may have to go of a tenant that is gone.
    tenant_id = models.CharField(max_length=40, db_default="")
    subject = models.CharField(max_length=255, db_index=True)
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.CharField(max_length=500, blank=True)
    given_up_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["given_up_at", "due_at"], name="outbox_by_due")]

    def __str__(self) -> str:
        return f"{self.kind} {self.payload.get('task', '')} {self.subject}"


class WebhookEndpoint(TenantOwned):
    """An address of a customer's that wants to be told of events (accounts.webhooks)."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.webhook_endpoint_id)
    url = models.CharField(max_length=2_000)
    description = models.CharField(max_length=200, blank=True)
    events = models.JSONField(default=everything)  # types of events; * is all
    secret = models.BinaryField()  # encrypted for this row, as the next (accounts.encryption)
    earlier_secret = models.BinaryField(null=True)  # signs beside the new one for a while
    earlier_secret_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    failing_since = models.DateTimeField(null=True)  # when the first of all attempts since failed
    disabled_at = models.DateTimeField(null=True)
    disabled_reason = models.CharField(max_length=300, blank=True)


class WebhookDelivery(TenantOwned):
    """A message to one endpoint. Its id is the ``webhook-id``, the same in every attempt."""

    class Status(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.message_id)
    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries"
    )
    event = models.CharField(max_length=40)
    body = models.TextField()  # as it is sent, to the byte
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    created_at = models.DateTimeField(auto_now_add=True)
    next_attempt_at = models.DateTimeField(null=True)
    give_up_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)
    attempt_count = models.PositiveIntegerField(default=0)
    attempts = models.JSONField(default=list)  # the last ones: [{at, status, error, duration_ms}]

    class Meta:
        indexes = [
            models.Index(fields=["status", "next_attempt_at"], name="deliveries_to_sweep"),
            models.Index(fields=["endpoint", "id"], name="deliveries_by_endpoint"),
        ]
