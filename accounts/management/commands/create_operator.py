"""``manage.py create_operator EMAIL``"""

import sys
from argparse import ArgumentParser
from getpass import getpass
from typing import Any

import qrcode
from allauth.account.models import EmailAddress
from allauth.mfa.adapter import get_adapter
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, validate_totp_code
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from accounts import audit
from accounts.models import Operator, User
from voicereel_site.commands import QuickCommand

_TRIES = 5


class Command(QuickCommand):
    help = (
        "Make an operator of a person, known or new: asks for a password, shows a key for an "
        "authenticator app, asks for a code of it, and prints recovery codes. Without a terminal, "
        "password and code are lines of standard input."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")

    def handle(self, *args: Any, **options: Any) -> None:
        email = options["email"].lower()
        user = User.objects.filter(email=email).first() or User(email=email)
        if user.is_operator:
            raise CommandError(f"{email} is an operator already.")
        password = self._ask_password(user)
        secret = generate_totp_secret()
        self._show(user, secret)
        self._ask_code(secret)
        with transaction.atomic(), audit.acting_as(audit.command_actor("create_operator")):
            user.set_password(password)
            user.save()
            EmailAddress.objects.update_or_create(
                user=user, email=email, defaults={"verified": True, "primary": True}
            )
            user.authenticator_set.all().delete()
            TOTP.activate(user, secret)
            codes = RecoveryCodes.activate(user).get_unused_codes()
            Operator.objects.create(user=user)
            audit.record(None, "operator.created", email)
        self.stderr.write(f"{email} is an operator and logs in at /account/login/.")
        self.stderr.write("Recovery codes, shown only now, each for one log-in:")
        for code in codes:
            self.stdout.write(code)

    def _ask_password(self, user: User) -> str:
        password = (
            getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        )
        try:
            validate_password(password, user)
        except ValidationError as exc:
            raise CommandError(" ".join(exc.messages)) from exc
        return password

    def _show(self, user: User, secret: str) -> None:
        """The key, to type and to scan."""
        url = get_adapter().build_totp_url(user, secret)
        if sys.stdin.isatty():
            code = qrcode.QRCode()
            code.add_data(url)
            code.print_ascii(out=self.stderr)
        self.stderr.write(f"Scan this with an authenticator app, or type the key: {secret}\n{url}")

    def _ask_code(self, secret: str) -> None:
        for _ in range(_TRIES):
            self.stderr.write("Code of the app:")
            line = sys.stdin.readline()
            if validate_totp_code(secret, line.strip()):
                return
            if not line:
                break
            self.stderr.write("This code is not the app's of now.")
        raise CommandError("Without a second factor nobody is made an operator.")
