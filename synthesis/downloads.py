"""The files of jobs over HTTP, behind signed links."""

import codecs

from django.core.files.storage import default_storage
from django.http import HttpRequest, HttpResponseBase
from django.http import HttpResponseRedirect as Redirect
from django.utils.translation import gettext as _

from accounts.served_files import ranged
from accounts.suspension import refuse_suspended
from accounts.tenancy import act_for, acting_for
from synthesis import storage
from synthesis.models import Job
from voicereel_site.errors import Refusal, method_not_allowed, problem_response


def download_file(request: HttpRequest, token: str, filename: str) -> HttpResponseBase:
    """The file behind a link. The link itself is the permission; it needs no key."""
    if request.method not in ("GET", "HEAD"):
        return method_not_allowed(request, ["GET", "HEAD"])
    link = storage.open_link(token, filename)
    if link is None:
        detail = _("This link is not whole or has expired. GET the job again for a fresh one.")
        return problem_response(403, "invalid_signature", detail)
    with acting_for(link.tenant_id):
        rows = Job.objects.for_tenant(link.tenant_id).filter(pk=link.job_id)
        job = rows.select_related("tenant").first()
    key = job and storage.storage_key(job, link.kind)
    if job is None or key is None:
        detail = _("The job behind this link was deleted.")
        return problem_response(404, "not_found", detail)
    try:
        refuse_suspended(job.tenant)
    except Refusal as refusal:
        return problem_response(refusal.status, refusal.code, refusal.detail)
    act_for(link.tenant_id)
    content_type = storage.media_type(job, link.kind)
    mark = codecs.BOM_UTF8 if link.kind == "srt" and request.GET.get("bom") == "1" else b""
    if not mark and (url := storage.presigned_url(key, link, filename, content_type)):
        return Redirect(url)
    try:
        size = storage.file_size(key) + len(mark)
    except FileNotFoundError:
        detail = _("The file behind this link was deleted.")
        return problem_response(404, "not_found", detail)
    response = ranged(request, key, size, lambda: default_storage.open(key, "rb"), mark)
    if response.status_code == 416:
        return response
    response["Content-Type"] = content_type
    response["Content-Disposition"] = storage.content_disposition(filename)
    response["Cache-Control"] = "private, no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response
