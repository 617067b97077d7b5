"""Two tenants, Alder and Birch, and what most tests need of them."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import soundfile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.test import Client
from django.utils import timezone

from accounts.keys import issue_key
from accounts.models import ApiKey, Tenant
from accounts.row_security import APP_ROLE
from accounts.tenancy import is_bound
from speakers.models import Speaker
from synthesis import rendering
from synthesis.models import Job


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


def _with_its_role(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Whoever acts for a tenant or for nobody has the app's role. These tests' own user is a superuser,
    who would see all rows.
    """
    if sql.split(maxsplit=1)[0] in ("SELECT", "INSERT", "UPDATE", "DELETE"):
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
    with django_db_blocker.unblock():
        connection.close()


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
def _refusals_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer to every request of every test: what is refused is a problem document."""
    send = Client.request

    def request(client: Client, **environ: Any) -> Any:
        reply: Any = send(client, **environ)
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
    import structlog

    yield
    structlog.contextvars.clear_contextvars()
