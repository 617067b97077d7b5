"""What describes the API."""

import json

from django.conf import settings
from django.test import Client


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
