"""One attempt to deliver: signed as Standard Webhooks has it, to a checked address, in bounded time."""

import base64
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from accounts import stored_sentences as stored
from accounts.webhooks.addresses import ForbiddenTarget, Target, resolve_target

_CONNECT_S = 3.0
_TOTAL_S = 15.0


@dataclass(frozen=True)
class Outcome:
    """status: HTTP's, if there was an answer; error: what went wrong, "" if it was taken."""

    status: int | None
    error: str
    duration_ms: int

    @property
    def taken(self) -> bool:
        return not self.error


def signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """One entry of ``webhook-signature`` (Standard Webhooks 1.0.0, symmetric)."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    mac = hmac.new(secret, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(mac).decode()}"


def send(url: str, message_id: str, body: bytes, secrets: Sequence[bytes]) -> Outcome:
    """POST a message; each secret signs it, so that a receiver may change over between two.

    Redirects are not followed, and what a receiver answers beside its status is not read.
    """
    started = time.monotonic()
    timestamp = int(time.time())
    status: int | None = None
    try:
        target = resolve_target(url)
        status = _post(
            target,
            body,
            {
                "Host": target.authority,
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "User-Agent": "VoiceReel-Webhooks/1",
                "Connection": "close",
                "webhook-id": message_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": " ".join(
                    signature(secret, message_id, timestamp, body) for secret in secrets
                ),
            },
        )
        error = "" if 200 <= status < 300 else _refused(status)
    except ForbiddenTarget as exc:
        error = str(exc)
    except ssl.SSLError as exc:
        error = stored.TLS_FAILED % {"error": exc.reason or exc}
    except (OSError, http.client.HTTPException) as exc:
        late = time.monotonic() - started >= _TOTAL_S
        error = (
            stored.NO_ANSWER % {"seconds": f"{_TOTAL_S:.0f}"}
            if late
            else f"{type(exc).__name__}: {exc}"[:300]
        )
    return Outcome(status, error, round((time.monotonic() - started) * 1000))


def _refused(status: int) -> str:
    if 300 <= status < 400:
        return stored.REDIRECTED % {"status": status}
    return stored.ANSWERED % {"status": status}


def _post(target: Target, body: bytes, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = socket.create_connection((target.address, target.port), timeout=_CONNECT_S)
    # Time-outs of sockets begin anew with every byte; this one does not.
    late = threading.Event()
    watchdog = threading.Timer(_TOTAL_S, _shut, [connection, late])
    watchdog.daemon = True
    watchdog.start()
    try:
        connection.sock.settimeout(_TOTAL_S)
        if target.scheme == "https":
            wrapped = ssl.create_default_context().wrap_socket(
                connection.sock, server_hostname=target.host, do_handshake_on_connect=False
            )
            connection.sock = wrapped
            wrapped.do_handshake()
        connection.putrequest("POST", target.path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        status = connection.getresponse().status
        if late.is_set():  # an answer that was cut off looks like one that ended
            raise TimeoutError
        return status
    finally:
        watchdog.cancel()
        connection.close()


def _shut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    with suppress(OSError, AttributeError):  # it has just ended by itself
        connection.sock.shutdown(socket.SHUT_RDWR)
