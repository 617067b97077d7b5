"""How people come in: sign-up, invitation, reset, second factor; and what their roles let them change."""

import re
import smtplib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.core import mail
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import timezone

from accounts import audit
from accounts.callers import Member
from accounts.keys import issue_key
from accounts.mail import send_text
from accounts.models import AuditEvent, Invitation, Membership, OutboxMessage, Tenant, User
from accounts.outbox import relay
from accounts.people.members import MOST_INVITATIONS_A_DAY, change_role, remove_member
from tests.conftest import PASSWORD, Api, Browser, log_in, make_person
from voicereel_site.errors import Refusal

MakeMember = Callable[..., Browser]


@pytest.fixture(autouse=True)
def _nobody_tried_before() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def mails() -> list[Any]:
    """What the relay sends now."""
    mail.outbox.clear()
    while relay():
        pass
    return list(mail.outbox)


def code_in(message: Any) -> str:
    """The code that stands on a line of its own."""
    found = re.search(r"^([A-Z0-9]{4,}-?[A-Z0-9]*)$", message.body, re.MULTILINE)
    assert found, message.body
    return found.group(1)


def sign_up(client: Client, email: str, path: str = "/account/signup/") -> Any:
    return client.post(path, {"email": email, "password1": PASSWORD})


@pytest.mark.django_db
def test_a_person_signs_up_verifies_and_founds_an_organisation() -> None:
    client = Client()
    reply = sign_up(client, "Mina@Example.com")
    assert reply["Location"] == "/account/confirm-email/"
    # Until the address is verified they are nobody.
    assert client.get("/members")["Location"].startswith("/account/login/")
    [message] = mails()
    assert message.to == ["mina@example.com"]
    wrong = client.post("/account/confirm-email/", {"code": "ZZZZ-ZZZZ"})
    assert wrong.status_code == 200
    assert b"Incorrect code" in wrong.content
    assert client.post("/account/confirm-email/", {"code": code_in(message)})["Location"] == "/"
    assert b"Name your organisation" in client.get("/").content
    assert client.get("/members")["Location"] == "/"  # there is none yet
    assert client.post("/", {"name": "Alder"})["Location"] == "/"
    page = client.get("/").content.decode()
    assert "Alder" in page
    assert "owner" in page
    [membership] = Membership.objects.all()
    assert (membership.user.email, membership.role) == ("mina@example.com", "owner")
    actions = AuditEvent.objects.for_tenant(membership.tenant).values_list("action", flat=True)
    assert list(actions) == ["account.created"]
    # The API is theirs too, by this session.
    assert client.get("/v1/jobs").json() == {"data": [], "next_cursor": None}


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["", "  ", "a\u200bb", "x" * 201, "line\nbreak"])
def test_an_organisation_has_a_name_that_can_be_read(name: str) -> None:
    browser = log_in(make_person("mina@example.com"))
    reply = browser.send("/", name=name)
    assert reply.status_code == 200
    assert b"errorlist" in reply.content
    assert not Tenant.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("password", ["short", "password1234", "12345678901234", "minaminamina"])
def test_weak_passwords_are_refused(password: str) -> None:
    email = "minaminamina@example.com"
    reply = Client().post("/account/signup/", {"email": email, "password1": password})
    assert reply.status_code == 200
    assert not User.objects.exists()


def invited(
    alder: Api, owner: Browser, email: str = "jun@example.com", role: str = "viewer"
) -> str:
    """Invite somebody. Returns the path of the link that they get."""
    reply = owner.post("/v1/invitations", {"email": email, "role": role})
    assert reply.status_code == 201
    [message] = mails()
    assert message.to == [email]
    assert message.subject == f"VoiceReel: {owner.user.email} invites you to Alder"
    found = re.search(r"http://testserver(/invitation/\S+)", message.body)
    assert found
    return found.group(1)


