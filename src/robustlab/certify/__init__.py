"""Certifiers: proofs that no point of a threat model changes the class."""

from robustlab.certify.alpha_crown import AlphaCROWN
from robustlab.certify.auto import AutoCertifier
from robustlab.certify.base import Certifier, ProofResult, as_certifier
from robustlab.certify.crown import CROWN
from robustlab.certify.crown_ibp import CROWNIBP
from robustlab.certify.ibp import IBP
from robustlab.certify.interval import NoRuleError
from robustlab.certify.smoothing import SmoothedRadii, smoothed_radii

__all__ = [
    "CROWN",
    "CROWNIBP",
    "IBP",
    "AlphaCROWN",
    "AutoCertifier",
    "Certifier",
    "NoRuleError",
    "ProofResult",
    "SmoothedRadii",
    "as_certifier",
    "smoothed_radii",
]
