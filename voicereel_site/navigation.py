"""What the frame of a member's pages leads to."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.scopes import Scope


@dataclass(frozen=True)
class Entry:
    """A link of the navigation. url_name: where it leads; icon: of icons.svg; scope: what its page asks for;
    within: the first parts of the paths on which it is the current one.
    """

    url_name: str
    label: str | Promise
    icon: str
    scope: str | None
    within: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    label: str | Promise
    entries: tuple[Entry, ...]


GROUPS = (
    Group(
        _("Work"),
        (
            Entry("home", _("Home"), "home", None, ("",)),
            Entry("studio", _("Studio"), "studio", Scope.JOBS_READ, ("studio",)),
            Entry("speakers", _("Speakers"), "speakers", Scope.SPEAKERS_READ, ("speakers",)),
            Entry("jobs", _("Jobs"), "jobs", Scope.JOBS_READ, ("jobs",)),
            Entry("comparisons", _("Comparisons"), "compare", Scope.JOBS_READ, ("comparisons",)),
        ),
    ),
    Group(
        _("Money"),
        (
            Entry("usage", _("Usage"), "usage", Scope.USAGE_READ, ("usage",)),
            Entry("invoices", _("Invoices"), "invoices", Scope.BILLING_READ, ("invoices",)),
            Entry("billing", _("Payment and limits"), "card", Scope.BILLING_READ, ("billing",)),
        ),
    ),
    Group(
        _("Account"),
        (
            Entry("members", _("Members"), "members", Scope.MEMBERS_READ, ("members",)),
            Entry("keys", _("API keys"), "keys", Scope.KEYS_READ, ("keys",)),
            Entry(
                "webhooks",
                _("Webhooks"),
                "webhooks",
                Scope.WEBHOOKS_READ,
                ("webhooks", "deliveries"),
            ),
            Entry(
                "privacy", _("Data and retention"), "privacy", Scope.ACCOUNT_EXPORT, ("privacy",)
            ),
            Entry("audit", _("Audit log"), "audit", Scope.AUDIT_READ, ("audit",)),
            Entry("service", _("Service level"), "shield", Scope.USAGE_READ, ("service",)),
        ),
    ),
)
