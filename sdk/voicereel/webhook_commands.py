"""`voicereel webhooks`: who is told of events, and whether it arrived."""

from __future__ import annotations

from typing import get_args

import click

from .errors import VoiceReelError
from .models import Event, WebhookDelivery, WebhookEndpoint
from .session import Session, json_option, pass_session, yes_option
from .terminal import minute, one_line, table


@click.group(no_args_is_help=False)
@json_option
def webhooks() -> None:
    """Have events told to addresses of yours, and see what was."""


@webhooks.command("create")
@click.argument("url")
@click.option(
    "--event",
    "events",
    type=click.Choice(get_args(Event)),
    multiple=True,
    help="What it is told of; may be repeated. Else everything.",
)
@click.option("--description", default="")
@json_option
@pass_session
def create_webhook(session: Session, url: str, events: tuple[Event, ...], description: str) -> None:
    """Have events POSTed to URL. The secret that signs them is printed this once."""
    with session.client() as client:
        made = client.create_webhook_endpoint(url, description=description, events=events or None)
    _show_secret(session, made)


@webhooks.command("list")
@json_option
@pass_session
def list_webhooks(session: Session) -> None:
    """List all endpoints."""
    with session.client() as client:
        found = list(client.iter_webhook_endpoints())
    rows = [(row.id, one_line(row.url), ", ".join(row.events), _state_of(row)) for row in found]
    text = table(("ID", "URL", "EVENTS", "STATE"), rows)
    session.result({"data": [row.raw for row in found]}, text)


@webhooks.command("deliveries")
@click.argument("endpoint_id", metavar="ID")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@json_option
@pass_session
def list_deliveries(session: Session, endpoint_id: str, limit: int) -> None:
    """List what was sent to an endpoint, newest first."""
    with session.client() as client:
        found = client.list_webhook_deliveries(endpoint_id, limit).data
    rows = [
        (row.id, minute(row.created_at), row.event, row.status, _last_error(row)) for row in found
    ]
    text = table(("ID", "MADE", "EVENT", "STATUS", "LAST ERROR"), rows)
    session.result({"data": [row.raw for row in found]}, text)


@webhooks.command("replay")
@click.argument("delivery_id", metavar="ID")
@json_option
@pass_session
def replay_delivery(session: Session, delivery_id: str) -> None:
    """Send a message again, under the same webhook-id."""
    with session.client() as client:
        row = client.replay_webhook_delivery(delivery_id)
    session.result(row.raw, f"{row.id} is being sent again")


@webhooks.command("rotate")
@click.argument("endpoint_id", metavar="ID")
@json_option
@pass_session
def rotate_secret(session: Session, endpoint_id: str) -> None:
    """Make a new secret; for a day the old one signs beside it."""
    with session.client() as client:
        made = client.rotate_webhook_secret(endpoint_id)
    _show_secret(session, made)


@webhooks.command("enable")
@click.argument("endpoint_id", metavar="ID")
@json_option
@pass_session
def enable_webhook(session: Session, endpoint_id: str) -> None:
    """Switch an endpoint on again."""
    with session.client() as client:
        row = client.update_webhook_endpoint(endpoint_id, enabled=True)
    session.result(row.raw, f"{row.id} is switched on")


@webhooks.command("delete")
@click.argument("endpoint_id", metavar="ID")
@yes_option
@json_option
@pass_session
def delete_webhook(session: Session, endpoint_id: str, yes: bool) -> None:
    """Forget an endpoint and all that was sent to it."""
    with session.client() as client:
        session.confirm(f"Delete {endpoint_id} and all that was sent to it?", yes)
        client.delete_webhook_endpoint(endpoint_id)
    session.result({"id": endpoint_id, "deleted": True}, f"{endpoint_id} is deleted")


def _show_secret(session: Session, made: WebhookEndpoint) -> None:
    if made.secret is None:
        raise VoiceReelError(
            f"{made.id} has a secret, but the answer that showed it was lost; make another: "
            f"voicereel webhooks rotate {made.id}"
        )
    session.note(f"{made.id} is told of: {', '.join(made.events)}. Its secret, shown only now:")
    session.result(made.raw, made.secret)


def _state_of(row: WebhookEndpoint) -> str:
    if not row.enabled:
        return f"off: {one_line(row.disabled_reason or '')}"
    if row.failing_since is not None:
        return f"failing since {minute(row.failing_since)}"
    return "on"


def _last_error(row: WebhookDelivery) -> str:
    return one_line(row.attempts[-1].error or "-") if row.attempts else "-"
