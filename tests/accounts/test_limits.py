"""How many requests and jobs a tenant may have at a time, and how it is told."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts import limits
from accounts.keys import issue_key
from accounts.limits import ProcessBuckets, RateLimit, RedisBuckets
from accounts.models import Tenant
from accounts.plans import ALLOWANCES, Allowance, Plan
from synthesis import backlog
from synthesis.models import Backlog, Job
from tests.conftest import Api

Submit = Callable[..., Any]
SLOW = Allowance(
    requests=100, window_s=3_600, jobs=100, lines=1_000, in_hand=3, weight=1
)  # a token in 36 s

on_redis = pytest.mark.skipif(not settings.REDIS_URL, reason="no Redis in this profile")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change what the standard plan allows; buckets begin anew."""

    def change(
        requests: int = 600, window_s: int = 60, jobs: int = 100, lines: int = 4_000
    ) -> None:
        allowance = Allowance(requests, window_s, jobs, lines, in_hand=3, weight=1)
        monkeypatch.setitem(ALLOWANCES, Plan.STANDARD, allowance)
        limits._buckets.cache_clear()

    return change


@pytest.mark.parametrize(
    "buckets",
    [
        ProcessBuckets,
        pytest.param(lambda: RedisBuckets(settings.REDIS_URL), marks=on_redis, id="RedisBuckets"),
    ],
)
def test_a_thousand_at_once_get_as_many_tokens_as_there_are(
    buckets: Callable[[], ProcessBuckets | RedisBuckets],
) -> None:
    tried = buckets()
    tenant_id = f"ten_{timezone.now().timestamp()}"
    start = threading.Barrier(20)

    def take_fifty() -> list[tuple[bool, float, str]]:
        start.wait()
        return [tried.take(tenant_id, SLOW) for _ in range(50)]

    with ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(take_fifty) for _ in range(20)]
        taken = [one for future in futures for one in future.result()]
    assert len(taken) == 1_000
    assert sum(was for was, _, _ in taken) == 100
    # Each saw another number of tokens left, from 99 to none.
    assert sorted(int(left) for was, left, _ in taken if was) == list(range(100))
    assert tried.take(f"{tenant_id}-another", SLOW)[0]


def test_a_bucket_fills_evenly_and_never_above_its_quota() -> None:
    clock = Clock()
    buckets = ProcessBuckets(clock)
    allowance = Allowance(requests=10, window_s=20, jobs=1, lines=1, in_hand=3, weight=1)
    assert [buckets.take("ten_a", allowance)[0] for _ in range(12)] == [True] * 10 + [False] * 2
    clock.now += 1.9
    assert buckets.take("ten_a", allowance)[0] is False
    clock.now += 0.1
    assert buckets.take("ten_a", allowance)[0] is True
    assert buckets.take("ten_a", allowance)[0] is False
    clock.now += 1_000
    assert [buckets.take("ten_a", allowance)[0] for _ in range(11)] == [True] * 10 + [False]


@on_redis
def test_a_bucket_in_redis_fills_evenly_too() -> None:
    buckets = RedisBuckets(settings.REDIS_URL)
    tenant_id = f"ten_{timezone.now().timestamp()}"
    allowance = Allowance(requests=2, window_s=1, jobs=1, lines=1, in_hand=3, weight=1)
    assert [buckets.take(tenant_id, allowance)[0] for _ in range(3)] == [True, True, False]
    threading.Event().wait(0.55)
    assert [buckets.take(tenant_id, allowance)[0] for _ in range(2)] == [True, False]


def test_tenants_that_are_many_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_KEPT_IN_PROCESS", 10)
    buckets = ProcessBuckets()
    for number in range(50):
        buckets.take(f"ten_{number}", SLOW)
    assert len(buckets._buckets) == 10


def test_a_redis_that_is_away_stops_nobody_and_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buckets = RedisBuckets("redis://127.0.0.1:1/0")
    asked = []
    ask = buckets._ask

    def watched(*asking: Any) -> Any:
        asked.append(asking)
        return ask(*asking)

    monkeypatch.setattr(buckets, "_ask", watched)
    assert [buckets.take("ten_a", SLOW)[0] for _ in range(101)] == [True] * 100 + [False]
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("tokens", "taken", "retry_after_s", "expected"),
    [
        (598.5, True, 1, ('"standard";q=600;w=60', '"standard";r=598;t=1')),
        (0.0, True, 1, ('"standard";q=600;w=60', '"standard";r=0;t=60')),
        (0.4, False, 1, ('"standard";q=600;w=60', '"standard";r=0;t=60')),
    ],
)
def test_what_the_headers_say(
    tokens: float, taken: bool, retry_after_s: int, expected: tuple[str, str]
) -> None:
    limit = RateLimit("standard", Allowance(600, 60, 100, 4_000, 3, 1), taken, tokens)
    headers = limit.headers()
    assert (headers["RateLimit-Policy"], headers["RateLimit"]) == expected
    assert limit.retry_after_s == retry_after_s


