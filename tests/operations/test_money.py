"""Workers are killed, Stripe fails half of its calls and tells everything twice in any order: ledger, our
invoices and Stripe's agree exactly, and nobody is charged twice.
"""

import random
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import voicereel

from tests.fakes.stripe_server import StripeServer, Troubles
from tests.operations.conftest import MakeSite, Site, ready_speaker
from tests.operations.servers import wait_until
from voicereel_site.local_stack import ROOT, kill_group

pytestmark = pytest.mark.services

JOBS, TENANTS = 200, 3


def with_card(site: Site, stripe: StripeServer, name: str) -> voicereel.Client:
    """A tenant that pays by card."""
    key = site.stack.manage("create_tenant", name)
    client = voicereel.Client(key, site.stack.url)
    client.card_page("https://customer.example/billing")
    stripe.give_card(stripe.of_kind("checkout.session")[-1]["id"])
    assert stripe.deliver(f"{site.stack.url}/stripe/webhook", times=2) == 0
    wait_until(lambda: bool(client.billing().raw["has_card"]), "the card", 60)
    return client


DONE = "SELECT count(*) FROM synthesis_job WHERE status = 'succeeded'"


def kill_workers(site: Site, chance: random.Random) -> int:
    """With -9, again and again, each after it has finished some jobs, until all are. Returns how often."""
    kills = 0
    while True:
        [(before,)] = site.rows(DONE)
        wanted = min(JOBS, before + chance.randint(5, 20))
        wait_until(lambda: site.rows(DONE)[0][0] >= wanted, f"{wanted} jobs", 180, every_s=0.05)  # noqa: B023
        if wanted == JOBS:
            return kills
        assert site.stack.worker is not None
        kill_group(site.stack.worker)
        site.stack.start_worker()
        kills += 1


@pytest.mark.drills
def test_two_hundred_jobs_are_billed_once_whatever_fails(make_site: MakeSite) -> None:
    chance = random.Random(8)
    with StripeServer() as stripe:
        site = make_site(
            "production",
            VOICEREEL_STRIPE_KEY="sk_test_of_the_tests",
            VOICEREEL_STRIPE_URL=stripe.url,
            VOICEREEL_STRIPE_WEBHOOK_SECRET=stripe.secret,
        )
        clients = [with_card(site, stripe, f"Tenant {n}") for n in range(TENANTS)]
        speakers = [ready_speaker(client) for client in clients]
        with ThreadPoolExecutor(5) as pool:
            killing = pool.submit(kill_workers, site, chance)

            def submit(number: int) -> str:
                n = number % TENANTS
                script = [{"speaker_id": speakers[n].id, "text": "word " * 30} for _ in range(2)]
                output = {"format": "wav", "sample_rate": 8_000}
                return clients[n].synthesize(script, output=output).id

            ids = list(pool.map(submit, range(JOBS)))
            kills = killing.result()
        assert len(set(ids)) == JOBS
        assert kills >= 5
        close_the_month(site, stripe, chance)
        assert_books_agree(site, stripe)


def close_the_month(site: Site, stripe: StripeServer, chance: random.Random) -> None:
    """While Stripe fails, is late, and tells everything twice."""
    stripe.troubles = Troubles(before=0.25, after=0.25, latest_s=0.3, chance=chance)
    closing = subprocess.Popen(
        [sys.executable, "-m", "tests.operations.next_month", "60"],
        cwd=ROOT,
        env=site.stack.operators,
        stdout=subprocess.PIPE,
        text=True,
    )
    told = random.Random(9)
    while closing.poll() is None:
        stripe.deliver(f"{site.stack.url}/stripe/webhook", times=2, shuffled=told)
        time.sleep(0.3)
    assert closing.returncode == 0
    assert closing.stdout is not None
    printed = closing.stdout.read()
    assert f"{TENANTS} finalized" in printed
    assert "MISMATCH" not in printed


def assert_books_agree(site: Site, stripe: StripeServer) -> None:
    """To the millisecond and to the cent."""
    spoken = dict(site.rows("SELECT 'job:' || id, audio_ms FROM synthesis_job"))
    events: Counter[str] = Counter()
    for source, quantity in site.rows(
        "SELECT source, quantity FROM billing_usageevent WHERE meter = 'audio_ms'"
    ):
        events[source] += quantity
    assert events == Counter(spoken)
    tied = "SELECT count(*), count(DISTINCT event_id) FROM billing_invoicelineevent"
    assert site.rows(tied) == [(JOBS, JOBS)]
    invoices = site.rows(
        "SELECT invoice.id, invoice.status, invoice.total_minor, invoice.net_minor, "
        "sum(event.quantity) FROM billing_invoice AS invoice "
        "JOIN billing_invoiceline AS line ON line.invoice_id = invoice.id AND line.kind = 'audio' "
        "JOIN billing_invoicelineevent AS tie ON tie.line_id = line.id "
        "JOIN billing_usageevent AS event ON event.id = tie.event_id GROUP BY invoice.id"
    )
    assert len(invoices) == TENANTS
    assert sum(row[4] for row in invoices) == sum(spoken.values())
    theirs = {one["metadata"]["invoice"]: one for one in stripe.of_kind("invoice")}
    assert set(theirs) == {row[0] for row in invoices}
    assert len(stripe.of_kind("invoice")) == TENANTS
    for invoice_id, status, total, net, audio_ms in invoices:
        assert (status, total) == ("paid", net)
        # 15 cents a minute, rounded half up.
        assert total == (int(audio_ms) * 15 * 2 + 60_000) // (2 * 60_000)
        assert (theirs[invoice_id]["status"], theirs[invoice_id]["total"]) == ("paid", total)
    assert Counter(stripe.charges) == Counter(
        {(one["id"], one["total"]): 1 for one in theirs.values()}
    )
    paid = site.rows("SELECT invoice_id, amount_minor FROM billing_payment")
    assert sorted(paid) == sorted((row[0], row[2]) for row in invoices)
