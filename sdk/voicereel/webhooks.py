"""For who receives webhooks: is this message from VoiceReel, and new?"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from .errors import VoiceReelError

_TOLERANCE_S = 300


class InvalidWebhook(VoiceReelError):
    """The message is not signed with the secret, or is too old: answer 400 and do nothing."""

    code = "invalid_webhook"


def verify_webhook(headers: Mapping[str, str], body: bytes, secret: str) -> dict[str, Any]:
    """The message (`type`, `timestamp`, `data`) in a request that a webhook made.

    headers: in any case; body: as it came, to the byte; secret: the endpoint's, `whsec_...`.
    Raises InvalidWebhook. Messages may come twice: remember `headers["webhook-id"]`.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp = given["webhook-id"], given["webhook-timestamp"]
        signatures = given["webhook-signature"].split()
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        age_s = abs(time.time() - int(timestamp))
    except (KeyError, ValueError, binascii.Error) as exc:
        raise InvalidWebhook("the request has no signature of a webhook") from exc
    mac = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    expected = f"v1,{base64.b64encode(mac).decode()}"
    if not any(hmac.compare_digest(one.encode(), expected.encode()) for one in signatures):
        raise InvalidWebhook("the signature does not match: is the secret that of this endpoint?")
    if age_s > _TOLERANCE_S:
        raise InvalidWebhook("the message is more than five minutes old: is the clock right?")
    message: dict[str, Any] = json.loads(body)
    return message
