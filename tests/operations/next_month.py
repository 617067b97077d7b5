"""Closes the running month as if the next one had begun, and writes what is paid by card down at Stripe: with
the operators' role and a clock that is moved, beside processes whose clock is not.

    python -m tests.operations.next_month ROUNDS
"""

import os
import sys
from datetime import UTC, datetime, timedelta

import time_machine


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")
    import django

    django.setup()
    from django.utils import timezone

    from billing.cards import take_events
    from billing.closing import close_month, draft_last_month, find_mismatches
    from billing.models import StripeMirror
    from billing.periods import Month
    from billing.stripe_mirror import sweep_mirrors

    ends = Month.containing(timezone.now(), "UTC").end
    with time_machine.travel(ends + timedelta(hours=1), tick=True) as clock:
        draft_last_month()
        clock.move_to(ends + timedelta(days=2, hours=1))
        finalized = close_month().finalized
        print(f"{len(finalized)} finalized at {datetime.now(UTC):%Y-%m-%d}", flush=True)
        for _ in range(int(sys.argv[1])):
            sweep_mirrors()
            take_events()
            if not StripeMirror.objects.exclude(state=StripeMirror.State.PAID).exists():
                break
            clock.shift(3_600)
        for mismatch in find_mismatches():
            print(f"MISMATCH {mismatch.what}", flush=True)


if __name__ == "__main__":
    main()
