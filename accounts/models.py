"""Who owns what: tenants, their keys, and two ledgers that every app writes to."""

from django.db import models

from accounts import identifiers


class Tenant(models.Model):
    """A customer organisation. Everything a customer makes belongs to exactly one."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.tenant_id)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class TenantQuerySet(models.QuerySet):
    """The only door to tenant data."""

    def for_tenant(self, tenant: Tenant) -> "TenantQuerySet":
        """This tenant's rows alone; another tenant's id finds nothing, as if it did not exist."""
        return self.filter(tenant=tenant)


class TenantOwned(models.Model):
    """A row that belongs to a tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")

    objects = TenantQuerySet.as_manager()

    class Meta:
        abstract = True


class ApiKey(TenantOwned):
    """A key to the API. The key itself is shown once and never stored: only its HMAC is."""

    id = models.CharField(primary_key=True, max_length=40, default=identifiers.key_id)
    public_id = models.CharField(max_length=8, unique=True)  # the readable part, for looking it up
    digest = models.CharField(max_length=64)  # HMAC-SHA256 of the whole key under the pepper
    label = models.CharField(max_length=200, blank=True)
    live = models.BooleanField(default=True)  # vr_live_ or vr_test_
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)


class IdempotentReply(TenantOwned):
    """What was answered to a POST with an Idempotency-Key, written with what that POST made."""

    key = models.CharField(max_length=255)
    route = models.CharField(max_length=100)
    fingerprint = models.CharField(max_length=64)  # SHA-256 of the request
    status = models.PositiveSmallIntegerField(default=0)
    body = models.JSONField(default=dict)
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key"], name="one_reply_per_idempotency_key")
        ]


class OutboxMessage(models.Model):
    """Something that must leave the database, written in the transaction of its cause."""

    class Kind(models.TextChoices):
        TASK = "task"  # subject: the task's name; payload: its arguments
        DELETE_FILES = "delete_files"  # subject: the folder in the audio storage

    kind = models.CharField(max_length=20, choices=Kind.choices)
    subject = models.CharField(max_length=255)
    payload = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField(db_index=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.CharField(max_length=500, blank=True)
