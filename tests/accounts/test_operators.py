"""Operators: how one is made, what lets them in, and what they do in a customer's place."""

import io
import re
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.conf import settings
from django.contrib import admin
from django.core.cache import cache
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.utils import timezone

from accounts.callers import _IMPERSONATION
from accounts.models import (
    AuditEvent,
    DataExport,
    Erasure,
    Impersonation,
    Membership,
    Operator,
    Tenant,
    User,
)
from tests.conftest import PASSWORD, Api, Browser, log_in, make_person

MakeMember = Callable[..., Browser]
Impersonate = Callable[..., Browser]


def code_of(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time())))


class _Terminal:
    """Types a password, and then the code of the key that it was shown."""

    def __init__(self, password: str, shown: io.StringIO, code: Callable[[str], str]) -> None:
        self.lines = iter([lambda: password, *[lambda: code(self.secret)] * 9])
        self.shown = shown

    @property
    def secret(self) -> str:
        found = re.search(r"key: ([A-Z2-7]{32})", self.shown.getvalue())
        assert found
        return found.group(1)

    def isatty(self) -> bool:
        return False

    def readline(self) -> str:
        return f"{next(self.lines)()}\n"


@pytest.fixture
def create(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, list[str]]]:
    """Run create_operator. Returns the authenticator's key and the recovery codes."""

    def run(
        email: str, password: str = PASSWORD, code: Callable[[str], str] = code_of
    ) -> tuple[str, list[str]]:
        printed, shown = io.StringIO(), io.StringIO()
        terminal = _Terminal(password, shown, code)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", terminal)
            call_command("create_operator", email, stdout=printed, stderr=shown)
        return terminal.secret, printed.getvalue().split()

    return run


