"""Signed requests: HTTP Message Signatures (RFC 9421) with HMAC-SHA256 and Content-Digest (RFC 9530).

A key that requires signatures is of no use to whoever reads it off the wire or out of a log, and what
was sent can be neither changed nor sent again.
"""

import base64
import binascii
import hashlib
import hmac
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.encryption import decrypt
from accounts.models import ApiKey, UsedNonce
from voicereel_site.errors import Refusal

CLOCK_SKEW = timedelta(minutes=5)
# A nonce is of no use again once its signature is too old, by either side's clock.
NONCES_KEPT = 2 * CLOCK_SKEW
SECRET_BYTES = 32
_REQUIRED = ("@method", "@path", "@query")
_LARGEST_BODY_BYTES = 52 * 1024**2  # what the largest upload needs and a little
_IN_MEMORY_BYTES = 1024**2
_CHUNK_BYTES = 256 * 1024

# The one form in which RFC 8941 serialises these inner lists: RFC 9421, 2.3, signs that form.
_INPUT = re.compile(
    r'([a-z*][a-z0-9_.*-]*)=(\(("[^" ]+"(?: "[^" ]+")*)?\)((?:;[a-z]+=(?:"[ !#-\[\]-~]*"|\d{1,15}))*))'
)
_EXAMPLE = (
    'sig1=("@method" "@path" "@query" "content-digest");created=1618884473;'
    'keyid="vr_live_AbCdEfGh";nonce="...";alg="hmac-sha256"'
)
_PARAMETER = re.compile(r';([a-z]+)=(?:"([^"]*)"|(\d+))')
_BYTES = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):")
_NONCE = re.compile(r"[!-~]{8,128}")
_DIGESTS: Mapping[str, Callable[[], Any]] = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}


@dataclass(frozen=True)
class SignatureInput:
    """What a ``Signature-Input`` says."""

    label: str
    components: Sequence[str]
    parameters: Mapping[str, str]
    signed_form: str  # the value of @signature-params


def refused(detail: str) -> Refusal:
    """The 401 for a signature that does not hold. ``detail`` says what to change."""
    return Refusal("invalid_signature", detail, 401, headers={"WWW-Authenticate": "Signature"})


def parse_input(header: str) -> SignatureInput:
    """Read the header. Raises invalid_signature unless it describes one signature."""
    match = _INPUT.fullmatch(header.strip())
    if match is None:
        raise refused(
            _("Signature-Input must describe one signature, such as %(example)s.")
            % {"example": _EXAMPLE}
        )
    label, signed_form, components, parameters = match.groups()
    return SignatureInput(
        label,
        [part.strip('"') for part in (components or "").split(" ") if part],
        {name: text or number for name, text, number in _PARAMETER.findall(parameters)},
        signed_form,
    )


def signature_base(request: HttpRequest, given: SignatureInput) -> bytes:
    """The text that is signed (RFC 9421, 2.5). Raises invalid_signature for what is not there."""
    if len(set(given.components)) < len(given.components):
        raise refused(_("A component is named twice in Signature-Input."))
    lines = [f'"{name}": {_component(request, name)}' for name in given.components]
    return "\n".join([*lines, f'"@signature-params": {given.signed_form}']).encode()


def _component(request: HttpRequest, name: str) -> str:
    match name:
        case "@method":
            return str(request.method)
        case "@path":
            # As it is sent: what has to be is percent-encoded.
            return quote(request.path, safe="/:@!$&'()*+,;=~")
        case "@query":
            return f"?{request.META.get('QUERY_STRING', '')}"
        case "@authority":
            return request.get_host().lower()
    if name.startswith("@"):
        detail = _("%(name)s cannot be signed here; sign @method, @path, @query or @authority.")
        raise refused(detail % {"name": name})
    value = request.headers.get(name)
    if value is None:
        detail = _("The header %(name)s is named in Signature-Input and was not sent.")
        raise refused(detail % {"name": name})
    return " ".join(value.split("\n")).strip()


def sign(secret: bytes, base: bytes) -> bytes:
    """HMAC-SHA256 of a signature base (RFC 9421, 3.3.3)."""
    return hmac.new(secret, base, hashlib.sha256).digest()


