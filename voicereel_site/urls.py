"""Every address of the site."""

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, URLResolver, include, path

from accounts.people import pages
from accounts.privacy import pages as privacy
from accounts.webhooks import pages as webhooks
from billing.api import stripe_webhook
from voicereel_site import errors, outages
from voicereel_site.reference import redoc, reference_page


def healthz(request: HttpRequest) -> JsonResponse:
    """Answers as long as the process does; it asks nothing of the database or the broker."""
    if request.method not in ("GET", "HEAD"):
        return errors.method_not_allowed(request, ["GET", "HEAD"])
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Whether everything we stand on answers, and what does not. 503 while something is down."""
    if request.method not in ("GET", "HEAD"):
        return errors.method_not_allowed(request, ["GET", "HEAD"])
    states = outages.check_all()
    if down := [name for name, state in states.items() if state != "ok"]:
        return errors.unavailable_response(down, states)
    return JsonResponse({"status": "ok", "checks": states})


urlpatterns: list[URLPattern | URLResolver] = [
    path("v1/", include("voicereel_site.api_v1")),
    path("healthz", healthz),
    path("readyz", readyz),
    path("docs", reference_page),
    path("docs/redoc.js", redoc),
    path("stripe/webhook", stripe_webhook),
    path("", pages.home, name="home"),
    path("switch", pages.switch, name="switch"),
    path("members", pages.member_list, name="members"),
    path("members/invite", pages.invite, name="invite"),
    path("members/<str:member_id>", pages.change_member, name="change-member"),
    path("invitations/<str:invitation_id>/withdraw", pages.withdraw, name="withdraw"),
    path("invitation/<str:token>", pages.invitation, name="invitation"),
    path("audit", pages.audit_log, name="audit"),
    path("webhooks", webhooks.endpoint_list, name="webhooks"),
    path("webhooks/create", webhooks.create, name="create-webhook"),
    path("webhooks/<str:endpoint_id>", webhooks.endpoint, name="webhook"),
    path("webhooks/<str:endpoint_id>/change", webhooks.change, name="change-webhook"),
    path("deliveries/<str:delivery_id>/replay", webhooks.send_again, name="replay"),
    path("privacy", privacy.privacy, name="privacy"),
    path("privacy/export", privacy.export, name="export"),
    path("privacy/erase", privacy.erase, name="erase"),
    path("end-impersonation", pages.end, name="end-impersonation"),
    path("account/", include("allauth.account.urls")),
    path("account/security/", include("allauth.mfa.urls")),
    path("account/sessions/", pages.sessions, name="usersessions_list"),
]
if settings.CONSOLE:
    urlpatterns.append(path("admin/", admin.site.urls))

handler400 = errors.handler400
handler403 = errors.handler403
handler404 = errors.handler404
handler500 = errors.handler500
