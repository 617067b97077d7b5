"""How requests are answered, under the names that django-prometheus gives them."""

import time
from collections.abc import Callable
from functools import cache

from django.http import HttpRequest, HttpResponseBase
from django_prometheus.conf import PROMETHEUS_LATENCY_BUCKETS
from django_prometheus.middleware import Metrics
from prometheus_client import Counter, Histogram

# What anybody may send in their place must not become labels.
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class HttpMetrics(Metrics):
    """Of its seventeen the two that tell all: the others would cost each request as much again."""

    def register(self) -> None:
        self.responses_by_status_view_method = self.register_metric(
            Counter,
            "django_http_responses_total_by_status_view_method",
            "Count of responses by status, view, method.",
            ["status", "view", "method"],
        )
        self.requests_latency_by_view_method = self.register_metric(
            Histogram,
            "django_http_requests_latency_seconds_by_view_method",
            "Histogram of request processing time labelled by view.",
            ["view", "method"],
            buckets=PROMETHEUS_LATENCY_BUCKETS,
        )


class HttpMetricsMiddleware:
    """Counts every answer once, refusals of other middleware among them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        metrics = HttpMetrics.get_instance()
        # What a label stands for is looked for once: each way to find it takes a lock.
        self._responses = cache(metrics.responses_by_status_view_method.labels)
        self._latency = cache(metrics.requests_latency_by_view_method.labels)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = self.get_response(request)
        view = (
            "<unnamed view>" if request.resolver_match is None else request.resolver_match.view_name
        )
        method = request.method if request.method in _METHODS else "<invalid method>"
        self._responses(str(response.status_code), view, method).inc()
        self._latency(view, method).observe(time.perf_counter() - started)
        return response
