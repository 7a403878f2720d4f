"""Evaluations of classifiers without gradients: attacks, checks and costs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_runs import Notes, evaluate, split_of
from torch import Tensor, nn

import robustlab
from prediction_server import Server, serving
from robustlab.attacks import HopSkipJump, RayS
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.evaluation.coordinator import curve
from robustlab.evaluation.ensembles import AutoAttack, Standard, resolved
from robustlab.models import BlackBox, endpoint
from robustlab.models.black_box import BudgetSpentError
from robustlab.report import write_report
from robustlab.runs.evaluation import Evaluation
from robustlab.threats import as_threat

WEIGHTS = np.random.default_rng(3).normal(size=(16, 3))
IMAGES = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(2))


def scores(images: Any) -> Any:
    return images.reshape(len(images), -1) @ (
        WEIGHTS if isinstance(images, np.ndarray) else torch.from_numpy(WEIGHTS).float()
    )


def probabilities(images: Any) -> Any:
    power = np.exp(scores(images))
    return power / power.sum(axis=1, keepdims=True)


def labels(images: Any) -> Any:
    return scores(images).argmax(axis=1)


class Counted:
    """Counts the images that a prediction function is asked about."""

    def __init__(self, predict: Callable[[Any], Any]) -> None:
        self.predict = predict
        self.asked = [0]

    def __call__(self, images: Any) -> Any:
        self.asked[0] += len(images)
        return self.predict(images)


class White(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = scores(images)
        return logits


TRUE = torch.from_numpy(labels(IMAGES.numpy()))
QUERIES = "square(queries=60)"


def evaluated(model: Any, out: Path, progress: Any = None, **more: Any) -> Evaluation:
    options: dict[str, Any] = {
        "threat": "linf(eps=0.1)",
        "attacks": QUERIES,
        "certify": True,
        "batch_size": None,
    }
    return evaluate(out, model, split_of(IMAGES, TRUE), progress, **(options | more)).results


@pytest.mark.parametrize("checks", [False, True])
@pytest.mark.parametrize(
    ("predict", "answers"), [(scores, "scores"), (probabilities, "scores"), (labels, "labels")]
)
def test_every_query_is_counted(predict: Any, answers: str, tmp_path: Path, *, checks: bool) -> None:
    counted = Counted(predict)
    found = evaluated(BlackBox(counted, classes=3), tmp_path / "run", checks=checks, attacks="random_points")
    assert found.subject.black_box == answers
    assert found.forwards == counted.asked[0]
    assert found.backwards == 0


def test_a_black_box_gets_the_same_verdicts_as_the_network_itself(tmp_path: Path) -> None:
    boxes = [scores, BlackBox(scores, tensors=True), BlackBox(White())]
    found = [evaluated(model, tmp_path / str(k)) for k, model in enumerate([White(), *boxes])]
    figures = {(each.clean.value, each.robust.value, each.rows[0].broken) for each in found}
    assert len(figures) == 1
    assert found[0].robust.value < found[0].clean.value == 1.0
    assert [each.subject.black_box for each in found] == ["", "scores", "scores", "scores"]
    assert found[1].subject.name == "scores"


def test_standard_takes_attacks_without_gradients_and_says_so(tmp_path: Path) -> None:
    progress = Notes()
    wide = {"attacks": "standard", "n": 4, "threat": "linf(eps=0.4)"}
    found = evaluated(scores, tmp_path / "run", progress, checks=True, **wide)
    assert [row.attack.partition("(")[0] for row in found.rows] == ["random_points", "square"]
    (remark,) = [note for note in progress.notes if note.startswith("black box")]
    assert "square" in remark
    assert remark in found.remarks
    skipped = {check.id for check in found.checks if "black box" in check.found}
    assert {
        "no-gradient",
        "zero-gradients",
        "more-steps",
        "decision-based-attack",
        "preprocessing",
    } <= skipped
    assert all(check.grade in {"skip", "pass", "warn"} for check in found.checks)
    assert found.certified is None
    write_report(tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert remark in page
    assert "Queries" in page
    assert "Backward passes" not in page
    assert "queries" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.parametrize(
    ("threat", "answers", "expected"),
    [
        ("linf(eps=0.1)", "scores", ["random_points", "square"]),
        ("linf(eps=0.1)", "labels", ["random_points", "rays"]),
        ("masked(threat=linf(eps=0.1), fixed=(0, 3))", "labels", ["random_points", "rays"]),
        ("l2(eps=1)", "labels", ["random_points", "hop_skip_jump"]),
        ("l1(eps=1)", "scores", ["random_points", "square"]),
        ("l1(eps=1)", "labels", ["random_points"]),
        ("l0(eps=1)", "scores", ["random_points", "sparse_rs"]),
        ("masked(threat=l0(eps=1), fixed=(0, 3))", "scores", ["random_points", "sparse_rs"]),
        ("l0(eps=1)", "labels", ["random_points"]),
    ],
)
def test_every_threat_model_has_attacks(threat: str, answers: Any, expected: list[str]) -> None:
    attacks = resolved((Standard(),), as_threat(threat), 3, black_box=answers)
    assert [attack.name for attack in attacks] == expected
    assert not any(attack.needs_gradient for attack in attacks)
    unbounded = resolved((Standard(),), as_threat("unbounded"), 3, black_box=answers)
    assert unbounded == resolved((Standard(),), as_threat("unbounded"), 3)
    (square,) = resolved((AutoAttack(),), as_threat("l2(eps=1)"), 3, black_box=answers)
    assert square.name == "square"


def test_labels_alone_can_be_attacked(tmp_path: Path) -> None:
    found = evaluated(labels, tmp_path / "run", attacks="hop_skip_jump(steps=5)", n=2, threat="l2(eps=0.8)")
    assert found.robust.value < 1
    assert found.subject.black_box == "labels"


def test_the_classes_are_those_of_all_images_not_of_the_chosen_ones(tmp_path: Path) -> None:
    truth = torch.tensor([0, 1, 0, 1, 2])
    wide = {"threat": "linf(eps=1)", "attacks": "random_points", "n": 4}
    found = evaluated(lambda x: scores(x).argmax(axis=1), tmp_path, images=IMAGES[:5], labels=truth, **wide)
    assert found.images.classes == 3


def test_an_attack_with_gradients_is_refused_with_alternatives(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"pgd needs a gradient.*random_points, rays, spsa, square.*or pgd\(gradient=spsa\)"
    ):
        evaluated(scores, tmp_path / "run", attacks="square, pgd")
    found = evaluated(scores, tmp_path / "run", attacks="pgd(steps=5, gradient=spsa(pairs=8))")
    assert found.robust.value < 1


def test_scores_that_look_like_probabilities_can_be_named(tmp_path: Path) -> None:
    def shares(images: Any) -> Any:
        """Two scores with the sum 1 for bright images, others for darker ones."""
        bright = images.reshape(len(images), -1).mean(axis=1)
        return np.stack([bright, np.maximum(1 - bright, 0.6)], axis=1)

    images, classes = torch.full((4, 1, 4, 4), 0.35), torch.ones(4, dtype=torch.int64)
    own = {"images": images, "labels": classes, "threat": "linf(eps=0.3)", "n": 4}
    progress = Notes()
    with pytest.raises(RobustlabError, match=r'say so: BlackBox\(predict, answers="logits"\)'):
        evaluated(shares, tmp_path / "guessed", progress, **own)
    (remark,) = [note for note in progress.notes if "taken for probabilities" in note]
    assert 'BlackBox(predict, answers="logits")' in remark
    assert "predict(my.py:f, answers=logits)" in remark
    progress = Notes()
    found = evaluated(BlackBox(shares, answers="logits"), tmp_path / "said", progress, **own)
    assert found.clean.value == 1
    assert not [note for note in progress.notes if "taken for probabilities" in note]


def test_what_needs_the_network_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RobustlabError, match="black box, without layers to bound"):
        robustlab.certify_model(
            scores, images=IMAGES, labels=TRUE, threat="linf(eps=0.1)", out=tmp_path / "run"
        )
    with pytest.raises(SpecError, match="curve of a black box needs l2 or linf"):
        evaluated(scores, tmp_path / "run", threat="l1(eps=1)", curve=True)


def test_a_curve_needs_no_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve, "HopSkipJump", lambda: HopSkipJump(steps=3, samples=20))
    monkeypatch.setattr(curve, "RayS", lambda: RayS(queries=100))
    for threat, attack in (("linf(eps=0.4)", "rays"), ("l2(eps=1)", "hop_skip_jump")):
        wide = {"threat": threat, "attacks": "random_points", "curve": True}
        found = evaluated(scores, tmp_path / attack, n=2, **wide)
        assert found.curve
        assert found.curve.attack.startswith(f"{attack}(")
        assert found.curve.robust[-1].value < 1


def test_neither_precision_nor_layout_costs_a_query(tmp_path: Path) -> None:
    sizes: list[int] = []

    def predict(images: Any) -> Any:
        sizes.append(len(images))
        return scores(images)

    evaluated(predict, tmp_path / "run", attacks="random_points(count=1)", checks=False, batch_size=12)
    assert sizes[:7] == [2, 1, 1, 1, 1, 1, 12]  # the classes, answers to compare later, the clean images


def test_predict_is_another_name_of_the_model(tmp_path: Path) -> None:
    found = robustlab.evaluate(  # type: ignore[call-arg]
        predict=scores, images=IMAGES, labels=TRUE, attacks=QUERIES, out=tmp_path / "run", checks=False
    )
    assert found.results.subject.black_box == "scores"
    with pytest.raises(SpecError, match="model or predict, not both"):
        robustlab.evaluate(model=scores, predict=scores)  # type: ignore[call-arg]


def test_a_module_may_say_that_it_has_no_gradient(tmp_path: Path) -> None:
    class Own(White):
        black_box = True

    found = evaluated(Own(), tmp_path / "run", attacks="autoattack", threat="linf(eps=0.4)", n=1)
    assert found.subject.black_box == "scores"


FILE = """
import numpy as np
WEIGHTS = np.eye(16)[:, :3]

