"""What a person can get wrong, said in one sentence."""


class SisrError(Exception):
    """The work failed for a reason the user can act on; the message is one sentence (exit status 1)."""


class UsageError(SisrError):
    """The call itself is wrong: an unknown name, an impossible value (exit status 2)."""
