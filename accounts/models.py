"""Who owns what: tenants, their people and keys, and what every app writes to."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from accounts import identifiers
from accounts.plans import Plan
from accounts.scopes import Role, everything

LONGEST_RETENTION_HOURS = 10 * 365 * 24  # but for ever, which is no number


def own_region() -> str:
    """What this region is called: "home" while it is the only one and has no name."""
    return settings.REGION or "home"


class DatabaseRegion(models.Model):
    """The one row that says which region's database this is (voicereel_site.regions)."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    region = models.CharField(max_length=20)


class Tenant(models.Model):
    """A customer organisation. Everything a customer makes belongs to exactly one."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.tenant_id)
    name = models.CharField(max_length=200)
    # Where everything of the tenant's is kept and rendered.
    region = models.CharField(max_length=20, default=own_region, db_default="home")
    plan = models.CharField(
        max_length=20, choices=Plan.choices, default=Plan.STANDARD, db_default=Plan.STANDARD
    )
    created_at = models.DateTimeField(auto_now_add=True)
    # How long a finished job and its files are kept, unless the job says otherwise; None: for ever.
    retention_hours = models.PositiveIntegerField(null=True, default=30 * 24)
    # What it may have at a time where that is not as its plan has it: fields of accounts.plans.Allowance.
    own_limits = models.JSONField(default=dict, db_default={})
    suspended_at = models.DateTimeField(null=True)  # since when nothing of it is answered
    suspension_reason = models.CharField(max_length=300, blank=True, db_default="")

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


class UserManager(BaseUserManager):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Make a person. Their address is yet to be verified."""
        user: User = self.model(email=email.lower(), **fields)
        user.set_password(password)
        user.save(force_insert=True)
        return user


class User(AbstractBaseUser):
    """A person: a member of tenants, or an operator of ours. It belongs to no tenant."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.user_id)
    email = models.EmailField(unique=True)  # in lower case
    name = models.CharField(max_length=100, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    def __str__(self) -> str:
        return self.email

    @cached_property
    def is_operator(self) -> bool:
        return Operator.objects.filter(pk=self.pk).exists()

    # What Django's admin asks. Operators may do everything there.

    @property
    def is_staff(self) -> bool:
        return self.is_operator

    def has_perm(self, permission: str, obj: Any = None) -> bool:
        return self.is_active and self.is_operator

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_active and self.is_operator


class Operator(models.Model):
    """A person of ours, who sees all tenants. Customers' web processes can read who is one, and make
    nobody one.
    """

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True)
    since = models.DateTimeField(auto_now_add=True)


class Membership(TenantOwned):
    """A person in a tenant."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.membership_id)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    joined_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user"], name="one_membership_per_tenant")
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class Invitation(TenantOwned):
    """A person who may become a member, and does not know it yet. The link is in their mail alone."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.invitation_id)
    email = models.EmailField()
    role = models.CharField(max_length=10, choices=Role.choices)
    invited_by = models.CharField(max_length=300)  # as people know them
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()


class AuditEvent(TenantOwned):
    """Who did what, when and from where. Rows are only ever added; the database sees to it.

    What an operator does in their own name has no tenant.
    """

    class Actor(models.TextChoices):
        KEY = "key"
        MEMBER = "member"
        OPERATOR = "operator"
        SYSTEM = "system"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.audit_event_id)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", null=True)
    at = models.DateTimeField(auto_now_add=True)
    action = models.CharField(max_length=60)  # what it was done to, and what: key.created
    actor_kind = models.CharField(max_length=10, choices=Actor.choices)
    actor_id = models.CharField(max_length=40, blank=True)
    actor_name = models.CharField(max_length=300, blank=True)  # as it was known then
    in_place_of = models.CharField(
        max_length=300, blank=True
    )  # the member, where an operator impersonates one
    target = models.CharField(max_length=300, blank=True)  # an id, or an address of the API
    details = models.JSONField(default=dict)
    address = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=128, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["tenant", "id"], name="audit_by_tenant"),
            models.Index(fields=["target", "id"], name="audit_by_target"),
        ]


class Impersonation(TenantOwned):
    """An operator in a member's place, for a while."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.impersonation_id)
    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="+")
    operator = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    reason = models.CharField(max_length=300)
    may_write = models.BooleanField(default=False)
    started_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)


class DataExport(TenantOwned):
    """Everything of a tenant's in one archive, kept for some days."""

    class Status(models.TextChoices):
        PROCESSING = "processing"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.export_id)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PROCESSING)
    rows_done = models.PositiveIntegerField(default=0)
    files_done = models.PositiveIntegerField(default=0)
    files_total = models.PositiveIntegerField(null=True)
    attempt = models.PositiveSmallIntegerField(default=0)  # rises with each worker that takes it up
    lease_expires_at = models.DateTimeField(null=True)  # of that worker
    error_detail = models.CharField(max_length=300, blank=True)
    archive_key = models.CharField(max_length=255, blank=True)
    archive_bytes = models.PositiveBigIntegerField(null=True)
    archive_sha256 = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    @property
    def folder(self) -> str:
        """Where its archive lies in the audio storage."""
        return f"t/{self.tenant_id}/x/{self.pk}"


class ErasureQuerySet(models.QuerySet):
    def for_tenant(self, tenant: Tenant | str) -> "ErasureQuerySet":
        """As TenantQuerySet has it; the tenant may be gone."""
        return self.filter(tenant_id=tenant if isinstance(tenant, str) else tenant.pk)


class Erasure(models.Model):
    """The proof that a tenant, or a speaker of one, was erased. It outlives both, and names nobody."""

    class Status(models.TextChoices):
        REQUESTED = "requested"
        ERASING = "erasing"
        ERASED = "erased"

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.erasure_id)
    # No foreign key: the tenant goes.
    tenant_id = models.CharField(max_length=40, db_index=True)
    speaker_id = models.CharField(max_length=40, blank=True)  # "": the whole tenant
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.REQUESTED)
    requested_by = models.CharField(max_length=40)  # the id of a key, a member or an operator
    requested_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    rows = models.JSONField(default=dict)  # how many of each kind went
    files = models.PositiveIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(default=0)
    log_lines = models.PositiveIntegerField(default=0)
    # Addresses that get it by mail; ids of the tenant's members, or of the speaker's jobs. Both are
    # forgotten at its end.
    recipients = models.JSONField(default=list)
    pending = models.JSONField(default=list)

    objects = ErasureQuerySet.as_manager()


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
    def called(self) -> str:
        """How a refusal names it."""
        return _("This key")

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
        MAIL = "mail"  # subject: an address; payload: {"subject", "text"}

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


class RequestCount(models.Model):
    """How many requests all web processes answered in a minute (accounts.traffic)."""

    minute = models.DateTimeField(primary_key=True)  # when it began
    requests = models.PositiveBigIntegerField(default=0)
    failures = models.PositiveBigIntegerField(default=0)  # answers of 500 and more


class ServiceInterval(TenantOwned):
    """How five minutes were for a tenant (accounts.traffic). Without a request or a job there is no row."""

    starts_at = models.DateTimeField()
    requests = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)  # answers of 500 and more
    jobs = models.PositiveIntegerField(
        default=0
    )  # live ones that ended, but for reasons of the customer's
    jobs_late = models.PositiveIntegerField(default=0)  # of them, those that broke our promise

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "starts_at"], name="one_row_an_interval")
        ]


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
