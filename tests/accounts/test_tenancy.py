"""No tenant sees or touches what is another's: asked of every route there is."""

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import Q, QuerySet
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts import limits, prepared
from accounts.models import (
    ApiKey,
    AuditEvent,
    DataExport,
    Erasure,
    Invitation,
    Membership,
    OutboxMessage,
    Tenant,
    TenantOwned,
    WebhookDelivery,
    WebhookEndpoint,
)
from accounts.privacy.exports import build_export
from accounts.scopes import IMPERSONATED_READS
from billing.accounts import account_of
from billing.models import Invoice
from billing.periods import Month
from speakers.models import Speaker
from synthesis.models import Job, Pronunciation
from synthesis.storage import link_paths
from synthesis.studio.drafts import lines_of_job, start_draft
from tests.accounts.disk import files_below
from tests.accounts.test_scopes import views
from tests.conftest import Api, Browser

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")

# What Birch's key, or its owner's session, gets when it asks a route with Alder's ids; methods not named
# get 405. OPTIONS describes a route and looks at no row.
ROUTES: dict[str, dict[str, int]] = {
    "healthz": {"GET": 200, "HEAD": 200},
    "readyz": {"GET": 200, "HEAD": 200},
    "docs": {"GET": 200, "HEAD": 200},
    "docs/<str:name>": {"GET": 404, "HEAD": 404},
    "docs/reference/<str:tag>": {"GET": 404, "HEAD": 404},
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
    "v1/comparisons": {"GET": 200, "HEAD": 200, "OPTIONS": 200, "POST": 422},
    "v1/comparisons/<str:comparison_id>": {
        "GET": 404,
        "HEAD": 404,
        "OPTIONS": 200,
        "DELETE": 404,
    },
    "v1/comparisons/<str:comparison_id>/close": {"OPTIONS": 200, "POST": 404},
    "v1/comparisons/<str:comparison_id>/winner": {"OPTIONS": 200, "POST": 404},
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
    "v1/speakers/<str:speaker_id>/erase": {"OPTIONS": 200, "POST": 404},
    "v1/members": {"GET": 200, "HEAD": 200, "OPTIONS": 200},
    "v1/members/<str:member_id>": {
        "GET": 404,
        "HEAD": 404,
        "OPTIONS": 200,
        "PATCH": 404,
        "DELETE": 404,
    },
    "v1/invitations": {"GET": 200, "HEAD": 200, "OPTIONS": 200, "POST": 422},
    "v1/invitations/<str:invitation_id>": {"OPTIONS": 200, "DELETE": 404},
    "v1/audit-events": {"GET": 200, "HEAD": 200, "OPTIONS": 200},
    "v1/usage": {"GET": 200, "HEAD": 200, "OPTIONS": 200},
    "v1/sla": {"GET": 200, "HEAD": 200, "OPTIONS": 200},
    "v1/usage/reports/<str:month>": {"GET": 200, "HEAD": 200, "OPTIONS": 200},
    "v1/usage/reports/<str:month>/csv": {"GET": 200, "HEAD": 200, "OPTIONS": 200},
    "v1/usage/reports/<str:month>/pdf": {"GET": 200, "HEAD": 200, "OPTIONS": 200},
    "v1/invoices": {"GET": 200, "HEAD": 200, "OPTIONS": 200},
    "v1/invoices/<str:invoice_id>": {"GET": 404, "HEAD": 404, "OPTIONS": 200},
    "v1/invoices/<str:invoice_id>/pdf": {"GET": 404, "HEAD": 404, "OPTIONS": 200},
    "v1/invoices/<str:invoice_id>/events": {"GET": 404, "HEAD": 404, "OPTIONS": 200},
    "v1/billing": {"GET": 200, "HEAD": 200, "OPTIONS": 200, "PATCH": 422},
    "v1/billing/card": {"OPTIONS": 200, "POST": 422},
    "v1/billing/portal": {"OPTIONS": 200, "POST": 422},
    "stripe/webhook": {"POST": 401},
    "v1/exports": {"GET": 200, "HEAD": 200, "OPTIONS": 200, "POST": 409},  # one is being made
    "v1/exports/<str:export_id>": {"GET": 404, "HEAD": 404, "OPTIONS": 200},
    "v1/erasures": {"GET": 200, "HEAD": 200, "OPTIONS": 200, "POST": 422},
    "v1/erasures/<str:erasure_id>": {"GET": 404, "HEAD": 404, "OPTIONS": 200},
    # Links need no key, but nobody can make one.
    "v1/archives/<str:token>/<str:filename>": {"GET": 403, "HEAD": 403},
    "v1/erasure-proofs/<str:token>": {"GET": 404, "HEAD": 404, "OPTIONS": 200},
    "v1/files/<str:token>/<str:filename>": {"GET": 403, "HEAD": 403},
}

