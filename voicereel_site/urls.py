"""Every address of the site."""

from django.http import HttpRequest, JsonResponse
from django.urls import include, path

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


urlpatterns = [
    path("healthz", healthz),
    path("readyz", readyz),
    path("docs", reference_page),
    path("docs/redoc.js", redoc),
    path("v1/", include("voicereel_site.api_v1")),
]

handler400 = errors.handler400
handler403 = errors.handler403
handler404 = errors.handler404
handler500 = errors.handler500
