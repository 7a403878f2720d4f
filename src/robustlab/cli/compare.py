"""``robustlab compare`` and ``robustlab gate``."""
