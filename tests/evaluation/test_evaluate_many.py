"""Several eps in one search, several models in one go: the verdicts, what they cost, and wrong input."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, Notes, grey_split, states, verdicts
from torch import Tensor, nn

import robustlab
from robustlab import evaluations
from robustlab.attacks import Attack
from robustlab.attacks.session import Session
from robustlab.certify import Certifier
from robustlab.core import register
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.data import Split
from robustlab.evaluation.adversarial import adversarial_of
from robustlab.evaluation.coordinator import execute, measured
from robustlab.evaluation.coordinator.larger import LargerEps
from robustlab.evaluations import Evaluations
from robustlab.report.comparison.page import page as comparison_page
from robustlab.runs.records import PassTime
from robustlab.threats import Linf, Masked, ThreatModel, as_threat, each_threat

EPS = (0.005, 0.015, 0.04)


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=2, shape=SHAPE, seed=2)


@pytest.fixture
def split(model: nn.Module) -> Split:
    return grey_split(model)


def many(models: list[Any], split: Split, folder: Path, **options: Any) -> Evaluations:
    defaults: dict[str, Any] = {"attacks": "fgsm", "certify": False, "checks": False}
    defaults |= {"dataset": split, "out": folder, "threat": [Linf(eps=eps) for eps in EPS]}
    return robustlab.evaluate_many(models, **(defaults | options))


def nearest_change(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the smallest Linf change (N,) that reaches another class of a linear classifier."""
    logits, weight = model(images), dict(model.named_parameters())["1.weight"]
    gap = logits.gather(1, labels[:, None]) - logits
    slope = (weight[labels][:, None] - weight[None]).abs().sum(dim=2)
    return torch.where(slope > 0, gap / slope, torch.inf).amin(dim=1)


def test_each_eps_has_the_verdicts_of_the_closed_form(model: nn.Module, split: Split, tmp_path: Path) -> None:
    done = many([model], split, tmp_path)
    needed = nearest_change(model, split.pixels(slice(None)), split.labels)
    assert [run.results.eps for run in done.runs] == list(EPS)
    robust = []
    for run in done.runs:
        found = states(run)
        for number, change in zip(split.ids.tolist(), needed.tolist(), strict=True):
            if abs(change - run.results.eps) > 1e-5:
                assert (found[number] == "robust") == (change > run.results.eps), (number, change)
        robust.append(run.results.robust.value)
    assert robust == sorted(robust, reverse=True)
    assert 0 < robust[-1] < robust[0] < 1


def apart(model: nn.Module, split: Split, folder: Path, attacks: str) -> list[robustlab.EvaluationRun]:
    """Return evaluations of single eps."""
    return [
        robustlab.evaluate(
            model,
            dataset=split,
            threat=Linf(eps=eps),
            attacks=attacks,
            certify=False,
            checks=False,
            out=folder / f"apart-{number}",
        )
        for number, eps in enumerate(EPS)
    ]


def test_what_withstood_a_larger_eps_is_not_attacked_again(
    model: nn.Module, split: Split, tmp_path: Path
) -> None:
    slow = "apgd(steps=30, loss=margin)"
    done = many([model], split, tmp_path / "many", attacks=slow)
    attacked = [run.results.rows[-1].attacked for run in done.runs]
    for number, run in enumerate(done.runs):
        larger = done.runs[number + 1].results.robust.count if number + 1 < len(EPS) else 0
        known = sum(row.broken for row in run.results.rows if row.attack.startswith("found_within"))
        assert attacked[number] == run.results.clean.count - larger - known
        assert bool(larger) == any("withstood all attacks" in remark for remark in run.results.remarks)
    alone = apart(model, split, tmp_path, slow)
    assert [run.results.robust for run in alone] == [run.results.robust for run in done.runs]
    assert sum(attacked) < sum(run.results.rows[0].attacked for run in alone)