def test_who_is_invited_joins_with_the_address_that_was_invited(
    alder: Api, make_member: MakeMember
) -> None:
    owner = make_member(alder)
    link = invited(alder, owner)
    stranger = Client()
    page = stranger.get(link).content.decode()
    assert "invites you to Alder" in page
    assert f"/account/signup/?next={link.replace('/', '%2F').replace(':', '%3A')}" in page
    assert stranger.post(link).status_code == 200  # nobody is logged in: it is shown again
    # A stranger who has the link, and another address.
    other = log_in(make_person("eve@example.com"))
    refused = other.send(link)
    assert refused.status_code == 403
    assert b"This invitation is for jun@example.com" in refused.content
    # The one who was meant signs up through it, and comes back to it.
    client = Client()
    sign_up(client, "jun@example.com", f"/account/signup/?next={link}")
    [message] = mails()
    back = client.post("/account/confirm-email/", {"code": code_in(message)})
    assert back["Location"] == link
    assert client.post(link)["Location"] == "/"
    membership = Membership.objects.get(user__email="jun@example.com")
    assert (membership.tenant, membership.role) == (alder.tenant, "viewer")
    assert b"Alder" in client.get("/").content
    # It was for once.
    assert client.get(link).status_code == 404
    events = AuditEvent.objects.for_tenant(alder.tenant).filter(action__startswith="member.")
    assert list(events.order_by("pk").values_list("action", "actor_name")) == [
        ("member.invited", owner.user.email),
        ("member.joined", "jun@example.com"),
    ]


def test_an_address_that_is_not_verified_joins_nothing(alder: Api, make_member: MakeMember) -> None:
    link = invited(alder, make_member(alder))
    user = User.objects.create_user("jun@example.com")
    assert log_in(user).send(link).status_code == 403
    assert not Membership.objects.filter(user=user).exists()


def test_an_invitation_ends_when_it_is_withdrawn_or_sent_again(
    alder: Api, make_member: MakeMember
) -> None:
    owner = make_member(alder)
    jun = log_in(make_person("jun@example.com"))
    first = invited(alder, owner)
    second = invited(alder, owner, role="developer")
    assert jun.send(first).status_code == 404
    [shown] = owner.get("/v1/invitations").json()["data"]
    assert (shown["email"], shown["role"], shown["invited_by"]) == (
        "jun@example.com",
        "developer",
        owner.user.email,
    )
    assert owner.request("DELETE", f"/v1/invitations/{shown['id']}").status_code == 204
    assert jun.send(second).status_code == 404
    assert not Membership.objects.filter(user=jun.user).exists()


def test_an_invitation_is_over_after_a_week(alder: Api, make_member: MakeMember) -> None:
    link = invited(alder, make_member(alder))
    row = Invitation.objects.get()
    assert round((row.expires_at - row.created_at).total_seconds()) == 7 * 24 * 3600
    Invitation.objects.update(expires_at=row.created_at)
    jun = log_in(make_person("jun@example.com"))
    assert jun.send(link).status_code == 404
    assert jun.get(link[:-3] + "abc").status_code == 404


def test_members_are_not_invited_again(alder: Api, make_member: MakeMember) -> None:
    owner = make_member(alder)
    reply = owner.post("/v1/invitations", {"email": owner.user.email.upper(), "role": "viewer"})
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["pointer"] == "/email"
    page = owner.send("/members/invite", email=owner.user.email, role="viewer")
    assert page.status_code == 422
    assert b"a member already" in page.content


def member_id(owner: Browser, email: str) -> str:
    rows = owner.get("/v1/members").json()["data"]
    return str(next(row["id"] for row in rows if row["email"] == email))


