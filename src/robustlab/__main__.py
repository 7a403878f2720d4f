"""``python -m robustlab`` is ``robustlab``."""

from robustlab.cli.main import main

main()
