"""Mail, by way of the outbox: a mail server that is away delays it and fails nothing."""

from collections.abc import Sequence
from typing import Any

from django.template.loader import render_to_string

from accounts.outbox import ask_to_send
from accounts.tenancy import NO_TENANT, acting_for

# The name that a file has in a mail, its key in the storage, and its media type.
Attachment = tuple[str, str, str]


def send_mail(
    to: Sequence[str],
    template: str,
    *,
    of_tenant: str = NO_TENANT,
    attachments: Sequence[Attachment] = (),
    **context: Any,
) -> None:
    """Have a mail sent once this commits: each address gets one of its own.

    template: of templates/emails; its first line is the subject. of_tenant: whom it tells about, with
    whose erasure it goes too, should it wait for so long. attachments: of the tenant's own files.
    """
    text = render_to_string(f"emails/{template}.txt", context)
    subject, _, body = text.strip().partition("\n")
    send_text(to, subject.strip(), body.strip(), of_tenant=of_tenant, attachments=attachments)


def send_text(
    to: Sequence[str],
    subject: str,
    text: str,
    *,
    of_tenant: str = NO_TENANT,
    attachments: Sequence[Attachment] = (),
) -> None:
    """Have a mail with this subject and text sent."""
    with acting_for(of_tenant):
        for address in to:
            ask_to_send(of_tenant, address, subject, text, attachments)
