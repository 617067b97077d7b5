"""API keys: what opens the door, and what is kept of them."""

import hashlib
import io
import string
import zlib
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts.keys import issue_key
from accounts.models import ApiKey, Tenant
from tests.conftest import Api

DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase


def with_checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    return body + "".join(DIGITS[number // 62**place % 62] for place in range(5, -1, -1))


def ask(authorization: str | None) -> Any:
    headers = {} if authorization is None else {"Authorization": authorization}
    return Client().get("/v1/jobs", headers=headers)


def assert_refused(reply: Any) -> None:
    assert reply.status_code == 401
    assert reply["Content-Type"] == "application/problem+json"
    assert reply["WWW-Authenticate"].startswith("Bearer")
    assert reply.json()["code"] == "invalid_api_key"


def test_a_key_opens_its_own_tenant(alder: Api) -> None:
    assert ask(f"Bearer {alder.secret}").status_code == 200
    assert ask(f"bearer {alder.secret}").status_code == 200


def test_a_mistyped_key_is_refused_without_asking_the_database(
    alder: Api, django_assert_num_queries: Any
) -> None:
    for position in range(len("vr_live_"), len(alder.secret)):
        other = "b" if alder.secret[position] == "a" else "a"
        mistyped = alder.secret[:position] + other + alder.secret[position + 1 :]
        with django_assert_num_queries(0):
            assert_refused(ask(f"Bearer {mistyped}"))


def test_a_revoked_key_is_refused(alder: Api) -> None:
    other, secret, _ = issue_key(alder.tenant)
    other.revoked_at = timezone.now()
    other.save()
    assert_refused(ask(f"Bearer {secret}"))
    assert ask(f"Bearer {alder.secret}").status_code == 200


def test_a_key_that_nobody_issued_is_refused(alder: Api) -> None:
    assert with_checksum(alder.secret[:-6]) == alder.secret
    assert_refused(ask(f"Bearer {with_checksum('vr_live_AAAAAAAA_' + 'A' * 43)}"))
    same_public_id = alder.secret[: len("vr_live_12345678_")] + "A" * 43
    assert_refused(ask(f"Bearer {with_checksum(same_public_id)}"))
    as_test_key = alder.secret[:-6].replace("vr_live_", "vr_test_")
    assert_refused(ask(f"Bearer {with_checksum(as_test_key)}"))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer vr_live_",
        "Bearer \u00e9\u00e9\u00e9",
        "Bearer " + "A" * 5000,
        "{key}",
        "Basic {key}",
        "Token {key}",
        "Bearer {key}x",
        "Bearer {key} {key}",
        "Bearer x{key}",
    ],
)
def test_a_malformed_authorization_is_refused(alder: Api, header: str | None) -> None:
    assert_refused(ask(header and header.replace("{key}", alder.secret)))


def test_a_key_is_not_stored_in_clear(alder: Api) -> None:
    row = ApiKey.objects.filter(pk=alder.key.pk).values().get()
    secret_part = alder.secret[-49:]
    unpeppered = hashlib.sha256(alder.secret.encode()).hexdigest()
    for name, value in row.items():
        assert secret_part not in str(value), name
        assert secret_part[:43] not in str(value), name
        assert str(value) != unpeppered, name


def test_a_refused_key_is_not_repeated_in_the_answer(alder: Api) -> None:
    wrong = alder.secret[:-1] + ("a" if alder.secret[-1] != "a" else "b")
    assert alder.secret[:-1] not in ask(f"Bearer {wrong}").content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("test_key", [False, True])
def test_create_tenant_prints_a_key_that_works(test_key: bool) -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command("create_tenant", "Hazel", test=test_key, stdout=out, stderr=err)
    key = out.getvalue().strip()
    assert key.startswith("vr_test_" if test_key else "vr_live_")
    assert key not in err.getvalue()
    assert ask(f"Bearer {key}").status_code == 200
    assert Tenant.objects.get().name == "Hazel"
