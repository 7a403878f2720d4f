"""The corruptions of MNIST-C, each by what defines it."""

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import Attack, Corruption
from robustlab.attacks.corruption import _KINDS, Effect
from robustlab.attacks.corruption_fog import _cloud
from robustlab.attacks.corruption_pixels import smooth
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.spec import parse
from robustlab.threats import Unbounded

EFFECTS: tuple[Effect, ...] = get_args(Effect)


class Draws:
    """Random numbers by image, as a session gives them."""

    def __init__(self, count: int, first: int = 0) -> None:
        self.ids = first + torch.arange(count)

    def uniform(self, *purpose: object, shape: tuple[int, ...]) -> Tensor:
        return seeding.uniform(seeding.derive(0, *purpose), self.ids, shape)

    def normal(self, *purpose: object, shape: tuple[int, ...]) -> Tensor:
        return seeding.normal(seeding.derive(0, *purpose), self.ids, shape)


def corrupted(effect: str, images: Tensor, severity: int | None = None) -> Tensor:
    attack: Any = Corruption(effect=effect, severity=severity)  # type: ignore[arg-type]
    result: Tensor = attack.apply(images, Draws(len(images)))
    return result


def drawing(count: int, size: int = 28) -> Tensor:
    """Grey images of a white ring on black."""
    place = torch.arange(size) - (size - 1) / 2
    radius = (place[:, None] ** 2 + place**2).sqrt() / size
    return ((radius - 0.28).abs() < 0.08).float().expand(count, 1, size, size).clone()


def test_every_effect_has_its_function() -> None:
    assert set(_KINDS) == set(EFFECTS)
    assert len(EFFECTS) == 15
    for kind in _KINDS.values():
        assert len(kind.levels) in (1, 5)
        assert 1 <= kind.default <= len(kind.levels)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 33), (4, 9, 7), (2, 4, 5), (1, 1, 8)], ids=str)
@pytest.mark.parametrize("effect", EFFECTS)
def test_any_image_stays_an_image(effect: Effect, shape: tuple[int, int, int]) -> None:
    noise = seeding.uniform(3, torch.arange(3), shape)
    for images in (noise, torch.zeros(3, *shape), torch.ones(3, *shape)):
        before = images.clone()
        for severity in range(1, len(_KINDS[effect].levels) + 1):
            result = corrupted(effect, images, severity)
            assert result.shape == images.shape
            assert result.dtype == torch.float32
            assert torch.isfinite(result).all()
            assert result.min() >= 0
            assert result.max() <= 1
        assert torch.equal(images, before)


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_image_is_corrupted_alike_in_any_company(effect: Effect) -> None:
    images = seeding.uniform(3, torch.arange(6), (1, 12, 12))
    together = corrupted(effect, images)
    attack = Corruption(effect=effect)
    alone = torch.cat([attack.apply(images[i : i + 1], Draws(1, first=i)) for i in range(6)])
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize(
    "effect",
    ["shot_noise", "impulse_noise", "motion_blur", "shear", "scale", "rotate", "brightness", "translate"],
)
def test_a_higher_severity_changes_more(effect: Effect) -> None:
    images = drawing(60)
    images[..., :14] = 0  # half a ring, for the whole looks the same from all sides
    changes = [
        float((corrupted(effect, images, severity) - images).square().mean()) for severity in range(1, 6)
    ]
    assert changes == sorted(changes)
    assert changes[0] > 0


def test_the_default_severity_is_that_of_mnist_c() -> None:
    images = drawing(3)
    assert torch.equal(corrupted("shot_noise", images), corrupted("shot_noise", images, 5))
    assert torch.equal(corrupted("shear", images), corrupted("shear", images, 2))


# Each by itself


@pytest.mark.parametrize(("severity", "photons"), [(1, 60), (5, 3)])
def test_shot_noise_is_poisson(severity: int, photons: int) -> None:
    images = torch.full((1, 1, 300, 300), 0.1)
    noisy = corrupted("shot_noise", images, severity)
    assert float(noisy.mean()) == pytest.approx(0.1, rel=0.03)
    assert float(noisy.var()) == pytest.approx(0.1 / photons, rel=0.05)
    assert torch.allclose(noisy * photons, (noisy * photons).round(), atol=1e-4)
    assert float((noisy == 0).float().mean()) == pytest.approx(math.exp(-0.1 * photons), abs=0.01)
    assert not corrupted("shot_noise", torch.zeros(1, 1, 9, 9)).any()


def test_impulses_are_black_and_white_by_halves() -> None:
    noisy = corrupted("impulse_noise", torch.full((1, 1, 300, 300), 0.5))
    for value in (0.0, 1.0):
        assert float((noisy == value).float().mean()) == pytest.approx(0.085, rel=0.05)
    assert float((noisy == 0.5).float().mean()) == pytest.approx(0.83, rel=0.01)


