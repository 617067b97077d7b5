"""What members do by pages: webhooks, their data, the end of their account."""

import re
from collections.abc import Callable
from typing import Any

from accounts.models import DataExport, Erasure, WebhookDelivery, WebhookEndpoint
from accounts.privacy.exports import build_export
from tests.conftest import Api, Browser

MakeMember = Callable[..., Browser]
URL = "https://93.184.215.14/hooks"


def test_an_endpoint_is_made_watched_and_forgotten(
    alder: Api, make_member: MakeMember, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    member = make_member(alder, "developer")
    made = member.send("/webhooks/create", url=URL, events="*")
    secret = re.search(r"whsec_\S+(?=</pre>)", made.content.decode())
    assert secret
    assert secret.group().encode() not in member.get("/webhooks").content
    row = WebhookEndpoint.objects.get()
    assert (row.url, row.events) == (URL, ["*"])
    render(submit(alder)["id"])
    page = member.get(f"/webhooks/{row.pk}").content.decode()
    assert "job.succeeded" in page
    delivery = WebhookDelivery.objects.get()
    WebhookDelivery.objects.update(status="failed", next_attempt_at=None)
    assert member.send(f"/deliveries/{delivery.pk}/replay")["Location"] == f"/webhooks/{row.pk}"
    assert b"is being sent again" in member.get(f"/webhooks/{row.pk}").content
    delivery.refresh_from_db()
    assert delivery.status == "pending"
    change = f"/webhooks/{row.pk}/change"
    member.send(change, do="disable")
    assert b"You switched it off" in member.get("/webhooks").content
    refused = member.send(f"/deliveries/{delivery.pk}/replay")
    assert refused.status_code == 409
    assert b"Switch it on first" in refused.content
    member.send(change, do="enable")
    rotated = member.send(change, do="rotate").content.decode()
    assert re.search(r"whsec_\S+(?=</pre>)", rotated)
    assert secret.group() not in rotated
    member.send(change, do="delete")
    assert not WebhookEndpoint.objects.exists()


def test_an_address_that_is_refused_by_the_api_is_refused_here(
    alder: Api, make_member: MakeMember
) -> None:
    member = make_member(alder)
    for fields in (
        {"url": "http://93.184.215.14/", "events": "*"},
        {"url": "https://127.0.0.1/", "events": "*"},
        {"url": "", "events": "*"},
        {"url": URL, "events": "nothing"},
        {"url": URL, "events": "*", "description": "a\u200bb"},
    ):
        reply = member.send("/webhooks/create", **fields)
        assert reply.status_code == 422, fields
        assert b"errorlist" in reply.content
    assert not WebhookEndpoint.objects.exists()


def test_all_data_by_a_page(alder: Api, make_member: MakeMember) -> None:
    member = make_member(alder, "admin")
    assert b"Erase this account" not in member.get("/privacy").content
    member.send("/privacy/export")
    assert b"0 of ? files" in member.get("/privacy").content
    member.send("/privacy/export")
    assert b"being made already" in member.get("/privacy").content
    build_export(alder.tenant.pk, DataExport.objects.get().pk)
    link = re.search(
        r'href="(http://testserver/v1/archives/[^"]+)"', member.get("/privacy").content.decode()
    )
    assert link
    assert member.get(link.group(1)).status_code == 200


def test_the_end_of_an_account_by_a_page(alder: Api, make_member: MakeMember) -> None:
    member = make_member(alder)
    refused = member.send("/privacy/erase", confirm="Alder")
    assert refused.status_code == 422
    assert alder.tenant.pk.encode() in refused.content
    assert not Erasure.objects.exists()
    done = member.send("/privacy/erase", confirm=alder.tenant.pk)
    proof = re.search(r"http://testserver(/v1/erasure-proofs/\S+)(?=</pre>)", done.content.decode())
    assert proof
    assert member.get(proof.group(1)).json()["status"] == "requested"
    assert member.get("/privacy")["Location"] == "/"
