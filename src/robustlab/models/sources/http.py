"""A classifier behind a server, as a black box."""

import re
from typing import Annotated

from pydantic import Field

from robustlab.core.errors import SpecError
from robustlab.core.spec import BareText, register
from robustlab.core.text import shown
from robustlab.models.black_box import BlackBox
from robustlab.models.endpoint import Endpoint, check_url, endpoint_name
from robustlab.models.sources.base import Loaded, Note, Source


@register("http")
class FromServer(Source):
    """A server that gets images as JSON over HTTP, and returns predictions.

    The request is ``{"images": ...}``, nested lists (N, C, H, W) of numbers in [0, 1]. The answer is an
    object with ``"probabilities"`` or ``"logits"``, (N, K), or ``"labels"``, (N,).
    """

    url: BareText
    """Its address; ``{NAME}`` in it stands for a variable of the environment."""
    classes: Annotated[int, Field(ge=2)] | None = None
    """How many classes exist, if it returns labels; default: as many as the dataset has."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """The most images in a request."""
    budget: Annotated[int, Field(ge=1)] | None = None
    """How many images a command may ask about."""
    rate: Annotated[float, Field(gt=0.0)] | None = None
    """The most requests in a second."""
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    """How often a request is repeated if the server is busy, fails or does not answer."""
    timeout: Annotated[float, Field(gt=0.0, le=3600.0)] = 30.0
    """Seconds to wait for an answer."""
    token: BareText | None = None
    """The name of the variable of the environment that holds the token; its value is written nowhere."""
    header: BareText = "Authorization"
    """The header of the token. In ``Authorization`` the word ``Bearer`` comes first."""

    def __post_init__(self) -> None:
        check_url(self.url)
        if not re.fullmatch(r"[A-Za-z][\w-]*", self.header):
            raise SpecError(
                f"header must be the name of a header, such as X-API-Key; found {shown(self.header)}"
            )
        if self.token is not None and not self.token.isidentifier():
            raise SpecError("token must be the name of a variable of the environment, not the token itself")

    def load(self, note: Note) -> Loaded:
        del note
        endpoint = Endpoint(
            self.url,
            token=self.token,
            header=self.header,
            timeout=self.timeout,
            retries=self.retries,
            rate=self.rate,
        )
        network = BlackBox(endpoint, classes=self.classes, batch_size=self.batch_size, budget=self.budget)
        return Loaded(
            network=network, name=endpoint_name(self.url), origin=self.brief(), network_kind="classifier"
        )
