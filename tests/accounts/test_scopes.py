"""Every route of the API asks for a scope, and a key without it gets nowhere."""

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView

from accounts.keys import issue_key
from accounts.scopes import Scope, beyond
from tests.conftest import Api
from voicereel_site.reference import OpenApiView

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def views(resolver: URLResolver, prefix: str = "/") -> Iterator[tuple[str, type[APIView]]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from views(pattern, prefix + str(pattern.pattern))
        elif isinstance(pattern, URLPattern) and hasattr(pattern.callback, "view_class"):
            yield prefix + str(pattern.pattern), pattern.callback.view_class


ROUTES = [
    (method, path, view.scopes[method])
    for path, view in views(get_resolver())
    for method in METHODS
    if hasattr(view, method.lower()) and view is not OpenApiView  # which anybody may read
]


def test_every_scope_opens_a_route() -> None:
    assert {scope for _, _, scope in ROUTES} == set(Scope)


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_a_route_opens_to_its_scope_alone(alder: Api, method: str, path: str, scope: str) -> None:
    path = path.replace("<str:", "").replace(">", "")
    others = [other for other in Scope.values if other != scope]
    for scopes in ([], others):
        row, key, _ = issue_key(alder.tenant, scopes=scopes)
        reply = Api(alder.tenant, row, key).request(method, path)
        assert reply.status_code == 403
        assert reply.json()["code"] == "insufficient_scope"
        assert scope in reply.json()["detail"]
    for scopes in ([scope], ["*"]):
        row, key, _ = issue_key(alder.tenant, scopes=scopes)
        reply = Api(alder.tenant, row, key).request(method, path)
        assert reply.status_code in {200, 201, 404, 415, 422}, reply.content


def test_head_asks_for_what_get_asks_for(alder: Api) -> None:
    for scope, status in ((Scope.SPEAKERS_WRITE, 403), (Scope.SPEAKERS_READ, 200)):
        _, key, _ = issue_key(alder.tenant, scopes=[scope])
        reply = Client().head("/v1/speakers", headers={"Authorization": f"Bearer {key}"})
        assert reply.status_code == status


def test_everything_is_beyond_a_list_of_all_scopes() -> None:
    assert beyond(Scope.values, ["*", "jobs:read"]) == ["*"]
    assert beyond(["*"], ["*", "jobs:read"]) == []
