"""The folders in which the files of datasets are looked for."""

import os
from pathlib import Path

import platformdirs

ENVIRONMENT = "ROBUSTLAB_DATA"


def search_path(data_root: Path | None = None) -> list[Path]:
    """Return the folders in which data is looked for, in order."""
    from_environment = os.environ.get(ENVIRONMENT)
    places = [
        data_root,
        Path(from_environment) if from_environment else None,
        Path("data"),
        platformdirs.user_cache_path("robustlab"),
    ]
    return [place.expanduser() for place in places if place is not None]
