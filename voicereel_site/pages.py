"""What pages for people have that answers to programs do not."""

from csp.middleware import CSPMiddleware
from django.http import HttpRequest, HttpResponseBase

_API = "/v1/"


class PagePolicyMiddleware(CSPMiddleware):
    """The Content-Security-Policy of pages. Making it takes as long as reading a job, and no browser shows
    JSON as a page.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if request.path.startswith(_API):
            return response
        answered: HttpResponseBase = super().process_response(request, response)
        return answered
