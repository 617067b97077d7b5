"""How much a tenant may ask for at a time: requests by a token bucket, unfinished jobs by a count.

The bucket holds a plan's quota and refills evenly over its window. With Redis all web processes share
it; without, each has its own. A Redis that is away stops nobody: the processes' own buckets stand in.

The bucket also knows the version of the tenant and its keys, which changes whenever they do: so a request
learns in one round trip whether what its process remembers of its key still holds (accounts.known_keys).

Answers say where the tenant stands (draft-ietf-httpapi-ratelimit-headers-10).
"""

import contextlib
import math
import socket
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

import redis
import structlog
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _

from accounts import audit
from accounts.models import Tenant
from accounts.plans import Allowance, allowance_of
from voicereel_site.errors import Refusal
from voicereel_site.headers import set_header

log = structlog.get_logger(__name__)

_KEPT_IN_PROCESS = 10_000  # tenants; who is forgotten begins with a full bucket
# A limit is not worth a request's time: Redis answers at once, or is left alone for a while.
_REDIS_TIMEOUT_S = 0.25
_REDIS_LEFT_ALONE_S = 5.0

# While a change is under way nothing may be remembered; should whoever makes it die, for so long.
_UNSETTLED_S = 60

# Redis's own clock, so that machines need not agree on the time. Returns whether there was a token; how
# many are left, as text, because Redis would cut a number to an integer; and the tenant's version, ""
# while it changes. A version that Redis has lost is made anew, and equals none that anybody remembers.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
local quota, window_s = tonumber(ARGV[1]), tonumber(ARGV[2])
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at', 'version', 'unsettled_until')
local tokens, at = tonumber(bucket[1]) or quota, tonumber(bucket[2]) or now
local version, unsettled_until = bucket[3], tonumber(bucket[4])
if unsettled_until and now >= unsettled_until then
    redis.call('HDEL', KEYS[1], 'unsettled_until')
    unsettled_until, version = nil, nil
end
if not version then
    version = clock[1] .. '.' .. clock[2]
    redis.call('HSET', KEYS[1], 'version', version)
end
tokens = math.min(quota, tokens + math.max(0, now - at) * quota / window_s)
local taken = 0
if tokens >= 1 then
    taken, tokens = 1, tokens - 1
end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], math.ceil(window_s))
return {taken, tostring(tokens), unsettled_until and '' or version}
"""
_UNSETTLE = """
local clock = redis.call('TIME')
redis.call('HSET', KEYS[1], 'unsettled_until', clock[1] + ARGV[1])
redis.call('EXPIRE', KEYS[1], 2 * ARGV[1])
"""
_SETTLE = """
local clock = redis.call('TIME')
redis.call('HDEL', KEYS[1], 'unsettled_until')
redis.call('HSET', KEYS[1], 'version', clock[1] .. '.' .. clock[2])
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""


class RateLimit(NamedTuple):
    """What became of a request. tokens: how many requests are left, in parts of one too; version: of the
    tenant and its keys, "" where nobody knows.
    """

    plan: str
    allowance: Allowance
    taken: bool
    tokens: float
    version: str = ""

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

    def take(self, tenant_id: str, allowance: Allowance) -> tuple[bool, float, str]:
        """Whether there was a token, how many are left, and the tenant's version."""
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
        return taken, tokens, ""

    def ask(self, tenant_id: str, allowance: Allowance) -> None:
        """Nobody has to be asked."""

    def forget_asked(self) -> None:
        """Likewise."""

    def forget(self, tenant_id: str) -> None:
        """Begin with a full bucket again."""
        with self._lock:
            self._buckets.pop(tenant_id, None)

    def unsettle(self, tenant_id: str) -> None:
        """Have no version while the tenant or its keys change."""

    def settle(self, tenant_id: str) -> None:
        """Have a new version now that they have changed."""


