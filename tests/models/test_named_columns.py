"""scikit-learn classifiers that choose their columns by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import robustlab
from robustlab.data import features
from robustlab.models.black_box import as_module

pandas = pytest.importorskip("pandas")
compose, linear = pytest.importorskip("sklearn.compose"), pytest.importorskip("sklearn.linear_model")
pipeline, preprocessing = (
    pytest.importorskip("sklearn.pipeline"),
    pytest.importorskip("sklearn.preprocessing"),
)
NAMES = ["age", "income", "debt"]
ROWS = np.random.default_rng(0).random((80, 3)).astype("float32")
LABELS = (ROWS[:, 1] > ROWS[:, 2]).astype(int)


@pytest.fixture
def fitted() -> Any:
    chosen = compose.ColumnTransformer(
        [
            ("scaled", preprocessing.StandardScaler(), ["income", "debt"]),
            ("bins", preprocessing.KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), ["age"]),
        ]
    )
    whole = pipeline.make_pipeline(chosen, linear.LogisticRegression())
    return whole.fit(pandas.DataFrame(ROWS, columns=NAMES), LABELS)


def test_they_get_a_data_frame_with_these_columns(fitted: Any) -> None:
    found = as_module(fitted)(torch.from_numpy(ROWS)[:, None, None]).softmax(dim=1)
    expected = fitted.predict_proba(pandas.DataFrame(ROWS, columns=NAMES))
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), rtol=1e-4, atol=1e-6)


def test_they_are_evaluated(fitted: Any, tmp_path: Path) -> None:
    frame = pandas.DataFrame(ROWS[:30], columns=NAMES)
    rows = features(frame, LABELS[:30], low=0, high=1)
    run = robustlab.evaluate(
        fitted, dataset=rows, threat="linf(eps=0.1)", attacks="square(queries=50)", out=tmp_path, checks=False
    )
    found = run.results
    assert found.clean.value == fitted.score(frame, LABELS[:30])
    assert found.robust.value < found.clean.value


def test_rows_of_another_length_are_an_error_of_scikit_learn(fitted: Any) -> None:
    with pytest.raises(Exception, match="X has 4 features"):
        as_module(fitted)(torch.rand(2, 1, 1, 4))


@pytest.mark.filterwarnings("error")
def test_names_cause_no_warning() -> None:
    frame = pandas.DataFrame(ROWS, columns=NAMES)
    named = linear.LogisticRegression().fit(frame, LABELS)
    plain = linear.LogisticRegression().fit(ROWS, LABELS)
    images = torch.from_numpy(ROWS)[:, None, None]
    torch.testing.assert_close(as_module(named)(images), as_module(plain)(images), rtol=1e-4, atol=1e-5)
