"""`voicereel keys`: API keys, from their making to their end."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import get_args

import click

from .errors import VoiceReelError
from .models import ApiKey, Scope
from .session import Session, json_option, pass_session, yes_option
from .terminal import minute, one_line, table


@click.group(no_args_is_help=False)
@json_option
def keys() -> None:
    """Create, list, rotate and revoke API keys."""


_SCOPES = get_args(Scope)


@keys.command("create")
@click.argument("label")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(_SCOPES),
    multiple=True,
    help="What it may do; may be repeated. Else all that your own key may do.",
)
@click.option("--test", is_flag=True, help="Its jobs are spoken in tones and cost nothing.")
@click.option(
    "--expires",
    "expires_at",
    metavar="DATE",
    type=click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S")),
    help="When it stops working, in UTC: 2027-01-31 or 2027-01-31T12:00:00.",
)
@click.option(
    "--network",
    "networks",
    metavar="CIDR",
    multiple=True,
    help="From where it may be used, such as 203.0.113.0/24; may be repeated.",
)
@click.option(
    "--require-signature",
    is_flag=True,
    help="Refuse requests that are not signed; the secret for VOICEREEL_SIGNING_SECRET is printed.",
)
@json_option
@pass_session
def create_key(
    session: Session,
    label: str,
    scopes: tuple[Scope, ...],
    test: bool,
    expires_at: datetime | None,
    networks: tuple[str, ...],
    require_signature: bool,
) -> None:
    """Make an API key. It is printed this once."""
    with session.client() as client:
        made = client.create_key(
            label,
            scopes=scopes or None,
            mode="test" if test else "live",
            expires_at=expires_at and expires_at.replace(tzinfo=timezone.utc),
            networks=networks or None,
            require_signature=require_signature,
        )
    _show_new_key(session, made)


@keys.command("list")
@json_option
@pass_session
def list_keys(session: Session) -> None:
    """List all API keys, those that work no more too."""
    with session.client() as client:
        found = list(client.iter_keys())
    rows = [
        (key.id, key.prefix, _state_of(key), minute(key.last_used_at), key.label or "-")
        for key in found
    ]
    text = table(("ID", "BEGINS WITH", "STATE", "LAST USED", "LABEL"), rows)
    session.result({"data": [key.raw for key in found]}, text)


@keys.command("show")
@click.argument("key_id", metavar="ID")
@json_option
@pass_session
def show_key(session: Session, key_id: str) -> None:
    """Show what one API key may do."""
    with session.client() as client:
        key = client.get_key(key_id)
    lines = [
        f"{one_line(key.label) or 'a key'} ({key.id}) {_state_of(key)}",
        f"  begins with: {key.prefix}",
        f"  scopes: {', '.join(key.scopes)}",
        f"  used from: {', '.join(key.networks) or 'anywhere'}",
        f"  signatures: {'required' if key.require_signature else 'not required'}",
        f"  last used: {minute(key.last_used_at)}",
    ]
    if key.replaced_by:
        lines.append(f"  replaced by: {key.replaced_by}")
    session.result(key.raw, "\n".join(lines))


@keys.command("rotate")
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap-hours",
    type=click.IntRange(0, 168),
    default=24,
    show_default=True,
    help="How long the old key works on.",
)
@json_option
@pass_session
def rotate_key(session: Session, key_id: str, overlap_hours: int) -> None:
    """Make a key like ID, to take its place. It is printed this once."""
    with session.client() as client:
        made = client.rotate_key(key_id, overlap_hours=overlap_hours)
    session.note(f"{key_id} works on for {overlap_hours} h at most")
    _show_new_key(session, made)


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@yes_option
@json_option
@pass_session
def revoke_key(session: Session, key_id: str, yes: bool) -> None:
    """End an API key: the next request with it is refused."""
    with session.client() as client:
        session.confirm(f"Revoke {key_id}? Whatever uses it is refused from then on.", yes)
        key = client.revoke_key(key_id)
    session.result(key.raw, f"{key.id} is revoked")


def _show_new_key(session: Session, made: ApiKey) -> None:
    if made.key is None:
        raise VoiceReelError(
            f"the key {made.id} was made, but the answer that showed it was lost; "
            f"revoke it (voicereel keys revoke {made.id}) and try again"
        )
    session.note(f"{made.id}, shown only now; it may do: {', '.join(made.scopes)}")
    if made.signing_secret is not None:
        session.note("below it, its signing secret")
    session.result(made.raw, "\n".join(filter(None, (made.key, made.signing_secret))))


def _state_of(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "is revoked"
    if key.expires_at is None:
        return "works"
    return f"{'works until' if key.works else 'ended'} {minute(key.expires_at)}"
