"""Requests with a key take a shorter way through the web process, and nobody can tell."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.security import SecurityMiddleware
from django.test import Client, RequestFactory

from accounts import limits
from tests.conftest import Api
from voicereel_site.handlers import Application
from voicereel_site.headers import ApiSecurityMiddleware, headers_of, set_header

application = Application()
# As without a test around it: a handler closes a connection that is in the middle of a transaction.
pytestmark = pytest.mark.django_db(transaction=True)


class Answer:
    """What a WSGI server would send."""

    def __init__(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        path, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/json",
            "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http",
            "HTTP_HOST": "testserver",
        } | {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        self.status, self.headers = 0, dict[str, str]()
        pieces = application(environ, self._start)
        self.body = b"".join(pieces)
        if close := getattr(pieces, "close", None):
            close()

    def _start(self, status: str, headers: list[tuple[str, str]], *_: Any) -> None:
        self.status, self.headers = int(status.split()[0]), dict(headers)


def by_key(api: Api, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    content = b"" if body is None else json.dumps(body).encode()
    return Answer(method, path, content, authorization=f"Bearer {api.secret}", **headers)


# What differs from one request to the next, and what only browsers are told.
_OTHERWISE = {"X-Request-ID", "RateLimit", "X-Frame-Options", "Vary"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs"),
        ("GET", "/v1/jobs?limit=0"),
        ("GET", "/v1/speakers"),
        ("GET", "/v1/jobs/job_none"),
        ("HEAD", "/v1/jobs"),
        ("OPTIONS", "/v1/jobs"),
        ("PUT", "/v1/jobs"),
        ("POST", "/v1/synthesize"),
        ("GET", "/v1/nothing"),
        ("GET", "/v1/files/nothing/nothing.mp3"),
    ],
)
def test_it_answers_as_the_longer_way_does(alder: Api, method: str, path: str) -> None:
    short = by_key(alder, method, path)
    long: HttpResponse = Client().generic(
        method,
        path,
        content_type="application/json",
        headers={"Authorization": f"Bearer {alder.secret}", "Host": "testserver"},
    )
    assert short.status == long.status_code
    kept = {name: value for name, value in short.headers.items() if name not in _OTHERWISE}
    assert kept == {name: value for name, value in long.items() if name not in _OTHERWISE}
    if short.body and method not in ("OPTIONS", "HEAD"):  # whose body the server leaves out
        one, other = json.loads(short.body), json.loads(long.content)
        for shown in (one, other):
            shown.pop("request_id", None)
        assert one == other


def test_what_nobody_foresaw_is_a_problem_too(alder: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("synthesis.api.get_job_to_show", fail)
    answer = by_key(alder, "GET", "/v1/jobs/job_x")
    assert answer.status == 500
    assert json.loads(answer.body)["code"] == "internal_error"


def test_a_file_is_streamed_to_who_sends_a_key_along(
    alder: Api, submit: Callable[..., Any], render: Callable[[str], None]
) -> None:
    job_id = submit(alder, "Hello there.")["id"]
    render(job_id)
    shown = json.loads(by_key(alder, "GET", f"/v1/jobs/{job_id}").body)
    path = shown["audio"]["url"].removeprefix("http://testserver")
    answer = by_key(alder, "GET", path)
    assert answer.status == 200
    assert len(answer.body) == shown["audio"]["size_bytes"] == int(answer.headers["Content-Length"])


def test_a_session_takes_the_longer_way_and_needs_its_token(
    alder: Api, make_member: Callable[..., Any]
) -> None:
    browser = make_member(alder)
    cookie = f"{settings.SESSION_COOKIE_NAME}={browser.client.cookies[settings.SESSION_COOKIE_NAME].value}"
    assert Answer("GET", "/v1/jobs", cookie=cookie).status == 200
    forged = Answer("POST", "/v1/synthesize", b"{}", cookie=cookie)
    assert (forged.status, json.loads(forged.body)["code"]) == (403, "insufficient_scope")
    # A cookie beside a key that does not work opens nothing.
    answer = Answer("GET", "/v1/jobs", cookie=cookie, authorization="Bearer vr_live_no")
    assert answer.status == 401


def test_pages_take_the_longer_way(alder: Api) -> None:
    answer = Answer("GET", "/account/login/", authorization=f"Bearer {alder.secret}")
    assert answer.status == 200
    assert "Content-Security-Policy" in answer.headers


def test_an_answer_without_content_has_no_length(alder: Api, submit: Callable[..., Any]) -> None:
    answer = by_key(alder, "DELETE", f"/v1/jobs/{submit(alder)['id']}")
    assert (answer.status, answer.body) == (204, b"")
    assert "Content-Length" not in answer.headers


def test_a_web_process_starts_without_what_only_workers_need() -> None:
    """Each would cost every web process its memory (SciPy: 80 MB), and a restart its time."""
    heavy = {"scipy", "onnxruntime", "torch", "av"}
    program = "import voicereel_site.wsgi, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    modules = set(loaded.stdout.split())
    assert "synthesis.comparison.pages" in modules
    assert not heavy & modules


@pytest.mark.parametrize(
    "where",
    ["accounts.limits.RateLimitMiddleware.__call__", "accounts.audit.AuditMiddleware.__call__"],
)
def test_what_middleware_raises_is_an_answer_that_is_logged(
    alder: Api, where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> HttpResponse:
        raise RuntimeError("in the middle of it")

    monkeypatch.setattr(where, fail)
    answer = by_key(alder, "GET", "/v1/jobs")
    assert answer.status == 500
    assert json.loads(answer.body)["code"] == "internal_error"
    [line] = [
        one
        for one in map(json.loads, capsys.readouterr().err.splitlines())
        if one["event"] == "request"
    ]
    assert (line["status"], line["request_id"]) == (500, answer.headers["X-Request-ID"])


def test_cookies_are_headers_too() -> None:
    response = HttpResponse(headers={"X-One": "1"})
    set_header(response, "x-one", "2")
    set_header(response, "Content-Length", "0")
    response.set_cookie("a", "b")
    found = headers_of(response)
    assert found[0] == ("x-one", "2")
    assert found[2:] == [("Content-Length", "0"), ("Set-Cookie", "a=b; Path=/")]
    assert response["X-One"] == "2"


@pytest.mark.skipif(not settings.REDIS_URL, reason="no Redis in this profile")
def test_a_request_that_is_not_counted_leaves_no_answer_to_the_next(alder: Api) -> None:
    for _ in range(2):
        assert by_key(alder, "GET", "/v1/jobs").status == 200
    assert by_key(alder, "GET", "/v1/nowhere").status == 404
    buckets = limits._buckets()
    assert isinstance(buckets, limits.RedisBuckets)
    assert getattr(buckets._threads, "asked", None) is None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_it_says_what_djangos_middleware_says(scheme: str, settings: Any) -> None:
    settings.SECURE_HSTS_SECONDS, settings.SECURE_HSTS_PRELOAD = 3_600, True
    settings.SECURE_REFERRER_POLICY = "same-origin, strict-origin"

    def answered(request: HttpRequest) -> HttpResponse:
        return HttpResponse(headers={"Cross-Origin-Opener-Policy": "unsafe-none"})

    request = RequestFactory().get("/v1/jobs", secure=scheme == "https")
    said = ApiSecurityMiddleware(answered)(request)
    assert dict(said.items()) == dict(SecurityMiddleware(answered)(request).items())
    assert ("Strict-Transport-Security" in said) == (scheme == "https")


def test_who_comes_without_tls_is_sent_to_it(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    request = RequestFactory().get("/v1/jobs?limit=3")
    said = ApiSecurityMiddleware(lambda request: HttpResponse())(request)
    assert (said.status_code, said["Location"]) == (301, "https://testserver/v1/jobs?limit=3")


def test_a_host_that_is_not_ours_is_in_no_link(alder: Api, submit: Callable[..., Any]) -> None:
    path = f"/v1/jobs/{submit(alder, 'Hello there.')['id']}"
    for host, status in (("testserver", 200), ("testserver:8000", 200), ("evil.example", 400)):
        for _ in range(2):  # once that it is known
            answer = by_key(alder, "GET", path, host=host)
            assert answer.status == status
        key = {"Authorization": f"Bearer {alder.secret}", "Host": host}
        assert Client().get(path, headers=key).status_code == status
