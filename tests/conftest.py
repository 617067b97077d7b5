"""Two tenants, Alder and Birch, and what most tests need of them."""

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import soundfile
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate
from django.test import Client
from django.utils import timezone
from whitenoise.middleware import WhiteNoiseMiddleware

from accounts.impersonation import start_impersonation
from accounts.keys import issue_key
from accounts.known_keys import known_keys
from accounts.models import ApiKey, Membership, Operator, Tenant, User
from accounts.row_security import APP_ROLE
from accounts.tenancy import is_bound
from billing.list_prices import make_list_prices
from billing.models import Price
from speakers.models import Speaker
from synthesis import rendering
from synthesis.backlog import last_seen
from synthesis.models import Job
from voicereel_site.log_context import begin_log_context


@dataclass
class Api:
    """A customer: a tenant, its key, and HTTP with it.

    Whatever is refused must be a problem document: _refusals_are_problems asserts it for every test.
    """

    tenant: Tenant
    key: ApiKey
    secret: str

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.secret}", **kwargs.pop("headers", {})}
        return Client().generic(method, path, headers=headers, **kwargs)

    def get(self, path: str, **headers: str) -> Any:
        return self.request("GET", path, headers=headers)

    def delete(self, path: str) -> Any:
        return self.request("DELETE", path)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self._send("POST", path, body, headers)

    def put(self, path: str, body: Any) -> Any:
        return self._send("PUT", path, body, {})

    def patch(self, path: str, body: Any) -> Any:
        return self._send("PATCH", path, body, {})

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        return self.request(
            method, path, data=json.dumps(body), content_type="application/json", headers=headers
        )

    def register(self, audio: bytes | list[bytes], **fields: Any) -> Any:
        """POST /v1/speakers. ``headers`` may be among the fields."""
        headers = {"Authorization": f"Bearer {self.secret}", **fields.pop("headers", {})}
        recordings = audio if isinstance(audio, list) else [audio]
        form = {"name": "Anna", "language": "en", "consent": "true"} | fields
        form["audio"] = [
            SimpleUploadedFile(f"reference-{index}.wav", recording)
            for index, recording in enumerate(recordings)
        ]
        return Client().post("/v1/speakers", form, headers=headers)


@dataclass
class Browser:
    """A person who has logged in, and what their browser sends: a session instead of a key."""

    user: User
    client: Client

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        return self.client.generic(method, path, **kwargs)

    def get(self, path: str) -> Any:
        return self.client.get(path)

    def post(self, path: str, body: Any = None) -> Any:
        return self.client.post(path, json.dumps(body), content_type="application/json")

    def send(self, path: str, **fields: str) -> Any:
        """A form."""
        return self.client.post(path, fields)


PASSWORD = "correct horse battery staple"


def make_person(email: str, password: str | None = None) -> User:
    """A person with a verified address. A password takes a while to hash."""
    user = User.objects.create_user(email, password)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


def log_in(user: User, *, second_factor: bool = False) -> Browser:
    """A browser in which somebody has logged in, as allauth notes it."""
    browser = Browser(user, Client())
    browser.client.force_login(user)
    if second_factor:
        Authenticator.objects.get_or_create(user=user, type="totp", defaults={"data": {}})
        session = browser.client.session
        session["account_authentication_methods"] = [{"method": "mfa", "at": time.time()}]
        session["account_authentication_methods_user"] = user.pk
        session.save()
    return browser


@pytest.fixture
def make_member() -> Callable[..., Browser]:
    """A member of a tenant, logged in."""

    def make(api: Api, role: str = "owner", email: str = "") -> Browser:
        user = make_person(email or f"{role}@{api.tenant.name.lower()}.example")
        Membership.objects.create(tenant=api.tenant, user=user, role=role)
        return log_in(user)

    return make


@pytest.fixture
def operator(db: None) -> User:
    user = make_person("olga@voicereel.example")
    Operator.objects.create(user=user)
    return user


@pytest.fixture
def impersonate(operator: User) -> Callable[..., Browser]:
    """The operator in the place of a member."""

    def start(membership: Membership, *, may_write: bool = False, minutes: int = 30) -> Browser:
        browser = log_in(operator, second_factor=True)
        row = start_impersonation(
            operator,
            membership,
            reason="They cannot hear their job.",
            minutes=minutes,
            may_write=may_write,
        )
        session = browser.client.session
        session["impersonation"] = [row.tenant_id, row.pk]
        session.save()
        return browser

    return start


