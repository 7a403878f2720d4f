"""The errors that a user can cause; each names the value found and what is accepted, in one line.

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
import textwrap
from collections.abc import Iterable

from robustlab.core.aliases import normalized, ours
from robustlab.core.text import MESSAGE_LIMIT, one_line, shown

_LONGEST_WORD = 100
_LONGEST_OFFER = 80


class RobustlabError(Exception):
    """Root of every error that robustlab raises on purpose.

    Its message is one line of at most `text.MESSAGE_LIMIT` printable characters; `one_line` makes it so.
    """

    exit_code = 2
    limit = MESSAGE_LIMIT

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message, self.limit))


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
    """Return `` (did you mean 'x'?) `` for the accepted word that ``word`` may mean, or an empty string.

    It ignores case, uses names from other libraries (`aliases`), and then looks for similar words.
    """
    names = {normalized(name): name for name in accepted}
    word = normalized(word[:_LONGEST_WORD])
    guess = names.get(word) or next((names.get(n, n) for n in ours(word) if n.partition("(")[0] in names), "")
    if not guess:
        near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
        guess = names[near[0]] if near else ""
    return f" (did you mean {shown(guess)}?)" if guess else ""


def offer(accepted: Iterable[str], where: str = "") -> str:
    """Return the accepted names as text: all of them if the text is short, else the command that lists them.

    Args:
        accepted: the names.
        where: a kind that ``robustlab ls`` lists, such as ``"attacks"``; empty: no command lists them.
    """
    names = list(accepted)
    listing = ", ".join(names)
    if len(listing) <= _LONGEST_OFFER:
        return f"accepted: {listing or 'none'}"
    few = textwrap.shorten(listing, _LONGEST_OFFER, placeholder=" ...")
    return f"accepted: {few} ({len(names)} in all" + (
        f"; `robustlab ls {where}` lists them)" if where else ")"
    )
