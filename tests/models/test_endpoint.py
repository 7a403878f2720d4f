"""A classifier behind a server: the protocol, failures, limits, and what must stay secret."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from prediction_server import Server, serving
from robustlab.core.errors import RobustlabError, SetupError, SpecError
from robustlab.defenses.loading import source
from robustlab.models import endpoint
from robustlab.models.black_box import BudgetSpentError
from robustlab.models.sources import FromServer

IMAGES = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(1))


def chances(images: np.ndarray[Any, Any]) -> dict[str, Any]:
    bright = images.reshape(len(images), -1).mean(axis=1)
    return {"probabilities": np.stack([bright, 1 - bright], axis=1).tolist()}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    with serving(chances) as running:
        yield running


def loaded(url: str, **more: Any) -> Any:
    return FromServer(url=url, **more).load(lambda _: None).network


def test_the_server_gets_the_images_and_its_answer_counts(server: Server) -> None:
    model = loaded(server.url, batch_size=4)
    chance = model(IMAGES).softmax(dim=1)[:, 0]
    torch.testing.assert_close(chance, IMAGES.flatten(1).mean(dim=1))  # float32 survives the JSON
    assert server.sizes == [4, 2]
    assert server.asked == model.queries == 6
    assert server.requests[0][1]["Content-Type"] == "application/json"


@pytest.mark.parametrize("kind", ["logits", "labels"])
def test_other_answers(server: Server, kind: str) -> None:
    server.answer = lambda images: {
        kind: [[0.5, -3.0]] * len(images) if kind == "logits" else [0] * len(images)
    }
    assert loaded(server.url, classes=2)(IMAGES).argmax(dim=1).tolist() == [0] * 6


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: Server, status: int) -> None:
    server.failures = [status, status]
    model = loaded(server.url)
    assert model(IMAGES).shape == (6, 2)
    assert len(server.requests) == 3
    assert server.asked == 6
    assert (model.queries, model.repeats) == (18, 12)  # a repeated request counts again


def test_a_budget_limits_what_is_sent(server: Server) -> None:
    server.failures = [503, 503]
    model = loaded(server.url, budget=13)
    with pytest.raises(BudgetSpentError, match=r"budget of 13 queries is spent: 12 are done, .* needs 6"):
        model(IMAGES)
    assert len(server.requests) == 2
    assert model.queries == 12


def test_a_server_that_stays_silent_is_asked_again(server: Server) -> None:
    server.failures = ["silence"]
    assert loaded(server.url, timeout=1.0)(IMAGES).shape == (6, 2)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("failure", "expected", "requests"),
    [
        (503, "gave no answer, asked 3 times; at last: HTTP 503", 3),
        (404, "answers with HTTP 404", 1),
        (401, "HTTP 401.*token=NAME", 1),
        (302, "HTTP 302.*the address that it names", 1),
        (b"<html>", "is not JSON.*<html>", 1),
        (b'{"probabilities": [[NaN, 1]]}', "is not JSON", 1),
        (b"[[0.5, 0.5]]", 'an object with "probabilities"', 1),
        (b'{"error": "no model"}', "found {'error': 'no model'}", 1),
        (b'{"probabilities": [[0.5, 0.5]]}', r"shape \(6, K\).*found float64 of shape \(1, 2\)", 1),
        (b'{"labels": ["cat"]}', "array of numbers", 1),
    ],
)
def test_a_failure_is_one_clear_error(server: Server, failure: Any, expected: str, requests: int) -> None:
    server.failures = [failure] * 9
    with pytest.raises(RobustlabError, match=expected):
        loaded(server.url, retries=2)(IMAGES)
    assert len(server.requests) == requests


def test_no_server_at_all() -> None:
    with pytest.raises(RobustlabError, match=r"asked once; at last: .*refused"):
        loaded("http://127.0.0.1:1/predict", retries=0)(IMAGES)


def test_requests_keep_the_rate(server: Server) -> None:
    started = time.monotonic()
    loaded(server.url, batch_size=1, rate=50)(IMAGES)
    assert time.monotonic() - started >= 5 / 50


def test_the_token_comes_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cret")
    loaded(server.url, token="MY_TOKEN")(IMAGES)
    loaded(server.url, token="MY_TOKEN", header="X-API-Key")(IMAGES)
    loaded(server.url + "?key={MY_TOKEN}")(IMAGES)
    assert server.requests[0][1]["Authorization"] == "Bearer s3cret"
    assert {name.lower(): value for name, value in server.requests[1][1].items()}["x-api-key"] == "s3cret"
    assert server.requests[2][0] == "/predict?key=s3cret"
    server.failures = [b"you sent s3cret"]
    with pytest.raises(RobustlabError, match=r"you sent \*\*\*"):
        loaded(server.url, token="MY_TOKEN")(IMAGES)
    monkeypatch.delenv("MY_TOKEN")
    with pytest.raises(SetupError, match="variable MY_TOKEN of the environment is not set"):
        loaded(server.url, token="MY_TOKEN")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://me:s3cret@host/predict", "a user or a password"),
        ("http://host/predict?key=s3cret", "may be secrets"),
        ("http://host/predict?a={A}&key=s3cret", "may be secrets"),
        ("http://host/predict?s3cret", "may be secrets"),
        ("http://host/predict#s3cret", "a part after #"),
        ("ftp://host/s3cret", "address of a server"),
        ("file:///etc/s3cret", "address of a server"),
        ("http:///s3cret", "address of a server"),
        ("http://host:port/s3cret", "address of a server"),
        ("http://host/s3cret x", "address of a server"),
    ],
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(url: str, expected: str) -> None:
    with pytest.raises(SpecError, match=expected) as raised:
        source(f"http(url={url!r})")
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("argument", [{"header": "X: y"}, {"token": "s3cret-value"}])
def test_a_wrong_header_or_token_is_refused(argument: Any) -> None:
    with pytest.raises(SpecError, match="must be the name of a"):
        FromServer(url="http://host/predict", **argument)


def test_an_address_needs_no_quotes() -> None:
    plain = FromServer(url="http://localhost:8000/v1/predict")
    assert source("http://localhost:8000/v1/predict") == plain
    assert source("http(http://localhost:8000/v1/predict)") == plain
    assert source(repr(plain)) == plain
    assert source("http(url=https://a.b/c?key={K}, budget=5)") == FromServer(
        url="https://a.b/c?key={K}", budget=5
    )