def test_the_wait_for_a_token_is_told_in_whole_seconds() -> None:
    assert RateLimit("standard", SLOW, False, 0.5).retry_after_s == 18
    assert RateLimit("standard", SLOW, False, 0.01).retry_after_s == 36


def test_answers_say_what_is_left_and_then_refuse(
    alder: Api, birch: Api, allow: Callable[..., None]
) -> None:
    allow(requests=3, window_s=3_600)
    left = []
    for path in ("/v1/jobs", "/v1/jobs/job_none", "/v1/keys"):
        reply = alder.get(path)
        assert reply["RateLimit-Policy"] == '"standard";q=3;w=3600'
        match = re.fullmatch(r'"standard";r=(\d);t=(\d+)', reply["RateLimit"])
        assert match
        left.append((int(match[1]), int(match[2])))
    assert left == [(2, 1_200), (1, 2_400), (0, 3_600)]
    refused = alder.post("/v1/synthesize", {})
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 1_190 <= int(refused["Retry-After"]) <= 1_200
    assert refused["RateLimit"].startswith('"standard";r=0;')
    # Another key of the tenant's shares its bucket, and another tenant does not.
    _, second, _ = issue_key(alder.tenant)
    bearer = {"Authorization": f"Bearer {second}"}
    assert Client().get("/v1/jobs", headers=bearer).status_code == 429
    assert birch.get("/v1/jobs").status_code == 200


def test_who_is_not_known_is_told_of_no_limit(db: None) -> None:
    for path in ("/v1/jobs", "/healthz", "/v1/openapi.json"):
        assert "RateLimit" not in Client().get(path)


