"""`voicereel members`, `audit`, `export`, `erase-speaker`, `erase-account`: the account itself."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from .models import AuditEvent, Erasure, Export, Role
from .session import Session, json_option, pass_session, yes_option
from .terminal import in_bytes, minute, one_line, table

_ROLE = click.Choice(get_args(Role))


@click.group(no_args_is_help=False)
@json_option
def members() -> None:
    """See, invite and remove the people of your account."""


@members.command("list")
@json_option
@pass_session
def list_members(session: Session) -> None:
    """List members, and who is invited."""
    with session.client() as client:
        found = list(client.iter_members())
        invited = list(client.iter_invitations())
    rows = [
        (row.id, row.email, row.role, "yes" if row.second_factor else "no", minute(row.joined_at))
        for row in found
    ] + [(row.id, row.email, row.role, "-", "invited") for row in invited]
    text = table(("ID", "E-MAIL", "ROLE", "SECOND FACTOR", "JOINED"), rows)
    document = {
        "members": [row.raw for row in found],
        "invitations": [row.raw for row in invited],
    }
    session.result(document, text)


@members.command("invite")
@click.argument("email")
@click.argument("role", type=_ROLE)
@json_option
@pass_session
def invite(session: Session, email: str, role: Role) -> None:
    """Invite EMAIL to join as ROLE; the mail's link works for a week."""
    with session.client() as client:
        row = client.invite(email, role)
    session.result(row.raw, f"{row.email} is invited ({row.id})")


@members.command("withdraw")
@click.argument("invitation_id", metavar="ID")
@json_option
@pass_session
def withdraw(session: Session, invitation_id: str) -> None:
    """Withdraw an invitation."""
    with session.client() as client:
        client.withdraw_invitation(invitation_id)
    session.result({"id": invitation_id, "withdrawn": True}, f"{invitation_id} is withdrawn")


@members.command("role")
@click.argument("member_id", metavar="ID")
@click.argument("role", type=_ROLE)
@json_option
@pass_session
def change_role(session: Session, member_id: str, role: Role) -> None:
    """Give a member another role."""
    with session.client() as client:
        row = client.change_member(member_id, role)
    session.result(row.raw, f"{row.email} is {row.role}")


@members.command("remove")
@click.argument("member_id", metavar="ID")
@yes_option
@json_option
@pass_session
def remove(session: Session, member_id: str, yes: bool) -> None:
    """Remove a member; their keys stay."""
    with session.client() as client:
        session.confirm(f"Remove {member_id}?", yes)
        client.remove_member(member_id)
    session.result({"id": member_id, "removed": True}, f"{member_id} is removed")


@click.command("audit")
@click.option("--action", help="Only events of this kind, such as key.created.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@json_option
@pass_session
def audit(session: Session, action: str | None, limit: int) -> None:
    """List who did what in your account, newest first."""
    with session.client() as client:
        found = client.list_audit_events(limit, action=action).data
    rows = [(minute(row.at), _actor_of(row), row.action, one_line(row.target)) for row in found]
    text = table(("AT", "WHO", "WHAT", "OF WHAT"), rows)
    session.result({"data": [row.raw for row in found]}, text)


@click.command("export")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=1), default=3600.0)
@json_option
@pass_session
def export(session: Session, output: Path, timeout_s: float) -> None:
    """Put everything of your account's into one ZIP archive, and fetch it."""
    with session.client() as client:
        made = client.create_export()
        with session.bar("Exporting", lambda done, total: f"{done} of {total} files") as bar:

            def show(row: Export) -> None:
                if row.files_total is not None:
                    bar.update(row.files_done, row.files_total)

            made = client.wait_for_export(made.id, timeout_s, show)
        with session.bar("Downloading", in_bytes) as bar:
            path = client.download_export(made, output, bar.update)
    session.result({"export": made.raw, "file": str(path)}, str(path))


@click.command("erase-speaker")
@click.argument("speaker_id", metavar="ID")
@click.option("--confirm", required=True, help="The speaker's name.")
@json_option
@pass_session
def erase_speaker(session: Session, speaker_id: str, confirm: str) -> None:
    """Erase a speaker for good, with every job that has its voice."""
    with session.client() as client:
        row = client.erase_speaker(speaker_id, confirm=confirm)
    _show_erasure(session, row)


@click.command("erase-account")
@click.option("--confirm", required=True, help="The account's id, ten_...")
@json_option
@pass_session
def erase_account(session: Session, confirm: str) -> None:
    """Erase the whole account for good; this key works no more from then on."""
    with session.client() as client:
        row = client.erase_account(confirm=confirm)
    _show_erasure(session, row)


def _show_erasure(session: Session, row: Erasure) -> None:
    session.note(f"{row.id} goes on within minutes. The proof of it, without a key, for ever:")
    session.result(row.raw, row.proof_url)


def _actor_of(row: AuditEvent) -> str:
    who = one_line(row.actor.name or row.actor.kind)
    return f"{who} (for {one_line(row.actor.in_place_of)})" if row.actor.in_place_of else who
