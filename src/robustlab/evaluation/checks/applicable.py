"""The exception for a check that does not apply."""


class NotApplicable(Exception):  # noqa: N818 (nothing went wrong)
    """A check does not apply; the message gives the reason."""
