"""The pages as people meet them: a real browser, the running product with a real worker and the embedded
engine, and in no test an error in the browser's console.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Playwright, expect, sync_playwright

from tests.browser.person import ARGUMENTS, CHROMIUM, Site, Visit
from tests.fakes.stripe_server import StripeServer
from tests.prepared import put_database
from voicereel_site.local_stack import LocalStack

# Two cores have a browser, a worker that speaks and maybe another test to serve.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Web and worker with the embedded engine, on SQLite and a disk."""
    folder = tmp_path_factory.mktemp("site")
    log = folder / "server.log"
    with StripeServer() as stripe:
        environment = {
            "VOICEREEL_ENGINE": "kokoro",
            "VOICEREEL_VAR": str(folder),
            "VOICEREEL_STRIPE_KEY": "sk_test_of_the_tests",
            "VOICEREEL_STRIPE_URL": stripe.url,
            "VOICEREEL_STRIPE_WEBHOOK_SECRET": stripe.secret,
        }
        put_database(folder)
        with (
            log.open("ab") as file,
            LocalStack(environment=environment, log=file, migrate=False) as stack,
        ):
            yield Site(stack, log, stripe)


@pytest.fixture(scope="session")
def driver() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def chromium(driver: Playwright) -> Iterator[Browser]:
    browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def visit(site: Site, chromium: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens browsers, of people of their own. Whatever its console complains of fails the test."""
    visits: list[Visit] = []

    def begin(**options: Any) -> Visit:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(30_000)
        page = context.new_page()
        trouble: list[str] = []

        def note(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                trouble.append(f"{message.text} ({message.location.get('url', '')})")

        page.on("console", note)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        found = Visit(site, context, page, trouble)
        visits.append(found)
        return found

    yield begin
    trouble = [one for visit in visits for one in visit.trouble]
    for one in visits:
        one.context.close()
    assert trouble == []


@pytest.fixture(scope="session")
def account(site: Site, chromium: Browser) -> Any:
    """What the browser of somebody keeps who has signed up, and has the sample voices, ready."""
    context = chromium.new_context()
    guest = Visit(site, context, context.new_page(), [])
    guest.sign_up()
    guest.page.get_by_role("button", name="Use the sample voices").click()
    expect(guest.page.locator("#render")).to_be_enabled(timeout=180_000)
    kept = context.storage_state()
    context.close()
    return kept


@pytest.fixture
def member(visit: Callable[..., Visit], account: Any) -> Callable[..., Visit]:
    """Opens browsers of that person's."""
    return lambda **options: visit(storage_state=account, **options)
