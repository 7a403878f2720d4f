"""Where networks come from: one file per source."""

from robustlab.models.sources.base import Loaded, Note, Source
from robustlab.models.sources.code import FromCode
from robustlab.models.sources.run import FromRun
from robustlab.models.sources.saved import FromFile
from robustlab.models.sources.zoo import FromZoo

__all__ = ["FromCode", "FromFile", "FromRun", "FromZoo", "Loaded", "Note", "Source"]
