"""The product behind nginx with a certificate, as ``make run-tls`` starts it."""

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.operations.conftest import MakeSite, Site
from voicereel_site.local_nginx import Certificate, LocalNginx, local_certificate
from voicereel_site.local_stack import ROOT, free_port

pytestmark = pytest.mark.services


@dataclass
class Front:
    site: Site
    nginx: LocalNginx
    certificate: Certificate
    plain_port: int

    @property
    def client(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.certificate.authority))
        return httpx.Client(base_url=self.nginx.url, verify=context, timeout=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def front(make_shared_site: MakeSite, folder: Path) -> Iterator[Front]:
    site = make_shared_site("embedded", VOICEREEL_HTTPS="true", VOICEREEL_TRUSTED_PROXIES="1")
    certificate = local_certificate(folder / "certificate")
    plain = free_port()
    nginx = LocalNginx(
        folder / "nginx", free_port(), site.stack.port, tls=certificate, plain_port=plain
    )
    with nginx:
        yield Front(site, nginx, certificate, plain)


def s_client(front: Front, *options: str) -> str:
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{front.nginx.port}", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return done.stdout + done.stderr


def test_tls_1_3_and_nothing_else(front: Front) -> None:
    ok = s_client(front, "-tls1_3", "-CAfile", str(front.certificate.authority))
    assert "TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384" in ok
    assert "Verify return code: 0 (ok)" in ok
    # OpenSSL's own limit is lowered: it is the server that refuses.
    for version in ("-tls1_2", "-tls1_1", "-tls1"):
        refused = s_client(front, version, "-cipher", "ALL:@SECLEVEL=0")
        assert "Cipher is (NONE)" in refused
        assert "alert protocol version" in refused, refused[:2000]
    # A scanner that asks by itself, down to SSL 2.
    scan = subprocess.run(
        [
            shutil.which("testssl") or "testssl.sh",
            *("--protocols", "--color", "0", "--quiet", "--warnings", "batch"),
            f"127.0.0.1:{front.nginx.port}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    ).stdout
    found = dict(
        re.findall(r"^ (SSLv2|SSLv3|TLS 1(?:\.[1-3])?)\s+(not offered|offered)", scan, re.M)
    )
    assert found == {
        "SSLv2": "not offered",
        "SSLv3": "not offered",
        "TLS 1": "not offered",
        "TLS 1.1": "not offered",
        "TLS 1.2": "not offered",
        "TLS 1.3": "offered",
    }, scan

    with front.client as client:
        # Every answer asks for TLS from now on, nginx's own too; and the plain port leads to it.
        for path in ("/healthz", "/account/login/", "/v1/jobs", "/readyz"):
            reply = client.get(path)
            hsts = reply.headers.get_list("Strict-Transport-Security")
            assert hsts == ["max-age=31536000; includeSubDomains; preload"], path
        plain = httpx.post(f"http://127.0.0.1:{front.plain_port}/v1/keys?a=b")
        assert plain.status_code == 308
        assert plain.headers["Location"] == f"{front.nginx.url}/v1/keys?a=b"
        # Cookies are for TLS alone.
        login = client.get("/account/login/")
        cookie = login.headers["Set-Cookie"]
        assert "Secure" in cookie
        assert "HttpOnly" in cookie
        # A form of a page of ours is taken, whatever the port.
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', login.text)
        assert token
        form = {"csrfmiddlewaretoken": token.group(1), "login": "a@example.com", "password": "x"}
        origin = {"Origin": front.nginx.url, "Referer": f"{front.nginx.url}/account/login/"}
        assert client.post("/account/login/", data=form, headers=origin).status_code == 200
        other = {"Origin": "https://evil.example", "Referer": "https://evil.example/"}
        assert client.post("/account/login/", data=form, headers=other).status_code == 403
        _forged_addresses_change_nothing(front, client)


def test_a_customers_way_through_from_outside(front: Front) -> None:
    """What `make e2e` does before a deployment is let go on."""
    done = subprocess.run(
        ["make", "e2e", f"URL={front.nginx.url}", f"KEY={front.site.key}"],
        cwd=ROOT,
        env=os.environ | {"SSL_CERT_FILE": str(front.certificate.authority)},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr
    assert re.search(r"^=+ \d+ passed", done.stdout, re.M), done.stdout[-2_000:]
    assert front.site.key not in done.stdout + done.stderr
    # It leaves nothing behind.
    assert front.site.rows("SELECT count(*) FROM synthesis_job") == [(0,)]
    with front.client as client:
        key = {"Authorization": f"Bearer {front.site.key}"}
        assert client.get("/v1/speakers", headers=key).json()["data"] == []


def _forged_addresses_change_nothing(front: Front, client: httpx.Client) -> None:
    key = {"Authorization": f"Bearer {front.site.key}"}
    bound = client.post("/v1/keys", json={"networks": ["203.0.113.0/24"]}, headers=key).json()
    names = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP")
    for name in names:
        value = "for=203.0.113.5" if name == "Forwarded" else "203.0.113.5"
        forged = {"Authorization": f"Bearer {bound['key']}", name: value}
        refused = client.get("/v1/jobs", headers=forged)
        assert refused.status_code == 403, name
        assert "from 127.0.0.1" in refused.json()["detail"]
        made = client.post("/v1/keys", json={"label": name}, headers=key | {name: value})
        assert made.status_code == 201
    events = client.get("/v1/audit-events", headers=key).json()["data"]
    assert {event["actor"]["address"] for event in events} == {"127.0.0.1"}
    # Nor does it say that it came by TLS, or for another host.
    lied = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    direct = httpx.get(f"{front.site.stack.url}/v1/openapi.json")
    assert direct.status_code == 301
    page = client.get("/account/signup/", headers=lied)
    assert "evil.example" not in page.text


def test_a_certificate_is_kept_until_it_is_old(tmp_path: Path) -> None:
    first = local_certificate(tmp_path)
    content = first.certificate.read_bytes()
    assert local_certificate(tmp_path).certificate.read_bytes() == content
    assert first.key.stat().st_mode & 0o077 == 0
    context = ssl.create_default_context(cafile=str(first.authority))
    assert [one["subject"][0][0][1] for one in context.get_ca_certs()] == [
        "VoiceReel, this machine alone"
    ]
