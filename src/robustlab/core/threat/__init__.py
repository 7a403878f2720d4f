"""Threat models: what an attacker may do to an image, and the geometry of it, one file per norm."""

from robustlab.core.threat.base import ThreatModel, allowance, as_threat, per_image
from robustlab.core.threat.l0 import L0
from robustlab.core.threat.l1 import L1
from robustlab.core.threat.l2 import L2
from robustlab.core.threat.linf import Linf
from robustlab.core.threat.unbounded import Unbounded

__all__ = ["L0", "L1", "L2", "Linf", "ThreatModel", "Unbounded", "allowance", "as_threat", "per_image"]