def test_glass_keeps_what_is_even_and_moves_the_rest_a_little() -> None:
    assert torch.allclose(corrupted("glass_blur", torch.full((1, 1, 12, 12), 0.3)), torch.tensor(0.3))
    dot = torch.zeros(200, 1, 21, 21)
    dot[:, 0, 10, 10] = 1
    blurred = corrupted("glass_blur", dot)
    assert torch.allclose(blurred.sum(dim=(1, 2, 3)), torch.ones(200), atol=1e-4)  # a swap loses nothing
    mean = blurred.mean(dim=(0, 1))
    # The blurs are vertical, so that only swaps carry it to other columns.
    assert 0.1 < float(mean[:, 10].sum()) < 0.7
    assert float(mean[:, 6:13].sum()) > 0.98


def test_motion_smears_along_one_line() -> None:
    dot = torch.zeros(100, 1, 41, 41)
    dot[:, 0, 20, 20] = 1
    blurred = corrupted("motion_blur", dot)
    assert torch.allclose(blurred.sum(dim=(1, 2, 3)), torch.ones(100), atol=1e-4)
    rows, columns = torch.arange(41.0)[:, None] - 20, torch.arange(41.0) - 20
    down, across = ((blurred[:, 0] * axis).sum(dim=(1, 2)) for axis in (rows, columns))
    length = (down**2 + across**2).sqrt()
    weights = (-(torch.arange(21.0) ** 2) / 18).exp()
    expected = (weights * torch.arange(21.0)).sum() / weights.sum()
    assert torch.allclose(length, expected, atol=0.4)  # to one side, by rounded steps
    assert (down.abs() <= across.abs() + 0.4).all()  # at most 45 degrees
    assert down.std() > 0.5


def test_colours_get_brighter_without_changing_hue() -> None:
    colours = seeding.uniform(3, torch.arange(5), (3, 6, 6))
    brighter = corrupted("brightness", colours, 1)
    value = colours.amax(dim=1)
    assert torch.allclose(brighter.amax(dim=1), (value + 0.1).clamp(max=1.0), atol=1e-6)
    ratio = brighter / colours
    assert torch.allclose(ratio.amin(dim=1), ratio.amax(dim=1), rtol=1e-4)
    grey = seeding.uniform(3, torch.arange(5), (1, 6, 6))
    assert torch.allclose(corrupted("brightness", grey), (grey + 0.5).clamp(max=1.0), atol=1e-6)


def test_translations_are_by_three_pixels_to_any_corner() -> None:
    images = seeding.uniform(3, torch.arange(60), (1, 9, 9))
    moved = corrupted("translate", images)
    seen = set()
    for image, result in zip(images, moved, strict=True):
        for down in (-3, 3):
            for across in (-3, 3):
                inner = image.roll((down, across), dims=(1, 2))[:, 3:-3, 3:-3]
                if torch.allclose(result[:, 3:-3, 3:-3], inner, atol=1e-5):
                    seen.add((down, across))
        assert (result == 0).sum() >= 81 - 36 - 1
    assert len(seen) == 4


def test_affine_maps_leave_the_centre_where_it_is() -> None:
    dot = torch.zeros(40, 1, 15, 15)
    dot[:, :, 7, 7] = 1
    for effect in ("shear", "scale", "rotate"):
        assert torch.allclose(corrupted(effect, dot)[:, :, 7, 7], torch.tensor(1.0), atol=1e-5)
    ring = drawing(2)
    assert float(corrupted("scale", ring).sum() / ring.sum()) == pytest.approx(0.49, rel=0.03)
    assert float(corrupted("rotate", ring).sum() / ring.sum()) == pytest.approx(1.0, rel=0.03)


def test_stripes_are_the_outer_quarters_inverted() -> None:
    images = seeding.uniform(3, torch.arange(2), (1, 4, 28))
    striped = corrupted("stripe", images)
    assert torch.equal(striped[..., :7], 1 - images[..., :7])
    assert torch.equal(striped[..., 21:], 1 - images[..., 21:])
    assert torch.equal(striped[..., 7:21], images[..., 7:21])


def test_fog_leaves_the_brightest_as_it_was_at_most() -> None:
    images = drawing(30)
    foggy = corrupted("fog", images)
    # Of x to (x + 3 cloud) / 4: white stays between a quarter and white, black below three quarters.
    assert (foggy[images == 1] >= 0.25 - 1e-6).all()
    assert (foggy[images == 0] <= 0.75 + 1e-6).all()
    assert foggy[images == 0].std() > 0.05