# What its owner's session gets from pages; a key is sent to where people log in.
PAGES: dict[str, dict[str, int]] = {
    "": {"GET": 200, "HEAD": 200, "POST": 200},
    "first-steps": {"GET": 200, "HEAD": 200},
    "first-key": {"POST": 302},
    "language": {
        "GET": 302,
        "HEAD": 302,
        "POST": 302,
        "PUT": 302,
        "PATCH": 302,
        "DELETE": 302,
        "OPTIONS": 302,
    },
    "studio": {"GET": 200, "HEAD": 200},
    "studio/new": {"POST": 302},
    "studio/parse": {"POST": 422},
    "studio/sample-voices": {"POST": 302},
    "studio/previews/<str:job_id>": {"GET": 404, "HEAD": 404},
    "studio/<str:draft_id>": {"GET": 404, "HEAD": 404},
    "studio/<str:draft_id>/estimate": {"GET": 404, "HEAD": 404},
    "studio/<str:draft_id>/save": {"POST": 404},
    "studio/<str:draft_id>/render": {"POST": 404},
    "studio/<str:draft_id>/delete": {"POST": 404},
    "studio/<str:draft_id>/jobs/<str:job_id>": {"GET": 404, "HEAD": 404},
    "speakers": {"GET": 200, "HEAD": 200},
    "speakers/new": {"GET": 200, "HEAD": 200},
    "speakers/register": {"POST": 422},
    "speakers/<str:speaker_id>": {"GET": 404, "HEAD": 404},
    "speakers/<str:speaker_id>/state": {"GET": 404, "HEAD": 404},
    "speakers/<str:speaker_id>/change": {"POST": 404},
    "speakers/<str:speaker_id>/preview": {"POST": 404},
    "speakers/<str:speaker_id>/recordings/<str:position>": {"GET": 404, "HEAD": 404},
    "jobs": {"GET": 200, "HEAD": 200},
    "jobs/<str:job_id>": {"GET": 404, "HEAD": 404},
    "jobs/<str:job_id>/state": {"GET": 404, "HEAD": 404},
    "jobs/<str:job_id>/player": {"GET": 404, "HEAD": 404},
    "jobs/<str:job_id>/audio": {"GET": 404, "HEAD": 404},
    "jobs/<str:job_id>/files/<str:kind>": {"GET": 404, "HEAD": 404},
    "jobs/<str:job_id>/change": {"POST": 404},
    "comparisons": {"GET": 200, "HEAD": 200},
    "comparisons/new": {"GET": 200, "HEAD": 200},
    "comparisons/create": {"POST": 422},
    "comparisons/<str:comparison_id>": {"GET": 404, "HEAD": 404},
    "comparisons/<str:comparison_id>/state": {"GET": 404, "HEAD": 404},
    "comparisons/<str:comparison_id>/change": {"POST": 404},
    "comparisons/<str:comparison_id>/winner": {"POST": 404},
    "listen/<str:token>": {"GET": 404, "HEAD": 404, "POST": 404},
    "listen/<str:token>/<str:number>/<str:side>": {"GET": 404, "HEAD": 404},
    "usage": {"GET": 200, "HEAD": 200},
    "usage/live": {"GET": 200, "HEAD": 200},
    "usage/<str:month>/<str:kind>": {"GET": 404, "HEAD": 404},
    "service": {"GET": 200, "HEAD": 200},
    "status": {"GET": 200, "HEAD": 200},
    "invoices": {"GET": 200, "HEAD": 200},
    "invoices/<str:invoice_id>": {"GET": 404, "HEAD": 404},
    "invoices/<str:invoice_id>/pdf": {"GET": 404, "HEAD": 404},
    "invoices/<str:invoice_id>/pay": {"POST": 404},
    "billing": {"GET": 200, "HEAD": 200},
    "billing/change": {"POST": 422},
    "billing/card": {"POST": 409},
    "keys": {"GET": 200, "HEAD": 200},
    "keys/new": {"POST": 422},
    "keys/<str:key_id>/change": {"POST": 404},
    "switch": {"POST": 302},
    "members": {"GET": 200, "HEAD": 200},
    "members/invite": {"POST": 422},
    "members/<str:member_id>": {"POST": 404},
    "invitations/<str:invitation_id>/withdraw": {"POST": 404},
    "audit": {"GET": 200, "HEAD": 200},
    "webhooks": {"GET": 200, "HEAD": 200},
    "webhooks/create": {"POST": 422},
    "webhooks/<str:endpoint_id>": {"GET": 404, "HEAD": 404},
    "webhooks/<str:endpoint_id>/change": {"POST": 404},
    "deliveries/<str:delivery_id>/replay": {"POST": 404},
    "privacy": {"GET": 200, "HEAD": 200},
    "privacy/retention": {"POST": 422},
    "privacy/export": {"POST": 302},
    "privacy/erase": {"POST": 422},
    "end-impersonation": {"POST": 302},
    # A link, which nobody can make.
    "invitation/<str:token>": {"GET": 404, "HEAD": 404, "POST": 404},
}
# Other people's code: about the person who has logged in, and about all tenants, to operators alone.
OF_LIBRARIES = ("account/", "admin/")

