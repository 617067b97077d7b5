"""``manage.py dispatch``: the process that hands jobs to workers, tenants in turn."""

from typing import Any

from synthesis.dispatcher import LOOK_EVERY_S, Dispatcher
from voicereel_site.commands import QuickCommand
from voicereel_site.rounds import run_rounds

_BUSY_S = 0.02  # how often workers are looked after while they have more to do


class Command(QuickCommand):
    help = "Hand jobs to workers, until it is stopped. A second one does no harm."

    def handle(self, *args: Any, **options: Any) -> None:
        run_rounds("dispatcher", Dispatcher().round, busy_s=_BUSY_S, idle_s=LOOK_EVERY_S)