def test_nobody_gives_or_takes_more_than_they_hold(alder: Api, make_member: MakeMember) -> None:
    owner, admin = make_member(alder, "owner"), make_member(alder, "admin")
    viewer = make_member(alder, "viewer")
    of_owner, of_viewer = (member_id(admin, who.user.email) for who in (owner, viewer))
    for role, status in (("developer", 200), ("admin", 200), ("owner", 403)):
        reply = admin.client.patch(
            f"/v1/members/{of_viewer}", {"role": role}, content_type="application/json"
        )
        assert reply.status_code == status
    assert "account:erase" in reply.json()["detail"]
    assert (
        admin.post("/v1/invitations", {"email": "a@example.com", "role": "owner"}).status_code
        == 403
    )
    down = admin.client.patch(
        f"/v1/members/{of_owner}", {"role": "viewer"}, content_type="application/json"
    )
    assert down.status_code == 403
    assert admin.request("DELETE", f"/v1/members/{of_owner}").status_code == 403
    # The pages refuse the same.
    assert admin.send(f"/members/{of_owner}", remove="1").status_code == 403
    assert admin.send("/members/invite", email="a@example.com", role="owner").status_code == 422
    assert Membership.objects.get(pk=of_owner).role == "owner"
    [event] = AuditEvent.objects.filter(action="member.role_changed", details__new="admin")
    assert (event.target, event.details["old"]) == (viewer.user.email, "developer")


def test_an_account_keeps_an_owner(alder: Api, make_member: MakeMember) -> None:
    owner = make_member(alder)
    own = member_id(owner, owner.user.email)
    for reply in (
        owner.request("DELETE", f"/v1/members/{own}"),
        owner.client.patch(
            f"/v1/members/{own}", {"role": "admin"}, content_type="application/json"
        ),
    ):
        assert reply.status_code == 409
        assert "needs an owner" in reply.json()["detail"]
    make_member(alder, email="second@example.com")
    assert owner.request("DELETE", f"/v1/members/{own}").status_code == 204


def test_who_is_removed_sees_nothing_from_the_next_request_on(
    alder: Api, birch: Api, make_member: MakeMember
) -> None:
    owner = make_member(alder)
    gone = make_member(alder, "developer")
    Membership.objects.create(tenant=birch.tenant, user=gone.user, role="viewer")
    assert gone.client.get("/v1/keys").status_code == 200
    path = f"/v1/members/{member_id(owner, gone.user.email)}"
    assert owner.request("DELETE", path).status_code == 204
    # What they look at now is the other tenant that they belong to.
    assert gone.client.get("/v1/keys").status_code == 403
    assert "role, viewer" in gone.client.get("/v1/keys").json()["detail"]
    assert [row["role"] for row in gone.get("/v1/members").json()["data"]] == ["viewer"]
    Membership.objects.filter(user=gone.user).delete()
    assert gone.client.get("/v1/jobs").status_code == 401


def test_a_person_of_two_tenants_looks_at_one_at_a_time(
    alder: Api, birch: Api, make_member: MakeMember
) -> None:
    browser = make_member(birch)
    Membership.objects.create(tenant=alder.tenant, user=browser.user, role="viewer")
    assert b"<h1>Alder</h1>" in browser.get("/").content  # the first by name
    assert browser.post("/v1/keys", {}).status_code == 403
    assert browser.send("/switch", tenant=birch.tenant.pk)["Location"] == "/"
    assert b"<h1>Birch</h1>" in browser.get("/").content
    assert browser.post("/v1/keys", {}).status_code == 201
    browser.send("/switch", tenant=Tenant.objects.create(name="Cedar").pk)
    assert b"<h1>Birch</h1>" in browser.get("/").content


def test_pages_show_and_change_members(alder: Api, make_member: MakeMember) -> None:
    owner, viewer = make_member(alder), make_member(alder, "viewer")
    page = owner.get("/members").content.decode()
    assert viewer.user.email in page
    assert owner.send("/members/invite", email="jun@example.com", role="billing").status_code == 302
    assert "jun@example.com was invited." in owner.get("/members").content.decode()
    path = f"/members/{member_id(owner, viewer.user.email)}"
    owner.send(path, role="billing")
    assert Membership.objects.get(user=viewer.user).role == "billing"
    owner.send(path, role="emperor")
    assert Membership.objects.get(user=viewer.user).role == "billing"
    owner.send(path, remove="1")
    assert not Membership.objects.filter(user=viewer.user).exists()
    owner.send(f"/invitations/{Invitation.objects.get().pk}/withdraw")
    assert not Invitation.objects.exists()
    # Who may not change anything is shown no form.
    looking = make_member(alder, "developer")
    assert b"Invite somebody" not in looking.get("/members").content


