"""Who may do what in the operators' console: every page of it is here, and whoever is no operator with a
second factor gets to none of them.
"""

from collections.abc import Callable

from django.contrib import admin
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone

from accounts.console_names import NAMES
from accounts.models import AuditEvent, User
from tests.accounts.test_tenancy import routes
from tests.conftest import Api, Browser, log_in

# Of all models, to look at; of none of them can a row be added, changed or deleted by a form.
LOOKED_AT = ("", "<path:object_id>/change/", "<path:object_id>/history/", "<path:object_id>/")
WRITTEN = ("add/", "<path:object_id>/delete/")
# What is done, each by a form or button of its own; False: it only shows something.
DONE = {
    "accounts/tenant/<str:tenant_id>/suspend": True,
    "accounts/tenant/<str:tenant_id>/restore": True,
    "accounts/tenant/<str:tenant_id>/limits": True,
    "accounts/tenant/<str:tenant_id>/export": True,
    "accounts/tenant/<str:tenant_id>/erase": True,
    "accounts/membership/<str:membership_id>/impersonate": True,
    "synthesis/job/overview": False,
    "synthesis/job/<str:job_id>/content": True,
    "billing/billingaccount/<str:tenant_id>/plan": True,
    "billing/billingaccount/<str:tenant_id>/credit": True,
    "billing/billingaccount/<str:tenant_id>/usage": False,
    "billing/invoice/close": True,
    "billing/invoice/<str:invoice_id>/pdf": False,
    "billing/invoice/<str:invoice_id>/void": True,
    "billing/invoice/<str:invoice_id>/credit-note": True,
}
# Of lists, for rows that were chosen.
ACTIONS = {"synthesis.job": {"requeue"}, "accounts.outboxmessage": {"requeue"}}
# Of Django's admin and its theme, about nobody's data.
OF_THE_SITE = {
    *("", "search/", "login/", "logout/", "password_change/", "password_change/done/"),
    *("autocomplete/", "jsi18n/", "r/<path:content_type_id>/<path:object_id>/"),
}


def models() -> list[str]:
    return [f"{one._meta.app_label}/{one._meta.model_name}/" for one in admin.site._registry]


def test_every_page_and_action_of_the_console_is_in_the_table() -> None:
    of_models = {f"{model}{path}" for model in models() for path in (*LOOKED_AT, *WRITTEN)}
    found = {route.removeprefix("admin/") for route in routes(get_resolver()) if "admin/" in route}
    found = {route for route in found if "<url>" not in route and "(?P" not in route}
    assert found == of_models | set(DONE) | OF_THE_SITE
    actions = {
        one._meta.label_lower: set(shown_by.actions)
        for one, shown_by in admin.site._registry.items()
        if shown_by.actions
    }
    assert actions == ACTIONS


def _pages(api: Api) -> list[str]:
    named = [f"{model}{path}" for model in models() for path in (*LOOKED_AT, *WRITTEN)]
    filled = []
    for path in (*named, *DONE, ""):
        for parameter in ("<path:object_id>", "<str:tenant_id>", "<str:membership_id>"):
            path = path.replace(parameter, api.tenant.pk)
        filled.append(path.replace("<str:job_id>", "job_x").replace("<str:invoice_id>", "inv_x"))
    return filled


def test_nobody_but_an_operator_with_a_second_factor_gets_anywhere(
    alder: Api, make_member: Callable[..., Browser], operator: User
) -> None:
    nobody = Client()
    for browser in (make_member(alder, "owner"), log_in(operator)):
        for path in _pages(alder):
            for method in ("GET", "POST"):
                reply = browser.request(method, f"/admin/{path}")
                assert reply.status_code == 302, (method, path)
                assert reply["Location"].startswith("/admin/login/"), (method, path)
    for path in _pages(alder):
        assert nobody.get(f"/admin/{path}").status_code == 302, path
        assert alder.get(f"/admin/{path}").status_code == 302, path  # a key is not a person
    alder.tenant.refresh_from_db()
    assert alder.tenant.suspended_at is None
    assert not AuditEvent.objects.filter(action__startswith="console.").exists()


def test_an_operator_looks_and_writes_by_no_form_of_a_model(alder: Api, operator: User) -> None:
    browser = log_in(operator, second_factor=True)
    for model in models():
        assert browser.get(f"/admin/{model}").status_code == 200, model
        assert browser.get(f"/admin/{model}add/").status_code == 403, model
    change = f"/admin/accounts/tenant/{alder.tenant.pk}/"
    assert browser.send(f"{change}change/", name="Ours").status_code == 403
    assert browser.send(f"{change}delete/", post="yes").status_code == 403


def test_a_page_that_asks_for_itself_is_on_record_once(alder: Api, operator: User) -> None:
    browser = log_in(operator, second_factor=True)
    opened = AuditEvent.objects.filter(action="console.opened")
    usage = f"/admin/billing/billingaccount/{alder.tenant.pk}/usage?month="
    month = f"{timezone.now():%Y-%m}"

    def ask(*paths: str) -> int:
        before = opened.count()
        for path in paths:
            browser.client.get(path, headers={"HX-Request": "true"})
        return opened.count() - before

    # Two pages beside each other.
    assert ask(*("/admin/synthesis/job/overview", f"{usage}{month}") * 3) == 2
    # Nothing else is to be had unseen by the same means.
    assert ask(*("/admin/synthesis/job/", "/admin/synthesis/job/?q=x") * 2) == 4
    assert ask(f"{usage}{month}&as=csv", f"{usage}{month}&as=csv") == 2


def test_what_is_no_id_is_not_found(alder: Api, operator: User) -> None:
    browser = log_in(operator, second_factor=True)
    for path in ("accounts/tenant/x%00/suspend", "synthesis/job/%00/content"):
        assert browser.get(f"/admin/{path}").status_code == 404, path
    page = browser.get("/admin/speakers/speaker/?q=%00")
    assert page.status_code in (200, 302)


def test_every_name_that_the_console_shows_is_there_for_translators() -> None:
    shown = set()
    for model, shown_by in admin.site._registry.items():
        names = {
            *shown_by.list_display,
            *(shown_by.fields or [one.name for one in model._meta.fields]),
        }
        fields = [
            one for one in model._meta.fields if one.name in names - set(shown_by.exclude or [])
        ]
        shown |= {str(one.verbose_name) for one in (model._meta, *fields)}
    assert shown - {"id", "ID"} <= set(NAMES)
