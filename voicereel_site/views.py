"""What the API's views have in common."""

from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any, cast

from django.http import HttpRequest, HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from voicereel_site.headers import set_header


class ApiView(APIView):
    """DRF's, less what we have no use for: versions, throttles, formats in addresses, a choice of renderers. What
    keeps nothing of a request is made once for all of them.
    """

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.args, self.kwargs = args, kwargs
        context = {"view": self, "args": args, "kwargs": kwargs}
        self.request = asked = Request(
            request,
            parsers=_made(tuple(self.parser_classes)),
            authenticators=self.get_authenticators(),
            negotiator=_made((self.content_negotiation_class,))[0],
            parser_context=context,
        )
        try:
            asked._authenticate()
            self.check_permissions(asked)
            method = str(request.method).lower()
            known = method if method in self.http_method_names else ""
            handle = cast(Any, getattr(self, known, self.http_method_not_allowed))
            response = handle(asked, *args, **kwargs)
        except Exception as exc:
            response = self.handle_exception(exc)
        if isinstance(response, Response):
            (renderer,) = _made(tuple(self.renderer_classes))
            response.accepted_renderer, response.accepted_media_type = renderer, renderer.media_type
            response.renderer_context = context
        set_header(response, "Allow", _allowed_by(cast(Hashable, type(self))))
        return cast(HttpResponseBase, response)

    def get_authenticators(self) -> list[Any]:
        return _made(tuple(self.authentication_classes))

    def get_permissions(self) -> list[Any]:
        return _made(tuple(self.permission_classes))


@cache
def _made(classes: Sequence[Callable[[], Any]]) -> list[Any]:
    return [make() for make in classes]


@cache
def _allowed_by(view: Any) -> str:
    methods = [method.upper() for method in view.http_method_names if hasattr(view, method)]
    return ", ".join(methods)