@pytest.mark.django_db
def test_the_first_operator_is_made_with_a_second_factor(
    create: Callable[..., tuple[str, list[str]]],
) -> None:
    cache.clear()
    secret, codes = create("Olga@voicereel.example")
    assert len(codes) == 10
    user = User.objects.get()
    assert user.is_operator
    client = Client()
    login = {"login": user.email, "password": PASSWORD, "next": "/admin/"}
    asked = client.post("/account/login/", login)
    assert asked["Location"].startswith("/account/security/authenticate/")
    assert client.get("/admin/").status_code == 302
    cache.clear()  # an authenticator's code works once
    reply = client.post(asked["Location"], {"code": code_of(secret)})
    assert reply["Location"] == "/admin/"
    page = client.get("/admin/")
    assert page.status_code == 200
    assert b"Audit log" in page.content
    actions = (
        AuditEvent.objects.filter(tenant=None).order_by("pk").values_list("action", "actor_name")
    )
    assert list(actions) == [
        ("operator.created", "manage.py create_operator"),
        ("login.succeeded", "olga@voicereel.example"),
        ("console.opened", "olga@voicereel.example"),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("password", "code", "message"),
    [
        ("short", code_of, "too short"),
        (PASSWORD, lambda secret: "000000", "second factor"),
    ],
)
def test_without_a_password_and_a_code_nobody_is_made_one(
    create: Callable[..., Any], password: str, code: Callable[[str], str], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        create("olga@voicereel.example", password, code)
    assert not User.objects.exists()


@pytest.mark.django_db
def test_nobody_is_made_an_operator_twice(create: Callable[..., Any]) -> None:
    create("olga@voicereel.example")
    with pytest.raises(CommandError, match="already"):
        create("olga@voicereel.example")


CONSOLE = ["/admin/", "/admin/accounts/tenant/", "/admin/accounts/auditevent/"]


@pytest.mark.parametrize("path", CONSOLE)
def test_the_console_opens_to_operators_with_a_second_factor_alone(
    alder: Api, make_member: MakeMember, operator: User, path: str
) -> None:
    assert Client().get(path)["Location"].startswith("/admin/login/")
    assert Client().get("/admin/login/")["Location"].startswith("/account/login/")
    with_one = log_in(operator, second_factor=True)
    assert with_one.get(path).status_code == 200
    for browser in (make_member(alder), log_in(operator)):
        assert browser.get(path).status_code == 302
        assert browser.get("/admin/login/").status_code == 403
    # A key is not a person.
    assert alder.get(path).status_code == 302
    # Who is an operator no more is let in no more.
    Operator.objects.all().delete()
    assert with_one.get(path).status_code == 302


def test_a_second_factor_that_is_gone_or_of_yesterday_opens_nothing(operator: User) -> None:
    browser = log_in(operator, second_factor=True)
    assert browser.get("/admin/").status_code == 200
    session = browser.client.session
    session["account_authentication_methods"][0]["at"] -= 13 * 3600
    session.save()
    assert browser.get("/admin/").status_code == 302
    browser = log_in(operator, second_factor=True)
    Authenticator.objects.all().delete()
    assert browser.get("/admin/").status_code == 302


def test_what_operators_open_in_the_console_is_on_our_record(alder: Api, operator: User) -> None:
    browser = log_in(operator, second_factor=True)
    browser.get(f"/admin/accounts/auditevent/?q={alder.tenant.pk}")
    [event] = AuditEvent.objects.filter(action="console.opened")
    assert event.tenant is None
    assert event.target == f"/admin/accounts/auditevent/?q={alder.tenant.pk}"
    browser.send(f"/admin/accounts/tenant/{alder.tenant.pk}/erase", confirm=alder.tenant.pk)
    ours = AuditEvent.objects.filter(tenant=None).values_list("action", flat=True)
    assert {"console.changed", "erasure.requested"} <= set(ours)


def test_every_page_of_the_console_answers(
    alder: Api, make_member: MakeMember, operator: User, submit: Callable[..., Any]
) -> None:
    browser = log_in(operator, second_factor=True)
    member = make_member(alder)
    membership = Membership.objects.get(user=member.user)
    member.post("/v1/keys", {})
    impersonation = Impersonation.objects.create(
        tenant=alder.tenant, membership=membership, operator=operator, expires_at=timezone.now()
    )
    for path in (
        "tenant/",
        f"tenant/{alder.tenant.pk}/change/",
        f"tenant/{alder.tenant.pk}/erase",
        f"tenant/?q={alder.tenant.pk}",
        "membership/",
        f"membership/{membership.pk}/change/",
        f"membership/{membership.pk}/impersonate",
        "user/",
        f"user/{member.user.pk}/change/",
        "auditevent/",
        f"auditevent/?q={alder.tenant.pk}",
        f"auditevent/{AuditEvent.objects.all()[0].pk}/change/",
        "impersonation/",
        f"impersonation/{impersonation.pk}/change/",
        "dataexport/",
        "erasure/",
        "outboxmessage/",
    ):
        reply = browser.get(f"/admin/accounts/{path}")
        assert reply.status_code == 200, path
        assert member.user.password not in reply.content.decode()
    # They look, and change nothing but by what is made for it.
    for path in ("tenant/add/", "auditevent/add/", f"tenant/{alder.tenant.pk}/delete/"):
        assert browser.get(f"/admin/accounts/{path}").status_code == 403, path
    changed = browser.send(f"/admin/accounts/tenant/{alder.tenant.pk}/change/", name="Ours")
    assert changed.status_code == 403
    assert Tenant.objects.get(pk=alder.tenant.pk).name == "Alder"


def test_what_libraries_would_let_operators_write_is_not_there(operator: User) -> None:
    browser = log_in(operator, second_factor=True)
    for path in ("mfa/authenticator/", "account/emailaddress/", "auth/group/", "auth/group/add/"):
        assert browser.get(f"/admin/{path}").status_code == 404, path
    for site_model in admin.site._registry:
        assert site_model._meta.app_label in {"accounts", "billing", "speakers", "synthesis"}


def test_an_operator_exports_and_erases_from_the_console(alder: Api, operator: User) -> None:
    browser = log_in(operator, second_factor=True)
    base = f"/admin/accounts/tenant/{alder.tenant.pk}"
    assert browser.get(f"{base}/export").status_code == 200
    assert not DataExport.objects.exists()
    assert browser.send(f"{base}/export").status_code == 302
    assert browser.send(f"{base}/export").status_code == 302  # one is being made already
    assert DataExport.objects.count() == 1
    event = AuditEvent.objects.for_tenant(alder.tenant).get(action="export.requested")
    assert (event.actor_kind, event.actor_name) == ("operator", operator.email)
    assert browser.send(f"{base}/erase", confirm="ten_other").status_code == 200
    assert not Erasure.objects.exists()
    assert browser.send(f"{base}/erase", confirm=alder.tenant.pk).status_code == 302
    assert Erasure.objects.get().requested_by == operator.pk
    assert alder.get("/v1/jobs").status_code == 401


def begin(browser: Browser, membership: Membership, **fields: str) -> Any:
    form = {"reason": "They cannot hear their job.", "minutes": "30"} | fields
    return browser.send(f"/admin/accounts/membership/{membership.pk}/impersonate", **form)


@pytest.fixture
def membership(alder: Api, make_member: MakeMember) -> Membership:
    member = make_member(alder, email="mina@example.com")
    return Membership.objects.select_related("user").get(user=member.user)


def test_an_impersonation_is_begun_shown_recorded_and_ended(
    alder: Api, membership: Membership, operator: User
) -> None:
    browser = log_in(operator, second_factor=True)
    assert browser.get("/members")["Location"] == "/"  # a member of nothing
    assert begin(browser, membership)["Location"] == "/"
    for path in ("/", "/members", "/audit"):
        page = browser.get(path).content.decode()
        assert "You are impersonating mina@example.com" in page
        assert "You may look only" in page
    assert browser.get("/v1/jobs").status_code == 200
    assert browser.send("/end-impersonation")["Location"] == "/admin/"
    assert browser.get("/v1/jobs").status_code == 401
    assert b"impersonating" not in browser.get("/").content
    events = AuditEvent.objects.for_tenant(alder.tenant).filter(actor_kind="operator")
    assert list(events.order_by("pk").values_list("action", "target", "in_place_of")) == [
        ("impersonation.started", "mina@example.com", ""),
        ("content.opened", "/", "mina@example.com"),
        ("content.opened", "/members", "mina@example.com"),
        ("content.opened", "/audit", "mina@example.com"),
        ("content.opened", "/v1/jobs", "mina@example.com"),
        ("impersonation.ended", "mina@example.com", "mina@example.com"),
    ]
    assert {event.actor_name for event in events} == {operator.email}
    started = events.get(action="impersonation.started")
    assert started.details == {
        "reason": "They cannot hear their job.",
        "may_write": False,
        "minutes": 30,
    }
    # The customer reads it.
    shown = alder.get("/v1/audit-events?action=impersonation.started").json()["data"]
    assert shown[0]["details"]["reason"] == "They cannot hear their job."


@pytest.mark.parametrize(
    "fields", [{"reason": ""}, {"reason": "because"}, {"minutes": "61"}, {"minutes": "0"}]
)
def test_an_impersonation_needs_a_reason_and_an_end(
    membership: Membership, operator: User, fields: dict[str, str]
) -> None:
    browser = log_in(operator, second_factor=True)
    assert begin(browser, membership, **fields).status_code == 200
    assert not Impersonation.objects.exists()
    assert browser.get("/v1/jobs").status_code == 401


def test_an_impersonation_is_over_when_its_time_is(
    membership: Membership, impersonate: Impersonate
) -> None:
    browser = impersonate(membership, minutes=5)
    assert browser.get("/v1/jobs").status_code == 200
    row = Impersonation.objects.get()
    assert row.expires_at - row.started_at < timedelta(minutes=5, seconds=1)
    Impersonation.objects.update(expires_at=timezone.now())
    assert browser.get("/v1/jobs").status_code == 401
    assert browser.get("/members")["Location"] == "/"


def test_what_an_operator_opens_is_on_record_with_what_it_was(
    alder: Api,
    membership: Membership,
    impersonate: Impersonate,
    submit: Callable[..., dict[str, Any]],
) -> None:
    job = submit(alder)
    browser = impersonate(membership)
    assert browser.get(f"/v1/jobs/{job['id']}").status_code == 200
    event = AuditEvent.objects.get(action="content.opened")
    assert (event.target, event.in_place_of) == (f"/v1/jobs/{job['id']}", "mina@example.com")
    assert browser.request("DELETE", f"/v1/jobs/{job['id']}").status_code == 403
    assert alder.get(f"/v1/jobs/{job['id']}").status_code == 200


def test_an_operator_mends_only_where_it_was_said(
    alder: Api,
    membership: Membership,
    impersonate: Impersonate,
    submit: Callable[..., dict[str, Any]],
) -> None:
    job = submit(alder)
    browser = impersonate(membership, may_write=True)
    assert "may change things" in browser.get("/").content.decode()
    assert browser.request("DELETE", f"/v1/jobs/{job['id']}").status_code == 204
    deleted = AuditEvent.objects.get(action="job.deleted")
    assert (deleted.actor_kind, deleted.in_place_of) == ("operator", "mina@example.com")
    for path, body in (
        ("/v1/keys", {}),
        ("/v1/invitations", {"email": "eve@example.com", "role": "owner"}),
        ("/v1/webhook-endpoints", {"url": "https://example.com/"}),
        ("/v1/exports", None),
        ("/v1/erasures", {"confirm": alder.tenant.pk}),
    ):
        assert browser.post(path, body).status_code == 403, path


def test_nobody_else_comes_in_by_an_impersonation(
    alder: Api, membership: Membership, impersonate: Impersonate, make_member: MakeMember
) -> None:
    planted = impersonate(membership).client.session[_IMPERSONATION]
    for other in (log_in(make_person("eve@example.com")), log_in(second_operator())):
        session = other.client.session
        session[_IMPERSONATION] = planted
        session.save()
        assert other.get("/v1/jobs").status_code == 401


def test_a_path_that_no_database_stores_is_recorded_all_the_same(
    membership: Membership, impersonate: Impersonate
) -> None:
    browser = impersonate(membership)
    assert browser.get("/v1/jobs/a%00b").status_code == 404
    assert AuditEvent.objects.get(action="content.opened").target == "/v1/jobs/ab"


def second_operator() -> User:
    user = make_person("oleg@voicereel.example")
    Operator.objects.create(user=user)
    return user


def test_pages_allow_nothing_inline_and_the_console_no_more_than_its_theme_needs(
    alder: Api, make_member: MakeMember, operator: User
) -> None:
    ours = make_member(alder).get("/members")
    policy = ours["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    page = ours.content.decode()
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page)
    console = log_in(operator, second_factor=True).get("/admin/")["Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in console.split(";"))
    base = {
        name: " ".join(values)
        for name, values in settings.CONTENT_SECURITY_POLICY["DIRECTIVES"].items()
    }
    differing = {name for name in directives if directives[name] != base.get(name)}
    assert differing == {"script-src", "style-src"}
    assert set(directives) == set(base)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path",
    [
        "/account/login/",
        "/account/signup/",
        "/account/password/reset/",
        "/account/security/",
        "/account/email/",
        "/account/sessions/",
        "/account/password/change/",
        "/account/security/totp/activate/",
    ],
)
def test_pages_of_libraries_keep_to_our_policy(path: str) -> None:
    browser = log_in(make_person("mina@example.com", PASSWORD))
    session = browser.client.session
    session["account_authentication_methods"] = [
        {"method": "password", "at": timezone.now().timestamp(), "reauthenticated": True}
    ]
    session["account_authentication_methods_user"] = browser.user.pk
    session.save()
    client = Client() if path in {"/account/login/", "/account/signup/"} else browser.client
    reply = client.get(path)
    assert reply.status_code == 200, reply.get("Location")
    assert "unsafe" not in reply["Content-Security-Policy"]
    # Data for scripts is no script.
    scripts = re.findall(r"<script([^>]*)>", reply.content.decode())
    assert all("src=" in one or "application/json" in one for one in scripts)
    assert not re.search(r"<style|\sstyle=|\son\w+=", reply.content.decode())
