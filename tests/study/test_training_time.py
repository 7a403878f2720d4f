"""The time of a training that was stopped is the time of all its epochs."""

from pathlib import Path
from typing import Any

import pytest
from small_studies import HEAD, evaluation, write

import robustlab
from robustlab.models.files import load_tensors, save_tensors
from robustlab.training import loop


def test_the_seconds_of_a_resumed_training_include_the_first_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write(tmp_path, HEAD, evaluation("clean"))

    def stopped(*content: Any) -> None:
        save_tensors(*content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_tensors", stopped)
        with pytest.raises(KeyboardInterrupt):
            robustlab.run_study(recipe, out=tmp_path / "run", quick=True)
    path = tmp_path / "run" / "models" / "baseline.checkpoint"
    tensors, header = load_tensors(path)
    assert 0 < header["seconds"] < 60
    save_tensors(path, tensors, header | {"seconds": 5000.0})
    results = robustlab.run_study(recipe, out=tmp_path / "run", quick=True).results
    (cost,) = [cost for cost in results.cost if cost.stage == "train baseline"]
    assert 5000 < cost.seconds < 5060
