"""Plans of recipes with several factors."""

import pytest
from planning import TEXT, Planner, keys, planner, trained

plan = pytest.fixture(planner)

TWO = """
[[factors.width.values]]
id = "thin"
title = "thin"
value = 0.1

[[factors.width.values]]
id = "wide"
title = "wide"
value = 0.3

[[factors.idle.values]]
id = "unused"
title = "unused"
value = 1.0

"""


def test_two_factors_multiply_only_where_both_are_used(plan: Planner) -> None:
    made = plan(
        ("# Networks", TWO + "# Networks"),
        (TEXT[TEXT.index("[[curves]]") : TEXT.index("# Claims")], ""),  # its lines would have to choose
        ("cnn(dropout=0.2)", "cnn(dropout=width)"),  # the baseline's, of which the others' images are made
    )
    both = [f"{scale}-{width}" for scale in ("study", "pixel") for width in ("thin", "wide")]
    choices: dict[str, list[str | None]] = {}
    for name, choice, _ in made.networks:
        choices.setdefault(name, []).append(choice.id)
    assert choices == {
        "baseline": ["thin", "wide"],
        "adversarial": both,  # its threat uses the one, its source the other
        "vae": [None],
        "vae_kl": [None],
        "gan": [None],
    }
    found: dict[str, list[str | None]] = {}
    for evaluation, value in made.evaluations:
        found.setdefault(evaluation, []).append(value)
    assert found["clean"] == found["vae_clean"] == ["thin", "wide"]
    assert found["fgsm"] == found["adversarial_clean"] == found["vae_transfer"] == both
    detections = [value for name, value in made.detections if name == "grey_fgsm"]
    assert detections == both
    assert [stage.network for _, _, stage in made.networks if stage.network.startswith("adv")] == [
        f"adversarial-{value}" for value in both
    ]
    assert len(set(keys(made).values())) == len(made.stages) == len(keys(made))
    for (_, value), stage in made.evaluations.items():
        if stage.question.model == "baseline":
            assert trained(made, f"baseline-{str(value).split('-')[-1]}") <= set(stage.inputs)


@pytest.mark.parametrize("factor", ["width", "scale"])
def test_a_detector_may_use_a_factor_that_its_images_do_not(plan: Planner, factor: str) -> None:
    made = plan(("# Networks", TWO + "# Networks"), ('"grey_pixels"', f'"grey_pixels(margin=0.1*{factor})"'))
    found = [value for name, value in made.detections if name == "grey_fgsm"]
    assert found == (
        [f"{scale}-{width}" for scale in ("study", "pixel") for width in ("thin", "wide")]
        if factor == "width"
        else ["study", "pixel"]
    )
    stages = [made.detections["grey_fgsm", value] for value in found]
    assert len({repr(stage.detector) for stage in stages}) == 2
    # The images are those of the evaluation, made once.
    assert {stage.question.choice.id for stage in stages} == {"study", "pixel"}
