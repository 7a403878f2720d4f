"""Lists of eps in a threat model's spec: what they mean, and which are refused."""

from typing import Any

import pytest

from robustlab.core.errors import SpecError
from robustlab.threats import L2, Linf, Masked, each_threat


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("linf(eps=[2/255, 4/255])", [Linf(eps=2 / 255), Linf(eps=4 / 255)]),
        ("l2(eps=(0.5, 1, 0.5))", [L2(eps=0.5), L2(eps=1.0)]),
        ("linf(eps=0.1)", [Linf(eps=0.1)]),
        (["linf(eps=[0.1, 0.2])", L2(eps=1.0)], [Linf(eps=0.1), Linf(eps=0.2), L2(eps=1.0)]),
        (
            "masked(threat=linf(eps=[0.1, 0.2]), fixed=(0, 3))",
            [Masked(threat=Linf(eps=eps), fixed=(0, 3)) for eps in (0.1, 0.2)],
        ),
    ],
    ids=["fractions", "twice", "one", "norms", "masked"],
)
def test_a_list_of_eps_is_spelled_out(given: Any, expected: list[Any]) -> None:
    assert each_threat(given) == expected


@pytest.mark.parametrize(
    ("threat", "words"),
    [
        ("linf(eps=[])", "an empty list"),
        ("linf(eps=[0.1, 2])", "eps"),
        ("linf(eps=[0.1, 'a'])", "eps"),
        ("linf(eps=[[0.1], 0.2])", "one eps is expected"),
        ("linf(eps=[0.1, 0.2", "can't parse"),
        ([], "at least one"),
        (0.3, "threat must be"),
        ([0.3], "threat must be"),
    ],
)
def test_a_wrong_list_is_refused(threat: Any, words: str) -> None:
    with pytest.raises(SpecError, match=r"eps|threat") as caught:
        each_threat(threat)
    assert words in str(caught.value)
