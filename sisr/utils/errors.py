"""Exceptions with a one-sentence message for the user."""


class SisrError(Exception):
    """The work failed for a reason that the user can fix; the message is one sentence (exit status 1)."""


class UsageError(SisrError):
    """The call is wrong: an unknown name, an invalid value (exit status 2)."""
