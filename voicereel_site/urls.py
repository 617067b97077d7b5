"""Every address of the site."""

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, URLResolver, include, path
from django.views.i18n import set_language

from accounts import pages as keys
from accounts.people import pages
from accounts.privacy import pages as privacy
from accounts.webhooks import pages as webhooks
from billing import pages as money
from billing.api import stripe_webhook
from speakers import pages as speakers
from synthesis import home_pages, usage_pages
from synthesis import pages as jobs
from synthesis.comparison import pages as comparisons
from synthesis.studio import pages as studio
from voicereel_site import errors, outages, reference, status


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
    path("docs", reference.docs, name="docs"),
    path("docs/<str:name>", reference.guide_page, name="guide"),
    path("docs/reference/<str:tag>", reference.reference_page, name="reference"),
    path("stripe/webhook", stripe_webhook),
    path("", home_pages.front, name="home"),
    path("first-steps", home_pages.first_steps, name="first-steps"),
    path("first-key", home_pages.first_key, name="first-key"),
    path("language", set_language, name="set_language"),
    path("studio", studio.studio, name="studio"),
    path("studio/new", studio.new_draft, name="new-draft"),
    path("studio/parse", studio.parse, name="parse-script"),
    path("studio/sample-voices", studio.sample_voices, name="sample-voices"),
    path("studio/previews/<str:job_id>", studio.preview_state, name="preview-state"),
    path("studio/<str:draft_id>", studio.draft, name="draft"),
    path("studio/<str:draft_id>/estimate", studio.estimate, name="draft-estimate"),
    path("studio/<str:draft_id>/save", studio.save, name="save-draft"),
    path("studio/<str:draft_id>/render", studio.render_now, name="render-draft"),
    path("studio/<str:draft_id>/delete", studio.delete, name="delete-draft"),
    path("studio/<str:draft_id>/jobs/<str:job_id>", studio.progress, name="draft-progress"),
    path("speakers", speakers.speaker_list, name="speakers"),
    path("speakers/new", speakers.new_speaker, name="new-speaker"),
    path("speakers/register", speakers.register, name="register-speaker"),
    path("speakers/<str:speaker_id>", speakers.speaker, name="speaker"),
    path("speakers/<str:speaker_id>/state", speakers.speaker_state, name="speaker-state"),
    path("speakers/<str:speaker_id>/change", speakers.change, name="change-speaker"),
    path("speakers/<str:speaker_id>/preview", studio.preview_speaker, name="preview-speaker"),
    path(
        "speakers/<str:speaker_id>/recordings/<str:position>",
        speakers.reference,
        name="reference-clip",
    ),
    path("jobs", jobs.job_list, name="jobs"),
    path("jobs/<str:job_id>", jobs.job, name="job"),
    path("jobs/<str:job_id>/state", jobs.job_state, name="job-state"),
    path("jobs/<str:job_id>/player", jobs.job_player, name="job-player"),
    path("jobs/<str:job_id>/audio", jobs.job_audio, name="job-audio"),
    path("jobs/<str:job_id>/files/<str:kind>", jobs.job_file, name="job-file"),
    path("jobs/<str:job_id>/change", jobs.change_job, name="change-job"),
    path("comparisons", comparisons.comparison_list, name="comparisons"),
    path("comparisons/new", comparisons.new_comparison, name="new-comparison"),
    path("comparisons/create", comparisons.create, name="create-comparison"),
    path("comparisons/<str:comparison_id>", comparisons.comparison, name="comparison"),
    path(
        "comparisons/<str:comparison_id>/state",
        comparisons.comparison_state,
        name="comparison-state",
    ),
    path("comparisons/<str:comparison_id>/change", comparisons.change, name="change-comparison"),
    path("comparisons/<str:comparison_id>/winner", comparisons.choose, name="choose-winner"),
    path("listen/<str:token>", comparisons.listen, name="listen"),
    path("listen/<str:token>/<str:number>/<str:side>", comparisons.listen_clip, name="clip"),
    path("usage", usage_pages.usage, name="usage"),
    path("usage/live", usage_pages.usage_live, name="usage-live"),
    path("usage/<str:month>/<str:kind>", usage_pages.usage_report, name="usage-report"),
    path("service", money.service, name="service"),
    path("status", status.status, name="status"),
    path("invoices", money.invoice_list, name="invoices"),
    path("invoices/<str:invoice_id>", money.invoice, name="invoice"),
    path("invoices/<str:invoice_id>/pdf", money.invoice_pdf, name="invoice-pdf"),
    path("invoices/<str:invoice_id>/pay", money.pay, name="pay-invoice"),
    path("billing", money.billing, name="billing"),
    path("billing/change", money.change_billing, name="change-billing"),
    path("billing/card", money.card, name="card"),
    path("keys", keys.key_list, name="keys"),
    path("keys/new", keys.new_key, name="new-key"),
    path("keys/<str:key_id>/change", keys.change_key, name="change-key"),
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
    path("privacy/retention", privacy.retention, name="retention"),
    path("privacy/export", privacy.export, name="export"),
    path("privacy/erase", privacy.erase, name="erase"),
    path("end-impersonation", pages.end, name="end-impersonation"),
    path("account/", include("allauth.account.urls")),
    path("account/security/", include("allauth.mfa.urls")),
    path("account/sessions/", pages.sessions, name="usersessions_list"),
]
if settings.CONSOLE:
    admin.autodiscover()
    urlpatterns.append(path("admin/", admin.site.urls))

handler400 = errors.handler400
handler403 = errors.handler403
handler404 = errors.handler404
handler500 = errors.handler500
