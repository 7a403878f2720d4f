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
            "BareText": "robustlab.core.spec",
            "DataError": "robustlab.core.errors",
            "ModelFileError": "robustlab.core.errors",
            "OutputError": "robustlab.core.errors",
            "PixelDistance": "robustlab.core.spec",
            "PixelLength": "robustlab.core.spec",
            "Progress": "robustlab.core.progress",
            "RecipeError": "robustlab.core.errors",
            "RobustlabError": "robustlab.core.errors",
            "RunError": "robustlab.core.errors",
            "SetupError": "robustlab.core.errors",
            "SpecError": "robustlab.core.errors",
            "Unit": "robustlab.core.spec",
            "UserCodeError": "robustlab.core.calling",
            "parse": "robustlab.core.spec",
            "register": "robustlab.core.spec",
            "units": "robustlab.core.spec",
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