LISTS = {
    "v1/audit-events",
    "v1/comparisons",
    "v1/erasures",
    "v1/exports",
    "v1/invitations",
    "v1/invoices",
    "v1/jobs",
    "v1/keys",
    "v1/members",
    "v1/speakers",
    "v1/webhook-endpoints",
}

Secrets = dict[str, list[str]]

NAME = "Zebulon Alderwood"
TEXT = "The heron of Alder sleeps at noon."
TITLE = "Secret pilot"
MAIL, INVITED = "zoe@alder.example", "newcomer@alder.example"


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            yield prefix + str(pattern.pattern)
        else:
            yield from routes(pattern, prefix + str(pattern.pattern))


def rows_of(api: Api) -> dict[str, list[dict[str, Any]]]:
    models = [model for model in apps.get_models() if issubclass(model, TenantOwned)]
    found = {
        model.__name__: list(
            model._default_manager.filter(tenant=api.tenant).order_by("pk").values()
        )
        for model in models
    }
    return found | {"Erasure": list(Erasure.objects.for_tenant(api.tenant).values())}


@pytest.fixture
def secrets(
    alder: Api,
    make_speaker: Callable[..., Speaker],
    make_member: Callable[..., Browser],
    render: Callable[[str], None],
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
    member = make_member(alder, email=MAIL)
    invited = alder.post("/v1/invitations", {"email": INVITED, "role": "viewer"})
    assert invited.status_code == 201
    assert alder.post("/v1/exports").status_code == 202
    build_export(alder.tenant.pk, DataExport.objects.get().pk)
    erasure = Erasure.objects.create(tenant_id=alder.tenant.pk, requested_by=alder.key.pk)
    account = account_of(alder.tenant, timezone.now())
    month = Month.containing(timezone.now(), account.time_zone)
    invoice = Invoice.objects.create(
        tenant=alder.tenant,
        month=month.name,
        period_start=month.start,
        period_end=month.end,
        time_zone=month.zone,
        currency=account.currency,
        language="en",
        buyer={"name": NAME, "country": ""},
        seller={"name": "VoiceReel", "country": "KR"},
        pays_by="transfer",
    )
    draft = start_draft(alder.tenant, TITLE, lines_of_job(Job.objects.get(pk=jobs[0])))
    comparison = alder.post(
        "/v1/comparisons",
        {
            "title": TITLE,
            "texts": [TEXT],
            "variants": [{"speaker_id": speaker.pk}, {"speaker_id": speaker.pk, "speed": 1.2}],
        },
    )
    assert comparison.status_code == 201, comparison.json()
    return {
        "comparison_id": [comparison.json()["id"]],
        "draft_id": [draft.pk],
        "invoice_id": [invoice.pk],
        "month": [month.name],
        "member_id": [Membership.objects.get(user=member.user).pk],
        "invitation_id": [invited.json()["id"]],
        "export_id": [DataExport.objects.get().pk],
        "erasure_id": [erasure.pk],
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
    ours = {route for route in routes(get_resolver()) if not route.startswith(OF_LIBRARIES)}
    assert ours == set(ROUTES) | set(PAGES)


Ask = Callable[..., Any]


def by_key(birch: Api) -> Ask:
    """How a key asks: with no session."""
    headers = {"Authorization": f"Bearer {birch.secret}"}
    return lambda method, path, sent: Client().generic(
        method, path, data=sent, content_type="application/json", headers=headers
    )


def by_session(browser: Browser) -> Ask:
    return lambda method, path, sent: browser.request(
        method, path, data=sent, content_type="application/json"
    )


def cursor_of(row_id: str) -> str:
    return base64.urlsafe_b64encode(row_id.encode()).decode().rstrip("=")


def places(route: str, secrets: Secrets) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """A route's paths with every id of Alder's in every place where an id can stand: in the path, as
    the cursor and the values of a query, and in what bodies of any route name; and the methods with
    which that is worth asking.
    """
    paths = {"/" + route}
    for parameter, values in secrets.items():
        paths = {p.replace(f"<str:{parameter}>", value) for p in paths for value in values}
    ids = [secrets[name][0] for name in secrets if name.endswith("_id")]
    queries = []
    if route in LISTS:
        queries += [f"?cursor={cursor_of(value)}" for value in ids] + [f"?limit=100&id={ids[0]}"]
    bodies: list[Any] = []
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
        yield path, {"name": "Mine now"}, METHODS
        yield from ((path + query, None, ("GET",)) for query in queries)
        yield from ((path, body, ("POST", "PUT", "PATCH")) for body in bodies)


def leaks(
    route: str,
    alder: Api,
    ask: Ask,
    secrets: Secrets,
    expected_of: dict[str, int],
    asking: Tenant,
) -> list[str]:
    """What somebody of Birch's sees or changes of Alder's through a route, or is answered out of turn.

    asking: Birch, whose requests are not too many for one route.
    """
    hidden = [NAME, NAME.split()[0], TEXT, TITLE, "AX-77", "heron", MAIL, INVITED]
    hidden += [alder.tenant.pk, alder.key.pk]
    hidden += [value for name in secrets if name.endswith("_id") for value in secrets[name]]
    # What somebody of Birch's has sent out for Birch is theirs to send.
    messages = OutboxMessage.objects.exclude(tenant_id=asking.pk)
    before = rows_of(alder), files_below(f"t/{alder.tenant.pk}"), messages.count()
    found = []
    limits.forget(asking.pk)
    for path, body, methods in places(route, secrets):
        sent = json.dumps(body)
        for method in methods:
            reply = ask(method, path, sent)
            answer = reply.content.decode(errors="replace")  # a PDF is no text
            expected = expected_of.get(method, 405)
            if "?limit" in path and expected == 200 and method != "OPTIONS":
                expected = 422  # an unknown parameter
            if reply.status_code != expected:
                found.append(f"{method} {path}: {reply.status_code}, not {expected}: {answer}")
            # What was sent may be quoted.
            seen = [word for word in hidden if word in answer and word not in sent + path]
            if seen:
                found.append(f"{method} {path} shows {seen}")
    after = rows_of(alder), files_below(f"t/{alder.tenant.pk}"), messages.count()
    if after != before:
        found.append(f"{route} changed rows or files of Alder's")
    return found


def test_another_tenants_ids_find_and_change_nothing(
    alder: Api, birch: Api, secrets: Secrets
) -> None:
    make_busy(birch)
    by = by_key(birch)
    assert [
        one
        for route in ROUTES
        for one in leaks(route, alder, by, secrets, ROUTES[route], birch.tenant)
    ] == []


def test_nor_does_a_session(
    alder: Api, birch: Api, secrets: Secrets, make_member: Callable[..., Browser]
) -> None:
    make_busy(birch)
    by = by_session(make_member(birch))
    routes = {**ROUTES, **PAGES}
    assert [
        one
        for route in routes
        for one in leaks(route, alder, by, secrets, routes[route], birch.tenant)
    ] == []


def test_nor_does_an_operator_in_a_members_place(
    alder: Api,
    birch: Api,
    secrets: Secrets,
    make_member: Callable[..., Browser],
    impersonate: Callable[..., Browser],
) -> None:
    """Who may look at all tenants is held to the one whose member they impersonate, and may only look."""
    make_busy(birch)
    membership = Membership.objects.get(user=make_member(birch).user)
    found = []
    # The log first: what is asked of the other routes will stand in it, addresses and all.
    routes = {**ROUTES, **PAGES}
    for route in sorted(routes, key=lambda name: "audit" not in name):
        own = routes[route]
        expected, scopes = dict(own), needed_scopes()[route]
        for method in expected:
            scope = scopes.get("GET" if method == "HEAD" else method)
            if scope is not None and scope not in IMPERSONATED_READS:
                expected[method] = 403
        # A route may end it.
        by = by_session(impersonate(membership))
        found += leaks(route, alder, by, secrets, expected, birch.tenant)
    assert found == []


def needed_scopes() -> dict[str, dict[str, str]]:
    """The scope that each route asks for, by method."""
    found: dict[str, dict[str, str]] = {}
    for path, view in views(get_resolver(), ""):
        if hasattr(view, "scopes"):
            found[path] = dict(view.scopes)
        else:
            scope = getattr(view, "scope", None)
            found[path] = dict.fromkeys(getattr(view, "methods", ()), scope) if scope else {}
    return found


def make_busy(birch: Api) -> None:
    """An export that is being made: another one is refused instead of begun."""
    DataExport.objects.create(tenant=birch.tenant)


def test_a_key_is_no_session(alder: Api, birch: Api, secrets: Secrets) -> None:
    found = []
    for route in PAGES:
        expected = dict.fromkeys(PAGES[route], 302) if "token" not in route else PAGES[route]
        if route in ("", "status"):  # what the product is and how, for whoever comes by
            expected = {"GET": 200, "HEAD": 200}
        found += leaks(route, alder, by_key(birch), secrets, expected, birch.tenant)
    assert found == []


@pytest.mark.parametrize("prefix", OF_LIBRARIES)
def test_pages_of_libraries_show_nothing_of_any_tenant(
    alder: Api, secrets: Secrets, birch: Api, make_member: Callable[..., Browser], prefix: str
) -> None:
    """The console opens to operators alone; the rest is about the one who has logged in."""
    browser = make_member(birch)
    browser.client.raise_request_exception = True
    asked = [route for route in routes(get_resolver()) if route.startswith(prefix)]
    assert len(asked) > 20
    before = rows_of(alder)
    for route in asked:
        path = "/" + re.sub(r"<[^>]*>", alder.tenant.pk, re.sub(r"\(.*", "x-y/", route))
        path = path.replace("^", "").replace("\\Z", "")
        for method in ("GET", "POST"):
            if "logout" in path:
                continue
            reply = browser.request(method, path)
            assert reply.status_code in {200, 302, 400, 403, 404, 405}, path
            if prefix == "admin/":
                assert reply.status_code in {302, 403, 404}, (path, reply.status_code)
                if reply.status_code == 302:
                    assert reply["Location"].startswith(
                        ("/admin/login/", "/admin/", "/account/")
                    ), path
            for word in (NAME, TITLE, MAIL, INVITED, alder.key.pk, *secrets["job_id"]):
                assert word not in reply.content.decode(), path
    assert rows_of(alder) == before


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
        (Membership, "v1/members"),
        (Membership, "v1/members/<str:member_id>"),
        (Invitation, "v1/invitations"),
        (AuditEvent, "v1/audit-events"),
        (DataExport, "v1/exports/<str:export_id>"),
        (Erasure, "v1/erasures"),
    ],
)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL stands in its way")
def test_one_query_without_its_tenant_would_be_found(
    alder: Api,
    birch: Api,
    secrets: Secrets,
    monkeypatch: pytest.MonkeyPatch,
    model: type[TenantOwned] | type[Erasure],
    route: str,
) -> None:
    def for_anybody(rows: QuerySet, tenant: Tenant | str) -> QuerySet:
        if rows.model not in (Job, Speaker):
            return rows.all()
        # Statements that are kept refuse to be without an argument of theirs.
        return rows.filter(Q(pk=getattr(tenant, "pk", tenant)) | ~Q(pk=""))

    monkeypatch.setattr(prepared, "statements", {})
    monkeypatch.setattr(type(model.objects.all()), "for_tenant", for_anybody)
    assert leaks(route, alder, by_key(birch), secrets, ROUTES[route], birch.tenant)


