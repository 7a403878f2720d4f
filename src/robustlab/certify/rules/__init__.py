"""What each torch function does to bounds: one file per kind of function."""

from robustlab.certify.rules import arithmetic, increasing, linear, moves, steps

__all__ = ["arithmetic", "increasing", "linear", "moves", "steps"]