@pytest.mark.django_db
def test_mail_is_in_the_language_of_the_page_that_asked_for_it(
    alder: Api, make_member: MakeMember
) -> None:
    korean = {"Accept-Language": "ko-KR,ko;q=0.9"}
    Client().post(
        "/account/signup/", {"email": "mina@example.com", "password1": PASSWORD}, headers=korean
    )
    [message] = mails()
    assert "이 코드를 입력하십시오" in message.body
    owner = make_member(alder)
    invited = {"email": "jun@example.com", "role": "viewer"}
    owner.client.post("/members/invite", invited, headers=korean)
    [message] = mails()
    assert message.subject == f"VoiceReel: {owner.user.email} 님이 Alder에 초대했습니다"
    assert "열람자 역할로" in message.body


@pytest.mark.django_db
def test_a_forgotten_password_is_reset_by_a_code() -> None:
    user = make_person("mina@example.com", "an earlier password 1")
    tenant = Tenant.objects.create(name="Alder")
    Membership.objects.create(tenant=tenant, user=user, role="viewer")
    others = Client()
    others.force_login(user)
    client = Client()
    client.post("/account/password/reset/", {"email": "mina@example.com"})
    [message] = mails()
    confirm = client.post("/account/password/reset/confirm/", {"code": code_in(message)})
    assert confirm["Location"] == "/account/password/reset/complete/"
    done = client.post(
        "/account/password/reset/complete/", {"password1": PASSWORD, "password2": PASSWORD}
    )
    assert done.status_code == 302
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    # Browsers that were logged in with the old one are not any more.
    assert others.get("/members")["Location"].startswith("/account/login/")
    # And whoever owns the address hears of it.
    assert any("password" in one.subject.lower() for one in mails())
    events = AuditEvent.objects.for_tenant(tenant).filter(action="password.reset")
    assert [event.target for event in events] == [user.email]


@pytest.mark.django_db(transaction=True)
def test_a_second_factor_is_asked_for_once_there_is_one(alder: Api) -> None:
    user = make_person("mina@example.com", PASSWORD)
    Membership.objects.create(tenant=alder.tenant, user=user, role="owner")
    client = Client()
    login = {"login": user.email, "password": PASSWORD}
    assert client.post("/account/login/", login)["Location"] == "/"
    setting_up = "/account/security/totp/activate/"
    # Who sits down at somebody's open browser changes nothing.
    asked = client.get(setting_up)["Location"]
    assert asked.startswith("/account/reauthenticate/")
    assert client.post(asked, {"password": PASSWORD})["Location"] == setting_up
    page = client.get(setting_up).content.decode()
    secret = re.search(r'value="([A-Z2-7]{32})"', page)
    assert secret, page
    code = format_hotp_value(hotp_value(secret.group(1), next(yield_hotp_counters_from_time())))
    activated = client.post("/account/security/totp/activate/", {"code": code})
    assert activated.status_code == 302
    # What is kept of it does not open without the server's own key.
    rows = Authenticator.objects.filter(user=user)
    assert rows.count() == 2
    assert secret.group(1) not in str(list(rows.values()))
    other = Client()
    assert other.post("/account/login/", login)["Location"].startswith(
        "/account/security/authenticate/"
    )
    assert other.get("/members")["Location"].startswith("/account/login/")
    assert other.get("/v1/jobs").status_code == 401
    recovery = client.get("/account/security/recovery-codes/").content.decode()
    [first, *_] = re.findall(r"\b([0-9a-f]{8})\b", recovery)
    wrong = other.post("/account/security/authenticate/", {"code": "00000000"})
    assert wrong.status_code == 200
    assert other.post("/account/security/authenticate/", {"code": first})["Location"] == "/"
    assert other.get("/v1/jobs").status_code == 200
    [shown] = other.get("/v1/members").json()["data"]
    assert shown["second_factor"] is True
    actions = list(
        AuditEvent.objects.for_tenant(alder.tenant).order_by("pk").values_list("action", flat=True)
    )
    assert actions == [
        "login.succeeded",
        "second_factor.added",
        "second_factor.added",
        "login.failed",
        "login.succeeded",
    ]


