"""How requests are answered: those with an API key by a short way, all others by Django's own."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.db import connection
from django.http import HttpRequest, HttpResponseBase
from django.http.request import split_domain_port, validate_host
from django.urls import ResolverMatch, get_resolver
from django.utils.http import parse_header_parameters
from django.utils.module_loading import import_string

from voicereel_site.draining import drain
from voicereel_site.headers import headers_of

_KNOWN_ADDRESSES = 4_096


class _Utf8Request(WSGIRequest):
    """Addresses and forms are UTF-8, whatever the content type's charset says.

    Django would decode the address with it, and fails for codecs such as hex before any of our code
    runs.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        self.content_type, self.content_params = parse_header_parameters(
            meta.get("CONTENT_TYPE", "")
        )

    def get_host(self) -> str:
        host = self._get_raw_host()
        return host if _is_allowed(host, *settings.ALLOWED_HOSTS) else super().get_host()


@lru_cache(_KNOWN_ADDRESSES)
def _is_allowed(host: str, *allowed: str) -> bool:
    """Whether Django would say so; it takes longer to find out than PostgreSQL does to find a job."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)


class _Handler(WSGIHandler):
    request_class = _Utf8Request


_WATCHING = {
    "voicereel_site.request_log.RequestLogMiddleware",
    "voicereel_site.http_metrics.HttpMetricsMiddleware",
    "voicereel_site.languages.LanguageMiddleware",
}


class _ApiHandler(BaseHandler):
    """Answers requests that come with an API key.

    The views and the middleware are those that all requests have, less what serves browsers alone:
    sessions, forms, pages' policies, static files. That, and Django's signals around each request, take a
    third of the processor that reading a job does.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        # With the models, which are not there yet when this module is imported.
        self._foresee_key = import_string("accounts.known_keys.foresee_key")
        self._forget_foreseen = import_string("accounts.limits.forget_foreseen")
        self._exception_middleware: list[Any] = []
        handler = convert_exception_to_response(self._get_response)
        for path in reversed(settings.API_MIDDLEWARE):
            middleware = import_string(path)(handler)
            if hasattr(middleware, "process_exception"):
                self._exception_middleware.append(middleware.process_exception)
            # Django does so around each. What those within raise is an answer to those that count and log.
            handler = convert_exception_to_response(middleware) if path in _WATCHING else middleware
        self._middleware_chain = handler

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """As Django does. Who polls a job asks for the same address again and again."""
        match = _resolved(settings.ROOT_URLCONF, request.path_info)
        request.resolver_match = match
        return match

    def _get_response(self, request: HttpRequest) -> HttpResponseBase:
        """As Django does, for views that are neither asynchronous nor made a transaction of."""
        match = self.resolve_request(request)
        try:
            response = match.func(request, *match.args, **match.kwargs)
            render = getattr(response, "render", None)
            return response if render is None else render()
        except Exception as exc:
            if (answer := self.process_exception_by_middleware(exc, request)) is None:
                raise
            return answer

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self._foresee_key(environ)
        # All that matters of what request_started does.
        connection.close_if_unusable_or_obsolete()
        request = _Utf8Request(environ)
        try:
            response = self._middleware_chain(request)
        finally:
            request.close()
            self._forget_foreseen()
        status = f"{response.status_code} {response.reason_phrase}"
        start_response(status, headers_of(response))
        streamed: Iterable[bytes] = response
        return streamed if response.streaming else [response.content]


@lru_cache(_KNOWN_ADDRESSES)
def _resolved(urlconf: str, path: str) -> ResolverMatch:
    return get_resolver(urlconf).resolve(path)


class Application:
    """Sends each request to the handler that has all it needs, and no more."""

    def __init__(self) -> None:
        self._handler = _Handler()
        self._api_handler = _ApiHandler()
        self._api_handler.load_middleware()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if drain.has_begun:
            start_response = drain.start_response_of(start_response)
        if environ.get("HTTP_AUTHORIZATION") and environ["PATH_INFO"].startswith("/v1/"):
            return self._api_handler(environ, start_response)
        return self._handler(environ, start_response)
