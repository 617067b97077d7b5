"""An HTTP server on loopback that answers each request as the test has scripted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Reply:
    """`sent` bytes of the body are sent, then the connection is closed (None: all)."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    sent: int | None = None


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


CUT_BEFORE_ANSWER = Reply(status=0)


def document(data: object, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(data).encode(), {"Content-Type": "application/json"} | headers)


def problem(
    status: int, code: str, detail: str, errors: list[dict[str, str]] | None = None, **headers: str
) -> Reply:
    body = {
        "type": f"https://example.test/{code}",
        "title": code,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": "req_1",
        "errors": errors or [],
    }
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(
        status, json.dumps(body).encode(), {"Content-Type": "application/problem+json"} | headers
    )


class ScriptedServer:
    """Replies of a path are given in turn; the last one is given again and again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self.two_received = threading.Event()
        self._replies: dict[tuple[str, str], list[Reply]] = {}

    def script(self, method: str, path: str, *replies: Reply) -> None:
        self._replies[method, path] = list(replies)

    def answer(self, received: Received) -> Reply:
        self.received.append(received)
        if len(self.received) >= 2:
            self.two_received.set()
        replies = self._replies.get((received.method, received.path.partition("?")[0]))
        if not replies:
            return problem(404, "not_found", f"nothing is scripted at {received.path}")
        return replies.pop(0) if len(replies) > 1 else replies[0]


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            reply = server.answer(Received(self.command, self.path, dict(self.headers), body))
            if reply.status == 0:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.sent])
            if reply.sent is not None:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = ScriptedServer(f"http://127.0.0.1:{http.server_address[1]}")
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join(timeout=5)