@pytest.mark.usefixtures("own_registry")
def test_a_quick_attack_that_fails_at_a_large_eps_runs_within_each(
    model: nn.Module, split: Split, tmp_path: Path
) -> None:
    @register("only_small")
    class OnlySmall(Attack):
        """One step along the gradient, but only if eps is small."""

        passes = 2

        def search(self, session: Session) -> None:
            step = 0.0 if float(session.eps.max()) > 0.03 else 1.0
            gradient = session.gradient(session.clean, "margin", propose=False)
            session.query(session.ascend(session.clean, gradient, step), "margin")

    done = many([model], split, tmp_path, attacks=OnlySmall())
    needed = nearest_change(model, split.pixels(slice(None)), split.labels)
    assert done.runs[2].results.robust == done.runs[2].results.clean
    for run in done.runs[:2]:
        assert run.results.robust.count == (needed > run.results.eps).sum()


def test_of_a_larger_eps_only_the_near_images_are_read(
    model: nn.Module, split: Split, tmp_path: Path
) -> None:
    large = many([model], split, tmp_path, attacks="deepfool", threat="linf(eps=0.04)").runs[0]
    distances = {n: float(row["distance"]) for n, row in verdicts(large).items() if row["state"] == "broken"}
    near = {number for number, distance in distances.items() if distance <= 0.015}
    assert 0 < len(near) < len(distances)
    found = LargerEps.of(large, Linf(eps=0.015))
    assert found.near.keys() == near
    assert found.threat == Linf(eps=0.04)
    some = adversarial_of(large, only=near)
    assert set(some.ids.tolist()) == near
    assert len(some.images) == len(near)


def test_a_longer_list_forgets_no_success(model: nn.Module, split: Split, tmp_path: Path) -> None:
    slow = "apgd(steps=30, loss=margin)"
    before = many([model], split, tmp_path, attacks=slow, threat="linf(eps=[0.015])")
    after = many([model], split, tmp_path, attacks=slow, threat="linf(eps=[0.015, 0.04, 0.5])")
    assert states(after.runs[0]) == states(before.runs[0])


