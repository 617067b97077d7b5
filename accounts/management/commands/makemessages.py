"""``manage.py makemessages``, as Django has it."""

from django.core.management.commands import makemessages


class Command(makemessages.Command):
    # Guesses at translations, from sentences that look alike, read well and say something else.
    msgmerge_options = [*makemessages.Command.msgmerge_options, "--no-fuzzy-matching"]
