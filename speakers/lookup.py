"""Speakers by id, for the apps that use them."""

from collections.abc import Callable, Iterable

from django.db.models import QuerySet

from accounts.identifiers import is_id
from accounts.lookup import find_row
from accounts.models import Tenant
from accounts.prepared import prepared
from speakers.models import Speaker

_OFFERED = 500
_AT_A_TIME = 20  # there is a statement for each count; few scripts have more speakers


def speakers_by_id(tenant: Tenant, ids: Iterable[str]) -> dict[str, Speaker]:
    """This tenant's speakers among ``ids``; unknown, deleted and foreign ones are left out."""
    return _by_id(_present, tenant, filter(is_id, ids))


def voices_by_id(tenant: Tenant, ids: Iterable[str]) -> dict[str, Speaker]:
    """This tenant's speakers with these ids, deleted ones too, with their voices: for who speaks."""
    return _by_id(_with_voices, tenant, ids)


def _by_id(
    find: Callable[..., list[Speaker]], tenant: Tenant, ids: Iterable[str]
) -> dict[str, Speaker]:
    wanted = sorted(set(ids))
    found: list[Speaker] = []
    for start in range(0, len(wanted), _AT_A_TIME):
        found += find(tenant.pk, *wanted[start : start + _AT_A_TIME])
    return {speaker.pk: speaker for speaker in found}


@prepared
def _present(tenant_id: str, *ids: str) -> "QuerySet[Speaker]":
    return Speaker.objects.for_tenant(tenant_id).present().filter(pk__in=ids)


@prepared
def _with_voices(tenant_id: str, *ids: str) -> QuerySet:
    return Speaker.objects.for_tenant(tenant_id).filter(pk__in=ids)


def offered_speakers(tenant: Tenant, *statuses: str) -> list[Speaker]:
    """This tenant's speakers with these statuses, for somebody to choose from, by name: as many as a list can
    show.
    """
    rows = Speaker.objects.for_tenant(tenant).present().filter(status__in=statuses)
    return list(rows.only("name", "default_speed").order_by("name", "pk")[:_OFFERED])


def get_speaker(tenant: Tenant, speaker_id: str) -> Speaker:
    """This tenant's speaker. Raises not_found."""
    return find_row(Speaker.objects.for_tenant(tenant).present(), speaker_id, "speaker")
