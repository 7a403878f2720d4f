"""Certifiers: proofs that no point of a threat model changes the class."""

from robustlab.certify.alpha_crown import AlphaCROWN
from robustlab.certify.auto import AutoCertifier
from robustlab.certify.base import Certifier, ProofResult, as_certifier
from robustlab.certify.branch_and_bound import BranchAndBound
from robustlab.certify.crown import CROWN
from robustlab.certify.crown_ibp import CROWNIBP, both_margin_bounds
from robustlab.certify.ibp import IBP, margin_bounds
from robustlab.certify.interval import Interval, NoRuleError
from robustlab.certify.nearest_prototype import NearestPrototype
from robustlab.certify.randomized_smoothing import Smoothing, noisy_part
from robustlab.certify.smoothing import SmoothedRadii, smoothed_radii
from robustlab.certify.step_splitting import StepSplitting

__all__ = [
    "CROWN",
    "CROWNIBP",
    "IBP",
    "AlphaCROWN",
    "AutoCertifier",
    "BranchAndBound",
    "Certifier",
    "Interval",
    "NearestPrototype",
    "NoRuleError",
    "ProofResult",
    "SmoothedRadii",
    "Smoothing",
    "StepSplitting",
    "as_certifier",
    "both_margin_bounds",
    "margin_bounds",
    "noisy_part",
    "smoothed_radii",
]
