"""How django-allauth works here: whose address counts, how its mail leaves, how its secrets are kept."""

import base64
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.mfa.adapter import DefaultMFAAdapter
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme

from accounts import audit
from accounts.encryption import decrypt, encrypt
from accounts.mail import send_text
from accounts.models import AuditEvent, User
from accounts.networks import client_address
from accounts.people.addresses import normal_address
from accounts.people.recording import record_of_person

# What secrets of a second factor are encrypted for; allauth does not say whose they are.
_FACTORS = "allauth.mfa"


class AccountAdapter(DefaultAccountAdapter):
    def get_client_ip(self, request: HttpRequest) -> str:
        """As our own proxies tell it: what limits attempts to log in must not be what a client says."""
        return str(client_address(request) or "0.0.0.0")  # nosec B104

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Plain text, by way of the outbox."""
        ours = {"email": email, "current_site": {"name": "VoiceReel"}}
        message = self.render_mail(template_prefix, email, ours | context)
        send_text(message.to, str(message.subject), str(message.body))

    def is_safe_url(self, url: str | None) -> bool:
        """Back to a path of ours, and nowhere else."""
        return (
            url is not None
            and url.startswith("/")
            and url_has_allowed_host_and_scheme(url, allowed_hosts=None)
        )

    def clean_email(self, email: str) -> str:
        try:
            return normal_address(super().clean_email(email))
        except ValueError as exc:
            raise ValidationError(str(exc)) from exc

    def populate_username(self, request: HttpRequest, user: AbstractBaseUser) -> None:
        """People have none: their address names them."""

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        tried = EmailAddress.objects.filter(email__iexact=str(credentials.get("email", "")))
        for user in User.objects.filter(emailaddress__in=tried).distinct():
            actor = audit.Actor(AuditEvent.Actor.SYSTEM, address=self.get_client_ip(request))
            with audit.acting_as(actor):
                record_of_person(user, "login.failed")


class MfaAdapter(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return base64.b64encode(encrypt(text.encode(), _FACTORS)).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return decrypt(base64.b64decode(encrypted_text), _FACTORS).decode()
