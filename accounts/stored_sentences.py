"""What accounts stores for customers to read, in English (voicereel_site.stored_text)."""

from django.utils.translation import gettext_noop

# Of exports.
EXPORT_FAILED = gettext_noop(
    "It could not be made, and we have been told. Ask for another one later."
)
EXPORT_OUTDATED = gettext_noop("A speaker was erased meanwhile. Ask for another one.")

# Of endpoints of webhooks that are switched off.
GONE = gettext_noop("It answered 410, gone.")
TOOK_NOTHING = gettext_noop("It took nothing for %(days)s days. The last: %(error)s")
SWITCHED_OFF_BY_YOU = gettext_noop("You switched it off.")

# Of attempts to deliver.
SWITCHED_OFF = gettext_noop("The endpoint is switched off.")
ANSWERED = gettext_noop("Answered %(status)s.")
REDIRECTED = gettext_noop(
    "Answered %(status)s. Redirects are not followed: give the address they lead to."
)
TLS_FAILED = gettext_noop("TLS failed: %(error)s.")
NO_ANSWER = gettext_noop("No answer within %(seconds)s s.")

# Of attempts to deliver, and of addresses as they are given.
NOT_PUBLIC = gettext_noop(
    "%(address)s is not on the public internet. Give the address of a public server."
)
LEADS_NOT_TO_PUBLIC = gettext_noop(
    "%(host)s, which is %(address)s, is not on the public internet. Give the address of a public "
    "server."
)
NOT_HTTPS = gettext_noop("Use https, on port 443 or 8443.")
NOT_ASCII = gettext_noop("Give a URL of up to 2,000 ASCII characters, percent-encoded.")
NO_URL = gettext_noop("This is no URL: %(error)s.")
NO_SUCH_SCHEME = gettext_noop("Give a URL such as https://example.com/hooks.")
NO_CREDENTIALS = gettext_noop("Leave user names, passwords and # out of the URL.")
NO_ADDRESS = gettext_noop("%(host)s has no address that could be found.")
