"""What a process remembers of keys, and that it believes none of it once something has changed."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import transaction

from accounts import keys, limits
from accounts.known_keys import KnownKeys, known_keys
from accounts.models import ApiKey, Tenant
from tests.conftest import Api

on_redis = pytest.mark.skipif(not settings.REDIS_URL, reason="no Redis in this profile")


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The public ids of the keys that the database was asked for."""
    asked: list[str] = []
    find = keys._key

    def watched(public_id: str) -> Any:
        asked.append(public_id)
        return find(public_id)

    monkeypatch.setattr(keys, "_key", watched)
    return asked


@on_redis
def test_the_database_is_asked_for_a_key_twice_and_then_no_more(
    alder: Api, looked_up: list[str]
) -> None:
    for _ in range(10):
        assert alder.get("/v1/jobs").status_code == 200
    # The first time it is not known yet whose version to ask for.
    assert len(looked_up) == 2


@pytest.mark.skipif(bool(settings.REDIS_URL), reason="processes share a bucket")
def test_without_a_shared_bucket_nothing_is_believed(alder: Api, looked_up: list[str]) -> None:
    for _ in range(5):
        assert alder.get("/v1/jobs").status_code == 200
    # The row that is remembered says whose bucket to take from, and is read again.
    assert len(looked_up) == 5


@on_redis
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "change",
    [
        lambda api: keys.revoke_key(ApiKey.objects.get(pk=api.key.pk)),
        lambda api: api.post(f"/v1/keys/{api.key.pk}/revoke"),
    ],
)
def test_a_revoked_key_is_refused_at_once(alder: Api, change: Callable[[Api], object]) -> None:
    for _ in range(3):
        assert alder.get("/v1/jobs").status_code == 200
    change(alder)
    assert alder.get("/v1/jobs").status_code == 401


@on_redis
@pytest.mark.django_db(transaction=True)
def test_a_plan_holds_from_the_next_request_on(alder: Api) -> None:
    for _ in range(3):
        assert "q=600" in alder.get("/v1/jobs")["RateLimit-Policy"]
    call_command("set_plan", alder.tenant.pk, "enterprise", stdout=None)
    alder.get("/v1/jobs")
    assert "q=60000" in alder.get("/v1/jobs")["RateLimit-Policy"]


@on_redis
@pytest.mark.django_db(transaction=True)
def test_while_a_change_is_under_way_nothing_is_believed(alder: Api, looked_up: list[str]) -> None:
    for _ in range(3):
        alder.get("/v1/jobs")
    looked_up.clear()
    with transaction.atomic():
        limits.note_change(alder.tenant.pk)
        for _ in range(3):
            alder.get("/v1/jobs")
        assert len(looked_up) == 3
    for _ in range(3):
        alder.get("/v1/jobs")
    assert len(looked_up) == 4


@on_redis
def test_a_redis_that_lost_its_data_makes_nobody_believe_what_was(
    alder: Api, looked_up: list[str]
) -> None:
    for _ in range(3):
        alder.get("/v1/jobs")
    looked_up.clear()
    limits.forget(alder.tenant.pk)
    alder.get("/v1/jobs")
    assert len(looked_up) == 1


@on_redis
def test_a_change_that_its_maker_did_not_live_to_settle_ends_by_itself(
    alder: Api, looked_up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_UNSETTLED_S", 0)
    alder.get("/v1/jobs")
    limits._buckets().unsettle(alder.tenant.pk)
    for _ in range(5):
        alder.get("/v1/jobs")
    assert len(looked_up) == 2


def test_what_is_remembered_is_no_key_and_not_for_long(
    alder: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr("accounts.known_keys.time.monotonic", lambda: now)
    known = KnownKeys()
    known.put(alder.secret, alder.key, "1.2")
    assert known.get(alder.secret) is not None
    assert alder.secret.encode() not in repr(known._keys).encode()
    now += 31
    assert known.get(alder.secret) is None
    known.put("another", alder.key, "1.2")
    assert len(known._keys) == 1


def test_a_key_of_a_tenant_that_is_gone_opens_nothing(alder: Api, birch: Api) -> None:
    alder.get("/v1/jobs")
    alder.get("/v1/jobs")
    ApiKey.objects.filter(pk=alder.key.pk).delete()
    limits.note_change(alder.tenant.pk)
    assert alder.get("/v1/jobs").status_code == 401
    assert birch.get("/v1/jobs").status_code == 200
    assert Tenant.objects.count() == 2
    known_keys.clear()
