"""Threat models: what an attacker may do to an image, and the geometry of it, one file per norm."""

from robustlab.threats.base import ThreatModel, as_threat, each_threat, per_image
from robustlab.threats.l0 import L0
from robustlab.threats.l1 import L1
from robustlab.threats.l2 import L2
from robustlab.threats.linf import Linf
from robustlab.threats.masked import Masked
from robustlab.threats.unbounded import Unbounded

__all__ = [
    "L0",
    "L1",
    "L2",
    "Linf",
    "Masked",
    "ThreatModel",
    "Unbounded",
    "as_threat",
    "each_threat",
    "per_image",
]
