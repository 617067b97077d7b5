"""What pages for people have that answers to programs do not."""

from typing import Any
from zoneinfo import ZoneInfo

from csp.middleware import CSPMiddleware
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin
from django.utils.translation import get_language

from voicereel_site.navigation import GROUPS

_API = "/v1/"
# What a person's browser said of itself (templates/static/frame.js), or they chose.
ZONE_COOKIE, THEME_COOKIE = "zone", "theme"
THEMES = ("light", "dark")
_ZONE_BY_LANGUAGE = {"ko": "Asia/Seoul"}


class OfPagesMiddleware(MiddlewareMixin):
    """What the API's requests pass by: a base for middleware that only pages need."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(_API):
            return self.get_response(request)
        response: HttpResponseBase = super().__call__(request)
        return response


class PagePolicyMiddleware(OfPagesMiddleware, CSPMiddleware):
    """The Content-Security-Policy of pages. Making it takes as long as reading a job, and no browser shows
    JSON as a page.
    """


def zone_of(request: HttpRequest) -> ZoneInfo:
    """In which zone a person reads times: their browser's, or what their language suggests."""
    named = request.COOKIES.get(ZONE_COOKIE, "")
    try:
        return ZoneInfo(named)
    except (ValueError, OSError, KeyError):  # mistyped, or a path
        return ZoneInfo(_ZONE_BY_LANGUAGE.get(get_language() or "", "UTC"))


def around_every_page(request: HttpRequest) -> dict[str, Any]:
    """For the frame of every page: where it leads, in which language and colours."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    member = getattr(request, "member", None)
    may = frozenset() if member is None else frozenset(member.scopes)
    here = request.path.split("/")[1]
    return {
        "may": may,
        "navigation": [
            (
                group.label,
                [
                    (entry, here in entry.within)
                    for entry in group.entries
                    if entry.scope is None or entry.scope in may
                ],
            )
            for group in GROUPS
        ]
        if member is not None
        else [],
        "languages": settings.LANGUAGES,
        "theme": theme if theme in THEMES else "",
    }
