"""Engines, which run the jobs of an evaluation."""

from robustlab.evaluation.engines.base import Engine, as_engine
from robustlab.evaluation.engines.serial import Serial

__all__ = ["Engine", "Serial", "as_engine"]
