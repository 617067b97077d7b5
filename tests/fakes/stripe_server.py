"""A Stripe for tests: a real HTTP server on loopback that knows the calls we make, with state.

What keeps it honest: each request is held to the types that the ``stripe`` package ships
(tests/fakes/stripe_types.py), unknown calls are 404s, and answers are read by that package. It has a clock
that can be moved, Idempotency-Key, signed webhooks that can come twice, late and in any order, and errors
on demand, before a call is done or after.

What it cannot show: Stripe's taxes, its own retries of cards, authentication by the card's owner.
"""

import hashlib
import hmac
import itertools
import json
import random
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from stripe import params
from stripe.params import billing_portal, checkout

from tests.fakes.stripe_types import NotAsTyped, check

_PART = re.compile(r"\[([^\]]*)\]")
_KEPT_S = 24 * 3600  # idempotency keys


class _Refused(Exception):
    def __init__(self, status: int, kind: str, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "message": message, "code": code or None}}


@dataclass
class Troubles:
    """What goes wrong. Shares of all calls, by a generator with a seed."""

    before: float = 0.0  # a 500, and nothing was done
    after: float = 0.0  # a 500, and it was
    latest_s: float = 0.0  # answers take up to this long
    declined: bool = False  # cards are
    chance: random.Random = field(default_factory=lambda: random.Random(1))