@pytest.mark.django_db
def test_mail_waits_for_a_mail_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    sign_up(Client(), "mina@example.com")

    def refuse(message: object) -> None:
        raise ConnectionRefusedError("smtp.example.com")

    with monkeypatch.context() as patch:
        patch.setattr("django.core.mail.EmailMessage.send", refuse)
        assert relay() == 0
    row = OutboxMessage.objects.get()
    assert row.last_error == "ConnectionRefusedError: smtp.example.com"
    OutboxMessage.objects.update(due_at=row.created_at)
    assert len(mails()) == 1


@pytest.mark.django_db
def test_mail_that_nobody_takes_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    send = EmailMessage.send

    def refuse(message: EmailMessage) -> int:
        [address] = message.to
        if address.startswith("full"):
            raise smtplib.SMTPRecipientsRefused({address: (452, b"mailbox full")})
        if address.startswith("bad"):
            raise smtplib.SMTPRecipientsRefused({address: (550, b"no such user")})
        return int(send(message))

    monkeypatch.setattr(EmailMessage, "send", refuse)
    for number in range(5):
        send_text([f"bad{number}@example.com"], "Hello", "there")
    send_text(["mina@example.com"], "Hello", "there")
    mail.outbox.clear()
    relay()
    assert [message.to for message in mail.outbox] == [["mina@example.com"]]
    dead = OutboxMessage.objects.exclude(given_up_at=None)
    assert dead.count() == OutboxMessage.objects.count() == 5
    # What may be taken later is tried later.
    send_text(["full@example.com"], "Hello", "there")
    relay()
    assert OutboxMessage.objects.get(given_up_at=None).attempts == 1


LONG = "a1@" + "İ" * 60 + ".com"  # in lower case it is longer, and no name of a host


def test_addresses_that_no_mail_reaches_are_refused(alder: Api, make_member: MakeMember) -> None:
    owner = make_member(alder)
    for address in (LONG, "a@" + "İ" * 120 + ".com", "a@" + "b" * 64 + ".com"):
        Client().post("/account/signup/", {"email": address, "password1": PASSWORD})
        assert (
            owner.post("/v1/invitations", {"email": address, "role": "viewer"}).status_code == 422
        )
        assert owner.send("/members/invite", email=address, role="viewer").status_code == 422
    assert not User.objects.exclude(pk=owner.user.pk).exists()
    assert not OutboxMessage.objects.filter(kind="mail").exists()