def test_a_plan_can_be_set(alder: Api, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("set_plan", alder.tenant.pk, "business")
    said = capsys.readouterr().out
    assert said.startswith("business from 20")
    assert said.endswith(
        " on: 6,000 requests in 60 s, 1,000 unfinished jobs with 20,000 lines to be spoken.\n"
    )
    assert alder.get("/v1/jobs")["RateLimit-Policy"] == '"business";q=6000;w=60'
    with pytest.raises(CommandError, match="no tenant ten_x"):
        call_command("set_plan", "ten_x", "business")
    call_command("create_tenant", "Cedar", "--plan", "enterprise")
    assert Tenant.objects.get(name="Cedar").plan == "enterprise"


def test_only_so_many_jobs_are_unfinished_at_a_time(
    alder: Api,
    birch: Api,
    submit: Submit,
    render: Callable[[str], None],
    allow: Callable[..., None],
) -> None:
    allow(jobs=2)
    first, second = submit(alder)["id"], submit(alder)["id"]
    script = {
        "script": [{"speaker_id": Job.objects.get(pk=first).lines.get().speaker_id, "text": "Hi."}]
    }
    refused = alder.post("/v1/synthesize", script, **{"Idempotency-Key": "later"})
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_concurrent_jobs")
    assert refused["Retry-After"] == "10"
    assert "2 are queued" in refused.json()["detail"]
    assert Job.objects.filter(tenant=alder.tenant).count() == 2
    submit(birch)  # has room of its own
    # A refusal leaves the idempotency key free, and a job that is over makes room.
    render(first)
    assert alder.post("/v1/synthesize", script, **{"Idempotency-Key": "later"}).status_code == 202
    # A retried job needs room as well.
    assert alder.post(f"/v1/jobs/{second}/cancel").status_code == 200
    submit(alder)
    refused = alder.post(f"/v1/jobs/{second}/retry")
    assert refused.json()["code"] == "too_many_concurrent_jobs"
    assert Job.objects.get(pk=second).status == "canceled"
    # What cannot be retried at all says so, whoever else is waiting.
    assert alder.post(f"/v1/jobs/{first}/retry").json()["code"] == "validation_error"


@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="a database in memory is one connection's"
)
@pytest.mark.django_db(transaction=True)
def test_simultaneous_jobs_do_not_slip_in_together(
    alder: Api, submit: Submit, allow: Callable[..., None]
) -> None:
    allow(jobs=4)
    first = submit(alder)["id"]
    speaker_id = Job.objects.get(pk=first).lines.get().speaker_id
    start = threading.Barrier(8)

    def post() -> int:
        try:
            start.wait()
            body = {"script": [{"speaker_id": speaker_id, "text": "Hello."}]}
            return int(alder.post("/v1/synthesize", body).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(future.result() for future in [pool.submit(post) for _ in range(8)])
    assert statuses == [202] * 3 + [429] * 5


def test_a_system_with_too_much_to_speak_says_that_it_is_busy(
    alder: Api, submit: Submit, render: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MOST_WAITING_LINES", 3)
    first = submit(alder, "One.", "Two.", "Three.")
    backlog.measure(backlog.Pace())
    assert Backlog.objects.get().lines == 3
    backlog.last_seen.forget()
    script = {
        "script": [{"speaker_id": Job.objects.get().lines.first().speaker_id, "text": "One more."}]
    }
    refused = alder.post("/v1/synthesize", script)
    assert (refused.status_code, refused.json()["code"]) == (503, "system_busy")
    assert refused["Retry-After"] == "30"
    # Test jobs need no engine.
    tester = Api(alder.tenant, *issue_key(alder.tenant, live=False)[:2])
    assert tester.post("/v1/synthesize", script).status_code == 202
    # A count of long ago keeps nobody out.
    Backlog.objects.update(measured_at=timezone.now() - timedelta(minutes=5))
    backlog.last_seen.forget()
    assert alder.post("/v1/synthesize", script).status_code == 202
    render(first["id"])
    backlog.measure(backlog.Pace())
    assert Backlog.objects.get().lines == 1
    backlog.last_seen.forget()
    assert alder.post("/v1/synthesize", script).status_code == 202


@on_redis
def test_a_token_that_was_asked_for_early_is_taken_once() -> None:
    buckets = RedisBuckets(settings.REDIS_URL)
    mine = f"ten_{timezone.now().timestamp()}"
    assert int(buckets.take(mine, SLOW)[1]) == 99
    buckets.ask(mine, SLOW)
    assert int(buckets.take(mine, SLOW)[1]) == 98
    assert int(buckets.take(mine, SLOW)[1]) == 97


@on_redis
def test_what_was_asked_early_is_nobody_elses_answer() -> None:
    buckets = RedisBuckets(settings.REDIS_URL)
    mine, another = (f"ten_{timezone.now().timestamp()}-{name}" for name in "ab")
    for _ in range(10):
        assert buckets.take(mine, SLOW)[0]
    buckets.ask(mine, SLOW)  # whose request is refused before it takes one
    assert int(buckets.take(another, SLOW)[1]) == 99
    _, _, before = buckets.take(mine, SLOW)
    buckets.ask(mine, SLOW)
    buckets.forget_asked()
    buckets.unsettle(mine)
    buckets.settle(mine)
    assert buckets.take(mine, SLOW)[2] != before
    buckets.ask(another, SLOW)
    assert int(buckets.take(another, SLOW)[1]) == 98
    assert int(buckets.take(mine, SLOW)[1]) <= 89


@on_redis
def test_what_was_asked_early_of_a_redis_that_went_away_is_asked_again() -> None:
    buckets = RedisBuckets(settings.REDIS_URL)
    mine = f"ten_{timezone.now().timestamp()}"
    buckets.take(mine, SLOW)
    buckets.ask(mine, SLOW)
    connection, _ = buckets._threads.asked
    connection._sock.shutdown(socket.SHUT_RDWR)
    taken, tokens, version = buckets.take(mine, SLOW)
    assert (taken, bool(version)) == (True, True)
    assert int(tokens) in (97, 98)  # whether Redis had come to it or not


class Relay:
    """Stands before Redis, and may keep its answers to itself."""

    def __init__(self, url: str) -> None:
        self.is_silent = False
        self._there = urlsplit(url).hostname, urlsplit(url).port or 6_379
        self._door = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._door.getsockname()[1]}/0"

    def _serve(self) -> None:
        while True:
            here, _ = self._door.accept()
            there = socket.create_connection(self._there)
            for pair in ((here, there, False), (there, here, True)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, may_be_kept: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if not (may_be_kept and self.is_silent):
                    target.sendall(data)


@on_redis
@pytest.mark.parametrize("is_asked_early", [False, True])
def test_a_redis_that_says_nothing_is_waited_for_no_longer_than_a_moment(
    is_asked_early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = Relay(settings.REDIS_URL)
    buckets = RedisBuckets(relay.url)
    mine = f"ten_{timezone.now().timestamp()}"
    assert buckets.take(mine, SLOW)[2]
    relay.is_silent = True
    if is_asked_early:
        buckets.ask(mine, SLOW)
    warned: list[str] = []
    monkeypatch.setattr(
        limits.log, "warning", lambda event, error: warned.append(error), raising=False
    )
    began = time.monotonic()
    taken, _, version = buckets.take(mine, SLOW)
    assert (taken, version, warned) == (True, "", ["TimeoutError"])
    assert 0.2 < time.monotonic() - began < 2
    relay.is_silent = False
    assert buckets.take(mine, SLOW)[2] == ""  # it is left alone for a while
    buckets._left_alone_until = 0.0
    taken, tokens, version = buckets.take(mine, SLOW)
    assert (taken, bool(version)) == (True, True)
    assert (
        int(tokens) == 97
    )  # the token that was asked for meanwhile is gone, its answer nobody else's


@on_redis
def test_connections_that_break_are_replaced_however_many_there_were() -> None:
    buckets = RedisBuckets(settings.REDIS_URL)
    for number in range(150):
        _, _, version = buckets.take(f"ten_b{number % 2}", SLOW)
        assert version
        buckets._threads.connection.disconnect()  # as a server that went away
        buckets._threads.connection = None if number % 3 else buckets._threads.connection
    with ThreadPoolExecutor(1) as pool:  # nor do threads that come and go use any up
        for _ in range(3):
            assert pool.submit(buckets.take, "ten_b0", SLOW).result()[2]
