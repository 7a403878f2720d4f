"""Certifiers: proofs that no point of a threat model changes the class."""

from robustlab.certify.base import Certifier
from robustlab.certify.ibp import IBP, margin_bounds
from robustlab.certify.interval import Interval, NoRuleError

__all__ = ["IBP", "Certifier", "Interval", "NoRuleError", "margin_bounds"]