class RedisBuckets:
    """Buckets that all web processes share."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=_REDIS_TIMEOUT_S, socket_connect_timeout=_REDIS_TIMEOUT_S
        )
        self._take = self._client.register_script(_TAKE)
        self._unsettle = self._client.register_script(_UNSETTLE)
        self._settle = self._client.register_script(_SETTLE)
        # The same bytes for a tenant's every request.
        self._asking = lru_cache(_KEPT_IN_PROCESS)(self._packed)
        self._own = ProcessBuckets()
        self._threads = threading.local()
        self._left_alone_until = 0.0

    def take(self, tenant_id: str, allowance: Allowance) -> tuple[bool, float, str]:
        """As ProcessBuckets."""
        if time.monotonic() >= self._left_alone_until:
            try:
                taken, tokens, version = self._ask(
                    _redis_key(tenant_id), allowance.requests, allowance.window_s
                )
                return bool(taken), float(tokens), version.decode()
            except (redis.RedisError, OSError) as exc:
                self._left_alone_until = time.monotonic() + _REDIS_LEFT_ALONE_S
                log.warning("limits.without_redis", error=type(exc).__name__)
        return self._own.take(tenant_id, allowance)

    def ask(self, tenant_id: str, allowance: Allowance) -> None:
        """Send for the token that this thread takes next: Redis answers while the request goes on its way.

        Waiting for an answer costs three times what sending and reading do (measured: 155 us of processor).
        """
        kept: redis.Connection | None = getattr(self._threads, "connection", None)
        if kept is None or time.monotonic() < self._left_alone_until:
            return
        self._threads.connection = None
        asking = _redis_key(tenant_id), allowance.requests, allowance.window_s
        try:
            kept.send_packed_command(self._asking(*asking), check_health=False)
        except (redis.RedisError, OSError):
            kept.disconnect()
            return
        self._threads.asked = kept, asking

    def forget_asked(self) -> None:
        """Have what was asked and not taken be no later request's: its version is of before."""
        asked = getattr(self._threads, "asked", None)
        if asked is not None:
            self._threads.asked = None
            asked[0].disconnect()

    def _ask(self, key: str, quota: int, window_s: int) -> Any:
        """Run the script on a connection of this thread's own: a pool takes longer than Redis does."""
        asked = getattr(self._threads, "asked", None)
        self._threads.asked = None
        if asked is not None:
            connection, asking = asked
            if asking == (key, quota, window_s):
                with contextlib.suppress(redis.ConnectionError):
                    return self._answer(connection, key, quota, window_s)
            connection.disconnect()
        kept: redis.Connection | None = getattr(self._threads, "connection", None)
        if kept is not None:
            try:
                return self._run(kept, key, quota, window_s)
            except redis.ConnectionError:
                pass  # closed since: a Redis that was started again has lost nothing that counts
        return self._run(self._new_connection(), key, quota, window_s)

    def _new_connection(self) -> Any:
        # Not the pool's own: it counts those that it makes, and stops at a hundred.
        pool = self._client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        if type(connection) is redis.Connection:  # without TLS
            connection.register_connect_callback(self._leave_timeout_to_kernel)
        return connection

    def _leave_timeout_to_kernel(self, connection: Any) -> None:
        """Python asks the kernel whether it may read or write, and lets other threads go first, before each time that
        it does, if it is to see to a timeout. The kernel sees to one by itself (socket(7), SO_RCVTIMEO).
        """
        seconds = struct.pack("@ll", 0, round(_REDIS_TIMEOUT_S * 1e6))
        connection._sock.settimeout(None)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection._sock.setsockopt(socket.SOL_SOCKET, option, seconds)

    def _run(self, connection: Any, key: str, quota: int, window_s: int) -> Any:
        self._threads.connection = None
        try:
            connection.send_packed_command(self._asking(key, quota, window_s), check_health=False)
        except BaseException:
            connection.disconnect()
            raise
        return self._answer(connection, key, quota, window_s)

    def _answer(self, connection: Any, key: str, quota: int, window_s: int) -> Any:
        try:
            try:
                reply = connection.read_response()
            except redis.exceptions.NoScriptError:
                connection.send_command("EVAL", _TAKE, 1, key, quota, window_s)
                reply = connection.read_response()
        except BaseException as exc:
            connection.disconnect()  # a late answer must be nobody's
            if isinstance(exc.__context__, BlockingIOError):
                raise redis.TimeoutError("Redis did not answer in time.") from exc
            raise
        self._threads.connection = connection
        return reply

    def _packed(self, key: str, quota: int, window_s: int) -> Any:
        asking = ("EVALSHA", self._take.sha, 1, key, quota, window_s)
        return self._new_connection().pack_command(*asking)

    def forget(self, tenant_id: str) -> None:
        """As ProcessBuckets. Raises RedisError."""
        self._client.delete(_redis_key(tenant_id))
        self._own.forget(tenant_id)

    def unsettle(self, tenant_id: str) -> None:
        """As ProcessBuckets. Raises RedisError."""
        self._unsettle(keys=[_redis_key(tenant_id)], args=[_UNSETTLED_S])

    def settle(self, tenant_id: str) -> None:
        """As ProcessBuckets. Raises RedisError."""
        self._settle(keys=[_redis_key(tenant_id)], args=[_UNSETTLED_S])


