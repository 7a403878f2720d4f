"""Prediction functions as classifiers: what they get, what they may answer, and what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

import robustlab
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.models import BlackBox
from robustlab.models.black_box import (
    BudgetSpentError,
    as_module,
    is_black_box,
    number_classes,
    only_labels,
    queries,
)

IMAGES = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(1))
CHANCES = np.array([[0.1, 0.6, 0.3], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]])


def answering(answer: Any, **more: Any) -> BlackBox:
    return BlackBox(lambda images: answer(images) if callable(answer) else answer, **more)


def test_probabilities_become_their_logarithms() -> None:
    logits = answering(CHANCES)(IMAGES[:3])
    torch.testing.assert_close(logits.softmax(dim=1), torch.from_numpy(CHANCES).float())
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert not logits.requires_grad


def test_rounded_probabilities_are_probabilities_too() -> None:
    model = answering((CHANCES + np.array([0.004, 0.0, 0.0])).round(3))
    assert model(IMAGES[:3]).max() <= 0.01


def test_logits_stay_as_they_are() -> None:
    logits = np.array([[1.0, -2.0], [0.3, 0.2]])
    torch.testing.assert_close(
        answering(logits)(IMAGES[:2]).double(), torch.from_numpy(logits), rtol=1e-6, atol=0
    )
    # Scores may look like probabilities later.
    answers = iter([logits, CHANCES[:2, :2] / CHANCES[:2, :2].sum(1, keepdims=True)])
    model = answering(lambda _: next(answers))
    model(IMAGES[:2])
    assert (model(IMAGES[:2]) >= 0).all()


@pytest.mark.parametrize(
    "labels", [np.array([2, 0, 1]), [2, 0, 1], torch.tensor([2, 0, 1], dtype=torch.uint8)]
)
def test_labels_are_certain(labels: Any) -> None:
    model = answering(labels, classes=4)
    logits = model(IMAGES[:3])
    assert logits.shape == (3, 4)
    assert logits.argmax(dim=1).tolist() == [2, 0, 1]
    assert (logits.softmax(dim=1).amax(dim=1) > 0.9999).all()
    assert only_labels(model)


def test_the_number_of_classes_may_come_from_the_images() -> None:
    model = answering([0, 1, 2])
    with pytest.raises(RobustlabError, match="say how many classes exist"):
        model(IMAGES[:3])
    number_classes(nn.Sequential(model), 5)
    assert model(IMAGES[:3]).shape == (3, 5)
    given = answering([0, 1, 2], classes=3)
    number_classes(given, 5)
    assert given(IMAGES[:3]).shape == (3, 3)


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
def test_a_dict_names_its_answer(kind: str) -> None:
    logits = answering({kind: CHANCES, "labels": [1, 1, 2]})(IMAGES[:3])
    torch.testing.assert_close(
        logits.softmax(dim=1) if kind == "probabilities" else logits, torch.from_numpy(CHANCES).float()
    )


def test_the_function_gets_a_copy_of_the_images_as_it_wants_them() -> None:
    seen: list[Any] = []

    def predict(images: Any) -> Any:
        seen.append(images)
        images *= 0
        return CHANCES

    before = IMAGES.clone()
    BlackBox(predict)(IMAGES[:3].double().requires_grad_())
    assert isinstance(seen[0], np.ndarray)
    assert seen[0].dtype == np.float32
    assert seen[0].shape == (3, 1, 2, 2)
    assert torch.equal(IMAGES, before)
    BlackBox(lambda images: seen.append(images) or CHANCES, tensors=True)(IMAGES[:3])  # type: ignore[func-returns-value]
    assert isinstance(seen[1], Tensor)


def test_a_module_gets_tensors_and_is_cut_off() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    points = IMAGES.clone().requires_grad_()
    logits = BlackBox(network)(points)
    torch.testing.assert_close(logits, network(IMAGES).detach())
    assert not logits.requires_grad


def test_queries_are_counted_and_limited() -> None:
    sizes: list[int] = []

    def predict(images: Any) -> Any:
        sizes.append(len(images))
        return np.full((len(images), 2), 0.5)

    model = BlackBox(predict, batch_size=4, budget=10)
    model(IMAGES)
    assert sizes == [4, 2]
    assert queries(nn.Sequential(model, model)) == 6
    with pytest.raises(BudgetSpentError, match="budget of 10 queries is spent: 10 are done") as raised:
        model(IMAGES)
    assert raised.value.quits
    assert sum(sizes) == model.queries == 10


def test_only_marked_modules_are_black_boxes() -> None:
    class Own(nn.Module):
        black_box = True

    assert is_black_box(nn.Sequential(nn.Flatten(), Own()))
    assert is_black_box(answering(CHANCES))
    assert not is_black_box(nn.Sequential(nn.Flatten()))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (CHANCES[:2], r"shape \(3, K\).*found float64 of shape \(2, 3\)"),
        (CHANCES[:, :1], "np.stack"),
        (CHANCES[:, 0], "np.stack"),
        (CHANCES[None], r"found float64 of shape \(1, 3, 3\)"),
        ([[1.0, 2.0], [3.0], [1.0]], "different lengths"),
        (["cat", "dog", "cat"], "found texts such as 'cat'; return the numbers of the classes, from 0 on"),
        (np.array(["cat", "dog", "cat"]), "found texts such as 'cat'"),
        ([{"cat": 0.9}] * 3, "found a list of dict"),
        (CHANCES + 1j, "found an array of complex128"),
        ((CHANCES, [0, 1, 2]), "return one part, or a dict such as"),
        (np.array([0.0, 1.0, 2.0]), r"labels.astype\(int\)"),
        (np.array([[0], [1], [2]]), r"of labels return the shape \(n,\)"),
        ({}, "it has nothing"),
        (None, "array of numbers; found None"),
        ({"scores": CHANCES}, "none of probabilities, logits, labels; it has scores"),
        (np.where(CHANCES == 1, np.nan, CHANCES), "NaN for 1 of 3 images"),
        ({"probabilities": CHANCES - 0.1}, "values from -0.1 to 0.9"),
        ({"probabilities": CHANCES * 2}, "sums from 2 to 2"),
        ({"labels": [0, 1]}, r"integers of shape \(3,\)"),
        ({"labels": [0.0, 1.0, 2.0]}, "found float64"),
        ([0, -1, 2], "at least 0; found -1"),
        ([0, 1, 7], "label 7, but there are 3 classes, from 0 on. If yours count from 1, subtract 1"),
        (np.ones((3, 4)) / 4, "has 4 classes"),
    ],
)
def test_a_wrong_answer_is_one_clear_error(answer: Any, expected: str) -> None:
    with pytest.raises(RobustlabError, match=expected):
        answering(answer, classes=3)(IMAGES[:3])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "answer", [CHANCES.astype(object), tuple(map(tuple, CHANCES)), CHANCES * [1, 1e300, 1], "sparse", "frame"]
)
def test_scores_may_come_in_other_forms(answer: Any) -> None:
    if isinstance(answer, str):
        frame = pytest.importorskip("pandas").DataFrame
        answer = csr_matrix(CHANCES) if answer == "sparse" else frame(CHANCES, columns=["a", "b", "c"])
    assert answering(answer)(IMAGES[:3]).argmax(dim=1)[:2].tolist() == [1, 1]


def test_a_function_of_tensors_is_noticed() -> None:
    with pytest.raises(RobustlabError, match=r"say so: BlackBox\(predict, tensors=True\)"):
        BlackBox(lambda images: images.flatten(1))(IMAGES)
    assert BlackBox(lambda images: images.flatten(1), tensors=True)(IMAGES).shape == (6, 4)


def test_an_option_of_a_black_box_is_named() -> None:
    with pytest.raises(SpecError, match=r"belongs to a black box: .*BlackBox\(predict, answers=...\)"):
        robustlab.evaluate(lambda images: images, answers="logits")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (CHANCES, [0, 1, 2], "these are labels, and the answers before were probabilities"),
        (CHANCES, CHANCES * 3, "sum up to 1"),
        (CHANCES * 3, CHANCES[:, :2], "has 2 classes; expected 3"),
        ({"logits": CHANCES}, {"labels": [0, 1, 2]}, "holds labels; before it held logits"),
    ],
)
def test_an_answer_stays_of_its_kind(first: Any, second: Any, expected: str) -> None:
    answers = iter([first, second])
    model = answering(lambda _: next(answers))
    model(IMAGES[:3])
    with pytest.raises(RobustlabError, match=expected):
        model(IMAGES[:3])


@pytest.mark.parametrize(
    "arguments",
    [
        {"predict": 3},
        {"predict": BlackBox},
        {"answers": "softmax"},
        {"classes": 1},
        {"classes": True},
        {"batch_size": 0},
        {"budget": 2.5},
    ],
)
def test_a_wrong_argument_is_refused(arguments: Any) -> None:
    with pytest.raises(SpecError, match=next(iter(arguments))):
        BlackBox(**{"predict": lambda images: images} | arguments)


class Estimator:
    """What robustlab asks of a scikit-learn classifier."""

    def __init__(self, classes: Any, **answers: Any) -> None:
        self.classes_ = np.array(classes)
        for method, answer in answers.items():
            setattr(self, method, lambda rows, answer=answer: np.array([answer] * len(rows)))


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (Estimator([0, 1], predict_proba=[0.25, 0.75], predict=1), [0.25, 0.75]),
        # Scores that say something else than what it predicts do not count.
        (Estimator([0, 1, 2], predict_proba=[0.25, 0.75, 0.0], predict=0), [1.0, 0.0, 0.0]),
        (Estimator([1, 3], predict_proba=[0.25, 0.75]), [0.0, 0.25, 0.0, 0.75]),
        (Estimator(["cat", "dog"], predict_proba=[0.25, 0.75]), [0.25, 0.75]),
        (Estimator([0, 1], decision_function=2.0), [0.119203, 0.880797]),
        (Estimator([0, 2], decision_function=[1.0, 1.0]), [0.5, 0.0, 0.5]),
        (Estimator([0, 1, 2], predict=2), [0.0, 0.0, 1.0]),
        (Estimator(["cat", "cow", "dog"], predict="dog"), [0.0, 0.0, 1.0]),
    ],
)
def test_a_scikit_learn_classifier_is_a_black_box(estimator: Any, expected: list[float]) -> None:
    model = as_module(estimator)
    number_classes(model, 3)
    assert model.name == "Estimator"
    torch.testing.assert_close(
        model(IMAGES).softmax(dim=1), torch.tensor(expected).expand(6, -1), rtol=1e-5, atol=1e-6
    )


def test_what_can_not_predict_is_left_alone() -> None:
    network = nn.Flatten()
    for value in (network, "mnist_cnn", 7, None, nn.Flatten):
        assert as_module(value) is value


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("probability", ["ovo", "ovr"])
def test_scores_count_only_if_they_say_what_it_predicts(probability: str) -> None:
    iris = pytest.importorskip("sklearn.datasets").load_iris()
    estimator = pytest.importorskip("sklearn.svm").SVC(decision_function_shape=probability)
    estimator.fit(iris.data, iris.target)
    box = BlackBox(as_module(estimator).predict, classes=3)
    answers = box(torch.from_numpy(iris.data).float()[:, None, None]).argmax(dim=1).numpy()
    assert (answers == estimator.predict(iris.data.astype("float32"))).all()
    assert box.only_labels is (probability == "ovo")


def test_a_black_box_takes_the_classifier_or_a_method_of_it() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    rows = IMAGES.flatten(1).numpy()
    truth = np.array([0, 2, 0, 2, 0, 2])
    for labels in (truth, truth.astype(float)):  # a column of a data frame may hold floats
        fitted = linear.LogisticRegression().fit(rows, labels)
        expected = torch.from_numpy(fitted.predict_proba(rows)).float()
        for given in (fitted, BlackBox(fitted, budget=99), fitted.predict_proba):
            box: Any = as_module(given)
            torch.testing.assert_close(box(IMAGES).softmax(dim=1)[:, ::2], expected)
            assert box.name == "LogisticRegression"
        labelled: Any = as_module(fitted.predict)
        number_classes(labelled, 3)
        assert labelled(IMAGES).argmax(dim=1).tolist() == fitted.predict(rows).tolist()
        assert labelled.only_labels
    with pytest.raises(RobustlabError, match="LinearRegression has no classes_ and predicts float32"):
        as_module(linear.LinearRegression().fit(rows, truth))(IMAGES)
