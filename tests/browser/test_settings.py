"""What an owner does for an account: people, endpoints, how long jobs are kept, and their own security."""

import base64
import hashlib
import hmac
import re
import struct
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.person import Visit

pytestmark = pytest.mark.services


def totp(secret: str) -> str:
    """The code of now (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at : at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


def test_somebody_is_invited_joins_and_is_given_a_role(visit: Callable[..., Visit]) -> None:
    owner, guest = visit(), visit()
    owner.sign_up(organisation="Hosts")
    owner.open("/members")
    owner.page.fill("[name=email]", "jun@hosts.example")
    owner.page.locator("#id_role").select_option("viewer")
    owner.page.get_by_role("button", name="Send the invitation").click()
    expect(owner.page.locator("main")).to_contain_text("jun@hosts.example was invited")
    sent = owner.site.log.read_text()
    link = re.search(r"http://127\.0\.0\.1:\d+/invitation/\S+", sent)
    for _ in range(40):
        if link:
            break
        time.sleep(0.5)
        link = re.search(r"http://127\.0\.0\.1:\d+/invitation/\S+", owner.site.log.read_text())
    assert link
    guest.page.goto(link[0])
    expect(guest.page.locator("h1")).to_contain_text("invites you to Hosts")
    guest.page.locator("main").get_by_role("link", name="Sign up").click()
    guest.page.fill("[name=email]", "jun@hosts.example")
    guest.page.fill("[name=password1]", "correct horse battery staple")
    guest.page.locator("main form button").first.click()
    guest.page.fill("[name=code]", guest.site.code_for("jun@hosts.example"))
    guest.page.locator("main form button").first.click()
    guest.page.get_by_role("button", name="Accept").click()
    expect(guest.page.locator("h1")).to_have_text("Hosts")
    # A viewer has neither keys nor money in the navigation.
    expect(guest.page.locator("nav.main")).not_to_contain_text("API keys")
    expect(guest.page.locator("nav.main")).to_contain_text("Studio")
    owner.open("/members")
    row = owner.page.locator("tr", has_text="jun@hosts.example")
    row.locator("select").select_option("developer")
    row.get_by_role("button", name="Save").click()
    guest.open("/")
    expect(guest.page.locator("nav.main")).to_contain_text("API keys")


def test_an_endpoint_is_added_and_its_secret_is_shown_once(member: Callable[..., Visit]) -> None:
    guest = member()
    page = guest.open("/webhooks")
    page.fill("[name=url]", "http://93.184.215.14/")
    page.get_by_role("button", name="Add").click()
    expect(page.locator(".errorlist").first).to_contain_text("https")
    guest.trouble[:] = [one for one in guest.trouble if "422" not in one]
    page.fill("[name=url]", "https://93.184.215.14/hooks")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("[role=status] pre")).to_contain_text("whsec_")
    guest.open("/webhooks")
    expect(page.locator("[role=status] pre")).to_have_count(0)
    page.locator("tbody a").first.click()
    page.get_by_role("button", name="Switch off").click()
    expect(page.locator("main")).to_contain_text("off")


def test_how_long_jobs_are_kept_is_the_owners(member: Callable[..., Visit]) -> None:
    guest = member()
    page = guest.open("/privacy")
    page.locator("#days").select_option("7")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".messages")).to_contain_text("Jobs are kept so from the next one on.")
    expect(page.locator("#days")).to_have_value("7")
    guest.open("/audit")
    expect(page.locator("main")).to_contain_text("account.retention_changed")


def test_a_second_factor_is_set_up_and_asked_for(visit: Callable[..., Visit]) -> None:
    guest = visit()
    email = guest.sign_up(organisation="Careful")
    page = guest.open("/account/security/totp/activate/")
    if page.locator("[name=password]").count():
        page.fill("[name=password]", "correct horse battery staple")
        page.locator("main form button").first.click()
    secret = page.locator(
        "#authenticator_secret, input[readonly], input[disabled]"
    ).first.input_value()
    page.fill("[name=code]", totp(secret))
    page.locator("main form button").last.click()
    expect(page.locator("main")).to_contain_text("ecovery")
    guest.open("/members")
    expect(page.locator("tbody tr").first).to_contain_text("yes")
    page.get_by_role("button", name="Log out").click()
    guest.open("/account/login/")
    page.fill("[name=login]", email)
    page.fill("[name=password]", "correct horse battery staple")
    page.locator("main form button").first.click()
    expect(page.locator("[name=code]")).to_be_visible()
