"""People, operators, and the end of a tenant, on real servers with a database role for each kind of
process: nobody's is a superuser's.
"""

import base64
import hashlib
import hmac
import io
import os
import re
import struct
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import voicereel

from tests.conftest import PASSWORD
from tests.operations.conftest import MakeSite, Site, ready_speaker
from voicereel_site.local_stack import ROOT

pytestmark = pytest.mark.services


def totp(secret: str) -> str:
    """RFC 6238, of now."""
    digest = hmac.new(
        base64.b32decode(secret), struct.pack(">Q", int(time.time()) // 30), hashlib.sha1
    ).digest()
    offset = digest[-1] & 15
    number = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**6:06}"


def create_operator(site: Site, email: str) -> list[str]:
    """At a terminal, as README.md has it. Returns the recovery codes."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "create_operator", email],
        cwd=ROOT,
        env=site.stack.operators,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stderr
    process.stdin.write(f"{PASSWORD}\n")
    process.stdin.flush()
    shown = ""
    while "otpauth" not in shown:
        line = process.stderr.readline()
        assert line, shown
        shown += line
    secret = re.search(r"key: ([A-Z2-7]{32})", shown)
    assert secret
    codes, errors = process.communicate(f"{totp(secret.group(1))}\n", timeout=30)
    assert process.returncode == 0, errors
    return codes.split()


@dataclass
class Visitor:
    """A browser without scripts: cookies, and the tokens of the pages it was shown."""

    client: httpx.Client

    def get(self, url: str) -> httpx.Response:
        return self.client.get(url, follow_redirects=True)

    def send(self, url: str, to: str = "", **fields: str) -> httpx.Response:
        """Open the page, fill in its form, send it. to: where the form says, if not back."""
        page = self.get(url)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert token, page.text
        form = {"csrfmiddlewaretoken": token.group(1)} | fields
        return self.client.post(to or str(page.url), data=form, follow_redirects=True)


def code_from_the_relay(site: Site) -> str:
    """The code of the last mail, which the relay prints."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = re.findall(
            r"^([A-Z0-9]{4}-[A-Z0-9]{4})$", Path(site.stack.log_name).read_text(), re.MULTILINE
        )
        if found:
            return str(found[-1])
        time.sleep(0.2)
    raise AssertionError("no mail with a code")


def until(url: str, client: httpx.Client, status: str, timeout_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while True:
        shown: dict[str, Any] = client.get(url).json()
        if shown["status"] == status:
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.5)


def everything_in_the_database(site: Site) -> dict[str, str]:
    """Every row of every table as text, by table; asked as the superuser."""
    tables = site.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {
        name: "\n".join(row for (row,) in site.rows(f'SELECT t::text FROM "{name}" t'))
        for (name,) in tables
    }


def everything_in_redis(site: Site) -> str:
    assert site.redis
    client = redis.Redis.from_url(site.redis.url)
    found = []
    for key in client.scan_iter():
        kind = client.type(key)
        read: dict[Any, Any] = {
            b"string": client.get,
            b"list": lambda name: client.lrange(name, 0, -1),
            b"hash": client.hgetall,
            b"set": client.smembers,
            b"zset": lambda name: client.zrange(name, 0, -1),
        }
        found.append(f"{key!r} {read[kind](key)!r}")
    return "\n".join(found)


def make_job(client: voicereel.Client) -> tuple[str, bytes]:
    speaker = ready_speaker(client)
    made = client.synthesize([{"speaker_id": speaker.id, "text": "The heron sleeps at noon."}])
    job = client.wait_for_job(made.id, timeout_s=60)
    assert job.audio
    return job.id, httpx.get(job.audio.url, follow_redirects=True).content


