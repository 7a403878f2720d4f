"""robustlab's own process-wide settings, and the caller's afterwards."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustlab
from hostile_settings import SETTINGS, TOGETHER, change_everything, seen, settings
from robustlab.attacks import FGSM
from robustlab.core.errors import RobustlabError
from robustlab.core.isolation import other_default_device, own_settings
from robustlab.threats import Linf


def test_the_two_rounds_hold_every_setting() -> None:
    assert {"anomaly", *(name for names in TOGETHER.values() for name in names)} == set(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_nothing_of_the_callers_is_left_inside(name: str) -> None:
    with own_settings():
        plain = seen()
    with settings(name):
        inside_of_inside = other_default_device()
        with own_settings():
            assert [*seen()[:1], *seen()[2:]] == [*plain[:1], *plain[2:]] or name == "default device"
            assert torch.zeros(1).dtype == torch.float32
            assert torch.zeros(1).device.type == "cpu"
            assert torch.ones(1, requires_grad=True).mul(2).requires_grad
            assert torch.eye(2).mm(torch.eye(2)).dtype == torch.float32
            assert not torch.zeros(1).is_inference()
            assert other_default_device() == ("device" in name)
        assert not inside_of_inside
        assert not other_default_device()


@pytest.mark.parametrize("caller", [(), *TOGETHER.values()])
def test_what_is_set_inside_is_put_back(caller: tuple[str, ...], tmp_path: Path) -> None:
    with settings(*caller):  # which looks at the end
        with own_settings():
            change_everything(tmp_path)
            torch.manual_seed(1)
        with pytest.raises(NotADirectoryError), own_settings():
            change_everything(Path(__file__))  # at its very end


def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with own_settings():
        os.chdir(tmp_path)
    assert Path.cwd() == tmp_path


def test_it_costs_no_mode_where_the_caller_has_none() -> None:
    with own_settings():
        modes: Any = torch.overrides._get_current_function_mode_stack
        assert modes() == []


TRANSFORMS = {"grad": torch.func.grad, "vmap": torch.vmap, "functionalize": torch.func.functionalize}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_inside_a_transform_one_line_says_so(name: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    images, labels = torch.rand(3, 1, 2, 2), torch.zeros(3).long()

    def attacked(factor: Tensor) -> Tensor:
        return FGSM().run(model, images, labels, Linf(eps=0.1)).images.sum() * factor.sum()

    def evaluated(factor: Tensor) -> Tensor:
        found = robustlab.evaluate(model, images=images, labels=labels, attacks="fgsm", checks=False)
        return factor.sum() * found.results.robust.value

    for work in (attacked, evaluated):
        with pytest.raises(RobustlabError, match=rf"inside torch.func's {name}"):
            TRANSFORMS[name](work)(torch.rand(2))  # type: ignore[operator]
