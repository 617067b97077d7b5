"""The web process, with a standard plan of a hundred requests an hour.

python -m voicereel_site.web_server tests.e2e.small_quota:application
"""

from voicereel_site.wsgi import application  # first: it sets Django up

# isort: split
from accounts.plans import ALLOWANCES, Allowance, Plan

__all__ = ["application"]

ALLOWANCES[Plan.STANDARD] = Allowance(
    requests=100, window_s=3_600, jobs=100, lines=4_000, in_hand=3, weight=1
)
