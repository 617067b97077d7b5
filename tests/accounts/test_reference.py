"""What describes the API."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from django.conf import settings
from django.test import Client

from accounts.plans import Plan
from accounts.serializers import CreateKeyRequest, RotateKeyRequest
from billing.serializers import UpdateBillingRequest
from speakers.serializers import UpdateSpeakerRequest
from synthesis.serializers import ReplacePronunciationsRequest, SynthesizeRequest
from voicereel_site.examples import EXAMPLES
from voicereel_site.guides import GUIDES, guide
from voicereel_site.problems import PROBLEMS
from voicereel_site.shapes import StrictSerializer


def test_the_openapi_document_is_served_without_a_key() -> None:
    reply = Client().get("/v1/openapi.json")
    assert reply.status_code == 200
    assert reply["Content-Type"] == "application/json"
    written = (settings.BASE_DIR / "templates/docs/openapi.json").read_text()
    assert reply.json() == json.loads(written)
    assert "/v1/keys/{key_id}/rotate" in reply.json()["paths"]


def test_who_has_the_document_already_is_told_so() -> None:
    etag = Client().get("/v1/openapi.json")["ETag"]
    assert Client().get("/v1/openapi.json", headers={"If-None-Match": etag}).status_code == 304
    assert Client().get("/v1/openapi.json", headers={"If-None-Match": '"x"'}).status_code == 200


def test_the_catalogue_of_problems_has_every_code_and_no_other() -> None:
    """Codes are written where they are raised: as the first argument of a Refusal and the like."""
    raised = set()
    for app in ("accounts", "billing", "speakers", "synthesis", "voicereel_site"):
        for path in (settings.BASE_DIR / app).rglob("*.py"):
            if path.name in {"problems.py", "examples.py"}:
                continue
            for text in re.findall(r'"([a-z]+(?:_[a-z]+)+)"', path.read_text()):
                if text in PROBLEMS:
                    raised.add(text)
            calls = r'(?:Refusal|Rejected|_Failure|refused|fail_job)\(\s*(?:job,\s*)?"([a-z_]+)"'
            assert set(re.findall(calls, path.read_text())) <= set(PROBLEMS), path
    assert raised == set(PROBLEMS)


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    document = Client().get("/v1/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_operation_has_examples_and_its_refusals() -> None:
    for name, operation in operations():
        contents = [
            *operation.get("requestBody", {}).get("content", {}).items(),
            *(
                pair
                for status, response in operation["responses"].items()
                for pair in response.get("content", {}).items()
            ),
        ]
        media_types = {media_type for media_type, _ in contents}
        # A body may be sent as JSON or as a form; what is printed or calculated with comes as a file.
        files = {"application/pdf", "text/csv"}
        assert media_types <= {"application/json", "multipart/form-data"} | files, name
        assert all(content.get("examples") for kind, content in contents if kind not in files), name
        assert operation["summary"], name
        assert {"401", "403", "429", "503", "default"} <= set(operation["responses"]), name
        assert ("404" in operation["responses"]) == ("{" in name), name
        assert ("422" in operation["responses"]) or name.startswith(("GET", "DELETE")), name


def test_examples_are_what_the_document_describes() -> None:
    document = Client().get("/v1/openapi.json").json()
    responses = [("a refusal", one) for one in document["components"]["responses"].values()]
    for name, operation in operations():
        responses += [(name, one) for one in operation["responses"].values()]
        responses.append((name, operation.get("requestBody", {})))
    examples = [
        (name, content["schema"], example["value"])
        for name, response in responses
        for content in response.get("content", {}).values()
        for example in content.get("examples", {}).values()
    ]
    assert len(examples) > 40
    for name, schema, value in examples:
        whole = schema | {"components": document["components"]}
        validator = jsonschema_rs.validator_for(whole, validate_formats=True)
        assert [error.message for error in validator.iter_errors(value)] == [], name


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("SynthesizeRequest", SynthesizeRequest),
        ("ReplacePronunciationsRequest", ReplacePronunciationsRequest),
        ("CreateKeyRequest", CreateKeyRequest),
        ("RotateKeyRequest", RotateKeyRequest),
        ("UpdateSpeakerRequest", UpdateSpeakerRequest),
        ("UpdateBillingRequest", UpdateBillingRequest),
    ],
)
def test_examples_of_requests_are_accepted(name: str, shape: type[StrictSerializer]) -> None:
    assert shape(data=EXAMPLES[name]).is_valid(raise_exception=True)


def test_the_guides_are_in_the_document_with_every_code_and_plan() -> None:
    text = Client().get("/v1/openapi.json").json()["info"]["description"]
    for heading in (
        "Getting started",
        "Captions",
        "Errors",
        "Limits",
        "Webhooks",
        "Signed requests",
    ):
        assert f"# {heading}\n" in text
    for word in [*PROBLEMS, *Plan.values]:
        assert word in text
    assert "{" + "codes" + "}" not in text


def test_each_operation_has_a_place_in_the_reference() -> None:
    document = Client().get("/v1/openapi.json").json()
    for tag in document["tags"]:
        page = Client().get(f"/docs/reference/{tag['name']}").content.decode()
        for name, operation in operations():
            if tag["name"] in operation["tags"]:
                assert f'id="{operation["operationId"]}"' in page, name
                assert name.split()[1] in page
    assert Client().get("/docs/reference/nothing").status_code == 404


def test_fields_of_bodies_are_named_with_what_they_are_in() -> None:
    page = Client().get("/docs/reference/synthesize").content.decode()
    assert "<code>script[].speaker_id</code> *" in page
    assert "<code>output.format</code>" in page
    assert "one of wav, flac, mp3, opus, m4a" in page


@pytest.mark.parametrize("language", ["en", "ko"])
def test_each_guide_is_a_page_in_each_language(language: str) -> None:
    for name in GUIDES:
        page = Client().get(f"/docs/{name}", headers={"Accept-Language": language})
        assert page.status_code == 200
        text = page.content.decode()
        assert f'<html lang="{language}"' in text
        assert text.count("<h1") == 1
        assert ("습니다" in text) == (language == "ko"), name
        assert not re.search(r"\{(codes|plans|prices|problem|roles)\}", text)


def test_guides_in_korean_have_the_headings_that_they_have_in_english() -> None:
    for name in GUIDES:
        english, korean = guide(name, "en"), guide(name, "ko")
        assert len(english.sections) == len(korean.sections), name


def test_the_documentation_is_searched_by_all_of_the_words() -> None:
    found = Client().get("/docs", {"q": "idempotency key"}).content.decode()
    assert "/docs/limits#" in found or "/docs/errors#" in found or "/docs/start#" in found
    assert "POST" in Client().get("/docs", {"q": "synthesize"}).content.decode()
    nothing = Client().get("/docs", {"q": "zebra umbrella"}).content.decode()
    assert '<li><a href="/docs/' not in nothing.split("<article>")[1]
    hostile = Client().get("/docs", {"q": "<script>alert(1)</script>"}).content.decode()
    assert "<script>alert" not in hostile