def test_people_come_in_operators_help_and_a_tenant_goes(
    make_site: MakeSite, tmp_path: Path
) -> None:
    log = tmp_path / "voicereel.log"
    site = make_site("production", s3=True, VOICEREEL_LOG_FILE=str(log))
    url = site.stack.url
    birch_key = site.stack.manage("create_tenant", "Birch")
    birch = voicereel.Client(birch_key, url)
    birch_job, birch_audio = make_job(birch)

    # A person signs up, and makes an organisation, all by a web process that sees one tenant at a time.
    with httpx.Client(base_url=url, timeout=30) as browser:
        mina = Visitor(browser)
        mina.send("/account/signup/", email="mina@alder.example", password1=PASSWORD)
        mina.send("/account/confirm-email/", code=code_from_the_relay(site))
        assert "<h1>Alder Audio</h1>" in mina.send("/", name="Alder Audio").text
        assert "mina@alder.example" in mina.get("/members").text
        alder_id = re.search(r"ten_[0-9a-z]{26}", mina.get("/").text)
        assert alder_id
        tenant = alder_id.group()
        invited = mina.send("/members", "/members/invite", email="jun@alder.example", role="viewer")
        assert "jun@alder.example was invited." in invited.text
        assert "account.created" in mina.get("/audit").text
        mina.get("/account/sessions/")
        mina.get("/account/security/")
        token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', mina.get("/members").text)
        assert token
        made = browser.post("/v1/keys", json={}, headers={"X-CSRFToken": token.group(1)})
        assert made.status_code == 201, made.text
    alder_key = made.json()["key"]
    alder = voicereel.Client(alder_key, url)
    make_job(alder)
    headers = {"Authorization": f"Bearer {alder_key}"}

    # An operator comes in by a second factor, to a web process of the operators' own.
    codes = create_operator(site, "olga@voicereel.example")
    port = site.stack.start_console()
    with httpx.Client(base_url=url, timeout=30) as browser:
        olga = Visitor(browser)
        asked = olga.send("/account/login/", login="olga@voicereel.example", password=PASSWORD)
        assert asked.url.path == "/account/security/authenticate/"
        console = f"http://127.0.0.1:{port}/admin/"
        assert "/account/" in str(olga.get(console).url)  # not yet
        olga.send(str(asked.url), code=codes[0])
        for page in ("", "accounts/tenant/", "accounts/user/", "accounts/auditevent/"):
            assert olga.get(console + page).status_code == 200, page
        assert "Alder Audio" in olga.get(f"{console}accounts/tenant/").text
        assert "Birch" in olga.get(f"{console}accounts/tenant/").text
        [(membership,)] = site.rows(
            "SELECT id FROM accounts_membership WHERE tenant_id = ?", tenant
        )
        begun = olga.send(
            f"{console}accounts/membership/{membership}/impersonate",
            reason="They cannot hear their job.",
            minutes="10",
        )
        # The customers' process shows what the operators' has begun.
        assert begun.history[0].status_code == 302
        assert "You are impersonating mina@alder.example" in olga.get(f"{url}/members").text
        assert browser.get("/v1/jobs").status_code == 200
        ended = olga.send("/account/security/", "/end-impersonation")
        assert ended.history[0].headers["Location"] == "/admin/"
        assert "impersonating" not in olga.get(f"{url}/").text
    with httpx.Client(base_url=url, timeout=30, headers=headers) as api:
        events = api.get("/v1/audit-events?limit=100").json()["data"]
        opened = {event["target"] for event in events if event["action"] == "content.opened"}
        assert opened == {"/", "/members", "/v1/jobs"}

        # Everything of the tenant's, from the object store.
        export = api.post("/v1/exports").json()
        shown = until(f"/v1/exports/{export['id']}", api, "succeeded", 60)
        archive = zipfile.ZipFile(io.BytesIO(httpx.get(shown["archive"]["url"]).content))
        assert len([name for name in archive.namelist() if name.startswith("files/")]) > 3
        assert shown["files_done"] == shown["files_total"]
        assert birch_job.encode() not in b"".join(map(archive.read, archive.namelist()))

        # And its end.
        assert [key for key in site.files() if tenant in key]
        assert tenant in log.read_text()
        lines = [line for line in log.read_text().splitlines() if "ten_" in line]
        of_birch = {line for line in lines if tenant not in line}
        files_of_birch = [key for key in site.files() if tenant not in key]
        asked_to = api.post("/v1/erasures", json={"confirm": tenant})
        assert asked_to.status_code == 202, asked_to.text
        assert api.get("/v1/jobs").status_code == 401
    with httpx.Client(timeout=30) as anybody:
        proof = until(asked_to.json()["proof_url"], anybody, "erased", 150)
    assert proof["rows"]["job"] == proof["rows"]["speaker"] == 1
    assert proof["rows"]["person"] == 1
    assert proof["files"] > 4
    assert proof["log_lines"] > 10
    deadline = time.monotonic() + 20  # the proof is mailed
    while site.rows("SELECT 1 FROM accounts_outboxmessage"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    naming = {
        name: rows
        for name, rows in everything_in_the_database(site).items()
        if tenant in rows or "mina@alder.example" in rows or "Alder Audio" in rows
    }
    assert set(naming) == {"accounts_erasure"}
    assert not [key for key in site.files() if tenant in key]
    assert tenant not in everything_in_redis(site)
    assert tenant not in log.read_text()
    assert f"proof that the account {tenant} was erased" in Path(site.stack.log_name).read_text()

    # The other tenant's are as they were, to the byte.
    assert [key for key in site.files() if tenant not in key] == files_of_birch
    assert of_birch <= set(log.read_text().splitlines())
    job = birch.get_job(birch_job)
    assert job.audio
    assert httpx.get(job.audio.url, follow_redirects=True).content == birch_audio
    assert os.path.getsize(log) > 0