def test_a_link_of_another_tenant_opens_its_own_file_alone(
    alder: Api, birch: Api, secrets: Secrets
) -> None:
    """A link is a permission for whoever has it; for another job or tenant none can be made of it."""
    url = alder.get(f"/v1/jobs/{secrets['job_id'][0]}").json()["audio"]["url"]
    path = url.split("testserver")[1]
    assert birch.get(path).status_code == 200
    token, name = path.split("/")[-2:]
    assert alder.tenant.pk in token
    forged = token.replace(alder.tenant.pk, birch.tenant.pk)
    assert birch.get(f"/v1/files/{forged}/{name}").status_code == 403
    # Signed over another tenant than the job's, were it ever so, it still opens nothing.
    job = Job.objects.get(pk=secrets["job_id"][0])
    job.tenant = birch.tenant
    assert birch.get(link_paths(job, ["audio"], int(time.time()) + 60)["audio"]).status_code == 404


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
    jobs = {row["id"]: row for row in alder.get("/v1/jobs").json()["data"]}
    compared = {pk for pk, row in jobs.items() if "comparison" in row["metadata"]}
    assert set(jobs) - compared == set(secrets["job_id"])
    assert len(compared) == 2
    assert [row["name"] for row in alder.get("/v1/speakers").json()["data"]] == [NAME]
    for path in ("/v1/jobs", "/v1/speakers"):
        assert birch.get(path).json() == {"data": [], "next_cursor": None}
