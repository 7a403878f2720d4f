"""The core: units and their specs, errors, progress, and what every other folder builds on."""

from robustlab.core.lazy import lazy

TYPE_CHECKING = False  # as in robustlab/__init__.py
if TYPE_CHECKING:
    from robustlab.core.calling import UserCodeError
    from robustlab.core.errors import (
        DataError,
        ModelFileError,
        OutputError,
        RecipeError,
        RobustlabError,
        RunError,
        SetupError,
        SpecError,
    )
    from robustlab.core.progress import Progress
    from robustlab.core.spec import BareText, PixelDistance, PixelLength, Unit, parse, register, units
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "robustlab.core.calling": ["UserCodeError"],
            "robustlab.core.errors": [
                "DataError",
                "ModelFileError",
                "OutputError",
                "RecipeError",
                "RobustlabError",
                "RunError",
                "SetupError",
                "SpecError",
            ],
            "robustlab.core.progress": ["Progress"],
            "robustlab.core.spec": [
                "BareText",
                "PixelDistance",
                "PixelLength",
                "Unit",
                "parse",
                "register",
                "units",
            ],
        },
    )

__all__ = [
    "BareText",
    "DataError",
    "ModelFileError",
    "OutputError",
    "PixelDistance",
    "PixelLength",
    "Progress",
    "RecipeError",
    "RobustlabError",
    "RunError",
    "SetupError",
    "SpecError",
    "Unit",
    "UserCodeError",
    "parse",
    "register",
    "units",
]
