"""A suspended tenant gets nothing from the next request on; its limits may be its own."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, Membership, Tenant, User
from accounts.suspension import restore, suspend
from synthesis.comparison.comparisons import link_token
from synthesis.models import Comparison, Job
from synthesis.submission import erase_expired_jobs
from tests.conftest import Api, Browser, log_in

REASON = "Your bank called the transfer of VR2026-000007 back"


def console(tenant: Tenant, page: str) -> str:
    return f"/admin/accounts/tenant/{tenant.pk}/{page}"


def test_the_next_request_of_a_suspended_tenant_is_refused_with_why(
    alder: Api, birch: Api, make_member: Callable[..., Browser], operator: User
) -> None:
    member = make_member(alder, "owner")
    browser = log_in(operator, second_factor=True)
    assert alder.get("/v1/jobs").status_code == 200
    assert "Say why" in browser.send(console(alder.tenant, "suspend"), reason="no").content.decode()
    assert alder.get("/v1/jobs").status_code == 200
    assert browser.send(console(alder.tenant, "suspend"), reason=REASON).status_code == 302

    refused = alder.get("/v1/jobs")
    assert (refused.status_code, refused.json()["code"]) == (403, "account_suspended")
    assert REASON in refused.json()["detail"]
    assert member.client.get("/v1/jobs").status_code == 403
    page = member.get("/jobs")
    assert page.status_code == 403
    assert REASON in page.content.decode()
    home = member.get("/")  # where one changes to another organisation
    assert home.status_code == 200
    assert REASON in home.content.decode()
    assert birch.get("/v1/jobs").status_code == 200

    assert browser.send(console(alder.tenant, "restore")).status_code == 302
    assert alder.get("/v1/jobs").status_code == 200
    shown = AuditEvent.objects.for_tenant(alder.tenant).order_by("pk")
    events = shown.filter(action__startswith="tenant.").values_list("action", "actor_name")
    assert list(events) == [
        ("tenant.suspended", operator.email),
        ("tenant.restored", operator.email),
    ]


def test_an_operator_still_looks_at_a_suspended_tenant(
    alder: Api, make_member: Callable[..., Browser], operator: User
) -> None:
    membership = Membership.objects.get(user=make_member(alder, "owner").user)
    browser = log_in(operator, second_factor=True)
    browser.send(console(alder.tenant, "suspend"), reason=REASON)
    path = f"/admin/accounts/membership/{membership.pk}/impersonate"
    browser.send(path, reason="They ask why they are out.", minutes="5")
    assert browser.get("/jobs").status_code == 200


def test_listeners_and_links_get_nothing_and_nothing_is_erased(
    alder: Api, submit: Callable[..., dict[str, Any]], render: Callable[[str], None]
) -> None:
    compared = Comparison.objects.create(tenant=alder.tenant, title="Which?", texts=["One."])
    job = submit(alder)["id"]
    render(job)
    link = alder.get(f"/v1/jobs/{job}").json()["audio"]["url"]
    assert Client().get(link).status_code == 200
    Job.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    suspend(alder.tenant, REASON)
    assert Client().get(f"/listen/{link_token(compared)}").status_code == 404
    refused = Client().get(link)
    assert (refused.status_code, refused.json()["code"]) == (403, "account_suspended")
    assert erase_expired_jobs() == 0  # nobody could fetch it meanwhile
    restore(alder.tenant)
    assert Client().get(link).status_code == 200
    assert erase_expired_jobs() == 1


def test_another_reason_takes_the_place_of_the_first(alder: Api, operator: User) -> None:
    browser = log_in(operator, second_factor=True)
    browser.send(console(alder.tenant, "suspend"), reason=REASON)
    browser.send(console(alder.tenant, "suspend"), reason="Your voices are not yours.")
    assert "Your voices are not yours." in alder.get("/v1/jobs").json()["detail"]


def test_a_tenant_may_have_limits_of_its_own(
    alder: Api, submit: Callable[..., dict[str, Any]], operator: User
) -> None:
    browser = log_in(operator, second_factor=True)
    page = browser.get(console(alder.tenant, "limits")).content.decode()
    assert "The plan standard allows 600 in 60 s." in page
    refused = browser.send(console(alder.tenant, "limits"), lines="5")
    assert "greater than or equal to 2000" in refused.content.decode()
    assert browser.send(console(alder.tenant, "limits"), jobs="1", requests="7").status_code == 302
    reply = alder.get("/v1/jobs")
    assert reply["RateLimit-Policy"] == '"standard";q=7;w=60'
    lines = Job.objects.get(pk=submit(alder)["id"]).lines.values("speaker_id", "text")
    beyond = alder.post("/v1/synthesize", {"script": list(lines)})
    assert beyond.json()["code"] == "too_many_concurrent_jobs"
    assert browser.send(console(alder.tenant, "limits")).status_code == 302
    alder.get("/v1/jobs")  # counted by what the process remembers
    assert alder.get("/v1/jobs")["RateLimit-Policy"] == '"standard";q=600;w=60'
    assert Tenant.objects.get(pk=alder.tenant.pk).own_limits == {}


@pytest.mark.parametrize("page", ["suspend", "restore", "limits"])
def test_looking_at_a_form_changes_nothing(alder: Api, operator: User, page: str) -> None:
    before = Tenant.objects.values().get(pk=alder.tenant.pk)
    assert log_in(operator, second_factor=True).get(console(alder.tenant, page)).status_code == 200
    assert Tenant.objects.values().get(pk=alder.tenant.pk) == before
