"""No tenant sees or touches what is another's: asked of every route there is."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.core import signing
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import (
    ApiKey,
    OutboxMessage,
    TenantOwned,
    WebhookDelivery,
    WebhookEndpoint,
)
from speakers.models import Speaker
from synthesis.models import Job, Pronunciation
from synthesis.storage import link_path
from tests.accounts.disk import files_below
from tests.conftest import Api

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")

# What Birch's key gets when it asks a route with Alder's ids; methods not named get 405.
# OPTIONS describes a route and looks at no row.
ROUTES: dict[str, dict[str, int]] = {
    "healthz": {"GET": 200, "HEAD": 200},
    "readyz": {"GET": 200, "HEAD": 200},
    "docs": {"GET": 200, "HEAD": 200},
    "docs/redoc.js": {"GET": 200, "HEAD": 200},
    "v1/openapi.json": {"GET": 200, "HEAD": 200, "OPTIONS": 200},
    "v1/speakers": {"GET": 200, "HEAD": 200, "OPTIONS": 200, "POST": 415},
    "v1/speakers/<str:speaker_id>": {
        "GET": 404,
        "HEAD": 404,
        "OPTIONS": 200,
        "PATCH": 404,
        "DELETE": 404,
    },
    "v1/synthesize": {"OPTIONS": 200, "POST": 422},
    "v1/jobs": {"GET": 200, "HEAD": 200, "OPTIONS": 200},
    "v1/jobs/<str:job_id>": {"GET": 404, "HEAD": 404, "OPTIONS": 200, "DELETE": 404},
    "v1/jobs/<str:job_id>/cancel": {"OPTIONS": 200, "POST": 404},
    "v1/jobs/<str:job_id>/retry": {"OPTIONS": 200, "POST": 404},
    "v1/pronunciations": {"GET": 200, "HEAD": 200, "OPTIONS": 200, "PUT": 422},
    "v1/keys": {"GET": 200, "HEAD": 200, "OPTIONS": 200, "POST": 422},
    "v1/keys/<str:key_id>": {"GET": 404, "HEAD": 404, "OPTIONS": 200},
    "v1/keys/<str:key_id>/revoke": {"OPTIONS": 200, "POST": 404},
    "v1/keys/<str:key_id>/rotate": {"OPTIONS": 200, "POST": 404},
    "v1/webhook-endpoints": {"GET": 200, "HEAD": 200, "OPTIONS": 200, "POST": 422},
    "v1/webhook-endpoints/<str:endpoint_id>": {
        "GET": 404,
        "HEAD": 404,
        "OPTIONS": 200,
        "PATCH": 404,
        "DELETE": 404,
    },
    "v1/webhook-endpoints/<str:endpoint_id>/rotate": {"OPTIONS": 200, "POST": 404},
    "v1/webhook-endpoints/<str:endpoint_id>/deliveries": {"GET": 404, "HEAD": 404, "OPTIONS": 200},
    "v1/webhook-deliveries/<str:delivery_id>/replay": {"OPTIONS": 200, "POST": 404},
    # A link needs no key, but nobody can make one.
    "v1/files/<str:token>/<str:filename>": {"GET": 403, "HEAD": 403},
}

LISTS = {"v1/speakers", "v1/jobs", "v1/keys", "v1/webhook-endpoints"}

Secrets = dict[str, list[str]]

NAME = "Zebulon Alderwood"
TEXT = "The heron of Alder sleeps at noon."
TITLE = "Secret pilot"


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            yield prefix + str(pattern.pattern)
        else:
            yield from routes(pattern, prefix + str(pattern.pattern))


def rows_of(api: Api) -> dict[str, list[dict[str, Any]]]:
    models = [model for model in apps.get_models() if issubclass(model, TenantOwned)]
    return {
        model.__name__: list(
            model._default_manager.filter(tenant=api.tenant).order_by("pk").values()
        )
        for model in models
    }


@pytest.fixture
def secrets(
    alder: Api, make_speaker: Callable[..., Speaker], render: Callable[[str], None]
) -> Secrets:
    """Alder's ids by the parameter of a route: a finished job and a waiting one.

    What has no id is there too: a pronunciation dictionary.
    """
    speaker = make_speaker(alder, NAME, metadata={"contract": "AX-77"})
    body = {"title": TITLE, "script": [{"speaker_id": speaker.pk, "text": TEXT}]}
    endpoint = WebhookEndpoint.objects.create(
        tenant=alder.tenant, url=f"https://{NAME.split()[0]}.example/", secret=b"sealed"
    )
    jobs = [alder.post("/v1/synthesize", body).json()["id"] for _ in range(2)]
    render(jobs[0])
    entry = {"language": "en", "written": "AX-77", "spoken": "the heron's contract"}
    assert alder.put("/v1/pronunciations", {"entries": [entry]}).status_code == 200
    return {
        "speaker_id": [speaker.pk],
        "job_id": jobs,
        "key_id": [alder.key.pk],
        "endpoint_id": [endpoint.pk],
        "delivery_id": [WebhookDelivery.objects.get().pk],
        "token": [jobs[0]],
        "filename": [f"{TITLE}.mp3"],
        "tenant": [alder.tenant.pk],
    }


def test_every_route_is_in_the_table_of_this_test() -> None:
    assert set(routes(get_resolver())) == set(ROUTES)


def cursor_of(row_id: str) -> str:
    return base64.urlsafe_b64encode(row_id.encode()).decode().rstrip("=")


def places(route: str, secrets: Secrets) -> Iterator[tuple[str, Any]]:
    """A route's paths with every id of Alder's in every place where an id can stand: in the path, as
    the cursor and the values of a query, and in what bodies of any route name.
    """
    paths = {"/" + route}
    for parameter, values in secrets.items():
        paths = {p.replace(f"<str:{parameter}>", value) for p in paths for value in values}
    ids = [value for name in secrets if name.endswith("_id") for value in secrets[name]]
    queries = [""]
    if route in LISTS:
        queries += [f"?cursor={cursor_of(value)}" for value in ids] + [f"?limit=100&id={ids[0]}"]
    bodies: list[Any] = [{"name": "Mine now"}]
    if "<" not in route:
        script = [{"speaker_id": value, "text": "Hello."} for value in ids]
        entry = {
            "language": "en",
            "written": ids[0],
            "spoken": "Hi.",
            "tenant": secrets["tenant"][0],
        }
        bodies = [
            *({"script": [line]} for line in script),
            {"script": script, "tenant_id": secrets["tenant"][0]},
            {"entries": [entry]},
            {"label": "Mine", "tenant": secrets["tenant"][0], "scopes": ids},
        ]
    for path in sorted(paths):
        for query in queries:
            for body in bodies:
                yield path + query, body


def leaks(route: str, alder: Api, birch: Api, secrets: Secrets) -> list[str]:
    """What Birch's key sees or changes of Alder's through a route, or is answered out of turn."""
    hidden = [NAME, NAME.split()[0], TEXT, TITLE, "AX-77", "heron", alder.tenant.pk, alder.key.pk]
    hidden += [value for name in secrets if name.endswith("_id") for value in secrets[name]]
    before = rows_of(alder), files_below(f"t/{alder.tenant.pk}"), OutboxMessage.objects.count()
    found = []
    for path, body in places(route, secrets):
        sent = json.dumps(body)
        for method in METHODS:
            reply = Client().generic(
                method,
                path,
                data=sent,
                content_type="application/json",
                headers={"Authorization": f"Bearer {birch.secret}"},
            )
            answer = reply.content.decode()
            expected = ROUTES[route].get(method, 405)
            if "?limit" in path and expected == 200 and method != "OPTIONS":
                expected = 422  # an unknown parameter
            if reply.status_code != expected:
                found.append(f"{method} {path}: {reply.status_code}, not {expected}: {answer}")
            # What was sent may be quoted.
            seen = [word for word in hidden if word in answer and word not in sent + path]
            if seen:
                found.append(f"{method} {path} shows {seen}")
    after = rows_of(alder), files_below(f"t/{alder.tenant.pk}"), OutboxMessage.objects.count()
    if after != before:
        found.append(f"{route} changed rows or files of Alder's")
    return found


@pytest.mark.parametrize("route", ROUTES)
def test_another_tenants_ids_find_and_change_nothing(
    alder: Api, birch: Api, secrets: Secrets, route: str
) -> None:
    assert leaks(route, alder, birch, secrets) == []


@pytest.mark.parametrize(
    ("model", "route"),
    [
        (Job, "v1/jobs"),
        (Job, "v1/jobs/<str:job_id>"),
        (Job, "v1/jobs/<str:job_id>/cancel"),
        (Speaker, "v1/speakers"),
        (Speaker, "v1/speakers/<str:speaker_id>"),
        (Speaker, "v1/synthesize"),
        (Pronunciation, "v1/pronunciations"),
        (WebhookEndpoint, "v1/webhook-endpoints"),
        (WebhookDelivery, "v1/webhook-deliveries/<str:delivery_id>/replay"),
        (ApiKey, "v1/keys"),
        (ApiKey, "v1/keys/<str:key_id>/rotate"),
    ],
)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL stands in its way")
def test_one_query_without_its_tenant_would_be_found(
    alder: Api,
    birch: Api,
    secrets: Secrets,
    monkeypatch: pytest.MonkeyPatch,
    model: type[TenantOwned],
    route: str,
) -> None:
    monkeypatch.setattr(type(model.objects.all()), "for_tenant", lambda rows, tenant: rows.all())
    assert leaks(route, alder, birch, secrets)


def test_a_link_of_another_tenant_opens_its_own_file_alone(
    alder: Api, birch: Api, secrets: Secrets
) -> None:
    """A link is a permission for whoever has it; for another job or tenant none can be made of it."""
    url = alder.get(f"/v1/jobs/{secrets['job_id'][0]}").json()["audio"]["url"]
    path = url.split("testserver")[1]
    assert birch.get(path).status_code == 200
    token, name = path.split("/")[-2:]
    payload, signature = token.rsplit(":", 1)
    fields = signing.b64_decode(payload.encode())
    assert alder.tenant.pk.encode() in fields
    forged = signing.b64_encode(fields.replace(alder.tenant.pk.encode(), birch.tenant.pk.encode()))
    assert birch.get(f"/v1/files/{forged.decode()}:{signature}/{name}").status_code == 403
    # Signed over another tenant than the job's, were it ever so, it still opens nothing.
    job = Job.objects.get(pk=secrets["job_id"][0])
    job.tenant = birch.tenant
    assert birch.get(link_path(job, "audio", int(time.time()) + 60)).status_code == 404


def test_a_script_with_another_tenants_speaker_is_refused_as_if_it_did_not_exist(
    birch: Api, secrets: Secrets
) -> None:
    foreign, invented = secrets["speaker_id"][0], "spk_" + "0" * 26
    replies = [
        birch.post("/v1/synthesize", {"script": [{"speaker_id": name, "text": "Hello."}]})
        for name in (foreign, invented)
    ]
    assert [reply.status_code for reply in replies] == [422, 422]
    shown = [reply.json() for reply in replies]
    assert shown[0]["code"] == "speaker_not_found"
    assert shown[0]["errors"][0]["pointer"] == "/script/0/speaker_id"
    assert shown[0]["errors"][0]["line_id"] == "1"
    assert NAME not in replies[0].content.decode()
    del shown[0]["request_id"], shown[1]["request_id"]
    assert json.loads(json.dumps(shown[0]).replace(foreign, invented)) == shown[1]
    assert not rows_of(birch)["Job"]


@pytest.mark.parametrize("kind", ["job_id", "speaker_id"])
def test_a_cursor_made_of_another_tenants_id_lists_nothing_of_theirs(
    alder: Api,
    birch: Api,
    submit: Callable[..., Any],
    secrets: Secrets,
    kind: str,
) -> None:
    submit(birch)
    path = "/v1/jobs" if kind == "job_id" else "/v1/speakers"
    own = {row["id"] for row in birch.get(path).json()["data"]}
    assert len(own) == 1
    assert not own & set(secrets[kind])
    for last in (secrets[kind][-1], secrets[kind][-1][:4] + "z" * 26):
        cursor = base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")
        reply = birch.get(f"{path}?cursor={cursor}")
        assert reply.status_code == 200
        assert {row["id"] for row in reply.json()["data"]} <= own
        assert NAME not in reply.content.decode()


def test_lists_hold_the_own_tenants_rows_alone(alder: Api, birch: Api, secrets: Secrets) -> None:
    assert {row["id"] for row in alder.get("/v1/jobs").json()["data"]} == set(secrets["job_id"])
    assert [row["name"] for row in alder.get("/v1/speakers").json()["data"]] == [NAME]
    for path in ("/v1/jobs", "/v1/speakers"):
        assert birch.get(path).json() == {"data": [], "next_cursor": None}
