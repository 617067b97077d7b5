"""The audit log: what is in it, and that nobody takes it out."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from accounts import audit
from accounts.models import AuditEvent, Erasure
from tests.conftest import Api, Browser

URL = "https://93.184.215.14/"  # no name to ask for


def actions(api: Api) -> list[str]:
    rows = AuditEvent.objects.for_tenant(api.tenant).order_by("pk")
    return list(rows.values_list("action", flat=True))


def test_what_matters_is_on_record(
    alder: Api, make_speaker: Callable[..., Any], submit: Callable[..., dict[str, Any]]
) -> None:
    made = alder.post("/v1/keys", {"label": "nightly"}).json()
    rotated = alder.post(f"/v1/keys/{made['id']}/rotate", {}).json()
    alder.post(f"/v1/keys/{rotated['id']}/revoke")
    alder.post(f"/v1/keys/{rotated['id']}/revoke")  # it was already
    endpoint = alder.post("/v1/webhook-endpoints", {"url": URL}).json()["id"]
    alder.patch(f"/v1/webhook-endpoints/{endpoint}", {"description": "staging"})
    alder.post(f"/v1/webhook-endpoints/{endpoint}/rotate")
    alder.delete(f"/v1/webhook-endpoints/{endpoint}")
    alder.delete(f"/v1/speakers/{make_speaker(alder).pk}")
    alder.delete(f"/v1/jobs/{submit(alder)['id']}")
    assert actions(alder) == [
        "key.created",
        "key.rotated",
        "key.revoked",
        "webhook_endpoint.created",
        "webhook_endpoint.changed",
        "webhook_endpoint.secret_rotated",
        "webhook_endpoint.deleted",
        "speaker.deleted",
        "job.deleted",
    ]
    # No secret is in it.
    text = str(list(AuditEvent.objects.values()))
    for secret in (made["key"], rotated["key"], "whsec_"):
        assert secret not in text
    [event] = alder.get("/v1/audit-events?action=key.created").json()["data"]
    assert event["actor"] == {
        "kind": "key",
        "id": alder.key.pk,
        "name": alder.key.prefix,
        "in_place_of": None,
        "address": "127.0.0.1",
    }
    assert event["target"] == made["id"]
    assert event["request_id"].startswith("req_")


def test_what_was_not_done_is_not_on_record(
    alder: Api, make_member: Callable[..., Browser]
) -> None:
    owner = make_member(alder)
    before = actions(alder)
    refusals = [
        alder.post("/v1/keys", {"scopes": ["nothing"]}),
        alder.post("/v1/keys", {"expires_at": "2020-01-01T00:00:00Z"}),
        alder.post("/v1/erasures", {"confirm": "ten_other"}),
        owner.request("DELETE", f"/v1/members/{owner.get('/v1/members').json()['data'][0]['id']}"),
    ]
    assert [reply.status_code for reply in refusals] == [422, 422, 422, 409]
    assert actions(alder) == before


def test_events_are_listed_newest_first_by_page_and_kind(alder: Api, birch: Api) -> None:
    for _ in range(3):
        alder.post("/v1/keys", {})
    birch.post("/v1/keys", {})
    first = alder.get("/v1/audit-events?limit=2").json()
    rest = alder.get(f"/v1/audit-events?limit=2&cursor={first['next_cursor']}").json()
    ids = [event["id"] for event in first["data"] + rest["data"]]
    assert len(ids) == 3
    assert ids == sorted(ids, reverse=True)
    assert alder.get("/v1/audit-events?action=key.revoked").json()["data"] == []
    assert alder.get("/v1/audit-events?action=Key%20Created").status_code == 422


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE accounts_auditevent SET action = 'nothing'",
        "UPDATE accounts_auditevent SET tenant_id = NULL",
        "DELETE FROM accounts_auditevent",
        "INSERT OR REPLACE INTO accounts_auditevent SELECT * FROM accounts_auditevent",
        "INSERT OR REPLACE INTO accounts_auditevent (rowid, id, at, action, actor_kind, actor_id, "
        "actor_name, in_place_of, target, details, request_id) SELECT rowid, 'other', at, action, "
        "actor_kind, actor_id, actor_name, in_place_of, target, details, request_id "
        "FROM accounts_auditevent",
    ],
)
def test_no_row_is_changed_or_deleted(alder: Api, change: str) -> None:
    """On PostgreSQL for the tests' own superuser, too; for the app's role see test_row_security."""
    if connection.vendor == "postgresql" and "OR REPLACE" in change:
        change = "UPDATE accounts_auditevent SET at = now()"
    audit.record(alder.tenant.pk, "key.revoked", "key_1")
    audit.record(None, "login.succeeded", "olga@voicereel.example")
    before = list(AuditEvent.objects.order_by("pk").values())
    with connection.cursor() as cursor, transaction.atomic():
        with pytest.raises((IntegrityError, DatabaseError), match="never changed"):
            cursor.execute(change)
        transaction.set_rollback(True)
    assert list(AuditEvent.objects.order_by("pk").values()) == before
    with (
        pytest.raises((IntegrityError, DatabaseError), match="never changed"),
        transaction.atomic(),
    ):
        AuditEvent.objects.all().delete()


def test_the_erasure_of_a_tenant_takes_its_events_and_no_others(alder: Api, birch: Api) -> None:
    for api in (alder, birch):
        audit.record(api.tenant.pk, "key.revoked", "key_1")
    # Nor that of a speaker.
    Erasure.objects.create(
        tenant_id=birch.tenant.pk, speaker_id="spk_1", status=Erasure.Status.ERASING
    )
    Erasure.objects.create(tenant_id=alder.tenant.pk, status=Erasure.Status.ERASING)
    with (
        pytest.raises((IntegrityError, DatabaseError), match="never changed"),
        transaction.atomic(),
    ):
        AuditEvent.objects.for_tenant(birch.tenant).delete()
    with (
        pytest.raises((IntegrityError, DatabaseError), match="never changed"),
        transaction.atomic(),
    ):
        AuditEvent.objects.for_tenant(alder.tenant).update(action="nothing")
    AuditEvent.objects.for_tenant(alder.tenant).delete()
    assert actions(alder) == []
    assert actions(birch) == ["key.revoked"]