def test_all_eps_of_a_model_have_one_precision(
    model: nn.Module, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [PassTime(images=4, fp32=2.0, bf16=1.0), PassTime(images=4, fp32=1.0, bf16=2.0)]
    monkeypatch.setattr(measured, "fast_bf16", lambda kind: kind == "cpu")
    monkeypatch.setattr(measured, "_timed", lambda *_: times.pop(0))
    done = many([model], split, tmp_path, attacks="apgd(steps=30)", threat="linf(eps=[0.01, 0.02, 0.04])")
    assert {run.results.compute.training_precision for run in done.runs} == {"bf16"}
    assert len(times) == 1


def test_what_was_finished_before_a_failure_is_there(
    model: nn.Module, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(options: Any, **more: Any) -> Any:
        if options.threat == Linf(eps=0.005) and options.name == "second":
            raise RobustlabError("the server is gone")
        return execute(options, **more)

    monkeypatch.setattr(evaluations, "execute", failing)
    models = [{"model": model, "name": name} for name in ("first", "second")]
    done = many(models, split, tmp_path, threat="linf(eps=[0.005, 0.04])")
    titles = [(run.results.subject.name, run.results.eps) for run in done.runs]
    assert titles == [("first", 0.005), ("first", 0.04), ("second", 0.04)]
    assert done.failed == {"second": "the server is gone"}
    assert "the server is gone" in repr(done)
    assert "<table" in done._repr_html_()


def test_with_the_full_budget_every_eps_is_attacked(model: nn.Module, split: Split, tmp_path: Path) -> None:
    done = many([model], split, tmp_path, mode="max-loss")
    assert {run.results.rows[0].attacked for run in done.runs} == {done.runs[0].results.clean.count}


def test_other_norms_share_nothing(model: nn.Module, split: Split, tmp_path: Path) -> None:
    done = many([model], split, tmp_path, threat=["linf(eps=0.02)", "l2(eps=0.01)"])
    assert {run.results.rows[0].attacked for run in done.runs} == {done.runs[0].results.clean.count}
    assert [run.results.norm for run in done.runs] == ["linf", "l2"]


@pytest.mark.usefixtures("own_registry")
def test_an_image_found_within_a_larger_eps_breaks_the_smaller_one(
    model: nn.Module, split: Split, tmp_path: Path
) -> None:
    @register("only_when_large")
    class OnlyWhenLarge(Attack):
        """Goes a fixed way along the gradient, but only if eps is large."""

        def search(self, session: Session) -> None:
            points = session.clean
            if float(session.eps.min()) > 0.03:
                gradient = session.gradient(session.clean, "margin", propose=False)
                points = points + 0.009 * gradient.sign()
            session.query(points, "margin")

    done = many([model], split, tmp_path, attacks=OnlyWhenLarge(), threat=[Linf(eps=0.01), Linf(eps=0.04)])
    small, large = done.runs
    broken = {number for number, state in states(large).items() if state == "broken"}
    assert len(broken) > 5
    assert {number for number, state in states(small).items() if state == "broken"} == broken
    assert {row["attack"] for row in verdicts(small).values() if row["state"] == "broken"} == {
        "found_within(linf(eps=0.04))"
    }
    assert (small.adversarial().images == large.adversarial().images).all()
    assert robustlab.write_report(small.folder).is_file()


@pytest.mark.usefixtures("own_registry")
def test_a_proof_within_a_larger_eps_holds_within_a_smaller_one(
    model: nn.Module, split: Split, tmp_path: Path
) -> None:
    @register("only_larger")
    class OnlyLarger(Certifier):
        """Proves what is far from other classes, but only within a large eps."""

        norms = ("linf",)

        def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
            return (nearest_change(model, images, labels) > 0.05) & (threat.eps > 0.03)

    done = many([model], split, tmp_path, certify=True, certifier=OnlyLarger())
    proven = [{number for number, state in states(run).items() if state == "certified"} for run in done.runs]
    assert len(proven[-1]) > 1
    assert all(found == proven[-1] for found in proven)
    counts = [run.results.certificates.count for run in done.runs if run.results.certificates]
    assert counts == [len(proven[-1])] * len(EPS)


def test_the_searches_of_a_curve_meet_every_image(model: nn.Module, split: Split, tmp_path: Path) -> None:
    done = many([model], split, tmp_path, curve=True, threat=[Linf(eps=0.01), Linf(eps=0.02)])
    for run in done.runs:
        assert run.results.rows[-1].attacked == run.results.clean.count
        assert run.results.curve is not None
        assert run.results.curve.robust[24].value == run.results.robust.value


def test_the_same_call_repeats_no_work(model: nn.Module, split: Split, tmp_path: Path) -> None:
    first, second = Notes(), Notes()
    before = many([model], split, tmp_path, progress=first)
    after = many([model], split, tmp_path, progress=second)
    assert ("fgsm()", "running") in first.states
    assert not [state for _, state in second.states if state == "running"]
    assert [run.results.robust for run in after.runs] == [run.results.robust for run in before.runs]


def test_the_page_and_the_table_compare_all(model: nn.Module, split: Split, tmp_path: Path) -> None:
    threat = "linf(eps=[0.005, 0.04])"
    done = many([model, {"model": model, "name": "again"}], split, tmp_path, threat=threat)
    assert len(done.runs) == 4
    assert done.page == tmp_path / "comparison.html"
    page = done.page.read_text()
    assert "Accuracy against eps" in page
    for run in done.runs:
        assert f'href="{run.folder.name}/report.html"' in page
    with pytest.raises(RobustlabError, match="name a folder in it, such as"):
        robustlab.load_run(tmp_path)
    elsewhere = comparison_page(done.table(), tmp_path / "other")
    assert "report.html" not in elsewhere
    assert len((tmp_path / "comparison.csv").read_text().splitlines()) == 1 + len(done.runs)
    assert len({run.folder for run in done.runs}) == len(done.runs)


def test_the_command_repeats_the_search_within_all_eps(split: Split, tmp_path: Path) -> None:
    threat = "linf(eps=[0.1, 0.2])"
    options: dict[str, Any] = {"dataset": "digits", "n": 4, "scale": 1}
    model = torch.nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    torch.save(model.state_dict(), tmp_path / "w.pt")
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make(): return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    )
    given = {"model": f"{tmp_path}/net.py:make", "weights": str(tmp_path / "w.pt")}
    done = many([given | {"name": "a"}, given | {"name": "b"}], split, tmp_path, threat=threat, **options)
    assert all(threat in run.results.command for run in done.runs)
    done = many([given], split, tmp_path / "two", threat=[Linf(eps=0.1), Linf(eps=0.2)], **options)
    assert [bool(run.results.command) for run in done.runs] == [False, True]


def test_models_of_one_name_have_folders_of_their_own(
    make_linear: Callable[..., nn.Module], split: Split, tmp_path: Path
) -> None:
    models = [make_linear(classes=2, shape=SHAPE, seed=seed) for seed in (2, 3, 4)]
    done = many(models, split, tmp_path, threat="linf(eps=0.02)")
    assert len({run.folder for run in done.runs}) == 3
    assert len({pair.second_name for pair in done.table().pairs}) == 2
    assert len({run.results.subject.sha256 for run in done.runs}) == 3


def test_other_weights_have_other_default_folders(
    make_linear: Callable[..., nn.Module], split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = []
    for seed in (2, 3, 2):
        one = make_linear(classes=2, shape=SHAPE, seed=seed)
        done = many([one], split, tmp_path, out=None, threat="linf(eps=[0.01, 0.02])")
        folders.append([run.folder for run in done.runs])
        assert done.page.is_file()
    assert folders[0] == folders[2]
    assert not set(folders[0]) & set(folders[1])


def test_a_model_that_fails_stops_no_other(model: nn.Module, split: Split, tmp_path: Path) -> None:
    notes = Notes()
    done = many(
        ["nowhere.py:make", model, "nothing"], split, tmp_path, progress=notes, threat="linf(eps=0.01)"
    )
    assert len(done.runs) == 1
    assert [*done.failed] == ["nowhere.py-make", "nothing"]
    assert any("nowhere.py-make could not be evaluated" in note for note in notes.notes)
    with pytest.raises(RobustlabError, match="no model could be evaluated"):
        many(["nowhere.py:make", "nothing"], split, tmp_path)
    with pytest.raises(RobustlabError, match=r"^(?!no model)"):
        many(["nowhere.py:make"], split, tmp_path)


def test_a_list_of_eps_of_an_own_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    head = "from robustlab.core import register\nfrom robustlab.threats import Linf\n"
    (tmp_path / "own.py").write_text(f'{head}@register("own_linf")\nclass Own(Linf): pass\n')
    assert [one.eps for one in each_threat("own.py:Own(eps=[1/255, 0.3])")] == [1 / 255, 0.3]


def test_the_order_of_threat_models_changes_no_folder(model: nn.Module, split: Split, tmp_path: Path) -> None:
    threats = [Linf(eps=0.01), Masked(threat=Linf(eps=0.01), fixed=(0, 3))]
    first = many([model], split, tmp_path, threat=threats)
    again = many([model], split, tmp_path, threat=threats[::-1])
    assert [run.folder for run in first.runs] == [run.folder for run in again.runs][::-1]


def test_a_list_with_one_eps_is_one_evaluation(model: nn.Module, split: Split, tmp_path: Path) -> None:
    done = many([model], split, tmp_path, threat="linf(eps=[0.02])")
    assert len(done.runs) == 1
    assert done.page == done.runs[0].folder / "report.html"


def test_where_one_eps_is_expected_the_error_names_what_takes_a_list(
    model: nn.Module, split: Split, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="evaluate_many"):
        as_threat("linf(eps=[0.1, 0.2])")
    with pytest.raises(SpecError, match="evaluate_many"):
        robustlab.evaluate(model, dataset=split, threat="linf(eps=[0.1, 0.2])", out=tmp_path)


@pytest.mark.parametrize(
    ("models", "options", "words"),
    [
        ([], {}, "at least one model"),
        ("mnist_cnn", {}, "must be a list"),
        ([{"model": "mnist_cnn", "threat": "linf(eps=0.1)"}], {}, "threat is the same for all models"),
        ([{"scale": 255}], {}, "needs a model"),
        (["mnist_cnn"], {"atacks": "fgsm"}, "atacks"),
        (["mnist_cnn"], {"out": 3}, "out"),
    ],
    ids=["none", "text", "no model", "a threat of its own", "option", "folder"],
)
def test_wrong_arguments_are_refused(models: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(RobustlabError) as caught:
        robustlab.evaluate_many(models, **options)
    assert words in str(caught.value)
