"""Each mistake in a recipe is found before anything is trained, and its place named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_texts import GOOD, refused, write

from robustlab.core.errors import RecipeError
from robustlab.study.loading import RECIPE_SCHEMA, load_recipe

MISTAKES: list[tuple[str, str, tuple[str, ...]]] = [
    # Keys
    (
        'title = "A toy"',
        'titel = "A toy"',
        ("unknown key 'titel'", "did you mean 'title'?"),
    ),
    ("epochs = 3", "epoch = 3", ("networks.baseline", "unknown key 'epoch'", "did you mean 'epochs'?")),
    ("lr = 2e-4", "learning_rate = 2e-4", ("networks.gan", "unknown key 'learning_rate'", "'lr'")),
    ("pixels = 0.5", "pixel = 0.5", ("units.0", "unknown key 'pixel'", "did you mean 'pixels'?")),
    ('mode = "max-loss"', 'modus = "max-loss"', ("rows.1", "did you mean 'mode'?")),
    ('label = "FGSM", ', 'label = "FGSM", lable = "x", ', ("curves.0.series.0", "did you mean 'label'?")),
    ("[gallery]", "[galery]", ("unknown key 'galery'", "did you mean 'gallery'?")),
    ('name = "toy"', "", ("name: field required",)),
    ('id = "clean"\ntitle = "Clean"', 'id = "clean"', ("rows.0.title: field required",)),
    # Types and ranges
    ("epochs = 3", 'epochs = "three"', ("networks.baseline.epochs", "integer", "found 'three'")),
    ("epochs = 3", "epochs = 2.5", ("networks.baseline.epochs", "found 2.5")),
    ("epochs = 3", "epochs = 0", ("networks.baseline.epochs", "greater than or equal to 1", "found 0")),
    ("epochs = 3", "epochs = [3]", ("networks.baseline.epochs", "found [3]")),
    ("epochs = 3", "batch_size = -1", ("networks.baseline.batch_size", "found -1")),
    ("lr = 2e-4", "lr = 0.0", ("networks.gan.lr", "greater than 0")),
    ("lr = 2e-4", "lr = inf", ("networks.gan.lr", "finite")),
    ("lr = 2e-4", "lr = nan", ("networks.gan.lr",)),
    ("betas = [0.5, 0.999]", "betas = [0.5, 1.0]", ("networks.gan.betas.1", "less than 1")),
    ("betas = [0.5, 0.999]", "betas = [0.5]", ("networks.gan.betas",)),
    ("pixels = 0.5", "pixels = 0", ("units.0.pixels", "greater than 0")),
    ("pixels = 0.5", "pixels = inf", ("units.0.pixels", "finite")),
    ("validation_fraction = 0.25", "validation_fraction = 1.0", ("data.validation_fraction", "less than 1")),
    (
        'dataset = "digits"',
        'dataset = "cifar"',
        ("data.dataset", "unknown dataset 'cifar'", "digits"),
    ),
    ("reference = 0.99", "reference = 99", ("rows.0.reference", "less than or equal to 1", "found 99")),
    (
        'mode = "max-loss"',
        'mode = "max_loss"',
        ("rows.1.mode", "'verdict' or 'max-loss'", "found"),
    ),
    ("x = [0.0, 0.5]", "x = [0.0, 1.5]", ("curves.0.x.1", "found 1.5")),
    ("x = [0.0, 0.5]", "x = []", ("curves.0.x", "at least 1 item")),
    ('name = "toy"', 'name = "My toy"', ("name: ", "pattern", "found 'My toy'")),
    ("[networks.vae]", '[networks."my-vae"]', ("networks.my-vae", "pattern")),
    ('units = ["study"]', "units = []", ("claims.0.readings.0.units", "at least 1 item")),
    ('holds = ["clean', 'holds = []\nignored = ["clean', ("claims.0.readings.0", "unknown key 'ignored'")),
    # Specs
    (
        "cnn(dropout=0.2)",
        "cnn(dropuot=0.2)",
        ("networks.baseline.model", "'dropuot'", "'dropout'?"),
    ),
    (
        'model = "gan"',
        'model = "gann"',
        ("networks.gan.model", "model 'gann'", "did you mean 'gan'?"),
    ),
    ('"reconstruction"', '"fgsm"', ("networks.vae.objective", "unknown objective 'fgsm'")),
    ('"grey_pixels"', '"grey_pixels("', ("detectors.grey.detector", "can't parse detector")),
    ('"linf(eps=0.25)"\ncrafted', '"linf(eps=25)"\ncrafted', ("rows.fgsm.threat", "linf: eps", "found 25")),
    (
        'threat = "linf(eps=0.25)"\ncrafted',
        "crafted",
        ("rows.fgsm: fgsm supports", "not unbounded(), which is meant where none is given"),
    ),
    ("gaussian_noise(std=0.3)", "fgsm", ("detections.found: fgsm supports threat models that bound",)),
    ("training(attack=fgsm,", "training(attack=rotation_translation,", ("supports unbounded",)),
    ("gaussian_noise(std=0.3)", "gaussian_noise", ("detections.found.attack", "std")),
    # An empty text is a mistake, where nothing at all means something
    ("gaussian_noise(std=0.3)", "", ("detections.found.attack", "can't parse attack ''")),
    ('"linf(eps=0.25)"\ncrafted', '""\ncrafted', ("rows.fgsm.threat", "can't parse threat ''")),
    ('crafted_on = "baseline"', 'crafted_on = ""', ("rows.fgsm.crafted_on", "unknown name ''")),
    (
        "adversarial_training(attack=fgsm, threat=linf(eps=0.25), source=baseline)",
        "",
        ("networks.adversarial.defense", "can't parse defense ''"),
    ),
    ("linf(eps={x})", "linf(epsilon={x})", ("curves.eps.series.threat", "'epsilon'", "did you mean 'eps'?")),
    (
        "pixels = 0.5",
        "pixels = 5.0",
        ("adversarial.defense in study units", "linf: eps", "found 1.25"),
    ),
    (
        "purifier(network=vae, classifier=baseline)",
        "adversarial_training(attack=fgsm, threat=linf(eps=0.1), source=baseline)",
        ("classifiers.purified.defense", "adversarial_training trains a network, it composes none"),
    ),
    (
        "adversarial_training(attack=fgsm, threat=linf(eps=0.25), source=baseline)",
        "purifier(network=vae, classifier=baseline)",
        ("networks.adversarial.defense", "purifier composes networks, it trains none"),
    ),
    ("epochs = 3", "epochs = true", ("networks.baseline.epochs", "found True")),
    ("epochs = 3", 'epochs = "3"', ("networks.baseline.epochs", "found '3'")),
    ("epochs = 3", "epochs = 1" + 29 * "0", ("networks.baseline.epochs",)),
    ("pixels = 0.5", "pixels = true", ("units.0.pixels", "found True")),
    ("lr = 2e-4", 'lr = "2e-4"', ("networks.gan.lr", "found '2e-4'")),
    ("schema = 1", 'schema = "1"', ("schema", "found '1'")),
    ("schema = 1", "schema = true", ("schema", "found True")),
    ("schema = 1", "schema = 1" + 29 * "0", ("schema", "newer")),
    ("epochs = 3", "epochs = " + 5000 * "9", ("too many digits",)),
    ("epochs = 3", "epochs = " + 5000 * "[" + 5000 * "]", ("nested too deeply",)),
    ('title = "A toy"', 'title = "\\u001b[3mA toy"', ("title", "control characters", r"'\x1b[3mA toy'")),
    ('on = "baseline"', f'on = "{"x" * 1_000_000}"', ("rows.clean.on", "'xxx")),
    # Networks that do not fit
    (
        '"reconstruction"',
        '"cross_entropy"',
        ("networks.vae.objective", "cross_entropy", "classifier", "autoencoder"),
    ),
    ('model = "gan"', 'model = "vae"', ("networks.gan.objective", "gan", "autoencoder")),
    ('objective = "cross_entropy"', 'objective = "reconstruction"', ("networks.baseline.objective",)),
    ("network=vae", "network=baseline", ("classifiers.purified.defense", "network baseline", "autoencoder")),
    ("network=gan", "network=vae", ("detectors.discriminator.detector", "network vae", "gan")),
    # References
    (
        'on = "baseline"',
        'on = "basline"',
        ("rows.clean.on", "'basline'", "did you mean 'baseline'?"),
    ),
    (
        'crafted_on = "baseline"',
        'crafted_on = "x"',
        ("rows.fgsm.crafted_on", "unknown name 'x'; accept"),
    ),
    ("network=vae", "network=vea", ("classifiers.purified.defense", "unknown name 'vea'", "'vae'")),
    (
        "source=baseline",
        "source=gan",
        ("networks.adversarial.defense", "unknown name 'gan'; accepted"),
    ),
    ("source=baseline", "source=adversarial", ("networks.adversarial.defense", "unknown name 'adversarial'")),
    ("network=gan", "network=purified", ("detectors.discriminator.detector", "unknown name 'purified'")),
    ('detector = "grey"', 'detector = "gray"', ("detections.grey_found.detector", "did you mean 'grey'?")),
    ('unit = "study"', 'unit = "studies"', ("curves.eps.series.unit", "did you mean 'study'?")),
    ('on = "adversarial"', 'on = "nobody"', ("curves.eps.series.on", "unknown name 'nobody'")),
    ('samples = ["vae"]', 'samples = ["vaes"]', ("samples", "did you mean 'vae'?")),
    (
        'samples = ["vae"]',
        'samples = ["baseline"]',
        ("samples", "'baseline'; accepted: vae, gan"),
    ),
    ('rows = ["clean"]', 'rows = ["cleaned"]', ("gallery.rows", "did you mean 'clean'?")),
    (
        'units = ["study"]',
        'units = ["pixel"]',
        ("claims.fragile.units", "'pixel'; accepted: study"),
    ),
    (
        'detector = "grey"\nattack = "gaussian_noise(std=0.3)"\ncrafted_on = "baseline"',
        'detector = "grey"\nattack = "gaussian_noise(std=0.3)"',
        ("detections.grey_found", "attack and crafted_on are needed"),
    ),
    # Claims
    ("clean - fgsm >= 0.1", "clean - fgmm >= 0.1", ("claims.fragile", "unknown figure 'fgmm'", "'fgsm'?")),
    ("clean - fgsm >= 0.1", "clean * fgsm >= 0.1", ("claims.fragile", "unknown figure 'clean * fgsm'")),
    ("clean - fgsm >= 0.1", "clean", ("claims.fragile", "can't parse claim 'clean'")),
    ("clean - fgsm >= 0.1", "clean == fgsm", ("claims.fragile", "can't parse claim")),
    ("clean - fgsm >= 0.1", "clean > fgsm > 0.1", ("claims.fragile", "can't parse claim")),
    ("clean - fgsm >= 0.1", "clean >=", ("claims.fragile", "can't parse claim")),
    ("found.natural_detection", "found.natural", ("claims.fragile", "unknown figure 'found.natural'")),
    # Counting grey pixels has no threshold of its own, so that no such figure will be measured.
    (
        "grey_found.auroc",
        "grey_found.natural_detection",
        ("claims.fragile", "unknown figure 'grey"),
    ),
    # Rows that would measure something else
    (
        'attack = "fgsm"\nthreat = "linf(eps=0.25)"',
        'threat = "linf(eps=0.25)"',
        ("rows.fgsm", "need an attack"),
    ),
    ('id = "clean"', 'crafted_on = "baseline"\nid = "clean"', ("rows.clean", "need an attack")),
    ("x = [0.0, 0.5]", "x = [0.5, 0.5]", ("curves.eps.x", "used twice")),
    ('threat = "linf(eps={x})"', 'threat = "linf(eps=0.1)"', ("curves.eps", "has no {x}")),
    ("linf(eps={x})", "linf(eps=-{x})", ("curves.eps",)),
    ("clean - fgsm >= 0.1", "clean >= 98", ("claims.fragile", "0.98 for 98 %")),
    # Names that are used twice
    ('samples = ["vae"]', 'samples = ["vae", "vae"]', ("samples", "'vae' is used twice")),
    ('id = "fgsm"', 'id = "clean"', ("rows", "'clean' is used twice")),
    ('id = "grey_found"', 'id = "found"', ("detections", "'found' is used twice")),
    ("[classifiers.purified]", "[classifiers.vae]", ("networks and classifiers", "'vae' is used twice")),
    (
        "[networks.baseline]",
        '[[units]]\nid = "study"\ntitle = "once more"\npixels = 1.0\n[networks.baseline]',
        ("units", "'study' is used twice"),
    ),
    (
        "[gallery]",
        '[[claims]]\nid = "fragile"\ntext = "x"\nreadings = []\n[gallery]',
        ("claims", "'fragile' is used twice"),
    ),
    (
        "[[claims]]",
        '[[curves]]\nid = "eps"\ntitle = "x"\nx_label = "x"\nx = [0.1]\nseries = []\n[[claims]]',
        ("curves", "'eps' is used twice"),
    ),
    # The file itself
    (
        "schema = 1",
        f"schema = {RECIPE_SCHEMA + 1}",
        ("schema 2 is newer than this", "upgrade"),
    ),
    ("schema = 1", "schema = 0", ("schema: ", "greater than or equal to 1")),
    ("schema = 1", "", ("schema: field required",)),
    ("schema = 1", "schema =", ("is not valid TOML", "line 2")),
    ("schema = 1", "schema = 1\nschema = 1", ("is not valid TOML",)),
    ("[networks.vae]", "[networks.gan]", ("is not valid TOML",)),
    ("[networks.baseline]", "[network.baseline]", ("unknown key 'network'", "mean 'networks'?")),
    ('[[units]]\nid = "study"\ntitle = "study units"\npixels = 0.5', "", ("units: field required",)),
]


@pytest.mark.parametrize(("old", "new", "fragments"), MISTAKES, ids=[m[1][:40] or m[0] for m in MISTAKES])
def test_a_mistake_is_found_and_its_place_named(
    tmp_path: Path, old: str, new: str, fragments: tuple[str, ...]
) -> None:
    assert old in GOOD
    message = refused(tmp_path, GOOD.replace(old, new, 1))
    for fragment in fragments:
        assert fragment in message
    assert "\n" not in message or "TOML" in message


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*gone\.toml"):
        load_recipe(tmp_path / "gone.toml")
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        load_recipe(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"binary\.toml is not valid TOML"):
        load_recipe(tmp_path / "binary.toml")


@given(data=st.data())
def test_no_damage_to_a_recipe_ends_in_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines = GOOD.splitlines()
    kept = data.draw(st.lists(st.sampled_from(range(len(lines))), unique=True, max_size=len(lines)))
    dropped = data.draw(st.integers(0, len(lines) - 1))
    texts = ["\n".join(lines[i] for i in kept), "\n".join(lines[:dropped] + lines[dropped + 1 :])]
    for text in texts:
        path = write(tmp_path_factory.mktemp("damaged"), text)
        try:
            load_recipe(path)
        except RecipeError as error:
            assert str(path) in str(error)  # noqa: PT017 (a recipe may stay good)
