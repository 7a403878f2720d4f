"""Each mistake in a recipe is found before anything is trained, and its place named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_texts import GOOD, refused, write

from robustlab.core.errors import RecipeError
from robustlab.study.loading import RECIPE_SCHEMA, load_recipe

THREAT = 'threat = "linf(eps=0.25*scale)"\nsurrogates'
SURROGATES = 'surrogates = ["baseline"]'
NOISE = "gaussian_noise(std=0.3*scale)"
MODEL = 'model = "baseline"\nref'
GALLERY = '[gallery]\nevaluations = ["clean"]'

MISTAKES: list[tuple[str, str, tuple[str, ...]]] = [
    # Keys
    (
        'title = "A toy"',
        'titel = "A toy"',
        ("unknown key 'titel'", "did you mean 'title'?"),
    ),
    ("epochs = 3", "epoch = 3", ("networks.baseline", "unknown key 'epoch'", "did you mean 'epochs'?")),
    ("lr = 2e-4", "learning_rate = 2e-4", ("networks.gan", "unknown key 'learning_rate'", "'lr'")),
    (
        "value = 0.5",
        "valeu = 0.5",
        ("factors.scale.values.0", "unknown key 'valeu'", "did you mean 'value'?"),
    ),
    ('mode = "test-set"', 'modus = "test-set"', ("evaluations.1", "did you mean 'mode'?")),
    ('label = "FGSM"\n', 'label = "FGSM"\nlable = "x"\n', ("curves.0.series.0", "did you mean 'label'?")),
    (
        GALLERY,
        f'[[findings]]\ntitle = "A"\npublished = "clean"\nleft = "claen"\n\n{GALLERY}',
        ("findings.0.left", "unknown name 'claen'", "did you mean 'clean'?"),
    ),
    (
        GALLERY,
        f'[[findings]]\ntitle = "A"\npublished = "clean"\nleft = "fgsm"\n\n{GALLERY}',
        ("findings.0", "clean and fgsm are of two models"),
    ),
    ("[gallery]", "[galery]", ("unknown key 'galery'", "did you mean 'gallery'?")),
    ('name = "toy"', "", ("name: field required",)),
    ('id = "clean"\ntitle = "Clean"', 'id = "clean"', ("evaluations.0.title: field required",)),
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
    ("value = 0.5", "value = 1e39", ("factors.scale.values.0.value", "less than or equal to")),
    ("value = 0.5", "value = inf", ("factors.scale.values.0.value", "finite")),
    ("validation_fraction = 0.25", "validation_fraction = 1.0", ("data.validation_fraction", "less than 1")),
    (
        'dataset = "digits"',
        'dataset = "cifar"',
        ("data.dataset", "unknown dataset 'cifar'", "digits"),
    ),
    (
        "reference = 0.99",
        "reference = 99",
        ("evaluations.0.reference", "less than or equal to 1", "found 99"),
    ),
    (
        'mode = "test-set"',
        'mode = "test_set"',
        ("evaluations.1.mode", "'verdict', 'max-loss' or 'test-set'", "found 'test_set'"),
    ),
    (
        'mode = "test-set"',
        "eot_samples = 0",
        ("evaluations.1.eot_samples", "greater than or equal to 1", "found 0"),
    ),
    (
        'mode = "test-set"',
        'certifier = "crwn"',
        ("evaluations.fgsm (study units).certifier: unknown certifier 'crwn'", "did you mean 'crown'?"),
    ),
    ("x = [0.0, 0.5]", "x = [0.0, 1.5]", ("curves.0.x.1", "found 1.5")),
    ("x = [0.0, 0.5]", "x = []", ("curves.0.x", "at least 1 item")),
    ('name = "toy"', 'name = "My toy"', ("name: ", "pattern", "found 'My toy'")),
    ("[networks.vae]", '[networks."my-vae"]', ("networks.my-vae", "pattern")),
    (
        '[[factors.scale.values]]\nid = "study"\ntitle = "study units"\nvalue = 0.5',
        "[factors.scale]\nvalues = []",
        ("factors.scale.values", "at least 1 item"),
    ),
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
    ('"vae_loss"', '"fgsm"', ("networks.vae.objective", "unknown objective 'fgsm'")),
    ('"grey_pixels"', '"grey_pixels("', ("detectors.grey.detector", "can't parse detector")),
    (
        THREAT,
        THREAT.replace("0.25", "25"),
        ("evaluations.fgsm (study units).threat", "linf: eps", "found 12.5"),
    ),
    (
        THREAT,
        "surrogates",
        ("evaluations.fgsm.attacks: fgsm", "not unbounded()", "which is meant where no threat is given"),
    ),
    (NOISE, "fgsm", ("evaluations.noise.attacks: fgsm supports threat models that bound",)),
    ("training(attack=fgsm,", "training(attack=rotation_translation,", ("supports unbounded",)),
    (NOISE, "gaussian_noise", ("evaluations.noise.attacks", "std")),
    # An empty text is a mistake, where nothing at all means something
    (NOISE, "", ("evaluations.noise.attacks: attacks names no attack",)),
    (THREAT, 'threat = ""\nsurrogates', ("evaluations.fgsm.threat", "can't parse threat ''")),
    (SURROGATES, 'surrogates = [""]', ("evaluations.fgsm.surrogates", "''")),
    (
        "adversarial_training(attack=fgsm, threat=linf(eps=0.25*scale), source=baseline)",
        "",
        ("networks.adversarial.defense", "can't parse defense ''"),
    ),
    (
        "linf(eps=x)",
        "linf(epsilon=x)",
        ("curves.eps.series (study units).threat", "'epsilon'", "did you mean 'eps'?"),
    ),
    (
        "value = 0.5",
        "value = 5.0",
        ("networks.adversarial.defense (study units)", "linf: eps", "found 1.25"),
    ),
    (
        "purifier(network=vae, classifier=baseline)",
        "adversarial_training(attack=fgsm, threat=linf(eps=0.1), source=baseline)",
        ("models.purified.source", "adversarial_training is a way to train"),
    ),
    (
        "adversarial_training(attack=fgsm, threat=linf(eps=0.25*scale), source=baseline)",
        "purifier(network=vae, classifier=baseline)",
        ("networks.adversarial.defense", "purifier composes networks, it trains none"),
    ),
    ("epochs = 3", "epochs = true", ("networks.baseline.epochs", "found True")),
    ("epochs = 3", 'epochs = "3"', ("networks.baseline.epochs", "found '3'")),
    ("epochs = 3", "epochs = 1" + 29 * "0", ("networks.baseline.epochs",)),
    ("value = 0.5", "value = true", ("factors.scale.values.0.value", "found True")),
    ("lr = 2e-4", 'lr = "2e-4"', ("networks.gan.lr", "found '2e-4'")),
    ("schema = 2", 'schema = "1"', ("schema", "found '1'")),
    ("schema = 2", "schema = true", ("schema", "found True")),
    ("schema = 2", "schema = 2" + 29 * "0", ("schema", "newer")),
    ("epochs = 3", "epochs = " + 5000 * "9", ("too many digits",)),
    ("epochs = 3", "epochs = " + 5000 * "[" + 5000 * "]", ("nested too deeply",)),
    ('title = "A toy"', 'title = "\\u001b[3mA toy"', ("title", "control characters", r"'\x1b[3mA toy'")),
    (MODEL, f'model = "{"x" * 1_000_000}"\nref', ("evaluations.clean.model", "'xxx")),
    (MODEL, f'model = "{"[" * 5000}"\nref', ("evaluations.clean.model", "no model '[[[")),
    (MODEL, 'model = ""\nref', ("evaluations.clean.model: no model ''",)),
    # Networks that do not fit
    (
        '"vae_loss"',
        '"cross_entropy"',
        ("networks.vae.objective", "cross_entropy", "classifier", "autoencoder"),
    ),
    ('model = "gan"', 'model = "vae"', ("networks.gan.objective", "gan", "autoencoder")),
    ('objective = "cross_entropy"', 'objective = "vae_loss"', ("networks.baseline.objective",)),
    (
        "network=vae",
        "network=baseline",
        ("models.purified.source.network", "baseline is a classifier", "an autoencoder"),
    ),
    ("network=gan", "network=vae", ("detectors.discriminator.detector", "network vae", "gan")),
    # References
    (
        MODEL,
        'model = "basline"\nref',
        ("evaluations.clean.model", "'basline'", "did you mean 'baseline'?"),
    ),
    (
        SURROGATES,
        'surrogates = ["y"]',
        ("evaluations.fgsm.surrogates", "unknown name 'y'; accept"),
    ),
    ("network=vae", "network=vea", ("models.purified.source.network", "unknown name 'vea'", "'vae'")),
    (
        "source=baseline",
        "source=gan",
        ("networks.adversarial.defense", "unknown name 'gan'; accepted"),
    ),
    ("source=baseline", "source=adversarial", ("networks.adversarial.defense", "unknown name 'adversarial'")),
    ("network=gan", "network=purified", ("detectors.discriminator.detector", "unknown name 'purified'")),
    ('detector = "grey"', 'detector = "gray"', ("detections.grey_found.detector", "did you mean 'grey'?")),
    ('scale = "study"', 'scale = "studies"', ("curves.eps.series.values.scale", "did you mean 'study'?")),
    ('model = "adversarial"', 'model = "nobody"', ("curves.eps.series.model", "unknown name 'nobody'")),
    ('samples = ["vae"]', 'samples = ["vaes"]', ("samples", "did you mean 'vae'?")),
    (
        'samples = ["vae"]',
        'samples = ["baseline"]',
        ("samples", "'baseline'; accepted: vae, gan"),
    ),
    (GALLERY, GALLERY.replace("clean", "cleaned"), ("gallery.evaluations", "did you mean 'clean'?")),
    ('evaluation = "noise"', 'evaluation = "nose"', ("detections.found.evaluation", "did you mean 'noise'?")),
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
    ('attacks = "fgsm(gradient=surrogates)"\n', "", ("evaluations.fgsm", "needs attacks")),
    ('id = "clean"', 'surrogates = ["baseline"]\nid = "clean"', ("evaluations.clean", "needs attacks")),
    ('id = "clean"', 'mode = "test-set"\nid = "clean"', ("evaluations.clean", "needs attacks")),
    (
        NOISE,
        NOISE + ", gaussian_noise(std=0.1)",
        ("evaluations.noise (study units): a test-set is perturbed by one attack; found 2",),
    ),
    (
        NOISE + '"\nmode = "test-set"',
        NOISE + '"',
        ("detections.found.evaluation: noise must have mode", "so that there is one image of each"),
    ),
    ('evaluation = "noise"', 'evaluation = "clean"', ("detections.found.evaluation: clean must have mode",)),
    (GALLERY, GALLERY.replace("clean", "aimed"), ("gallery.evaluations: unknown name 'aimed'",)),
    (
        'values = { scale = "study" }',
        'values = { width = "study" }',
        ("curves.eps.series.values", "unknown name 'width'; accepted: scale"),
    ),
    ("x = [0.0, 0.5]", "x = [0.5, 0.5]", ("curves.eps.x", "used twice")),
    (
        'threat = "linf(eps=x)"',
        'threat = "linf(eps=0.1)"',
        ("curves.eps", "has no x in its attacks or threat"),
    ),
    ("linf(eps=x)", "linf(eps=-x)", ("curves.eps",)),
    ("clean - fgsm >= 0.1", "clean >= 98", ("claims.fragile", "0.98 for 98 %")),
    # Names that are used twice
    ('samples = ["vae"]', 'samples = ["vae", "vae"]', ("samples", "'vae' is used twice")),
    ('id = "fgsm"', 'id = "clean"', ("evaluations", "'clean' is used twice")),
    (
        SURROGATES,
        'surrogates = ["baseline", "baseline"]',
        ("evaluations.fgsm.surrogates", "'baseline' is used twice"),
    ),
    (
        'label = "FGSM"\n',
        'label = "FGSM"\nsurrogates = ["vae_like.py:make", "baseline", "baseline"]\n',
        ("curves.eps.series.surrogates", "'baseline' is used twice"),
    ),
    ('id = "grey_found"', 'id = "found"', ("detections", "'found' is used twice")),
    ("[models.purified]", "[models.vae]", ("networks and models", "'vae' is used twice")),
    ("[networks.gan]", "[networks.scale]", ("factors, networks and models", "'scale' is used twice")),
    ("[networks.gan]", "[networks.x]", ("factors, networks and models", "'x' is used twice")),
    (
        "[networks.baseline]",
        '[[factors.scale.values]]\nid = "study"\ntitle = "once more"\nvalue = 1.0\n[networks.baseline]',
        ("values of factors", "'study' is used twice"),
    ),
    (
        "[networks.baseline]",
        '[[factors.width.values]]\nid = "study"\ntitle = "wide"\nvalue = 1.0\n[networks.baseline]',
        ("values of factors", "'study' is used twice"),
    ),
    (
        'factors.scale.values]]\nid = "study"',
        'factors.scael.values]]\nid = "study"',
        ("networks.adversarial.defense", "'0.25*scale' is neither"),
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
        "schema = 2",
        f"schema = {RECIPE_SCHEMA + 1}",
        ("schema 3 is newer than this", "upgrade"),
    ),
    (
        "schema = 2",
        "schema = 1",
        ("schema 1 is an older one", "[[rows]]", "[[evaluations]]", "eps=0.25*scale"),
    ),
    ("schema = 2", "schema = 0", ("schema 0 is an older one",)),
    ("schema = 2", "schema = -1", ("schema -1 is an older one",)),
    ("schema = 2", "", ("schema: field required",)),
    ("schema = 2", "schema =", ("is not valid TOML", "line 2")),
    ("schema = 2", "schema = 2\nschema = 2", ("is not valid TOML",)),
    ("[networks.vae]", "[networks.gan]", ("is not valid TOML",)),
    ("[networks.baseline]", "[network.baseline]", ("unknown key 'network'", "mean 'networks'?")),
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
