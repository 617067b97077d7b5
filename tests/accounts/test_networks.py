"""Keys that work from some networks alone."""

from typing import Any

import pytest
from django.conf import settings
from django.test import Client, RequestFactory

from accounts.keys import issue_key
from accounts.networks import client_address
from tests.conftest import Api


def asked(key: str, address: str, **headers: str) -> Any:
    sent = {"Authorization": f"Bearer {key}"} | headers
    return Client(REMOTE_ADDR=address).get("/v1/jobs", headers=sent)


@pytest.mark.parametrize(
    ("networks", "address", "status"),
    [
        ([], "198.51.100.7", 200),
        (["203.0.113.0/24"], "203.0.113.9", 200),
        (["203.0.113.0/24"], "203.0.114.9", 403),
        (["203.0.113.0/24"], "::ffff:203.0.113.9", 200),  # IPv4, on a socket for both
        (["203.0.113.9/32", "2001:db8::/32"], "2001:db8::1", 200),
        (["2001:db8::/32"], "203.0.113.9", 403),
        (["0.0.0.0/0"], "2001:db8::1", 403),
        (["203.0.113.0/24"], "", 403),
    ],
)
def test_a_key_works_from_its_networks_alone(
    alder: Api, networks: list[str], address: str, status: int
) -> None:
    _, key, _ = issue_key(alder.tenant, networks=networks)
    reply = asked(key, address)
    assert reply.status_code == status
    if status == 403:
        assert reply.json()["code"] == "insufficient_scope"
        assert ", ".join(networks) in reply.json()["detail"]


def test_what_a_caller_writes_into_x_forwarded_for_changes_nothing(
    alder: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key, _ = issue_key(alder.tenant, networks=["203.0.113.0/24"])
    forged = {"X-Forwarded-For": "203.0.113.9"}
    assert asked(key, "198.51.100.7", **forged).status_code == 403
    # Behind one proxy, the last entry is the proxy's own; what stands before it is the caller's.
    monkeypatch.setattr(settings, "TRUSTED_PROXIES", 1)
    through = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    assert asked(key, "127.0.0.1", **through).status_code == 403
    own = {"X-Forwarded-For": "198.51.100.7, 203.0.113.9"}
    assert asked(key, "127.0.0.1", **own).status_code == 200
    monkeypatch.setattr(settings, "TRUSTED_PROXIES", 2)
    assert asked(key, "127.0.0.1", **own).status_code == 403
    # Who did not come through all of the proxies has an address that nobody vouches for.
    assert asked(key, "203.0.113.9", **forged).status_code == 403


@pytest.mark.parametrize("header", ["", "unknown", "203.0.113.9:4711", "<script>"])
def test_an_address_that_is_none_is_nowhere(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TRUSTED_PROXIES", 1)
    request = RequestFactory().get("/", headers={"X-Forwarded-For": header})
    assert client_address(request) is None


def test_networks_are_written_down_as_they_are_understood(alder: Api) -> None:
    made = alder.post("/v1/keys", {"networks": ["203.0.113.9", "2001:0db8::/32"]}).json()
    assert made["networks"] == ["203.0.113.9/32", "2001:db8::/32"]
    assert alder.get(f"/v1/keys/{made['id']}").json()["networks"] == made["networks"]


@pytest.mark.parametrize(
    ("network", "hint"),
    [
        ("203.0.113.9/24", "Did you mean 203.0.113.0/24?"),
        ("here", "Write it as 203.0.113.0/24"),
        ("203.0.113.0/33", "Write it as"),
        ("::ffff:203.0.113.0/120", "Write it as an IPv4 network."),
    ],
)
def test_what_is_no_network_is_refused(alder: Api, network: str, hint: str) -> None:
    reply = alder.post("/v1/keys", {"networks": ["10.0.0.0/8", network]})
    [error] = reply.json()["errors"]
    assert (reply.status_code, error["pointer"]) == (422, "/networks/1")
    assert hint in error["detail"]


@pytest.mark.parametrize(
    ("asked_for", "status"),
    [
        (None, 201),
        (["127.0.0.0/8"], 201),
        (["127.0.0.1/32"], 201),
        ([], 403),
        (["0.0.0.0/0"], 403),
        (["127.0.0.1/32", "10.0.0.0/8"], 403),
        (["::/0"], 403),
    ],
)
def test_a_key_makes_no_key_for_more_networks_than_its_own(
    alder: Api, asked_for: list[str] | None, status: int
) -> None:
    row, key, _ = issue_key(alder.tenant, networks=["127.0.0.0/8"])
    bound = Api(alder.tenant, row, key)
    body = {} if asked_for is None else {"networks": asked_for}
    reply = bound.post("/v1/keys", body)
    assert reply.status_code == status, reply.json()
    if asked_for is None:
        assert reply.json()["networks"] == ["127.0.0.0/8"]
    # Nor does it rotate one that works in more places; a rotated key works where its forerunner did.
    assert bound.post(f"/v1/keys/{alder.key.pk}/rotate", {}).status_code == 403
    rotated = alder.post(f"/v1/keys/{row.pk}/rotate", {}).json()
    assert rotated["networks"] == ["127.0.0.0/8"]
