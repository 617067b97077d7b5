"""Speakers by id, for the apps that use them."""

from collections.abc import Iterable

from accounts.identifiers import is_id
from accounts.lookup import find_row
from accounts.models import Tenant
from speakers.models import Speaker


def speakers_by_id(tenant: Tenant, ids: Iterable[str]) -> dict[str, Speaker]:
    """This tenant's speakers among ``ids``; unknown, deleted and foreign ones are left out."""
    wanted = set(filter(is_id, ids))
    return {s.pk: s for s in Speaker.objects.for_tenant(tenant).present().filter(pk__in=wanted)}


def get_speaker(tenant: Tenant, speaker_id: str) -> Speaker:
    """This tenant's speaker. Raises not_found."""
    return find_row(Speaker.objects.for_tenant(tenant).present(), speaker_id, "speaker")
