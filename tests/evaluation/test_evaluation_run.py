"""What an evaluation owes its user: the same verdicts however it is run, and a classifier left untouched."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, Notes, evaluate, grey_split, split_of, states, table, verdicts
from safetensors.torch import load_file
from torch import Tensor, nn

from robustlab.attacks import Attack
from robustlab.attacks.session import Session
from robustlab.core.errors import RunError
from robustlab.core.spec import register
from robustlab.report import write_report
from robustlab.runs.run import load_run

ATTACKS = "pgd(steps=1), apgd(steps=10), square(queries=20)"


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=SHAPE, seed=2)


def test_verdicts_do_not_depend_on_batches_or_order(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    whole = evaluate(tmp_path / "a", model, split, attacks=ATTACKS, batch_size=60)
    pieces = evaluate(tmp_path / "b", model, split, attacks=ATTACKS, batch_size=7)
    backwards = split.take(torch.arange(len(split)).flip(0))
    other = evaluate(tmp_path / "c", model, backwards, attacks=ATTACKS, batch_size=13)
    assert states(whole) == states(pieces)
    assert dict(sorted(states(other).items())) == dict(sorted(states(whole).items()))
    assert len({row["attack"] for row in verdicts(whole).values()}) >= 3, "one attack did it all"


def test_same_call_does_nothing_again(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    first = evaluate(tmp_path, model, split, attacks=ATTACKS)
    blocks, files = table(tmp_path, "blocks"), first.folder / "images.csv"
    content, progress = files.read_bytes(), Notes()
    second = evaluate(tmp_path, model, split, progress, attacks=ATTACKS)
    assert table(tmp_path, "blocks") == blocks
    assert files.read_bytes() == content
    assert {state for _, state in progress.states} == {"kept"}
    changing = {"created": "", "peak_memory_mb": 0.0}
    assert first.results.model_copy(update=changing) == second.results.model_copy(update=changing)


def test_more_images_and_attacks_cost_only_what_is_new(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    evaluate(tmp_path / "grown", model, split, attacks="pgd(steps=1)", n=30)
    first = dict(table(tmp_path / "grown", "outcomes", "key || image_id, confidence"))
    grown = evaluate(tmp_path / "grown", model, split, attacks=ATTACKS, n=60)
    whole = evaluate(tmp_path / "whole", model, split, attacks=ATTACKS, n=60)
    assert states(grown) == states(whole)
    assert grown.results.rows[-1].robust == whole.results.rows[-1].robust
    after = dict(table(tmp_path / "grown", "outcomes", "key || image_id, confidence"))
    assert first.items() <= after.items()
    asked = {key: n for key, n in table(tmp_path / "grown", "blocks", "key, SUM(images)") if key}
    assert sum(asked.values()) == len(after), "an image was measured twice"


def test_fewer_images_are_the_first_ones(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    whole = evaluate(tmp_path, model, split, attacks=ATTACKS)
    few = evaluate(tmp_path, model, split, attacks=ATTACKS, n=20)
    assert few.results.images.n == 20
    assert states(few) == dict(list(states(whole).items())[:20])


def test_fewer_images_cost_their_share_of_the_seconds(model: nn.Module, tmp_path: Path) -> None:
    split, options = grey_split(model), dict[str, Any](attacks="pgd(steps=1)", mode="max-loss")
    whole = evaluate(tmp_path, model, split, **options).results
    few = evaluate(tmp_path, model, split, n=20, **options).results
    share = few.rows[0].attacked / whole.rows[0].attacked
    assert few.rows[0].seconds == pytest.approx(share * whole.rows[0].seconds)
    assert few.seconds < 0.5 * whole.seconds
    assert evaluate(tmp_path, model, split, **options).results.seconds == pytest.approx(whole.seconds)


def test_an_old_report_does_not_stay_beside_a_new_run(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = grey_split(model)
    write_report(evaluate(tmp_path, model, split, n=20).folder)
    report = [tmp_path / "report.html", tmp_path / "report.md"]
    assert all(path.exists() for path in report)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("robustlab.evaluation.engines.serial.perform", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate(tmp_path, model, split, n=30)
    assert not any(path.exists() for path in report)
    with pytest.raises(RunError, match="an evaluation that did not end; run the same command again"):
        write_report(tmp_path)
    assert not any(path.exists() for path in report)
    assert evaluate(tmp_path, model, split, n=30).results.images.n == 30
    assert not any(path.exists() for path in report), "the caller writes the new one"


def test_only_what_an_earlier_run_did_is_called_kept(model: nn.Module, tmp_path: Path) -> None:
    split, progress = grey_split(model, wrong=0), Notes()
    # All are broken by the first attack; of a moody classifier some successes are withdrawn.
    evaluate(tmp_path / "a", model, split, progress, attacks="pgd(steps=5), fgsm", threat="linf(eps=0.5)")
    assert progress.states[-1] == ("fgsm()", "done")
    moody = Moody(model, split.tensor()).eval()
    assert evaluate(tmp_path / "b", moody, split, progress, attacks="fgsm, pgd(steps=3)").results.unconfirmed
    assert "kept" not in {state for _, state in progress.states}


class Foreign(Attack):
    """Goes to a corner; an attack that is not robustlab's."""

    def search(self, session: Session) -> None:
        session.propose(session.clean + 0.02)