def predict(images):
    return images.reshape(len(images), -1) @ WEIGHTS

def make():
    return predict
"""


def test_a_file_names_a_prediction_function(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(FILE)
    for text in (f"predict({file}:predict)", f"{file}:make", f"predict({file}:predict, budget=5000)"):
        found = evaluated(text, tmp_path / "run", name="own")  # one folder: it is the same classifier
        assert found.subject.black_box == "scores"
    with pytest.raises(RobustlabError, match=r"needs images.*give predict\(.*own.py:predict\)"):
        evaluated(f"{file}:predict", tmp_path / "run")
    file.write_text(FILE.replace("[:, :3]", "[:, 3:6]"))
    with pytest.raises(RobustlabError, match="other settings"):
        evaluated(f"predict({file}:predict)", tmp_path / "run", name="own")


def test_a_random_forest(tmp_path: Path) -> None:
    datasets, ensemble = pytest.importorskip("sklearn.datasets"), pytest.importorskip("sklearn.ensemble")
    values, classes = datasets.load_digits(return_X_y=True)
    values = values / 16
    forest = ensemble.RandomForestClassifier(10, random_state=0, max_depth=8).fit(
        values[:1500], classes[:1500]
    )
    images, truth = values[1500:1530].astype("float32").reshape(-1, 1, 8, 8), classes[1500:1530]
    found = evaluated(forest, tmp_path / "run", images=images, labels=truth, attacks="square(queries=150)")
    assert found.clean.value == pytest.approx(forest.score(values[1500:1530], truth))
    assert found.robust.value < found.clean.value
    assert found.subject.name == "RandomForestClassifier"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    with serving(lambda images: {"probabilities": probabilities(images).tolist()}) as running:
        yield running


def test_a_server_is_evaluated_and_its_secrets_stay_outside_the_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cret-value")
    # Requests fail at the start, in the attacks and in the checks.
    server.failures = [500, 429, *[None] * 20, 503, *[None] * 50, 503]
    text = f"http(url={server.url}?key={{MY_TOKEN}}, token=MY_TOKEN)"
    found = evaluated(text, tmp_path / "run", n=2, checks=True)
    write_report(tmp_path / "run")
    assert not server.failures
    assert found.forwards == server.sent > server.asked
    assert [remark for remark in found.remarks if "sent again" in remark]
    assert found.subject.name.endswith("/predict")
    for file in (tmp_path / "run").rglob("*"):
        assert not file.is_file() or b"s3cret" not in file.read_bytes(), file


def test_a_spent_budget_stops_the_evaluation_and_the_same_command_goes_on(
    server: Server, tmp_path: Path
) -> None:
    def asking(budget: int) -> Evaluation:
        return evaluated(f"http({server.url}, batch_size=2, budget={budget})", tmp_path / "run")

    with pytest.raises(BudgetSpentError, match="budget of 200 queries"):
        asking(200)
    first = server.asked
    assert first <= 200
    found = asking(100_000)
    whole = evaluated(f"http({server.url}, batch_size=2)", tmp_path / "whole")
    assert found.robust == whole.robust
    assert server.asked - first - whole.forwards < whole.forwards - 60  # some images were finished before
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["forwards"] == whole.forwards


def test_a_spent_budget_is_not_the_result_of_a_check(tmp_path: Path) -> None:
    with pytest.raises(BudgetSpentError):
        evaluated(
            BlackBox(scores, budget=300), tmp_path / "run", attacks="random_points(count=1)", checks=True
        )


def test_a_server_that_fails_in_the_end_is_an_error(server: Server, tmp_path: Path) -> None:
    server.failures = [503] * 100
    with pytest.raises(RobustlabError, match="asked 2 times; at last: HTTP 503"):
        evaluated(f"http({server.url}, retries=1)", tmp_path / "run")