def test_clouds_are_smooth_up_to_the_rim() -> None:
    cloud = _cloud(torch.zeros(60, 1, 28, 36), Draws(60), 2.0)[:, 0]
    assert cloud.shape == (60, 28, 36)
    assert cloud.min() >= 0
    assert cloud.max() <= 1
    down, across = cloud.diff(dim=1).abs().mean(dim=(0, 2)), cloud.diff(dim=2).abs().mean(dim=(0, 1))
    for steps in (down, across):
        assert steps.max() < 2 * steps.median()
    assert cloud.mean(dim=(1, 2)).std() > 0.1  # each image its own


def test_mud_is_grey_and_covers_spots() -> None:
    images = drawing(40)
    muddy = corrupted("spatter", images)
    covered = (muddy - images).abs() > 0.01
    assert 0.02 < covered.float().mean() < 0.5
    assert torch.allclose(muddy[covered].amin(), torch.tensor(0.8 * 63 / 255), atol=0.01)
    assert muddy[covered].max() < 0.5
    assert torch.equal(muddy[~covered], images[~covered])


def test_lines_are_drawn_over_the_image() -> None:
    images = drawing(50) * 0.5
    for effect in ("dotted_line", "zigzag"):
        drawn = corrupted(effect, images)
        ink = drawn - images
        assert (ink >= 0).all()
        assert 0.01 < (ink > 0.3).float().mean() < 0.15
        if effect == "dotted_line":
            assert not ink[..., torch.arange(28) // 2 % 2 == 0].any()
            assert (ink.amax(dim=2) > 0.5).float().mean(dim=(0, 1))[2:4].min() > 0.9
        else:
            inside = ink.amax(dim=2)[:, 0, 3:24]
            assert not ink[..., :2].any()
            assert (inside > 0.3).float().mean() > 0.8  # unless it leaves the image above or below


def test_edges_are_those_of_canny() -> None:
    assert not corrupted("canny_edges", torch.full((1, 1, 20, 20), 0.7)).any()
    square = torch.zeros(1, 1, 20, 20)
    square[..., 6:14, 5:15] = 1
    edges = corrupted("canny_edges", square)[0, 0]
    assert set(edges.flatten().tolist()) == {0.0, 1.0}
    places = edges.nonzero()
    assert len(places) > 20
    # Every edge pixel lies next to the square's outline, and every side has some.
    for row, column in places.tolist():
        assert min(abs(row - 5.5), abs(row - 13.5), abs(column - 4.5), abs(column - 14.5)) <= 1
    assert edges[8:12, 4:6].any(dim=1).all()
    assert edges[5:7, 8:12].any(dim=0).all()
    # A weak edge stays only where a strong one continues it.
    weak = torch.zeros(1, 1, 20, 20)
    weak[..., 10:] = 0.05
    assert not corrupted("canny_edges", weak).any()
    weak[..., :6, 10:] = 1
    assert corrupted("canny_edges", weak)[0, 0, 2:4].any()
    assert not corrupted("canny_edges", weak)[0, 0, 14:].any()


def test_a_gaussian_smooths() -> None:
    dot = torch.zeros(1, 1, 21, 25)
    dot[0, 0, 10, 12] = 1
    bell = smooth(dot, 1.0, 2.0)[0, 0]
    assert float(bell.sum()) == pytest.approx(1.0, abs=1e-5)
    assert float(bell[11, 12] / bell[10, 12]) == pytest.approx(torch.tensor(-0.5).exp().item(), rel=1e-4)
    assert float(bell[10, 14] / bell[10, 12]) == pytest.approx(torch.tensor(-0.5).exp().item(), rel=1e-4)
    assert torch.equal(smooth(dot, 0.0, 0.0), dot)


# As a unit


def test_its_spec() -> None:
    attack = parse(Attack, "corruption(effect=fog)")
    assert attack == Corruption(effect="fog")
    assert repr(attack) == "corruption(effect=fog, severity=None)"
    with pytest.raises(SpecError, match="severity should be less than or equal to 5"):
        parse(Attack, "corruption(effect=fog, severity=6)")
    with pytest.raises(SpecError, match="stripe has severity 1 alone, found severity 2"):
        parse(Attack, "corruption(effect=stripe, severity=2)")
    with pytest.raises(SpecError, match="effect should be 'shot_noise'"):
        parse(Attack, "corruption(effect=rain)")


def test_it_proposes_one_image_and_knows_no_target() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 3)).eval()
    images, labels = drawing(4), torch.zeros(4, dtype=torch.int64)
    result = Corruption(effect="stripe").run(model, images, labels, Unbounded(), early_stop=False)
    assert torch.equal(result.images, corrupted("stripe", images))
    assert (result.forwards == 2).all()
    assert not result.backwards.any()
    with pytest.raises(RobustlabError, match="corruption can't move towards a target class"):
        Corruption(effect="stripe").run(model, images, labels, Unbounded(), targets=labels + 1)