def _redis_key(tenant_id: str) -> str:
    return f"voicereel:requests:{tenant_id}"


@cache
def _buckets() -> ProcessBuckets | RedisBuckets:
    return RedisBuckets(settings.REDIS_URL) if settings.REDIS_URL else ProcessBuckets()


def forget(tenant_id: str) -> None:
    """Forget what a tenant has asked for, as its erasure does. Raises RedisError."""
    _buckets().forget(tenant_id)


def set_own_limits(tenant: Tenant, own_limits: Mapping[str, int]) -> None:
    """Allow a tenant more or less than its plan does. The next request is the last that each process counts
    by what it remembers.

    own_limits: by names of accounts.plans.Allowance; what is not there is as the plan has it.
    """
    with transaction.atomic():
        note_change(tenant.pk)
        Tenant.objects.filter(pk=tenant.pk).update(own_limits=dict(own_limits))
        audit.record(tenant.pk, "limits.changed", tenant.pk, **own_limits)


def note_change(tenant_id: str) -> None:
    """Have no process believe what it remembers of a tenant or its keys.

    Before either is changed, inside the transaction that does; after it has been committed they may be
    remembered anew. Where Redis does not answer, processes that can't reach it either remember nothing,
    and others for half a minute at most.
    """
    _tell_buckets(_buckets().unsettle, tenant_id)
    transaction.on_commit(lambda: _tell_buckets(_buckets().settle, tenant_id))


def _tell_buckets(tell: Callable[[str], None], tenant_id: str) -> None:
    try:
        tell(tenant_id)
    except redis.RedisError as exc:
        log.warning("limits.change_not_told", error=type(exc).__name__)


def foresee_request(tenant: Tenant) -> None:
    """Say that this thread is about to count a request of a tenant's."""
    _buckets().ask(tenant.pk, allowance_of(tenant.plan, tenant.own_limits))


def forget_foreseen() -> None:
    """Say that the request is over: it may have been refused before it was counted."""
    _buckets().forget_asked()


def count_request(request: HttpRequest, tenant: Tenant) -> RateLimit:
    """Take one request off a tenant's bucket; its answer will say what is left.

    Raises rate_limited.
    """
    allowance = allowance_of(tenant.plan, tenant.own_limits)
    limit = RateLimit(tenant.plan, allowance, *_buckets().take(tenant.pk, allowance))
    request.META[_LIMIT] = limit
    if not limit.taken:
        raise Refusal(
            "rate_limited",
            _(
                "Your plan allows %(requests)s requests in %(window_s)s s. Try again in "
                "%(seconds)s s; RateLimit in each answer says how many are left."
            )
            % {
                "requests": f"{allowance.requests:,}",
                "window_s": allowance.window_s,
                "seconds": limit.retry_after_s,
            },
            429,
            headers={"Retry-After": str(limit.retry_after_s)},
        )
    return limit


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
                set_header(response, name, value)
        return response
