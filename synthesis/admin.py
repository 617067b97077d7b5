"""Jobs in the operators' console, of all tenants: how they went. What they say is opened with a reason."""

from typing import Any

from django.contrib import admin, messages
from django.db import models, transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import audit
from accounts.console import ReasonForm, RowsToLookAt, find_or_404, form_page
from synthesis.models import Job, Line, Worker
from synthesis.overview import overview
from synthesis.submission import requeue_job
from synthesis.workers import SILENT
from voicereel_site.errors import Refusal


@admin.register(Job)
class JobAdmin(RowsToLookAt):
    list_display = ["id", "tenant", "status", "error_code", "lines", "created_at", "finished_at"]
    list_select_related = ["tenant"]
    list_filter = ["status"]
    ids = {"ten": "tenant"}
    search_fields = ["id__exact"]
    search_help_text = gettext_lazy("A job's id, or a tenant's")
    # How it went. The customer's words, and where they lie, are on the page that asks for a reason.
    fields = [
        "id",
        "tenant",
        "status",
        "error_code",
        "error_detail",
        "error_line_id",
        "lines_total",
        "lines_done",
        "attempt",
        "fruitless_attempts",
        "output",
        "captions",
        "live",
        "priority",
        "quote_minor",
        "currency",
        "cost",
        "audio_ms",
        "audio_bytes",
        "api_key_id",
        "origin",
        "created_at",
        "handed_at",
        "started_at",
        "finished_at",
        "expires_at",
    ]
    change_form_template = "admin/job.html"
    actions = ["requeue"]

    @admin.display(description=gettext_lazy("Lines"))
    def lines(self, job: Job) -> str:
        return _("%(done)s of %(total)s") % {"done": job.lines_done, "total": job.lines_total}

    @admin.action(description=gettext_lazy("Requeue: beyond any limit, what is spoken stays"))
    def requeue(self, request: HttpRequest, jobs: models.QuerySet[Job]) -> None:
        for job in jobs.order_by("pk"):
            try:
                with transaction.atomic():
                    requeue_job(job)
                    audit.record(job.tenant_id, "job.requeued", job.pk)
            except Refusal as refusal:
                messages.error(request, f"{job.pk}: {refusal.detail}")
            else:
                messages.success(request, _("%(job)s is queued again.") % {"job": job.pk})

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("overview", view(self.overview), name="overview"),
            path("<str:job_id>/content", view(self.content), name="job-content"),
            *super().get_urls(),
        ]

    def overview(self, request: HttpRequest) -> HttpResponseBase:
        """What the front page shows, as it is now."""
        return render(request, "admin/overview.html", {"now": overview()})

    def content(self, request: HttpRequest, job_id: str) -> HttpResponseBase:
        """Read a job's script, once, for a reason that the customer's audit log has from then on."""
        job = find_or_404(Job.objects, job_id)
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                reason = audit.stated_reason(form.cleaned_data["reason"])
            except Refusal as refusal:
                form.add_error("reason", refusal.detail)
            else:
                return self._opened(request, job, reason)
        return form_page(self, request, _("Open the content of %(job)s") % {"job": job.pk}, form)

    def _opened(self, request: HttpRequest, job: Job, reason: str) -> HttpResponseBase:
        audit.record(job.tenant_id, "content.opened", job.pk, reason=reason)
        lines = Line.objects.for_tenant(job.tenant_id).filter(job=job).select_related("speaker")
        context: dict[str, Any] = self.admin_site.each_context(request) | {
            "title": job.title or job.pk,
            "job": job,
            "lines": lines.order_by("position"),
        }
        return render(request, "admin/job_content.html", context)


@admin.register(Worker)
class WorkerAdmin(RowsToLookAt):
    list_display = ["name", "is_there", "engine", "queues", "started_at", "seen_at"]

    @admin.display(description=gettext_lazy("There"), boolean=True)
    def is_there(self, worker: Worker) -> bool:
        return worker.seen_at >= timezone.now() - SILENT
