"""No tenant sees or touches what is another's: asked of every route there is."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import OutboxMessage, TenantOwned
from speakers.models import Speaker
from tests.accounts.disk import files_below
from tests.conftest import Api

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")

# What Birch's key gets when it asks a route with Alder's ids; methods not named get 405.
# OPTIONS describes a route and looks at no row.
ROUTES: dict[str, dict[str, int]] = {
    "healthz": {"GET": 200, "HEAD": 200},
    "readyz": {"GET": 200, "HEAD": 200},
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
    "v1/keys/<str:key_id>": {"GET": 404, "HEAD": 404, "OPTIONS": 200, "DELETE": 404},
    "v1/keys/<str:key_id>/rotate": {"OPTIONS": 200, "POST": 404},
    # A link needs no key, but nobody can make one.
    "v1/files/<str:token>/<str:filename>": {"GET": 403, "HEAD": 403},
}

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
) -> dict[str, list[str]]:
    """Alder's ids by the parameter of a route: a finished job and a waiting one.

    What has no id is there too: a pronunciation dictionary.
    """
    speaker = make_speaker(alder, NAME, metadata={"contract": "AX-77"})
    body = {"title": TITLE, "script": [{"speaker_id": speaker.pk, "text": TEXT}]}
    jobs = [alder.post("/v1/synthesize", body).json()["id"] for _ in range(2)]
    render(jobs[0])
    entry = {"language": "en", "written": "AX-77", "spoken": "the heron's contract"}
    assert alder.put("/v1/pronunciations", {"entries": [entry]}).status_code == 200
    return {
        "speaker_id": [speaker.pk],
        "job_id": jobs,
        "key_id": [alder.key.pk],
        "token": [jobs[0]],
        "filename": [f"{TITLE}.mp3"],
    }


def test_every_route_is_in_the_table_of_this_test() -> None:
    assert set(routes(get_resolver())) == set(ROUTES)


@pytest.mark.parametrize("route", ROUTES)
def test_another_tenants_ids_find_and_change_nothing(
    alder: Api, birch: Api, secrets: dict[str, list[str]], route: str
) -> None:
    paths = ["/" + route]
    for parameter, values in secrets.items():
        paths = [p.replace(f"<str:{parameter}>", value) for p in paths for value in values]
    paths = sorted(set(paths))
    speaker_id, job_id = secrets["speaker_id"][0], secrets["job_id"][0]
    body: dict[str, Any] = {"script": [{"speaker_id": speaker_id, "text": "Hello."}]}
    if "<" in route:
        body = {"name": "Mine now"}
    hidden = [NAME, TEXT, TITLE, "AX-77", "heron", alder.tenant.pk, alder.key.pk, job_id]
    before = rows_of(alder), files_below(f"t/{alder.tenant.pk}"), OutboxMessage.objects.count()
    for path in paths:
        for method in METHODS:
            reply = Client().generic(
                method,
                path,
                data=json.dumps(body),
                content_type="application/json",
                headers={"Authorization": f"Bearer {birch.secret}"},
            )
            answer = reply.content.decode()
            assert reply.status_code == ROUTES[route].get(method, 405), (method, path, answer)
            assert not [word for word in hidden if word in answer]
    after = rows_of(alder), files_below(f"t/{alder.tenant.pk}"), OutboxMessage.objects.count()
    assert after == before


def test_a_script_with_another_tenants_speaker_is_refused_as_if_it_did_not_exist(
    birch: Api, secrets: dict[str, list[str]]
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
    secrets: dict[str, list[str]],
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


def test_lists_hold_the_own_tenants_rows_alone(
    alder: Api, birch: Api, secrets: dict[str, list[str]]
) -> None:
    assert {row["id"] for row in alder.get("/v1/jobs").json()["data"]} == set(secrets["job_id"])
    assert [row["name"] for row in alder.get("/v1/speakers").json()["data"]] == [NAME]
    for path in ("/v1/jobs", "/v1/speakers"):
        assert birch.get(path).json() == {"data": [], "next_cursor": None}
