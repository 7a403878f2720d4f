"""A server that answers about images as ``http(url)`` expects, and fails as it is told to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

Answer = Callable[[np.ndarray[Any, Any]], Any]
"""From images (N, C, H, W) to the object of the answer; bytes are sent as they are, an int is the status."""


class Server(ThreadingHTTPServer):
    """Counts the images it answered about, and remembers the headers and paths of the requests.

    Attributes:
        failures: what the next requests get instead of an answer: a status, or bytes of a wrong answer; None:
            an answer.
        sent: how many images it got, those of failed requests included.
    """

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Answer = answer
        self.failures: list[Any] = []
        self.asked = self.sent = 0
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.sizes: list[int] = []
        self.silence = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/predict"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers)))
        images = np.array(json.loads(content)["images"], dtype=np.float32)
        self.server.sent += len(images)
        said: Any = self.server.failures.pop(0) if self.server.failures else None
        if said is None:
            said = self.server.answer(images)
            self.server.asked += len(images)
            self.server.sizes.append(len(images))
        if said == "silence":
            self.server.silence.wait(5)
            return
        status = said if isinstance(said, int) else 200
        body = (
            said if isinstance(said, bytes) else json.dumps("no" if isinstance(said, int) else said).encode()
        )
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    """Run a server in a thread."""
    server = Server(answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.silence.set()
        server.shutdown()
        thread.join()
        server.server_close()