def check_signature(request: HttpRequest, row: ApiKey) -> None:
    """Check a request's signature if it has one, or if its key requires one.

    The body is read, hashed and laid back for whoever parses it. Raises invalid_signature.
    """
    # Not ``headers``, which Django makes of all there are.
    header = request.META.get("HTTP_SIGNATURE_INPUT")
    if header is None:
        if row.require_signature:
            raise refused(
                _(
                    "This key requires signed requests: give the client its signing secret "
                    "(VOICEREEL_SIGNING_SECRET), or send Signature-Input and Signature."
                )
            )
        return
    if not row.signing_secret:
        raise refused(
            _("This key has no signing secret. Leave the signature out, or make a key that has.")
        )
    given = parse_input(header)
    _check_coverage(request, given)
    _check_parameters(given, row)
    secret = decrypt(bytes(row.signing_secret), row.pk)
    if not hmac.compare_digest(
        _signature(request, given.label), sign(secret, signature_base(request, given))
    ):
        raise refused(
            _(
                "The signature does not match the request. Sign it as it is sent, with this key's "
                "secret."
            )
        )
    _check_digest(request)
    _use_nonce(row, given.parameters["nonce"])


def _has_body(request: HttpRequest) -> bool:
    return int(request.META.get("CONTENT_LENGTH") or 0) > 0


def _check_coverage(request: HttpRequest, given: SignatureInput) -> None:
    required = [*_REQUIRED, *(["content-digest"] if _has_body(request) else [])]
    if lacking := [name for name in required if name not in given.components]:
        detail = _("The signature must cover %(components)s too.")
        raise refused(detail % {"components": ", ".join(lacking)})


def _check_parameters(given: SignatureInput, row: ApiKey) -> None:
    parameters = given.parameters
    if lacking := [name for name in ("created", "keyid", "nonce") if name not in parameters]:
        detail = _("Signature-Input needs the parameters %(parameters)s too.")
        raise refused(detail % {"parameters": ", ".join(lacking)})
    if parameters.get("alg", "hmac-sha256") != "hmac-sha256":
        raise refused(_("The algorithm is hmac-sha256."))
    if parameters["keyid"] != row.prefix:
        detail = _("keyid must be how the key begins: %(prefix)s.")
        raise refused(detail % {"prefix": row.prefix})
    if not _NONCE.fullmatch(parameters["nonce"]):
        raise refused(_("A nonce has 8 to 128 printable characters."))
    now = timezone.now().timestamp()
    for name in ("created", "expires"):
        if name in parameters and not parameters[name].isdigit():
            raise refused(_("%(name)s is a number: Unix seconds.") % {"name": name})
    if abs(now - int(parameters["created"])) > CLOCK_SKEW.total_seconds():
        raise refused(
            _(
                "The signature was created more than %(minutes)s minutes ago, or ahead of our time. "
                "Sign anew, and check your clock."
            )
            % {"minutes": CLOCK_SKEW.seconds // 60}
        )
    if "expires" in parameters and int(parameters["expires"]) <= now:
        raise refused(_("The signature has expired. Sign anew."))


def _signature(request: HttpRequest, label: str) -> bytes:
    match = _BYTES.fullmatch(request.headers.get("Signature", "").strip())
    if match is None or match[1] != label:
        detail = _("Send the signature as `Signature: %(label)s=:...:`, in base64.")
        raise refused(detail % {"label": label})
    return _decoded(match[2])


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise refused(_("A byte sequence is not base64.")) from exc


def _check_digest(request: HttpRequest) -> None:
    """Compare the body with Content-Digest; afterwards it can be read as if nobody had."""
    header = request.headers.get("Content-Digest")
    if header is None:
        return  # no body: _check_coverage has seen to it
    entries = [_BYTES.fullmatch(entry.strip()) for entry in header.split(",")]
    wanted = {entry[1]: _decoded(entry[2]) for entry in entries if entry and entry[1] in _DIGESTS}
    if not wanted or None in entries:
        raise refused(_("Send Content-Digest as `sha-256=:...:`, in base64."))
    if int(request.META.get("CONTENT_LENGTH") or 0) > _LARGEST_BODY_BYTES:
        raise RequestDataTooBig
    digests = {name: _DIGESTS[name]() for name in wanted}
    kept = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=settings.SCRATCH_DIR)  # noqa: SIM115
    while chunk := request.read(_CHUNK_BYTES):
        for digest in digests.values():
            digest.update(chunk)
        kept.write(chunk)
    kept.seek(0)
    request._stream, request._read_started = kept, False
    if not all(hmac.compare_digest(digests[name].digest(), wanted[name]) for name in wanted):
        raise refused(_("Content-Digest does not match the body."))


def _use_nonce(row: ApiKey, nonce: str) -> None:
    """Once: in the database, so that every process knows, and none forgets."""
    try:
        with transaction.atomic():
            UsedNonce.objects.create(tenant=row.tenant, api_key_id=row.pk, nonce=nonce)
    except IntegrityError as exc:
        detail = _("This request was sent before. Sign each with a nonce of its own.")
        raise refused(detail) from exc
