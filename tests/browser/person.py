"""A person at a browser, and the product that they meet."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import BrowserContext, Error, Page

from tests.accounts.test_operators import code_of
from tests.fakes.stripe_server import StripeServer
from voicereel_site.local_stack import ROOT, LocalStack

CHROMIUM = os.environ.get("TEST_CHROMIUM", "/usr/bin/chromium")
PICTURES = ROOT / "var" / "browser"  # what the pages look like, to be looked at
NODE_MODULES = ROOT / "tests/browser/node_modules"  # other people's judges of pages
_MAIL_S = 20.0
_CAPTURES, _NEXT_FRAME_MS = 5, 500.0
_NO_FRAME = "Unable to capture screenshot"
_PASSWORD = "correct horse battery staple"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]


@dataclass
class Site:
    """The running product, and what its relay printed: the mail."""

    stack: LocalStack
    log: Path
    stripe: StripeServer
    people: int = field(default=0)

    @property
    def url(self) -> str:
        return self.stack.url

    @property
    def folder(self) -> Path:
        """Where it keeps what it keeps."""
        return self.log.parent

    def make_operator(self, email: str) -> str:
        """A person who operates the service. Returns a recovery code, for one log-in."""
        command = [sys.executable, "manage.py", "create_operator", email]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.stack.operators,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as asking:
            assert asking.stdin
            assert asking.stderr
            assert asking.stdout
            asking.stdin.write(f"{_PASSWORD}\n")
            asking.stdin.flush()
            for line in asking.stderr:
                if secret := re.search(r"\b[A-Z2-7]{32}\b", line):
                    break
            else:
                raise AssertionError("no secret was shown")
            asking.stdin.write(f"{code_of(secret[0])}\n")
            asking.stdin.flush()
            asking.stderr.read()
            codes = asking.stdout.read().split()
        return codes[0]

    def code_for(self, email: str) -> str:
        """The code in the last mail to an address."""
        deadline = time.monotonic() + _MAIL_S
        while time.monotonic() < deadline:
            text = self.log.read_text(errors="replace")
            mails = re.findall(
                rf"^To: {re.escape(email)}$.*?^([A-Z0-9]{{6}}|[A-Z0-9]{{3,4}}-[A-Z0-9]{{3,4}})$",
                text,
                re.MULTILINE | re.DOTALL,
            )
            if mails:
                return str(mails[-1])
            time.sleep(0.2)
        raise AssertionError(f"no mail with a code to {email}")


@dataclass
class Visit:
    """A person at a browser."""

    site: Site
    context: BrowserContext
    page: Page
    trouble: list[str]

    def open(self, path: str) -> Page:
        self.page.goto(self.site.url + path)
        return self.page

    def sign_up(self, email: str = "", organisation: str = "Alder Audio") -> str:
        """As a newcomer does. Returns the address."""
        self.site.people += 1
        email = email or f"person{self.site.people}@alder.example"
        page = self.open("/account/signup/")
        page.fill("[name=email]", email)
        page.fill("[name=password1]", _PASSWORD)
        page.locator("main form button[type=submit], main form button").first.click()
        page.fill("[name=code]", self.site.code_for(email))
        page.locator("main form button[type=submit], main form button").first.click()
        page.fill("[name=name]", organisation)
        page.locator("main form button").first.click()
        page.wait_for_selector("#first-steps")
        return email

    def log_in_as_operator(self, email: str = "olga@voicereel.example") -> None:
        """As somebody who was made one, with a recovery code for the second factor."""
        code = self.site.make_operator(email)
        page = self.open("/account/login/?next=/admin/")
        page.fill("[name=login]", email)
        page.fill("[name=password]", _PASSWORD)
        page.locator("main form button").first.click()
        page.fill("[name=code]", code)
        page.locator("main form button").first.click()
        page.wait_for_selector("[data-figure=requests]")

    def put_on_plan(self, plan: str) -> None:
        """As an operator does with its organisation. The first page must be open: it has the id."""
        tenant = re.search(r"ten_\w+", self.page.locator("main").inner_text())
        assert tenant
        self.site.stack.manage("set_plan", tenant[0], plan)

    def until(self, script: str, timeout_s: float = 30.0) -> object:
        """What a function in the page returns, once that is true. (Playwright's own waiting needs eval,
        which our policy forbids.)
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if found := self.page.evaluate(script):
                return found
            time.sleep(0.1)
        raise AssertionError(f"never true: {script}")

    def picture(self, name: str) -> None:
        """Of the whole page. On a busy machine Chromium now and then has lost the frame that it is to
        copy, and has another when it is asked again.
        """
        PICTURES.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, _CAPTURES + 1):
            try:
                self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
                return
            except Error as exc:
                if _NO_FRAME not in str(exc) or attempt == _CAPTURES:
                    raise
                self.page.wait_for_timeout(_NEXT_FRAME_MS)
