"""Certifiers: proofs that no point of a threat model changes the class."""

from robustlab.certify.base import Certifier
from robustlab.certify.ibp import IBP
from robustlab.certify.interval import NoRuleError
from robustlab.certify.smoothing import SmoothedRadii, smoothed_radii

__all__ = ["IBP", "Certifier", "NoRuleError", "SmoothedRadii", "smoothed_radii"]
