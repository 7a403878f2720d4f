"""Certifiers: proofs that no point of a threat model changes the class."""

from robustlab.certify.base import Certifier
from robustlab.certify.ibp import IBP
from robustlab.certify.interval import NoRuleError

__all__ = ["IBP", "Certifier", "NoRuleError"]