def _with_its_role(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Whoever acts for a tenant or for nobody has the app's role. These tests' own user is a superuser,
    who would see all rows.
    """
    if sql.split(maxsplit=1)[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "EXECUTE"):
        role = f"SET LOCAL ROLE {APP_ROLE if is_bound() else 'NONE'}"
        if context["cursor"].cursor.name:  # a server-side cursor takes one statement alone
            context["connection"].connection.cursor().execute(role)
        else:
            sql = f"{role}; {sql}"
    return execute(sql, params, many, context)


def _take_on_roles(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor == "postgresql" and _with_its_role not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _with_its_role)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Once the migrations have made the roles."""
    connection_created.connect(_take_on_roles)
    # Between tests with transactions all rows go, those that migrations made too.
    post_migrate.connect(_make_prices, sender=apps.get_app_config("billing"))
    with django_db_blocker.unblock():
        connection.close()
    if connection.vendor == "sqlite":
        _let_flushes_delete()


def _make_prices(**_: Any) -> None:
    if not Price.objects.exists():
        make_list_prices(Price)


def _let_flushes_delete() -> None:
    """Between tests with transactions Django deletes all rows, which triggers of tables that are only
    ever added to refuse. They are there again for the next test.
    """
    flush = type(connection.ops).sql_flush

    def sql_flush(ops: Any, *args: Any, **kwargs: Any) -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
        dropped = [f"DROP TRIGGER {name}" for name, _ in triggers]
        return [*dropped, *flush(ops, *args, **kwargs), *(sql for _, sql in triggers)]

    type(connection.ops).sql_flush = sql_flush


@pytest.fixture(scope="session", autouse=True)
def _look_for_static_files_once() -> Iterator[None]:
    """Each Client makes the middleware anew, which looks for every file of the console."""
    found: dict[str, Any] = {}
    look = WhiteNoiseMiddleware.add_files_from_finders

    def once(middleware: WhiteNoiseMiddleware) -> None:
        if not found:
            look(middleware)
            found.update(middleware.files)
        middleware.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", once)
        yield


def _api(name: str) -> Api:
    tenant = Tenant.objects.create(name=name)
    key, secret, _ = issue_key(tenant)
    return Api(tenant, key, secret)


@pytest.fixture
def alder(db: None) -> Api:
    return _api("Alder")


@pytest.fixture
def birch(db: None) -> Api:
    return _api("Birch")


@pytest.fixture
def make_speaker() -> Callable[..., Speaker]:
    """A speaker that is ready, with a voice of the tone engine."""

    def make(api: Api, name: str = "Anna", **fields: Any) -> Speaker:
        defaults = {
            "language": "en",
            "status": Speaker.Status.READY,
            "reference_ms": 35_000,
            "voice_engine": "tone",
            "voice_mode": "nearest_preset",
            "voice_data": {"pitch_hz": 220, "level": 0.5},
            "consent_at": timezone.now(),
            "consent_key_id": api.key.pk,
            "consent_version": "2026-11",
        }
        return Speaker.objects.create(tenant=api.tenant, name=name, **defaults | fields)

    return make


@pytest.fixture
def submit(make_speaker: Callable[..., Speaker]) -> Callable[..., dict[str, Any]]:
    """POST a script of texts, all spoken by one new speaker. Returns the job's JSON."""

    def post(api: Api, *texts: str, **fields: Any) -> dict[str, Any]:
        speaker = make_speaker(api)
        script = [{"speaker_id": speaker.pk, "text": text} for text in texts or ("Hello there.",)]
        reply = api.post("/v1/synthesize", {"script": script, **fields})
        assert reply.status_code == 202, reply.json()
        job: dict[str, Any] = reply.json()
        return job

    return post


@pytest.fixture
def render() -> Callable[[str], None]:
    """Do a worker's part of a job, in this process."""

    def run(job_id: str) -> None:
        job = rendering.claim_job(Job.objects.get(pk=job_id).tenant_id, job_id)
        assert job is not None
        rendering.render(job)

    return run


@pytest.fixture
def recording() -> Callable[..., bytes]:
    """A WAV file of noise that swells and fades about four times a second."""

    def make(seconds: float = 35.0, sample_rate: int = 16_000, **options: Any) -> bytes:
        t = np.arange(round(seconds * sample_rate)) / sample_rate
        noise = np.random.default_rng(0).standard_normal(len(t))
        sound = 0.1 * noise * (1 + np.sin(2 * np.pi * 4 * t))
        buffer = io.BytesIO()
        soundfile.write(buffer, sound, sample_rate, format=options.pop("format", "WAV"), **options)
        return buffer.getvalue()

    return make


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """Each test has tenants and a database of its own."""
    known_keys.clear()
    last_seen.forget()


@pytest.fixture(autouse=True)
def _hash_fast(settings: Any) -> None:
    """Passwords take a fifth of a second each as the product hashes them."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _refusals_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer to every request of every test: what is refused is a problem document."""
    send = Client.request

    def request(client: Client, **environ: Any) -> Any:
        reply: Any = send(client, **environ)
        # Pages for people are refused as pages.
        is_page = reply.get("Content-Type", "").startswith("text/html")
        if is_page and not environ["PATH_INFO"].startswith("/v1/"):
            return reply
        if reply.status_code >= 400:
            assert reply["Content-Type"] == "application/problem+json", reply.content
            if environ["REQUEST_METHOD"] != "HEAD":
                body = reply.json()
                assert body["status"] == reply.status_code
                assert body["code"]
                assert body["detail"]
                assert body["request_id"] == reply["X-Request-ID"]
        return reply

    monkeypatch.setattr(Client, "request", request)


@pytest.fixture(autouse=True)
def _no_stray_contextvars() -> Iterator[None]:
    yield
    begin_log_context({})
