"""Role x route: every route asks for a scope, and whoever lacks it gets nowhere: a key, a member, and an
operator in a member's place. All of it is made of the one permission table.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView

from accounts import limits
from accounts.keys import issue_key
from accounts.models import ApiKey, AuditEvent, Membership
from accounts.scopes import (
    IMPERSONATED_READS,
    IMPERSONATED_WRITES,
    ROLE_SCOPES,
    Role,
    Scope,
    beyond,
)
from tests.conftest import Api, Browser

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def views(resolver: URLResolver, prefix: str = "/") -> Iterator[tuple[str, Any]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from views(pattern, prefix + str(pattern.pattern))
        elif isinstance(pattern, URLPattern):
            callback = pattern.callback
            yield prefix + str(pattern.pattern), getattr(callback, "view_class", callback)


ALL = list(views(get_resolver()))
APIS: list[tuple[str, Any]] = [
    (path, view) for path, view in ALL if isinstance(view, type) and issubclass(view, APIView)
]
# Whoever may read them needs no key: the document, and a proof whose link is the permission.
OPEN = {"/v1/openapi.json", "/v1/erasure-proofs/<str:token>"}
ROUTES = [
    (method, path, str(view.scopes[method]))
    for path, view in APIS
    if path not in OPEN
    for method in METHODS
    if hasattr(view, method.lower())
]
PAGES = [
    (method, path, str(view.scope))
    for path, view in ALL
    if getattr(view, "scope", None)
    for method in view.methods
]


def filled(path: str) -> str:
    return path.replace("<str:", "").replace(">", "")


def test_every_scope_opens_a_route() -> None:
    assert {scope for _, _, scope in ROUTES} == set(Scope.values)


def test_only_what_is_named_here_needs_nobody() -> None:
    without = {path for path, view in APIS if not view.permission_classes}
    assert without == OPEN


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_a_route_opens_to_its_scope_alone(alder: Api, method: str, path: str, scope: str) -> None:
    others = [other for other in Scope.values if other != scope]
    for scopes in ([], others):
        row, key, _ = issue_key(alder.tenant, scopes=scopes)
        reply = Api(alder.tenant, row, key).request(method, filled(path))
        assert reply.status_code == 403
        assert reply.json()["code"] == "insufficient_scope"
        assert scope in reply.json()["detail"]
    for scopes in ([scope], ["*"]):
        row, key, _ = issue_key(alder.tenant, scopes=scopes)
        reply = Api(alder.tenant, row, key).request(method, filled(path))
        assert reply.status_code in {200, 201, 202, 404, 409, 415, 422}, reply.content


Way = tuple[str, Callable[[str], bool], Any]


@pytest.fixture
def ways(
    alder: Api, make_member: Callable[..., Browser], impersonate: Callable[..., Browser]
) -> list[Way]:
    """Each role by each way of coming: who comes, what they may do, and how they ask."""
    found: list[Way] = []
    for role in Role.values:
        own = set(ROLE_SCOPES[role])
        row, key, _ = issue_key(alder.tenant, scopes=sorted(own))
        member = make_member(alder, role)
        membership = Membership.objects.get(user=member.user)
        found += [
            (f"key of {role}", own.__contains__, Api(alder.tenant, row, key)),
            (f"{role}", own.__contains__, member),
            (
                f"operator looking as {role}",
                (own & IMPERSONATED_READS).__contains__,
                impersonate(membership),
            ),
            (
                f"operator mending as {role}",
                (own & IMPERSONATED_WRITES).__contains__,
                impersonate(membership, may_write=True),
            ),
        ]
    return found


def test_a_role_may_do_what_the_table_says(alder: Api, ways: list[Way]) -> None:
    wrong = []
    for method, path, scope in ROUTES:
        limits.forget(alder.tenant.pk)
        for name, may, caller in ways:
            reply = caller.request(method, filled(path))
            if may(scope):
                # What it asks for is not there, or is not well-formed: it was let in.
                as_said = reply.status_code in {200, 201, 202, 404, 409, 415, 422}
            else:
                as_said = (
                    reply.status_code == 403
                    and reply.json()["code"] == "insufficient_scope"
                    and scope in reply.json()["detail"]
                )
            if not as_said:
                wrong.append(f"{name}: {method} {path}: {reply.status_code}")
    assert wrong == []


def test_a_page_opens_to_the_roles_that_the_table_says(alder: Api, ways: list[Way]) -> None:
    wrong = []
    for method, path, scope in PAGES:
        limits.forget(alder.tenant.pk)
        for name, may, caller in ways:
            reply = caller.request(method, filled(path))
            if isinstance(caller, Api):  # to where people log in
                as_said = reply.get("Location", "").startswith("/account/login/")
            elif may(scope):
                as_said = reply.status_code in {200, 302, 400, 404, 409, 422}
            else:
                as_said = reply.status_code == 403 and scope in reply.content.decode()
            if not as_said:
                wrong.append(f"{name}: {method} {path}: {reply.status_code}")
    assert wrong == []


def test_the_table_says_what_was_meant() -> None:
    assert set(ROLE_SCOPES) == set(Role.values)
    owner, admin, developer, billing, viewer = (set(ROLE_SCOPES[role]) for role in Role.values)
    assert owner == set(Scope.values)
    assert owner - admin == {"account:erase"}
    assert viewer < developer < admin
    assert {scope for scope in viewer | billing if not scope.endswith(":read")} == {"billing:write"}
    assert not {"members:write", "audit:read", "speakers:erase", "account:export"} & developer
    # What outlives an impersonation, takes the data away or ends it, no operator does as a member.
    lasting = {"keys:write", "members:write", "webhooks:write", "speakers:erase", "billing:write"}
    assert not (lasting | {"account:export", "account:erase"}) & IMPERSONATED_WRITES
    assert {scope.endswith(":read") for scope in IMPERSONATED_READS} == {True}


def test_a_member_gives_no_key_more_than_their_role(
    alder: Api, make_member: Callable[..., Browser]
) -> None:
    developer = make_member(alder, "developer")
    refused = developer.post("/v1/keys", {"scopes": ["members:write"]})
    assert refused.status_code == 403
    assert "Your role, developer, does not hold members:write" in refused.json()["detail"]
    assert developer.post("/v1/keys", {"scopes": ["*"]}).status_code == 403
    made = developer.post("/v1/keys", {})
    assert made.status_code == 201
    assert made.json()["scopes"] == list(ROLE_SCOPES["developer"])
    event = AuditEvent.objects.get(action="key.created")
    assert (event.actor_kind, event.actor_id) == ("member", developer.user.pk)
    assert ApiKey.objects.get(pk=event.target).tenant == alder.tenant


def test_head_asks_for_what_get_asks_for(alder: Api) -> None:
    for scope, status in ((Scope.SPEAKERS_WRITE, 403), (Scope.SPEAKERS_READ, 200)):
        _, key, _ = issue_key(alder.tenant, scopes=[scope])
        reply = Client().head("/v1/speakers", headers={"Authorization": f"Bearer {key}"})
        assert reply.status_code == status


def test_everything_is_beyond_a_list_of_all_scopes() -> None:
    assert beyond(Scope.values, ["*", "jobs:read"]) == ["*"]
    assert beyond(["*"], ["*", "jobs:read"]) == []