def test_invitations_are_no_way_to_flood_a_stranger(alder: Api, make_member: MakeMember) -> None:
    owner = make_member(alder)
    ask = {"email": "jun@example.com", "role": "viewer"}
    replies = [owner.post("/v1/invitations", ask) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [201, 201, 201, 429]
    assert replies[-1].json()["code"] == "rate_limited"
    assert replies[-1]["Retry-After"] == str(24 * 3600)
    assert owner.send("/members/invite", **ask).status_code == 422
    assert owner.post("/v1/invitations", ask | {"email": "b@example.com"}).status_code == 201
    for number in range(MOST_INVITATIONS_A_DAY):
        audit.record(alder.tenant.pk, "member.invited", f"{number}@example.com")
    assert owner.post("/v1/invitations", ask | {"email": "c@example.com"}).status_code == 429
    assert "RateLimit" in owner.get("/members")  # pages count, too


def test_a_weaker_key_gives_no_role_and_takes_nothing_away(alder: Api) -> None:
    ask = {"email": "jun@example.com", "role": "viewer"}
    for fields in (
        {"live": False},
        {"expires_at": timezone.now() + timedelta(minutes=1)},
        {"networks": ["127.0.0.0/8"]},
    ):
        row, secret, _ = issue_key(alder.tenant, **fields)
        weak = Api(alder.tenant, row, secret)
        refused = weak.post("/v1/invitations", ask)
        assert refused.status_code == 403, fields
    test_key = Api(alder.tenant, *issue_key(alder.tenant, live=False)[:2])
    for path, body in (("/v1/exports", None), ("/v1/erasures", {"confirm": alder.tenant.pk})):
        refused = test_key.post(path, body)
        assert refused.status_code == 403
        assert "test key" in refused.json()["detail"]
    assert alder.post("/v1/invitations", ask).status_code == 201


def test_a_role_that_has_risen_meanwhile_is_not_taken_away(
    alder: Api, make_member: MakeMember
) -> None:
    admin, other = make_member(alder, "admin"), make_member(alder, "developer")
    make_member(alder)
    stale = Membership.objects.get(user=other.user)
    Membership.objects.filter(pk=stale.pk).update(role="owner")
    caller = Member(Membership.objects.get(user=admin.user))
    with pytest.raises(Refusal, match="insufficient_scope"):
        remove_member(caller, stale)
    with pytest.raises(Refusal, match="insufficient_scope"):
        change_role(caller, stale, "viewer")
    assert Membership.objects.get(pk=stale.pk).role == "owner"


def test_who_is_a_member_already_joins_with_no_other_role(
    alder: Api, make_member: MakeMember
) -> None:
    owner, jun = make_member(alder), make_member(alder, "viewer", "jun@example.com")
    EmailAddress.objects.create(user=jun.user, email="second@example.com", verified=True)
    link = invited(alder, owner, "second@example.com", "owner")
    refused = jun.send(link)
    assert refused.status_code == 403
    assert b"a member already" in refused.content
    assert Membership.objects.get(user=jun.user).role == "viewer"
    assert not AuditEvent.objects.filter(action="member.joined").exists()


def test_another_way_in_is_on_record(alder: Api) -> None:
    user = make_person("mina@example.com", PASSWORD)
    Membership.objects.create(tenant=alder.tenant, user=user, role="owner")
    client, other = Client(), Client()
    login = {"login": user.email, "password": PASSWORD}
    client.post("/account/login/", login)
    other.post("/account/login/", login)
    client.post("/account/reauthenticate/", {"password": PASSWORD})
    client.post("/account/email/", {"action_add": "", "email": "second@example.com"})
    [message] = [one for one in mails() if one.to == ["second@example.com"]]
    client.post("/account/confirm-email/", {"code": code_in(message)})
    second = EmailAddress.objects.get(user=user, email="second@example.com", verified=True)
    Client().post("/account/login/", {"login": second.email, "password": "wrong password"})
    assert other.get("/").status_code == 200
    client.post("/account/sessions/")
    assert other.get("/members").status_code == 302
    actions = AuditEvent.objects.for_tenant(alder.tenant).values_list("action", flat=True)
    assert {"email.added", "login.failed", "sessions.ended"} <= set(actions)


def test_a_form_without_an_end_is_a_refusal(alder: Api, make_member: MakeMember) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies = make_member(alder).client.cookies
    token = re.search(
        r'csrfmiddlewaretoken" value="(\w+)"', client.get("/members").content.decode()
    )
    assert token
    for kind, headers, status in (
        ("multipart/form-data", {}, 403),
        ("multipart/form-data; boundary=ü", {}, 403),
        ("multipart/form-data; boundary=x", {"X-CSRFToken": token.group(1)}, 415),
    ):
        reply = client.generic("POST", "/v1/keys", b"--x--", content_type=kind, headers=headers)
        assert reply.status_code == status, kind
