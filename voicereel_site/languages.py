"""In which language a request is answered: as its ``Accept-Language`` asks, or a person at a browser has
chosen; in English by default.

Of the API that is what refusals say. Codes, pointers and titles are the same in every language.
"""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation import get_language_from_request

from voicereel_site.errors import CONTENT_TYPE
from voicereel_site.pages import OfPagesMiddleware


class LanguageMiddleware:
    """Answers in the language that is asked for; the thread has none left afterwards."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Not ``headers``, which Django makes of all there are.
        asked = request.META.get("HTTP_ACCEPT_LANGUAGE", settings.LANGUAGE_CODE)
        if not asked.startswith(settings.LANGUAGE_CODE) or "HTTP_COOKIE" in request.META:
            language = get_language_from_request(request)
            if language != settings.LANGUAGE_CODE:
                return self._translated(request, language)
        response = self.get_response(request)
        if hasattr(request, "LANGUAGE_CODE"):  # Django has set one for the whole thread
            translation.deactivate()
        return response

    def _translated(self, request: HttpRequest, language: str) -> HttpResponseBase:
        with translation.override(language, deactivate=True):
            response = self.get_response(request)
        if response.headers.get("Content-Type") == CONTENT_TYPE:
            response.headers.setdefault("Content-Language", language)
            patch_vary_headers(response, ("Accept-Language",))
        return response


class PageLanguageMiddleware(OfPagesMiddleware, LocaleMiddleware):
    """Says in which language a page is."""
