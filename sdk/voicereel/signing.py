"""Signed requests: HTTP Message Signatures (RFC 9421) with HMAC-SHA256, and Content-Digest."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time

import httpx

from .errors import ConfigurationError
from .transfer import CountedStream

_KEY_PREFIX = re.compile(r"(vr_(?:live|test)_[0-9A-Za-z]{8})_")


class Signer:
    """Signs requests with a key's signing secret, which is 32 bytes in base64."""

    def __init__(self, api_key: str, signing_secret: str) -> None:
        match = _KEY_PREFIX.match(api_key)
        try:
            self._secret = base64.b64decode(signing_secret, validate=True)
        except binascii.Error:
            self._secret = b""
        if len(self._secret) < 32:
            raise ConfigurationError("the signing secret is not whole: copy it as it was shown")
        if match is None:
            raise ConfigurationError("requests with this API key cannot be signed")
        self._key_id = match[1]

    def __repr__(self) -> str:
        return f"Signer({self._key_id!r})"

    def sign(self, request: httpx.Request) -> None:
        """Add the headers. Each attempt needs a signature of its own: a server takes none twice."""
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        values = {"@method": request.method, "@path": path, "@query": f"?{query}"}
        if int(request.headers.get("Content-Length", 0)) > 0:
            request.headers["Content-Digest"] = f"sha-256=:{_digest(request)}:"
            values["content-digest"] = request.headers["Content-Digest"]
        parameters = (
            f"({' '.join(f'{chr(34)}{name}{chr(34)}' for name in values)})"
            f';created={int(time.time())};keyid="{self._key_id}"'
            f';nonce="{secrets.token_urlsafe(18)}";alg="hmac-sha256"'
        )
        lines = [f'"{name}": {value}' for name, value in values.items()]
        base = "\n".join([*lines, f'"@signature-params": {parameters}'])
        signature = hmac.new(self._secret, base.encode(), hashlib.sha256).digest()
        request.headers["Signature-Input"] = f"sig1={parameters}"
        request.headers["Signature"] = f"sig1=:{base64.b64encode(signature).decode()}:"


def _digest(request: httpx.Request) -> str:
    stream = request.stream
    if isinstance(stream, CountedStream):
        stream = stream.body  # reading it is not sending it
    assert isinstance(stream, httpx.SyncByteStream)
    digest = hashlib.sha256()
    for chunk in stream:
        digest.update(chunk)
    return base64.b64encode(digest.digest()).decode()
