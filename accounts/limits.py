"""How much a tenant may ask for at a time: requests by a token bucket, unfinished jobs by a count.

The bucket holds a plan's quota and refills evenly over its window. With Redis all web processes share
it; without, each has its own. A Redis that is away stops nobody: the processes' own buckets stand in.

Answers say where the tenant stands (draft-ietf-httpapi-ratelimit-headers-10).
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import redis
import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from accounts.models import Tenant
from accounts.plans import Allowance, allowance_of
from voicereel_site.errors import Refusal

log = structlog.get_logger(__name__)

_KEPT_IN_PROCESS = 10_000  # tenants; who is forgotten begins with a full bucket
# A limit is not worth a request's time: Redis answers at once, or is left alone for a while.
_REDIS_TIMEOUT_S = 0.25
_REDIS_LEFT_ALONE_S = 5.0

# Redis's own clock, so that machines need not agree on the time. Returns whether there was a token, and
# how many are left, as text: Redis would cut a number to an integer.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
local quota, window_s = tonumber(ARGV[1]), tonumber(ARGV[2])
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(bucket[1]) or quota, tonumber(bucket[2]) or now
tokens = math.min(quota, tokens + math.max(0, now - at) * quota / window_s)
local taken = 0
if tokens >= 1 then
    taken, tokens = 1, tokens - 1
end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], math.ceil(window_s))
return {taken, tostring(tokens)}
"""


@dataclass(frozen=True)
class RateLimit:
    """What became of a request. tokens: how many requests are left, in parts of one too."""

    plan: str
    allowance: Allowance
    taken: bool
    tokens: float

    @property
    def retry_after_s(self) -> int:
        """Seconds until the next token, when there is none."""
        return max(1, math.ceil((1 - self.tokens) / self._per_s))

    @property
    def _per_s(self) -> float:
        return self.allowance.requests / self.allowance.window_s

    def headers(self) -> dict[str, str]:
        full_in_s = math.ceil((self.allowance.requests - self.tokens) / self._per_s)
        return {
            "RateLimit-Policy": f'"{self.plan}";q={self.allowance.requests};'
            f"w={self.allowance.window_s}",
            "RateLimit": f'"{self.plan}";r={int(self.tokens)};t={full_in_s}',
        }


class ProcessBuckets:
    """Buckets of this process's own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, tenant_id: str, allowance: Allowance) -> tuple[bool, float]:
        """Whether there was a token, and how many are left."""
        quota = float(allowance.requests)
        with self._lock:
            now = self._clock()
            tokens, at = self._buckets.pop(tenant_id, (quota, now))
            tokens = min(quota, tokens + (now - at) * quota / allowance.window_s)
            taken = tokens >= 1
            tokens -= taken
            self._buckets[tenant_id] = tokens, now
            if len(self._buckets) > _KEPT_IN_PROCESS:
                self._buckets.popitem(last=False)
        return taken, tokens


class RedisBuckets:
    """Buckets that all web processes share."""

    def __init__(self, url: str) -> None:
        client = redis.Redis.from_url(
            url, socket_timeout=_REDIS_TIMEOUT_S, socket_connect_timeout=_REDIS_TIMEOUT_S
        )
        self._take = client.register_script(_TAKE)
        self._own = ProcessBuckets()
        self._left_alone_until = 0.0

    def take(self, tenant_id: str, allowance: Allowance) -> tuple[bool, float]:
        """As ProcessBuckets."""
        if time.monotonic() >= self._left_alone_until:
            try:
                taken, tokens = self._take(
                    keys=[f"voicereel:requests:{tenant_id}"],
                    args=[allowance.requests, allowance.window_s],
                )
                return bool(taken), float(tokens)
            except redis.RedisError as exc:
                self._left_alone_until = time.monotonic() + _REDIS_LEFT_ALONE_S
                log.warning("limits.without_redis", error=type(exc).__name__)
        return self._own.take(tenant_id, allowance)


@cache
def _buckets() -> ProcessBuckets | RedisBuckets:
    return RedisBuckets(settings.REDIS_URL) if settings.REDIS_URL else ProcessBuckets()


def count_request(request: HttpRequest, tenant: Tenant) -> None:
    """Take one request off a tenant's bucket; its answer will say what is left.

    Raises rate_limited.
    """
    allowance = allowance_of(tenant.plan)
    limit = RateLimit(tenant.plan, allowance, *_buckets().take(tenant.pk, allowance))
    request.META[_LIMIT] = limit
    if not limit.taken:
        raise Refusal(
            "rate_limited",
            f"Your plan allows {allowance.requests:,} requests in {allowance.window_s} s. Try again "
            f"in {limit.retry_after_s} s; RateLimit in each answer says how many are left.",
            429,
            headers={"Retry-After": str(limit.retry_after_s)},
        )


_LIMIT = "voicereel.rate_limit"


class RateLimitMiddleware:
    """Says in each answer to a known key where its tenant stands."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        limit: RateLimit | None = request.META.get(_LIMIT)
        if limit is not None:
            for name, value in limit.headers().items():
                response[name] = value
        return response
