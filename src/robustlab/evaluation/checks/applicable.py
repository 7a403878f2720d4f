"""A check may not apply."""


class NotApplicable(Exception):  # noqa: N818 (nothing went wrong)
    """A check does not apply; the message says why."""
