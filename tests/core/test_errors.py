"""The tree of errors, and the hints in their messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustlab.core import errors
from robustlab.core.errors import RobustlabError, did_you_mean

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__
]


def test_every_error_is_a_robustlab_error_with_exit_code_2() -> None:
    assert len(KINDS) == 8
    for kind in KINDS:
        assert issubclass(kind, RobustlabError)
        assert kind.exit_code == 2
        assert kind.__name__ in str(errors.__doc__)


@pytest.mark.parametrize(
    ("word", "accepted", "hint"),
    [
        ("pdg", ["pgd", "fgsm"], " (did you mean 'pgd'?)"),
        ("epoch", ["epochs", "lr"], " (did you mean 'epochs'?)"),
        ("carlini", ["pgd", "fgsm"], ""),
        ("x", [], ""),
        ("", ["pgd"], ""),
    ],
)
def test_did_you_mean(word: str, accepted: list[str], hint: str) -> None:
    assert did_you_mean(word, accepted) == hint
    assert did_you_mean(word, iter(accepted)) == hint


@given(words=st.lists(st.text(min_size=1), min_size=1, unique=True), data=st.data())
def test_an_accepted_word_is_its_own_hint(words: list[str], data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(words))
    assert did_you_mean(word, words) == f" (did you mean {word!r}?)"
