"""The errors a user can cause or meet; every one names what was found and what is accepted, in one line.

RobustlabError          the root; the command line prints it and exits with code 2
├── SpecError           a unit's name or an argument of it (``pgd(stepz=40)``)
├── RecipeError         a key, type or value in a TOML recipe
├── DataError           dataset files missing, truncated or altered
├── ModelFileError      a weights file that is corrupt or of another shape
├── RunError            a run folder: another study's, a newer schema's, in use
├── OutputError         a file could not be written (full disk, no permission)
└── SetupError          the installation itself (a torchvision that does not fit torch)
"""

import difflib
from collections.abc import Iterable

from robustlab.core.text import one_line


class RobustlabError(Exception):
    """Root of every error that robustlab raises on purpose.

    Its message is one line of at most `text.MESSAGE_LIMIT` printable characters; `one_line` sees to it.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class SpecError(RobustlabError):
    """A unit's spec string names something that does not exist, or gives it a value out of range."""


class RecipeError(RobustlabError):
    """A recipe has an unknown key, a wrong type or a value out of range."""


class DataError(RobustlabError):
    """A dataset's files are missing, truncated or altered."""


class ModelFileError(RobustlabError):
    """A weights file is corrupt, or holds another network."""


class RunError(RobustlabError):
    """A run folder belongs to another study or a newer robustlab, or is in use."""


class OutputError(RobustlabError):
    """A file could not be written."""


class SetupError(RobustlabError):
    """The installed libraries do not fit together."""


def did_you_mean(word: str, accepted: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?) `` for the accepted word nearest to ``word``, or an empty string."""
    near = difflib.get_close_matches(word, list(accepted), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
