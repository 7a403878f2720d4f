"""Gradient estimators: how an attack gets its gradients; one file each."""

from robustlab.attacks.gradients.base import Gradient
from robustlab.attacks.gradients.bpda import BPDAGradient
from robustlab.attacks.gradients.eot import EOTGradient
from robustlab.attacks.gradients.exact import ExactGradient
from robustlab.attacks.gradients.finite_differences import FiniteDifferences
from robustlab.attacks.gradients.query import GradientQuery
from robustlab.attacks.gradients.smoothed import SmoothedGradient
from robustlab.attacks.gradients.spsa import SPSAGradient
from robustlab.attacks.gradients.surrogates import SurrogateGradient

__all__ = [
    "BPDAGradient",
    "EOTGradient",
    "ExactGradient",
    "FiniteDifferences",
    "Gradient",
    "GradientQuery",
    "SPSAGradient",
    "SmoothedGradient",
    "SurrogateGradient",
]
