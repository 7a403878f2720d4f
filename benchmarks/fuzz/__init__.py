"""Fuzzers: inputs that nobody would think of, one file per family, and one law for all of them.

A family is a function ``(draw, folder) -> attempt``: it makes ONE input from the random numbers of ``draw``,
writes files only below ``folder``, and returns a callable that tries the input. The law (`fuzz.law`): the
attempt returns, or raises a `RobustlabError` with a message fit for a terminal. All else is a fault, a hang
or a flood of memory included.
"""

from fuzz.registry import FAMILIES, Attempt, Family, family

__all__ = ["FAMILIES", "Attempt", "Family", "family"]
