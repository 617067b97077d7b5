"""What strangers try at the door."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core import mail
from django.core.cache import cache
from django.test import Client, override_settings

from accounts.models import AuditEvent, Membership, OutboxMessage, User
from accounts.outbox import relay
from tests.conftest import PASSWORD, Api, Browser, make_person

LOGIN = "/account/login/"


@pytest.fixture(autouse=True)
def _nobody_tried_before() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def mina(db: None) -> User:
    return make_person("mina@example.com", PASSWORD)


def attempt(email: str, password: str, client: Client | None = None, **extra: Any) -> Any:
    form = {"login": email, "password": password}
    return (client or Client()).post(LOGIN, form, **extra)


def test_an_address_is_guessed_at_five_times_and_no_more(mina: User) -> None:
    for _ in range(5):
        assert b"not correct" in attempt(mina.email, "wrong password").content
    refused = attempt(mina.email, PASSWORD)
    assert refused.status_code == 200
    assert b"Too many failed login attempts" in refused.content
    # Others are not kept out.
    other = make_person("jun@example.com", PASSWORD)
    assert attempt(other.email, PASSWORD).status_code == 302


def test_one_machine_guesses_at_many_addresses_ten_times_a_minute(mina: User) -> None:
    for number in range(10):
        assert b"not correct" in attempt(f"a{number}@example.com", "wrong password").content
    assert b"Too many failed login attempts" in attempt(mina.email, PASSWORD).content
    assert attempt(mina.email, PASSWORD, REMOTE_ADDR="203.0.113.9").status_code == 302


def test_a_forged_address_buys_no_further_attempt(mina: User) -> None:
    """X-Forwarded-For counts as far as our own proxies wrote it."""
    for number in range(10):
        attempt(f"a{number}@example.com", "no", HTTP_X_FORWARDED_FOR=f"198.51.100.{number}")
    refused = attempt(mina.email, PASSWORD, HTTP_X_FORWARDED_FOR="198.51.100.77")
    assert b"Too many failed login attempts" in refused.content


@override_settings(TRUSTED_PROXIES=1)
def test_behind_a_proxy_what_it_wrote_counts(mina: User) -> None:
    for number in range(10):
        forged = f"198.51.100.{number}, 203.0.113.5"
        attempt(f"a{number}@example.com", "no", HTTP_X_FORWARDED_FOR=forged)
    forged = "198.51.100.77, 203.0.113.5"
    assert b"Too many" in attempt(mina.email, PASSWORD, HTTP_X_FORWARDED_FOR=forged).content
    there = "198.51.100.77, 203.0.113.6"
    assert attempt(mina.email, PASSWORD, HTTP_X_FORWARDED_FOR=there).status_code == 302


def test_codes_are_guessed_at_a_few_times_and_no_more(mina: User) -> None:
    client = Client()
    client.post("/account/password/reset/", {"email": mina.email})
    confirm = "/account/password/reset/confirm/"
    replies = [client.post(confirm, {"code": f"AAAA-{n:04}"}) for n in range(4)]
    assert [reply.status_code for reply in replies] == [200, 200, 302, 302]
    # From then on the true one opens nothing either.
    code = OutboxMessage.objects.get(kind="mail").payload["text"].split()
    true = next(word for word in code if re.fullmatch(r"[A-Z0-9]{4}-[A-Z0-9]{4}", word))
    assert client.post(confirm, {"code": true})["Location"] == LOGIN


def test_a_session_that_somebody_planted_is_not_the_one_that_logs_in(mina: User) -> None:
    client = Client()
    client.get(f"{LOGIN}?next=/members")
    session = client.session
    session["planted"] = True
    session.save()
    planted = session.session_key
    client.cookies[settings.SESSION_COOKIE_NAME] = planted
    assert attempt(mina.email, PASSWORD, client).status_code == 302
    now = client.cookies[settings.SESSION_COOKIE_NAME].value
    assert now != planted
    thief = Client()
    thief.cookies[settings.SESSION_COOKIE_NAME] = planted
    assert thief.get("/members")["Location"].startswith(LOGIN)
    # And logging out ends it at the server, whoever has copied it.
    client.post("/account/logout/")
    thief.cookies[settings.SESSION_COOKIE_NAME] = now
    assert thief.get("/members")["Location"].startswith(LOGIN)


def test_the_cookies_are_for_this_site_and_no_script(mina: User) -> None:
    client = Client()
    client.get(LOGIN)
    attempt(mina.email, PASSWORD, client)
    for name in (settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME):
        cookie = client.cookies[name]
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/keys", "{}"),
        ("PUT", "/v1/pronunciations", '{"entries": []}'),
        ("DELETE", "/v1/jobs/job_1", ""),
        ("POST", "/v1/erasures", '{"confirm": "ten_1"}'),
        ("POST", "/members/invite", "email=eve@example.com&role=owner"),
        ("POST", "/switch", "tenant=ten_1"),
        ("POST", LOGIN, "login=a&password=b"),
        ("POST", "/account/logout/", ""),
    ],
)
def test_another_sites_form_is_refused(
    alder: Api, make_member: Callable[..., Browser], method: str, path: str, body: str
) -> None:
    member = make_member(alder)
    client = Client(enforce_csrf_checks=True)
    client.cookies = member.client.cookies
    kind = "application/json" if path.startswith("/v1/") else "application/x-www-form-urlencoded"
    before = AuditEvent.objects.count()
    reply = client.generic(method, path, body, content_type=kind)
    assert reply.status_code == 403
    if path.startswith("/v1/"):
        assert reply.json()["code"] == "insufficient_scope"
        assert "X-CSRFToken" in reply.json()["detail"]
    else:
        assert b"This form could not be accepted" in reply.content
    assert AuditEvent.objects.count() == before


def test_a_page_of_ours_has_what_its_form_needs(
    alder: Api, make_member: Callable[..., Browser]
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies = make_member(alder).client.cookies
    page = client.get("/members").content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert token
    # Reading needs none; writing by script sends it along.
    assert client.get("/v1/keys").status_code == 200
    made = client.post(
        "/v1/keys", "{}", content_type="application/json", headers={"X-CSRFToken": token.group(1)}
    )
    assert made.status_code == 201
    # A key is no cookie: no other site can have a browser send it.
    keyed = Client(enforce_csrf_checks=True).post(
        "/v1/keys",
        "{}",
        content_type="application/json",
        headers={"Authorization": f"Bearer {alder.secret}"},
    )
    assert keyed.status_code == 201


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "http:evil.example",
        "javascript:alert(1)",
        "/%09/evil.example",
        "\t//evil.example",
        "https:///evil.example",
        "http://testserver@evil.example/",
        "http://testserver/members",
        "/members\r\nSet-Cookie: a=b",
    ],
)
def test_after_logging_in_nobody_is_sent_elsewhere(mina: User, target: str) -> None:
    client = Client()
    form = {"login": mina.email, "password": PASSWORD, "next": target}
    out = Client().post("/account/logout/", {"next": target})
    for reply in (client.post(LOGIN, form), client.get(LOGIN, {"next": target}), out):
        assert reply.status_code == 302
        assert "Set-Cookie: a" not in str(reply.headers)
        place = reply["Location"]
        assert place.startswith("/"), place
        assert not place.startswith(("//", "/\\")), place
        assert "evil.example" not in place or place.startswith("/%09/"), place


def test_after_logging_in_one_comes_back(mina: User) -> None:
    form = {"login": mina.email, "password": PASSWORD, "next": "/members?x=1"}
    assert Client().post(LOGIN, form)["Location"] == "/members?x=1"


@pytest.mark.parametrize(
    "address",
    [
        "mina@example.com\nBcc: everybody@example.com",
        "mina@example.com\r\nSubject: bought",
        "mina@example.com%0aBcc:eve@example.com",
        "mina@example.com, eve@example.com",
        "<mina@example.com>",
        "Mina <mina@example.com>",
    ],
)
@pytest.mark.django_db
def test_an_address_is_one_address(
    alder: Api, make_member: Callable[..., Browser], address: str
) -> None:
    owner = make_member(alder)
    Client().post("/account/signup/", {"email": address, "password1": PASSWORD})
    Client().post("/account/password/reset/", {"email": address})
    assert owner.post("/v1/invitations", {"email": address, "role": "viewer"}).status_code == 422
    assert not OutboxMessage.objects.filter(kind="mail").exists()


def test_a_name_with_line_breaks_adds_no_header(
    alder: Api, make_member: Callable[..., Browser]
) -> None:
    alder.tenant.name = "Alder\nBcc: everybody@example.com\n\nBuy"  # as an operator's command may
    alder.tenant.save()
    owner = make_member(alder, email="owner@example.com")
    assert (
        owner.post("/v1/invitations", {"email": "jun@example.com", "role": "viewer"}).status_code
        == 201
    )
    mail.outbox.clear()
    relay()
    [message] = mail.outbox
    assert message.subject == "VoiceReel: owner@example.com invites you to Alder"
    sent = message.message()
    assert sent["Bcc"] is None
    assert message.recipients() == ["jun@example.com"]


def shown(reply: Any) -> tuple[int, str, str]:
    """A reply without what differs between any two."""
    text = re.sub(r'value="\w{64}"', "", reply.content.decode())
    text = re.sub(r"[a-z]+@example\.com", "ADDRESS", text)
    return reply.status_code, reply.get("Location", ""), text


def test_nobody_learns_whose_address_is_known(mina: User) -> None:
    """By a wrong password, a sign-up, or a reset: what is seen is the same, and mail tells the owner."""
    for ask in (
        lambda email: attempt(email, "wrong password"),
        lambda email: Client().post("/account/signup/", {"email": email, "password1": PASSWORD}),
        lambda email: Client().post("/account/password/reset/", {"email": email}),
    ):
        known, unknown = ask(mina.email), ask("eve@example.com")
        assert shown(known) == shown(unknown)
    mail.outbox.clear()
    while relay():
        pass
    to = [message.to[0] for message in mail.outbox]
    assert to.count("mina@example.com") == to.count("eve@example.com") == 2
    # One account each at most, and the password of the known one stands.
    assert User.objects.filter(email="mina@example.com").count() == 1
    mina.refresh_from_db()
    assert mina.check_password(PASSWORD)


@override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"])
def test_an_unknown_address_takes_as_long_as_a_wrong_password(mina: User) -> None:
    """Both hash a password once; without that the unknown would be answered fifty times faster."""
    mina.set_password(PASSWORD)
    mina.save()

    def seconds(email: str) -> float:
        started = time.perf_counter()
        attempt(email, "wrong password", REMOTE_ADDR=f"203.0.113.{len(times)}")
        return time.perf_counter() - started

    times: list[float] = []
    for email in ("eve@example.com", mina.email) * 3:
        times.append(seconds(email))
    assert min(times[0::2]) > min(times[1::2]) / 4


def test_log_ins_and_failures_are_on_record(alder: Api, birch: Api, mina: User) -> None:
    Membership.objects.create(tenant=alder.tenant, user=mina, role="viewer")
    attempt(mina.email, "wrong password", REMOTE_ADDR="203.0.113.7")
    client = Client()
    attempt(mina.email, PASSWORD, client, REMOTE_ADDR="203.0.113.8")
    client.post("/account/logout/")
    [out, came, failed] = alder.get("/v1/audit-events").json()["data"]
    assert [event["action"] for event in (failed, came, out)] == [
        "login.failed",
        "login.succeeded",
        "logout",
    ]
    # A failure is nobody's but for the address that was tried.
    assert failed["actor"] == {
        "kind": "system",
        "id": None,
        "name": None,
        "in_place_of": None,
        "address": "203.0.113.7",
    }
    assert came["actor"]["name"] == failed["target"] == mina.email
    assert came["actor"]["address"] == "203.0.113.8"
    assert birch.get("/v1/audit-events").json()["data"] == []
