"""The region that this service is. Regions are services of their own: each has its database, its Redis, its
storage and its workers, and no process asks another's.

What a region stands on carries its mark, so that a process with one variable of another region's does not
start. Keys carry it too, so that one that is sent to the wrong region is told the right address
(accounts.authentication).
templates/docs/regions.md says how a second one is made, and what is done when one is lost.
"""

from typing import Any

import structlog
from django.apps import apps as installed
from django.conf import settings
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection

from accounts.models import DatabaseRegion, Tenant, own_region
from voicereel_site.outages import outage_of

log = structlog.get_logger(__name__)

UNNAMED = "home"  # what the only region is called until it has a name
_MARK = "region"  # the key in Redis, and the file in the storage
_LONGEST_MARK = 20


class WrongRegion(Exception):
    """A part of the service belongs to another region; the text says which."""


def mark_database(apps: Any = installed, **_: Any) -> None:
    """Make this database and what is in it this region's, unless it is another's already.

    Called after each migration, with the models as they are then, and after a flush. Raises WrongRegion.
    """
    try:
        apps.get_model("accounts", "DatabaseRegion")
    except LookupError:  # migrated back to before there was one
        return
    mark, made = DatabaseRegion.objects.get_or_create(pk=1, defaults={"region": own_region()})
    if not made and mark.region == UNNAMED != own_region():
        DatabaseRegion.objects.filter(pk=1).update(region=own_region())
        Tenant.objects.filter(region=UNNAMED).update(region=own_region())
        mark.region = own_region()
    _compare("database", mark.region)


def require_own_region() -> None:
    """For each process as it starts: raise WrongRegion if database, Redis or storage are another region's.

    Redis and storage of a region with a name are marked by whoever comes first. What does not answer now
    is not waited for: it is no other region's for that.
    """
    checks = [_check_database]
    if settings.REGION:
        checks += [_check_redis, _check_storage]
    for check in checks:
        try:
            check()
        except Exception as exc:
            part = outage_of(exc)
            if part is None:
                raise
            log.warning("region.not_checked", part=part)


def _compare(part: str, found: str) -> None:
    if found != own_region():
        raise WrongRegion(
            f"The {part} is the region {found}'s, and this is {own_region()}: VOICEREEL_REGION or the {part}'s "
            "address is another region's."
        )


def _check_database() -> None:
    try:
        mark = DatabaseRegion.objects.filter(pk=1).first()
    finally:
        if not connection.in_atomic_block:
            connection.close()  # this thread may ask for nothing more
    _compare("database", mark.region if mark else UNNAMED)


def _check_redis() -> None:
    if settings.REDIS_URL:
        cache.add(_MARK, settings.REGION, timeout=None)
        _compare("Redis", str(cache.get(_MARK)))


def _check_storage() -> None:
    if not default_storage.exists(_MARK):
        default_storage.save(_MARK, ContentFile(settings.REGION.encode()))
    with default_storage.open(_MARK, "rb") as file:
        _compare("storage", file.read(_LONGEST_MARK).decode(errors="replace"))
