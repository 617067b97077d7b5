"""What our commands of manage.py have in common."""

from django.core.management.base import BaseCommand


class QuickCommand(BaseCommand):
    """Starts without the checks of all models and all pages' addresses, which `make check` did: they take as
    long again as the rest of the start.
    """

    requires_system_checks = ()
