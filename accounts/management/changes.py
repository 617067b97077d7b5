"""What operators' commands change of a tenant."""

from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from accounts.limits import note_change
from accounts.models import Tenant


def change_tenant(tenant_id: str, **fields: Any) -> None:
    """Change a tenant, for all processes from the next request on. Raises CommandError."""
    with transaction.atomic():
        note_change(tenant_id)
        if not Tenant.objects.filter(pk=tenant_id).update(**fields):
            raise CommandError(f"There is no tenant {tenant_id}.")
