"""A key of another region is told where to go; what is another region's is not used."""

from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import OperationalError
from django.test import Client

from accounts.keys import issue_key
from accounts.models import DatabaseRegion, Tenant
from tests.accounts.test_settings import refusal, start
from tests.conftest import Api
from voicereel_site import regions

ADDRESSES = {"kr": "https://kr.example.com", "us": "https://us.example.com"}


def asked(key: str) -> Any:
    return Client().get("/v1/jobs", headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
def korea(alder: Api, settings: Any) -> Api:
    """A customer whose key was made before the region had a name."""
    settings.REGION, settings.REGIONS = "kr", ADDRESSES
    return alder


def test_a_key_says_where_it_belongs(korea: Api, settings: Any) -> None:
    key = issue_key(korea.tenant).key
    assert key.startswith("vr_live_kr")
    assert asked(key).status_code == 200
    assert korea.get("/v1/jobs").status_code == 200  # from before, without a mark

    settings.REGION = "us"
    of_us = issue_key(korea.tenant)
    settings.REGION = "kr"
    assert asked(of_us.key).status_code == 200  # known here, whatever it says
    of_us.row.delete()
    refused = asked(of_us.key)
    assert (refused.status_code, refused.json()["code"]) == (421, "wrong_region")
    assert ADDRESSES["us"] in refused.json()["detail"]
    assert asked(of_us.key[:-1] + ("0" if of_us.key[-1] != "0" else "1")).status_code == 401

    # One that was this region's own and is no more, and one of nowhere.
    issued = issue_key(korea.tenant)
    issued.row.delete()
    assert asked(issued.key).status_code == 401
    settings.REGIONS = {}
    assert asked(of_us.key).status_code == 401


def test_a_tenant_is_of_the_region_that_made_it(korea: Api) -> None:
    assert korea.tenant.region == "home"
    assert Tenant.objects.create(name="Rowan").region == "kr"


@pytest.mark.django_db
def test_the_only_region_may_get_a_name_and_keeps_it(alder: Api, settings: Any) -> None:
    regions.require_own_region()
    settings.REGION = "kr"
    with pytest.raises(
        regions.WrongRegion, match="The database is the region home's, and this is kr"
    ):
        regions.require_own_region()
    regions.mark_database()
    alder.tenant.refresh_from_db()
    assert alder.tenant.region == "kr"
    regions.mark_database()
    regions.require_own_region()
    for other in ("us", ""):
        settings.REGION = other
        with pytest.raises(regions.WrongRegion, match="The database is the region kr's"):
            regions.mark_database()
        with pytest.raises(regions.WrongRegion, match="The database is the region kr's"):
            regions.require_own_region()


@pytest.mark.django_db
def test_storage_and_redis_are_the_regions_own(settings: Any) -> None:
    settings.REGION = "kr"
    regions.mark_database()
    regions.require_own_region()
    default_storage.delete("region")
    default_storage.save("region", ContentFile(b"us"))
    with pytest.raises(regions.WrongRegion, match="The storage is the region us's, and this is kr"):
        regions.require_own_region()
    default_storage.delete("region")
    if settings.REDIS_URL:
        cache.set("region", "us")
        with pytest.raises(regions.WrongRegion, match="The Redis is the region us's"):
            regions.require_own_region()
        cache.delete("region")


@pytest.mark.django_db
def test_what_is_away_is_nobody_elses(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("no connection")

    monkeypatch.setattr(regions, "_check_database", away)
    regions.require_own_region()


@pytest.mark.django_db
def test_a_database_before_there_were_regions_has_no_mark(settings: Any) -> None:
    class Before:
        def get_model(self, label: str, name: str) -> None:
            raise LookupError(name)

    DatabaseRegion.objects.all().delete()
    regions.mark_database(Before())
    assert not DatabaseRegion.objects.exists()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"VOICEREEL_REGION": "korea"}, "A region's name is two small letters"),
        (
            {"VOICEREEL_REGIONS": "KR=https://kr.example.com"},
            "A region's name is two small letters",
        ),
        ({"VOICEREEL_REGIONS": "kr=https://kr.example.com"}, "lists all regions with this one"),
        (
            {"VOICEREEL_REGION": "kr", "VOICEREEL_REGIONS": "us=https://us.example.com"},
            "lists all regions with this one",
        ),
        (
            {"VOICEREEL_REGION": "kr", "VOICEREEL_REGIONS": "kr=kr.example.com"},
            "has no address for kr",
        ),
        ({"VOICEREEL_REGION": "kr", "VOICEREEL_REGIONS": "kr"}, "has no address for kr"),
    ],
)
def test_regions_that_make_no_sense_stop_the_start(
    environment: dict[str, str], expected: str
) -> None:
    assert expected in refusal(environment)


def test_regions_start(tmp_path: Any) -> None:
    given = {
        "VOICEREEL_VAR": str(tmp_path),
        "VOICEREEL_REGION": "kr",
        "VOICEREEL_REGIONS": "kr=https://kr.example.com,us=https://us.example.com",
    }
    assert start(given).returncode == 0