def test_the_code_of_a_foreign_attack_decides_what_is_kept(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, attack = grey_split(model), register("foreign")(Foreign)()
    keys = []
    searches = [Foreign.search, Foreign.search, lambda _, session: session.propose(session.clean + 0.01)]
    for search in searches:
        monkeypatch.setattr(Foreign, "search", search)
        progress = Notes()
        evaluate(tmp_path, model, split, progress, attacks=[attack, "fgsm"])
        kept = {name for name, state in progress.states if state == "kept"}
        keys.append(kept)
    assert not keys[0]
    assert keys[1] == {"clean images", "foreign()", "fgsm()"}
    assert "foreign()" not in keys[2]
    assert {"clean images", "fgsm()"} & keys[2]


def change_weights(model: nn.Module) -> None:
    with torch.no_grad():
        model.get_submodule("1").get_parameter("bias")[0] += 0.01


@pytest.mark.parametrize("change", ["weights", "images", "seed", "mode", "threat", "setting"])
def test_what_matters_is_another_evaluation(model: nn.Module, tmp_path: Path, change: str) -> None:
    named = {"setting": "code"}.get(change, change)
    split, options = grey_split(model), dict[str, Any](attacks="fgsm")
    model.strength = 1.0  # type: ignore[assignment]
    before = evaluate(tmp_path, model, split, **options).results
    first = {key for (key,) in table(tmp_path, "outcomes", "DISTINCT key")}
    if change == "weights":
        change_weights(model)
    elif change == "images":
        split = split_of(split.tensor() * 0.999, split.labels, split.ids)
    elif change == "setting":
        model.strength = 2.0  # type: ignore[assignment]
    else:
        options |= {change: {"seed": 1, "mode": "max-loss", "threat": "linf(eps=0.03)"}[change]}
    with pytest.raises(RunError, match=f"other settings: {named}.*--overwrite"):
        evaluate(tmp_path, model, split, **options)
    assert {key for (key,) in table(tmp_path, "outcomes", "DISTINCT key")} == first
    assert load_run(tmp_path).results == before, "a result that exists is kept"
    evaluate(tmp_path, model, split, overwrite=True, **options)
    second = {key for (key,) in table(tmp_path, "outcomes", "DISTINCT key")}
    # How the classifier answers on its own depends on no attacker.
    shared = {key for key in first if change in {"mode", "threat"} and "/clean images" in key}
    assert first & second == shared
    assert len(second) == len(first), "the rows of the other problem are gone"


class Fragile(nn.Module):
    """Answers NaN to images whose first pixel is marked, and wherever that pixel leaves its range."""

    def __init__(self, model: nn.Module, mark: float, limit: float) -> None:
        super().__init__()
        self.model, self.mark, self.limit = model, mark, limit

    def forward(self, images: Tensor) -> Tensor:
        first = images[:, 0, 0, 0]
        marked = ((first - self.mark).abs() < 1e-4) | (first > self.limit)
        return torch.where(marked[:, None], torch.nan, self.model(images))


def test_images_without_an_answer_are_reported_and_not_robust(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    split.tensor()[10, 0, 0, 0], split.tensor()[11, 0, 0, 0] = 0.123, 0.89
    split = split_of(split.tensor(), model(split.tensor()).argmax(dim=1), split.ids)
    run = evaluate(tmp_path, Fragile(model, 0.123, 0.9).eval(), split, attacks="apgd(steps=10)")
    plain = evaluate(tmp_path / "plain", model, split, attacks="apgd(steps=10)")
    found = verdicts(run)
    at, near = split.ids[10].item(), split.ids[11].item()
    assert run.results.not_finite == sorted({at, near})
    assert (found[int(at)]["state"], found[int(at)]["clean_prediction"]) == ("misclassified", "-1")
    assert (found[int(near)]["state"], found[int(near)]["prediction"]) == ("broken", "-1")
    others = {number: state for number, state in states(plain).items() if number not in (at, near)}
    assert others == {number: state for number, state in states(run).items() if number not in (at, near)}


class Walled(nn.Module):
    """Answers NaN farther than this from every clean image."""

    def __init__(self, model: nn.Module, clean: Tensor, wall: float) -> None:
        super().__init__()
        self.model, self.wall = model, wall
        self.register_buffer("clean", clean.flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        beyond = torch.cdist(images.flatten(1), self.get_buffer("clean"), p=torch.inf).amin(dim=1) > self.wall
        return torch.where(beyond[:, None], torch.nan, self.model(images))


def test_no_answer_beyond_eps_is_nobody_s_business(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model, n=20)
    # The curve's search goes beyond the wall, and the attack does not.
    walled = Walled(model, split.tensor(), 0.022).eval()
    run = evaluate(tmp_path, walled, split, attacks="fgsm", curve=True, checks=True)
    confirmed = table(tmp_path, "outcomes", "prediction, distance")
    assert any(prediction < 0 and distance > 0.022 for prediction, distance in confirmed)
    assert run.results.not_finite == []
    (check,) = (check for check in run.results.checks if check.id == "finite-outputs")
    assert check.grade == "pass", check.found


def test_the_classifier_is_left_as_it_was(make_linear: Callable[..., nn.Module], tmp_path: Path) -> None:
    model = nn.Sequential(nn.Identity(), nn.Dropout(0.9), make_linear(classes=3, shape=SHAPE))
    model[2].eval()
    split = grey_split(model.eval())
    model[1].train()
    flags = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for parameter in model[2].parameters():
        parameter.requires_grad_(False)
    state, progress = torch.get_rng_state(), Notes()
    run = evaluate(tmp_path, model, split, progress, attacks="apgd(steps=5)", checks=True)
    assert run.results.clean.value == 57 / 60, "dropout was active"
    assert any("a part of Sequential is in train mode" in note for note in progress.notes)
    (check,) = (check for check in run.results.checks if check.id == "train-mode")
    assert (check.grade, check.found) == ("warn", "in train mode: 1; evaluated in eval mode")
    assert [module.training for module in model.modules()] == flags
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_max_loss_mode_spends_the_full_budget(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    full = evaluate(tmp_path / "full", model, split, attacks="pgd(steps=10)", mode="max-loss").results
    verdict = evaluate(tmp_path / "verdict", model, split, attacks="pgd(steps=10)").results
    assert full.rows[0].backwards == 10 * 57
    assert verdict.rows[0].backwards < 10 * 57
    assert full.mode == "max-loss"


class Moody(nn.Module):
    """Right on the clean images; anywhere else it draws its answer."""

    def __init__(self, model: nn.Module, clean: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("clean", clean.flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        known = torch.cdist(images.flatten(1), self.get_buffer("clean")).amin(dim=1) < 1e-4
        noise = 8.0 * torch.randn(len(images), 4)
        logits: Tensor = self.model(images)
        return torch.where(known[:, None], logits, logits + noise)


def test_lucky_successes_do_not_count(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model, wrong=0)
    run = evaluate(tmp_path, Moody(model, split.tensor()).eval(), split, attacks="fgsm, pgd(steps=3)")
    assert run.results.unconfirmed
    confirmed = {
        (key.removesuffix(" verified"), number): (prediction, label)
        for key, number, label, prediction in table(tmp_path, "outcomes", "key, image_id, label, prediction")
        if key.endswith("verified")
    }
    found = verdicts(run)
    problem = next(iter(confirmed))[0].split("/")[0]
    for number, row in found.items():
        held = [k for k, (prediction, label) in confirmed.items() if k[1] == number and prediction != label]
        assert (row["state"] == "broken") == bool(held)
        if row["state"] == "broken":
            assert (f"{problem}/{row['attack']}", number) in held
    # Whoever escaped the first attack by that met the second one.
    later = {
        number
        for key, number in table(tmp_path, "outcomes", "key, image_id")
        if "pgd" in key and not key.endswith("verified")
    }
    escaped = {k[1] for k, (prediction, label) in confirmed.items() if "fgsm" in k[0] and prediction == label}
    assert escaped
    assert escaped <= later


def test_samples_average_a_random_classifier(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model, wrong=0)

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.model(images)
            return logits + logits.std() * torch.randn_like(logits)

    noisy = Noisy().eval()
    one = evaluate(tmp_path / "one", noisy, split, attacks="pgd(steps=3)").results
    many = evaluate(tmp_path / "many", noisy, split, attacks="pgd(steps=3)", eot_samples=16).results
    # An image counts by the class of the highest mean probability, which a single draw often misses.
    assert many.clean.value > one.clean.value + 0.1
    assert many.rows[0].forwards > 10 * one.rows[0].forwards


def test_pictures_are_those_of_the_ledger(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    results = evaluate(tmp_path, model, split, attacks="apgd(steps=10)").results
    assert results.pictures is not None
    arrays = load_file(tmp_path / results.pictures)
    for shown in results.broken:
        place = split.ids.tolist().index(shown.image_id)
        assert torch.equal(arrays["clean"][shown.index], split.tensor()[place])
        changed = (arrays["adversarial"][shown.index] - split.tensor()[place]).abs().max().item()
        assert changed == pytest.approx(shown.distance, abs=1e-6)
        prediction = model(arrays["adversarial"][shown.index][None]).argmax().item()
        assert prediction == shown.prediction != shown.label


def test_own_images_of_any_kind(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    levels = split.tensor().mul(255).round().to(torch.uint8)
    ids: dict[str, Any] = {"attacks": "fgsm", "dataset": "mnist"}
    whole = evaluate(tmp_path / "a", model, split, images=levels, labels=split.labels, **ids)
    real = evaluate(
        tmp_path / "b", model, split, images=levels.double() / 255, labels=split.labels.int(), **ids
    )
    assert whole.results.images.n == 60
    assert whole.results.robust == real.results.robust


def test_bf16_search_is_confirmed_in_fp32(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    run = evaluate(tmp_path, model, split, attacks="apgd(steps=10)", precision="bf16")
    assert run.results.compute.training_precision == "bf16"
    assert run.results.unconfirmed == []
    assert run.results.robust.value < run.results.clean.value


def test_every_pass_of_the_ledger_is_counted_once(model: nn.Module, tmp_path: Path) -> None:
    split = grey_split(model)
    run = evaluate(tmp_path, model, split, attacks=ATTACKS, certify=True, curve=True)
    assert run.results.certified is not None
    ledger = table(tmp_path, "outcomes", "SUM(forwards), SUM(backwards)")
    assert [(run.results.forwards, run.results.backwards)] == ledger
    seconds = sum(took for (took,) in table(tmp_path, "blocks", "seconds"))
    assert run.results.seconds == pytest.approx(seconds)
