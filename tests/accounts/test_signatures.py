"""Signed requests: what an independent library signs is taken, once and unchanged."""

import base64
import hashlib
import io
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, RequestFactory, override_settings
from django.test.client import encode_multipart
from django.utils import timezone
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

from accounts import signatures, tasks
from accounts.encryption import Undecipherable, decrypt, encrypt
from accounts.keys import issue_key
from accounts.models import ApiKey, UsedNonce
from accounts.signatures import parse_input, sign, signature_base
from synthesis.models import Pronunciation
from tests.conftest import Api

ENTRIES = json.dumps({"entries": [{"language": "en", "written": "SQL", "spoken": "sequel"}]})
PATH = "/v1/pronunciations"


@dataclass
class Message:
    """A request as the library knows one."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.url.removeprefix("http://testserver")


class _Resolver(HTTPSignatureKeyResolver):
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def resolve_private_key(self, key_id: str) -> bytes:
        return self._secret

    resolve_public_key = resolve_private_key


@dataclass
class Signing:
    """Alder with a key that requires signatures."""

    key: ApiKey
    text: str
    secret: bytes

    def signed(
        self,
        method: str = "PUT",
        path: str = PATH,
        body: bytes = ENTRIES.encode(),
        *,
        covered: tuple[str, ...] = ("@method", "@path", "@query"),
        content_type: str = "application/json",
        **options: Any,
    ) -> Message:
        """Sign by the library: options are its own."""
        headers = {"Authorization": f"Bearer {self.text}", "Content-Type": content_type}
        message = Message(method, f"http://testserver{path}", headers, body)
        options = {"key_id": self.key.prefix, "nonce": uuid.uuid4().hex, "label": "sig1"} | options
        options = {name: value for name, value in options.items() if value is not None}
        HTTPMessageSigner(
            signature_algorithm=algorithms.HMAC_SHA256, key_resolver=_Resolver(self.secret)
        ).sign(message, covered_component_ids=covered, body=body or None, **options)
        return message


def sent(message: Message) -> Any:
    headers = dict(message.headers)
    content_type = headers.pop("Content-Type")
    return Client().generic(
        message.method, message.path, message.body, content_type=content_type, headers=headers
    )


def refusal(message: Message) -> str:
    reply = sent(message)
    assert (reply.status_code, reply.json()["code"]) == (401, "invalid_signature"), reply.content
    assert not Pronunciation.objects.exists()
    return str(reply.json()["detail"])


@pytest.fixture
def alder_signs(alder: Api) -> Signing:
    row, text, secret = issue_key(alder.tenant, require_signature=True)
    assert secret is not None
    return Signing(row, text, base64.b64decode(secret))


def test_the_vector_of_rfc_9421_b_2_5() -> None:
    request = RequestFactory().post(
        "/foo?param=Value&Pet=dog",
        b'{"hello": "world"}',
        content_type="application/json",
        headers={"Host": "example.com", "Date": "Tue, 20 Apr 2021 02:07:55 GMT"},
    )
    given = parse_input(
        'sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
    )
    secret = base64.b64decode(
        "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
    )
    with override_settings(ALLOWED_HOSTS=["example.com"]):
        signature = sign(secret, signature_base(request, given))
    assert base64.b64encode(signature) == b"pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", PATH, ENTRIES.encode()),
        ("GET", "/v1/jobs", b""),
        ("GET", "/v1/jobs?limit=5&status=queued", b""),
        ("POST", "/v1/keys", '{"label": "밤"}'.encode()),
    ],
)
def test_what_a_library_signs_is_taken(
    alder_signs: Signing, method: str, path: str, body: bytes
) -> None:
    assert sent(alder_signs.signed(method, path, body)).status_code in {200, 201}
    more: tuple[str, ...] = ("@authority", "authorization", "@query", "@path", "@method")
    if body:
        more = ("content-type", *more)
    assert sent(alder_signs.signed(method, path, body, covered=more)).status_code in {200, 201}


def test_a_library_signs_with_sha_512_too(alder_signs: Signing) -> None:
    digest = base64.b64encode(hashlib.sha512(ENTRIES.encode()).digest()).decode()
    message = alder_signs.signed(body=b"")
    message = Message("PUT", message.url, message.headers, ENTRIES.encode())
    message.headers["Content-Digest"] = f"sha-512=:{digest}:"
    HTTPMessageSigner(
        signature_algorithm=algorithms.HMAC_SHA256, key_resolver=_Resolver(alder_signs.secret)
    ).sign(
        message,
        key_id=alder_signs.key.prefix,
        nonce="n" * 20,
        label="a",
        use_existing_digest=True,
        covered_component_ids=("@method", "@path", "@query", "content-digest"),
    )
    assert sent(message).status_code == 200


def test_a_signed_upload_is_taken_whole(
    alder_signs: Signing, recording: Callable[..., bytes]
) -> None:
    audio = SimpleUploadedFile("a.wav", recording(40.0))
    form = {"name": "Anna", "language": "en", "consent": "true", "audio": audio}
    body = encode_multipart("XXboundaryXX", form)
    kind = "multipart/form-data; boundary=XXboundaryXX"
    message = alder_signs.signed("POST", "/v1/speakers", body, content_type=kind)
    changed = body[:-2000] + bytes([body[-2000] ^ 1]) + body[-1999:]
    assert "body" in refusal(replace(message, body=changed))
    reply = sent(message)
    assert reply.status_code == 201, reply.content
    assert reply.json()["reference_ms"] == 40_000


def flipped(text: str, index: int) -> str:
    return text[:index] + chr(ord(text[index]) ^ 1) + text[index + 1 :]


def flips() -> dict[str, Callable[[Message], Message]]:
    def in_input(part: str, offset: int = 0) -> Callable[[Message], Message]:
        def change(message: Message) -> Message:
            given = message.headers["Signature-Input"]
            index = given.index(part) + len(part) + offset
            return replace(
                message, headers=message.headers | {"Signature-Input": flipped(given, index)}
            )

        return change

    def in_header(name: str, index: int) -> Callable[[Message], Message]:
        return lambda m: replace(
            m, headers=m.headers | {name: flipped(m.headers[name], index % len(m.headers[name]))}
        )

    return {
        "method": lambda m: replace(m, method="PATCH"),
        "path": lambda m: replace(m, url=m.url.replace("/job_", "/job_1", 1)),
        "query": lambda m: replace(m, url=flipped(m.url, len(m.url) - 1)),
        "body": lambda m: replace(m, body=flipped(m.body.decode(), 30).encode()),
        "nonce": in_input('nonce="'),
        "date": in_input("created=", 9),
        "keyid": in_input('keyid="vr_live_'),
        "algorithm": in_input('alg="hmac-sha25'),
        "signature": in_header("Signature", 10),
        "digest": in_header("Content-Digest", 15),
        "label": in_header("Signature", 0),
    }


@pytest.mark.parametrize("place", flips())
def test_one_changed_byte_is_refused(alder_signs: Signing, place: str) -> None:
    if place == "path":
        message = alder_signs.signed("POST", "/v1/jobs/job_/cancel", b"{}")
    else:
        message = alder_signs.signed(path=f"{PATH}?a=1")
    assert refusal(flips()[place](message))


def test_a_request_is_taken_once(alder_signs: Signing, alder: Api) -> None:
    message = alder_signs.signed()
    assert sent(message).status_code == 200
    alder.put(PATH, {"entries": []})
    assert "before" in refusal(message)
    # A nonce is another key's too.
    row, text, secret = issue_key(alder.tenant, require_signature=True)
    other = Signing(row, text, base64.b64decode(secret or ""))
    nonce = message.headers["Signature-Input"].split('nonce="')[1].split('"')[0]
    assert sent(other.signed(nonce=nonce)).status_code == 200


def test_a_refused_signature_uses_up_no_nonce(alder_signs: Signing) -> None:
    message = alder_signs.signed()
    refusal(replace(message, body=message.body.replace(b"sequel", b"squeal")))
    assert not UsedNonce.objects.exists()
    assert sent(message).status_code == 200


@pytest.mark.parametrize(
    ("age_s", "taken"), [(299, True), (301, False), (-299, True), (-301, False)]
)
def test_a_signature_lives_five_minutes(
    alder_signs: Signing, monkeypatch: pytest.MonkeyPatch, age_s: int, taken: bool
) -> None:
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    message = alder_signs.signed(created=now - timedelta(seconds=age_s))
    monkeypatch.setattr(signatures.timezone, "now", lambda: now)
    if taken:
        assert sent(message).status_code == 200
    else:
        assert "5 minutes" in refusal(message)


def test_an_expired_signature_is_refused(alder_signs: Signing) -> None:
    past = timezone.now() - timedelta(seconds=2)
    assert "expired" in refusal(alder_signs.signed(created=past, expires=past))


def test_nonces_are_forgotten_once_they_are_of_no_use(
    alder_signs: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sent(alder_signs.signed()).status_code == 200
    now = timezone.now()
    monkeypatch.setattr(tasks.timezone, "now", lambda: now + timedelta(minutes=9))
    tasks.forget_nonces()
    assert UsedNonce.objects.count() == 1
    monkeypatch.setattr(tasks.timezone, "now", lambda: now + timedelta(minutes=11))
    tasks.forget_nonces()
    assert not UsedNonce.objects.exists()


@pytest.mark.parametrize(
    ("covered", "lacking"),
    [
        (("@path", "@query"), "@method"),
        (("@method", "@query"), "@path"),
        (("@method", "@path"), "@query"),
    ],
)
def test_a_signature_covers_what_matters(
    alder_signs: Signing, covered: tuple[str, ...], lacking: str
) -> None:
    assert f"cover {lacking} too" in refusal(alder_signs.signed(covered=covered))


def test_a_body_must_be_covered(alder_signs: Signing) -> None:
    message = alder_signs.signed(body=b"")
    assert "content-digest" in refusal(replace(message, body=ENTRIES.encode()))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "sig1",
        "sig1=()",
        'sig1=("@method")',
        'sig1=("@method" "@path" "@query" "content-digest");created=1,sig2=("@method");created=2',
        'sig1=("@method" "@path" "@query" "content-digest");created="now";keyid="k";nonce="12345678"',
        'sig1=("@method";req "@path");created=1',
        'sig1=("@method"  "@path");created=1',
        "(" * 3000,
        'sig1=("' + "a" * 5000,
        'sig1=("@method" "@path" "@query" "@query" "content-digest");created=1',
    ],
)
def test_a_malformed_header_is_refused(alder_signs: Signing, header: str) -> None:
    message = alder_signs.signed()
    assert refusal(replace(message, headers=message.headers | {"Signature-Input": header}))


@pytest.mark.parametrize(
    "components",
    ['"@method" "@path" "@query" "@status"', '"@method" "@path" "@query" "x-not-sent"'],
)
def test_what_cannot_be_signed_is_named(alder_signs: Signing, components: str) -> None:
    params = (
        f'({components} "content-digest");created={int(timezone.now().timestamp())}'
        f';keyid="{alder_signs.key.prefix}";nonce="12345678"'
    )
    message = alder_signs.signed()
    message.headers["Signature-Input"] = f"sig1={params}"
    assert components.rsplit('"', 2)[1] in refusal(message)


def test_a_key_that_requires_signatures_is_of_no_use_without(alder_signs: Signing) -> None:
    reply = Api(alder_signs.key.tenant, alder_signs.key, alder_signs.text).get("/v1/jobs")
    assert (reply.status_code, reply.json()["code"]) == (401, "invalid_signature")
    assert reply["WWW-Authenticate"]


def test_a_key_without_a_secret_takes_no_signature(alder: Api, alder_signs: Signing) -> None:
    other = Signing(alder.key, alder.secret, alder_signs.secret)
    assert "no signing secret" in refusal(other.signed())


def test_keys_that_sign_are_made_and_rotated_over_the_api(alder: Api) -> None:
    made = alder.post("/v1/keys", {"require_signature": True}).json()
    assert made["require_signature"] is True
    signing = Signing(
        ApiKey.objects.get(pk=made["id"]), made["key"], base64.b64decode(made["signing_secret"])
    )
    assert sent(signing.signed()).status_code == 200
    rotated = alder.post(f"/v1/keys/{made['id']}/rotate", {}).json()
    assert rotated["require_signature"] is True
    assert rotated["signing_secret"] != made["signing_secret"]
    assert alder.post("/v1/keys", {}).json()["signing_secret"] is None
    listed = alder.get("/v1/keys").content.decode()
    assert "signing_secret" not in listed


def test_a_dump_of_the_database_holds_no_secret(alder: Api) -> None:
    headers = {"Idempotency-Key": "once"}
    made = alder.post("/v1/keys", {"require_signature": True}, **headers).json()
    signing = Signing(
        ApiKey.objects.get(pk=made["id"]), made["key"], base64.b64decode(made["signing_secret"])
    )
    assert sent(signing.signed()).status_code == 200
    from django.core.management import call_command

    out = io.StringIO()
    call_command("dumpdata", "accounts", stdout=out)
    dump = out.getvalue()
    sealed = bytes(ApiKey.objects.get(pk=made["id"]).signing_secret or b"")
    assert made["id"] in dump
    for secret in (made["key"], made["key"].rsplit("_", 1)[1], made["signing_secret"]):
        assert secret not in dump
    assert signing.secret not in sealed
    assert signing.secret.hex() not in dump


def test_what_is_encrypted_opens_with_its_key_and_row_alone() -> None:
    with override_settings(ENCRYPTION_KEYS=["old"]):
        sealed = encrypt(b"secret", "key_1")
        assert decrypt(sealed, "key_1") == b"secret"
        assert encrypt(b"secret", "key_1") != sealed
        with pytest.raises(Undecipherable):
            decrypt(sealed, "key_2")
        with pytest.raises(Undecipherable):
            decrypt(sealed[:-1] + bytes([sealed[-1] ^ 1]), "key_1")
    with override_settings(ENCRYPTION_KEYS=["new", "old"]):
        assert decrypt(sealed, "key_1") == b"secret"
        renewed = encrypt(b"secret", "key_1")
    with override_settings(ENCRYPTION_KEYS=["new"]):
        assert decrypt(renewed, "key_1") == b"secret"
        with pytest.raises(Undecipherable):
            decrypt(sealed, "key_1")
