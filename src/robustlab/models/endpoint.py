"""Asks a server about images, over HTTP: the protocol of ``http(url)`` (docs/black-box.md)."""

import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from robustlab.core.errors import RobustlabError, SetupError, SpecError
from robustlab.core.text import one_line
from robustlab.core.untrusted import JSON_LIMIT, parse_json
from robustlab.models.black_box import KINDS

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
"""Seconds before a request is repeated for the first time, which double each time; and the most."""

_BUSY = {408, 425, 429, 500, 502, 503, 504}
"""The status of a server that may answer the same request later."""

_PLACE = re.compile(r"\{(\w+)\}")
"""A variable of the environment, in a URL."""

_LONGEST_REPLY = 120


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses to follow a redirect: the token would go to another server, and the POST become a GET."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Endpoint:
    """The prediction function of a server.

    Args:
        url: ``http://`` or ``https://``; ``{NAME}`` stands for a variable of the environment.
        token: the variable of the environment with the value of the header; None: no such header.
        header: its name. In ``Authorization`` the value follows the word ``Bearer``.
        timeout: seconds to wait for an answer.
        retries: how often a request is repeated if the server is busy, fails or does not answer.
        rate: the most requests in a second; None: any number.

    Attributes:
        on_repeat: called with the number of images before a request is sent again; it may raise an error.

    Raises:
        SpecError: the URL is none, or may hold a secret.
        SetupError: a variable of the environment is not set.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        header: str = "Authorization",
        timeout: float = 30.0,
        retries: int = 5,
        rate: float | None = None,
    ) -> None:
        check_url(url)
        self.described_as, self.timeout, self.retries, self.rate = url, timeout, retries, rate
        self.token, self.header = token, header
        self.__name__ = endpoint_name(url)
        self.on_repeat: Callable[[int], None] = lambda _: None
        self._next = 0.0
        self._request([])  # says at once which variable is not set

    def __call__(self, images: np.ndarray[Any, Any]) -> Mapping[str, Any]:
        """Return what the server answers about images (N, C, H, W).

        Raises:
            RobustlabError: it did not answer, or not as the protocol says.
        """
        request = self._request(images.tolist())
        for attempt in range(self.retries + 1):
            if attempt:
                self.on_repeat(len(images))
            self._keep_the_rate()
            try:
                with _open(request, self.timeout) as reply:
                    content = reply.read(JSON_LIMIT + 1)
                return self._read(content)
            except urllib.error.HTTPError as error:
                with error:
                    failure = f"HTTP {error.code}{self._said(error)}"
                if error.code not in _BUSY:
                    raise RobustlabError(f"the server answers with {failure}{_hint(error.code)}") from None
                asked = error.headers.get("Retry-After", "")
            except (OSError, HTTPException) as error:  # no connection, a timeout, an answer that ends early
                failure = self._clean(str(getattr(error, "reason", error)) or type(error).__name__)
                asked = ""
            if attempt < self.retries:
                wait = max(FIRST_WAIT * 2**attempt, float(asked) if asked.isdigit() else 0.0)
                time.sleep(min(wait, LONGEST_WAIT))
        times = "once" if self.retries == 0 else f"{self.retries + 1} times"
        raise RobustlabError(
            f"the server gave no answer, asked {times}; at last: {failure}. What was finished is kept: the "
            "same command goes on"
        )

    def _keep_the_rate(self) -> None:
        if self.rate is None:
            return
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + 1 / self.rate

    def _request(self, images: list[Any]) -> urllib.request.Request:
        """Return the request; secrets are read from the environment only for it, and kept nowhere."""
        url = _PLACE.sub(lambda found: _variable(found[1]), self.described_as)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token is not None:
            kind = "Bearer " if self.header.lower() == "authorization" else ""
            headers[self.header] = kind + _variable(self.token)
        return urllib.request.Request(url, json.dumps({"images": images}).encode(), headers)

    def _read(self, content: bytes) -> Mapping[str, Any]:
        wanted = " or ".join(f'"{kind}"' for kind in KINDS)
        if len(content) > JSON_LIMIT:
            raise RobustlabError(f"the server's answer is larger than {JSON_LIMIT:,} bytes")
        try:
            answer = parse_json(content)
        except ValueError as error:
            found = f"{self._clean(str(error))}: {self._clean(content[:200].decode(errors='replace'))}"
            raise RobustlabError(f"the server's answer is not JSON; {found}") from None
        if not isinstance(answer, dict) or not any(kind in answer for kind in KINDS):
            raise RobustlabError(
                f"the server's answer must be an object with {wanted}; found {self._clean(str(answer))}"
            )
        return answer

    def _said(self, error: urllib.error.HTTPError) -> str:
        try:
            text = self._clean(error.read(1000).decode(errors="replace"))
        except (OSError, HTTPException):
            return ""
        return f" ({text})" if text else ""

    def _clean(self, text: str) -> str:
        """Return a text in one short line, without the values of the secrets."""
        names = [*_PLACE.findall(self.described_as), *([self.token] if self.token else [])]
        for secret in filter(None, map(os.environ.get, names)):
            text = text.replace(secret, "***")
        return one_line(text, _LONGEST_REPLY)


def _open(request: urllib.request.Request, timeout: float) -> Any:
    return urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout)


def _variable(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise SetupError(f"the variable {name} of the environment is not set; the server needs it")
    if not value.isascii() or not value.isprintable():
        raise SetupError(f"the variable {name} of the environment holds characters that no header may have")
    return value


def _hint(code: int) -> str:
    if code in {401, 403}:
        return "; give the variable of the environment that holds the token: token=NAME"
    return "; give the address that it names" if code in {301, 302, 303, 307, 308} else ""


def check_url(url: str) -> None:
    """Refuse, with a `SpecError`, a text that is not the URL of a server, or may hold a secret.

    The URL is in the results, so the message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if (
        parts.scheme not in {"http", "https"}
        or not host
        or not url.isascii()
        or not url.isprintable()
        or " " in url
    ):
        raise SpecError("url must be the address of a server, such as http://localhost:8000/predict")
    if "@" in parts.netloc:
        raise SpecError(
            "the URL holds a user or a password, which would be in the results; put the token into a "
            "variable of the environment and give its name: token=NAME"
        )
    values = [item.rpartition("=")[2] for item in parts.query.split("&")]
    if any(value and not _PLACE.fullmatch(value) for value in values):
        raise SpecError(
            "the values after ? in the URL may be secrets, which would be in the results; put each into a "
            "variable of the environment and write its name in braces: ?key={MY_KEY}"
        )
    if parts.fragment:
        raise SpecError("the URL must not have a part after #, which no server gets")


def endpoint_name(url: str) -> str:
    """Return the host and the path of a URL, as a name for users."""
    parts = urlsplit(url)
    return f"{parts.hostname}{parts.path.rstrip('/')}"