class StripeServer:
    """Runs while the block does. now: seconds, by its own clock."""

    def __init__(self, secret: str = "whsec_of_the_tests") -> None:
        self.secret = secret
        self.troubles = Troubles()
        self.moved_s = 0.0
        self.objects: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.charges: list[
            tuple[str, int]
        ] = []  # each time that a card was: its invoice, the amount
        self.calls: list[tuple[str, str]] = []
        self._replies: dict[str, tuple[float, str, int, Any]] = {}
        self._ids = itertools.count(1)
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "StripeServer":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def now(self) -> int:
        return int(time.time() + self.moved_s)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.objects.values() if one["object"] == kind]

    @contextmanager
    def away(self) -> Iterator[None]:
        """Every call is a 500 in this block."""
        before, self.troubles = self.troubles, Troubles(before=1.0)
        yield
        self.troubles = before

    # -------------------------------------------------------------- what a person or Stripe does

    def give_card(self, session_id: str) -> None:
        """A person gives a card on the page of a session."""
        with self._lock:
            session = self.objects[session_id]
            intent = self._new("seti", "setup_intent", payment_method=f"pm_{next(self._ids)}")
            session |= {"status": "complete", "setup_intent": intent["id"]}
            self._tell("checkout.session.completed", session)

    def deliver(self, url: str, *, times: int = 1, shuffled: random.Random | None = None) -> int:
        """Send the events since the last delivery to a webhook. Returns how many were not taken."""
        with self._lock:
            waiting, self.events = self.events * times, []
        if shuffled is not None:
            shuffled.shuffle(waiting)
        refused = 0
        for event in waiting:
            payload = json.dumps(event).encode()
            request = urllib.request.Request(url, payload, self.signed(payload))
            with suppress(OSError), urllib.request.urlopen(request, timeout=10) as reply:
                if reply.status < 300:
                    continue
            refused += 1
            with self._lock:
                self.events.append(event)  # Stripe comes again
        return refused

    def signed(self, payload: bytes, at: int | None = None) -> dict[str, str]:
        """The headers of an event (docs.stripe.com/webhooks, "Verify manually")."""
        when = str(int(time.time()) if at is None else at)
        mac = hmac.digest(self.secret.encode(), f"{when}.".encode() + payload, hashlib.sha256).hex()
        return {"Stripe-Signature": f"t={when},v1={mac}", "Content-Type": "application/json"}

    # -------------------------------------------------------------------------------- the calls

    def _new(self, prefix: str, kind: str, **fields: Any) -> dict[str, Any]:
        made = {
            "id": f"{prefix}_{next(self._ids):06}",
            "object": kind,
            "created": self.now,
            "livemode": False,
            "metadata": {},
            **fields,
        }
        self.objects[made["id"]] = made
        return made

    def _find(self, object_id: str, kind: str) -> dict[str, Any]:
        found = self.objects.get(object_id)
        if found is None or found["object"] != kind:
            raise _Refused(
                404, "invalid_request_error", f"No such {kind}: '{object_id}'", "resource_missing"
            )
        return found

    def _tell(self, kind: str, about: dict[str, Any]) -> None:
        self.events.append(
            {
                "id": f"evt_{next(self._ids):06}",
                "object": "event",
                "api_version": "2026-10-28.endive",
                "created": self.now,
                "type": kind,
                "data": {"object": dict(about)},
                "livemode": False,
                "pending_webhooks": 1,
                "request": {"id": None, "idempotency_key": None},
            }
        )

    def _create_customer(self, given: dict[str, Any]) -> dict[str, Any]:
        fields = {"email": None, "name": None, "invoice_settings": {"default_payment_method": None}}
        return self._new("cus", "customer", **fields | given)

    def _update_customer(self, given: dict[str, Any], customer_id: str) -> dict[str, Any]:
        customer = self._find(customer_id, "customer")
        customer["invoice_settings"] |= given.pop("invoice_settings", {})
        return customer | given

    def _create_session(self, given: dict[str, Any]) -> dict[str, Any]:
        self._find(given["customer"], "customer")
        if given["mode"] == "setup" and "currency" not in given:
            raise _Refused(400, "invalid_request_error", "Missing required param: currency.")
        session = self._new("cs", "checkout.session", status="open", setup_intent=None, **given)
        session["url"] = f"{self.url}/pay/{session['id']}"
        return session

    def _create_portal(self, given: dict[str, Any]) -> dict[str, Any]:
        self._find(given["customer"], "customer")
        return self._new("bps", "billing_portal.session", url=f"{self.url}/portal", **given)

    def _create_invoice(self, given: dict[str, Any]) -> dict[str, Any]:
        self._find(given["customer"], "customer")
        return self._new(
            "in",
            "invoice",
            **given | {"auto_advance": given.get("auto_advance") == "true"},
            status="draft",
            total=0,
            amount_due=0,
            amount_paid=0,
            attempted=False,
            lines={"object": "list", "data": [], "has_more": False},
        )

    def _add_lines(self, given: dict[str, Any], invoice_id: str) -> dict[str, Any]:
        invoice = self._find(invoice_id, "invoice")
        if invoice["status"] != "draft":
            raise _Refused(400, "invalid_request_error", "This invoice is no longer editable")
        for line in given["lines"]:
            made = self._new("il", "line_item", **line | {"amount": int(line["amount"])})
            invoice["lines"]["data"].append(made)
        total = sum(line["amount"] for line in invoice["lines"]["data"])
        invoice |= {"total": total, "amount_due": max(0, total)}
        return invoice

    def _finalize(self, given: dict[str, Any], invoice_id: str) -> dict[str, Any]:
        invoice = self._find(invoice_id, "invoice")
        if invoice["status"] != "draft":
            raise _Refused(400, "invalid_request_error", "This invoice is already finalized")
        invoice |= {"status": "open", "number": f"STRIPE-{next(self._ids)}"}
        self._tell("invoice.finalized", invoice)
        return invoice

    def _void(self, given: dict[str, Any], invoice_id: str) -> dict[str, Any]:
        invoice = self._find(invoice_id, "invoice")
        if invoice["status"] != "open":
            raise _Refused(400, "invalid_request_error", "You can only void open invoices")
        invoice["status"] = "void"
        return invoice

    def _delete_invoice(self, given: dict[str, Any], invoice_id: str) -> dict[str, Any]:
        invoice = self._find(invoice_id, "invoice")
        if invoice["status"] != "draft":
            raise _Refused(400, "invalid_request_error", "You can only delete draft invoices")
        del self.objects[invoice_id]
        return {"id": invoice_id, "object": "invoice", "deleted": True}

    def _pay(self, given: dict[str, Any], invoice_id: str) -> dict[str, Any]:
        invoice = self._find(invoice_id, "invoice")
        if invoice["status"] == "paid":
            raise _Refused(400, "invalid_request_error", "Invoice is already paid")
        if invoice["status"] != "open":
            raise _Refused(400, "invalid_request_error", "Invoice is not open")
        invoice["attempted"] = True
        settings = self.objects[invoice["customer"]]["invoice_settings"]
        if self.troubles.declined or not settings["default_payment_method"]:
            self._tell("invoice.payment_failed", invoice)
            raise _Refused(402, "card_error", "Your card was declined.", "card_declined")
        self.charges.append((invoice_id, invoice["amount_due"]))
        invoice |= {"status": "paid", "amount_paid": invoice["amount_due"]}
        self._tell("invoice.paid", invoice)
        return invoice

    def _create_credit_note(self, given: dict[str, Any]) -> dict[str, Any]:
        invoice = self._find(given["invoice"], "invoice")
        amount = int(given.get("amount", 0))
        refund = int(given.get("refund_amount", 0))
        credited = sum(
            note["amount"]
            for note in self.of_kind("credit_note")
            if note["invoice"] == invoice["id"]
        )
        if credited + amount > invoice["total"]:
            raise _Refused(400, "invalid_request_error", "The credit note is over the invoice")
        if invoice["status"] == "paid" and refund != amount:
            message = "A credit note of a paid invoice says where its amount goes"
            raise _Refused(400, "invalid_request_error", message)
        if refund:
            self.charges.append((invoice["id"], -refund))
        note = self._new("cn", "credit_note", **given | {"amount": amount, "refund_amount": refund})
        self._tell("credit_note.created", note)
        return note

    def _list_invoices(self, given: dict[str, Any]) -> dict[str, Any]:
        rows = [one for one in self.of_kind("invoice") if one["customer"] == given.get("customer")]
        return {"object": "list", "data": rows[::-1], "has_more": False, "url": "/v1/invoices"}

    def _routes(self) -> list[tuple[str, str, type, Callable[..., dict[str, Any]]]]:
        def get(kind: str) -> Callable[..., dict[str, Any]]:
            return lambda given, object_id: self._find(object_id, kind)

        return [
            ("POST", "/v1/customers", params.CustomerCreateParams, self._create_customer),
            ("POST", "/v1/customers/*", params.CustomerUpdateParams, self._update_customer),
            ("GET", "/v1/customers/*", params.CustomerRetrieveParams, get("customer")),
            ("POST", "/v1/checkout/sessions", checkout.SessionCreateParams, self._create_session),
            (
                "GET",
                "/v1/checkout/sessions/*",
                checkout.SessionRetrieveParams,
                get("checkout.session"),
            ),
            (
                "POST",
                "/v1/billing_portal/sessions",
                billing_portal.SessionCreateParams,
                self._create_portal,
            ),
            ("GET", "/v1/setup_intents/*", params.SetupIntentRetrieveParams, get("setup_intent")),
            ("POST", "/v1/invoices", params.InvoiceCreateParams, self._create_invoice),
            ("GET", "/v1/invoices", params.InvoiceListParams, self._list_invoices),
            ("GET", "/v1/invoices/*", params.InvoiceRetrieveParams, get("invoice")),
            ("POST", "/v1/invoices/*/add_lines", params.InvoiceAddLinesParams, self._add_lines),
            (
                "POST",
                "/v1/invoices/*/finalize",
                params.InvoiceFinalizeInvoiceParams,
                self._finalize,
            ),
            ("POST", "/v1/invoices/*/pay", params.InvoicePayParams, self._pay),
            ("POST", "/v1/invoices/*/void", params.InvoiceVoidInvoiceParams, self._void),
            ("DELETE", "/v1/invoices/*", params.InvoiceDeleteParams, self._delete_invoice),
            ("POST", "/v1/credit_notes", params.CreditNoteCreateParams, self._create_credit_note),
        ]

    def answer(self, method: str, path: str, form: str, key: str) -> tuple[int, Any]:
        """A call's status and body."""
        self.calls.append((method, path))
        if self.troubles.latest_s:
            time.sleep(self.troubles.chance.uniform(0, self.troubles.latest_s))
        trouble = self.troubles.chance.random()
        if trouble < self.troubles.before:
            return 500, {"error": {"type": "api_error", "message": "Something broke."}}
        with self._lock:
            status, body = self._answer_once(method, path, form, key)
        if trouble < self.troubles.before + self.troubles.after:
            return 500, {"error": {"type": "api_error", "message": "Something broke, too late."}}
        return status, body

    def _answer_once(self, method: str, path: str, form: str, key: str) -> tuple[int, Any]:
        asked = f"{method} {path} {form}"
        at, earlier, status, body = self._replies.get(key, (0.0, "", 0, None))
        if key and status and self.now - at < _KEPT_S:
            if earlier != asked:
                message = "Keys for idempotent requests can only be used with the same parameters"
                return 400, {"error": {"type": "idempotency_error", "message": message}}
            return status, body
        try:
            status, body = 200, self._do(method, path, nested(form))
        except _Refused as refused:
            status, body = refused.status, refused.body
        except NotAsTyped as wrong:
            error = {"type": "invalid_request_error", "message": str(wrong)}
            return 400, {"error": error}  # validation fails before a key is used
        body = json.loads(json.dumps(body))
        if key:
            self._replies[key] = (self.now, asked, status, body)
        return status, body

    def _do(self, method: str, path: str, given: dict[str, Any]) -> dict[str, Any]:
        for its_method, pattern, shape, do in self._routes():
            match = re.fullmatch(pattern.replace("*", "([^/]+)"), path)
            if method == its_method and match:
                check(shape, given)
                return do(given, *match.groups())
        message = f"Unrecognized request URL ({method}: {path})."
        raise _Refused(404, "invalid_request_error", message)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _reply(self) -> None:
                split = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                form = self.rfile.read(length).decode() or split.query
                key = self.headers.get("Idempotency-Key", "") if self.command == "POST" else ""
                status, body = server.answer(self.command, split.path, form, key)
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _reply

            def log_message(self, format: str, *args: Any) -> None:
                """Silent."""

        return Handler


def nested(form: str) -> dict[str, Any]:
    """``a[b][0][c]=1`` as objects and lists."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(form, keep_blank_values=True):
        first, rest = name.split("[", 1) if "[" in name else (name, "")
        at, parts = found, [first, *_PART.findall(f"[{rest}" if rest else "")]
        for part in parts[:-1]:
            at = at.setdefault(part, {})
        at[parts[-1]] = value
    return {name: _listed(value) for name, value in found.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _listed(one) for name, one in value.items()}
    if inner and all(name.isdecimal() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner
