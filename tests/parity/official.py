"""The code of AutoAttack's authors, where the environment says where it is."""

import os
from pathlib import Path

import pytest

ENVIRONMENT = "ROBUSTLAB_AUTOATTACK"
"""The variable that holds the path of a checkout of github.com/fra31/auto-attack."""

CHECKOUT = Path(os.environ.get(ENVIRONMENT, ""))
needs_checkout = pytest.mark.skipif(
    not os.environ.get(ENVIRONMENT),
    reason=f"{ENVIRONMENT} names no checkout of github.com/fra31/auto-attack",
)
