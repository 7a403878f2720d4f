"""Names from other libraries and papers, and robustlab's names for them; used in hints.

robustlab's names may carry arguments. The keys are lower case, with underscores. Add missing names here.
"""

import re
import warnings
from collections.abc import Collection

_STEP = ("stepsize", "alpha", "eps_iter", "eps_step", "rel_stepsize", "step")

ALIASES: dict[str, tuple[str, ...]] = {
    # attacks and ensembles
    "apgd": ("apgd_ce", "apgdce", "auto_pgd", "autopgd", "apgd_attack"),
    "apgd(loss=dlr)": ("apgd_dlr", "apgddlr"),
    "apgd(loss=dlr, targets=9)": ("apgd_t", "apgdt", "apgd_targeted"),
    "autoattack": ("auto_attack", "aa", "autoattack_standard", "aa_standard"),
    "corruption": ("imagenet_c", "mnist_c", "cifar10_c", "common_corruptions"),
    "cw": ("c&w", "carlini", "carlini_wagner", "carliniwagner", "cw2", "cw_l2", "cwl2"),
    "ddn": ("decoupled_direction_and_norm",),
    "deepfool": ("deep_fool", "superdeepfool", "df"),
    "ead": ("elastic_net", "elasticnet", "ead_l1", "eaden", "eadl1"),
    "fab": ("fab_t", "fabt", "fab_targeted", "fast_adaptive_boundary"),
    "fgsm": ("fgm", "fgv", "ffgsm", "rfgsm", "fast_gradient", "fast_gradient_method", "one_step"),
    "fmn": ("fast_minimum_norm", "lfmn", "l2fmn"),
    "gaussian_noise": ("noise", "gn", "gaussian", "additive_gaussian_noise", "random_noise"),
    "hop_skip_jump": (
        "hopskipjump",
        "hsja",
        "boundary",
        "boundary_attack",
        "geoda",
        "qeba",
        "decision_based",
    ),
    "mi_fgsm": ("mifgsm", "momentum", "momentum_iterative", "difgsm", "di_fgsm", "tifgsm", "ti_fgsm", "mim"),
    "pgd": (
        "bim",
        "ifgsm",
        "i_fgsm",
        "basic_iterative",
        "projected_gradient_descent",
        "linf_pgd",
        "pgd_linf",
    ),
    "rays": ("ray_s", "raysattack", "rays_attack"),
    "rotation_translation": ("spatial", "spatial_transformation", "rotation", "translation", "rt"),
    "sigma_zero": (
        "jsma",
        "saliency_map",
        "sparsefool",
        "sparse_fool",
        "vfga",
        "sigmazero",
        "one_pixel",
        "onepixel",
    ),
    "sparse_rs": ("sparsers", "rs_attack", "rsattack"),
    "spsa": ("nes", "zoo", "zoo_attack"),
    "square": ("square_attack", "sqr", "squareattack", "sq"),
    # threat models
    "l0": ("l_0", "sparse"),
    "l1": ("l_1",),
    "l2": ("l_2", "euclidean"),
    "linf": ("l_inf", "linfty", "l_infty", "linfinity", "l_infinity", "inf", "l∞"),
    "unbounded": ("none", "semantic"),
    # objectives, models, data
    "cross_entropy": ("ce", "crossentropy", "cross_entropy_loss", "xent", "nll"),
    "vae_loss": ("mse", "elbo"),
    "gan_loss": ("minimax",),
    # arguments
    "confidence": ("kappa",),
    "decay": ("momentum", "mu"),
    "binary_search_steps": ("search_steps", "n_binary_search_steps"),
    "eps": ("epsilon", "epsilons", "eps_max", "radius", "max_norm"),
    "lr": ("learning_rate", "learningrate", "eta", *_STEP, "step_size", "rel_step_size"),
    "loss": ("loss_fn", "criterion", "objective"),
    "initial_const": ("initial_c", "c_init", "c"),
    "queries": ("n_queries", "max_queries", "query_limit", "iterations", "max_iter", "steps"),
    "random_start": ("rand_init", "random_init", "rs"),
    "restarts": ("n_restarts", "num_restarts", "num_random_init", "random_starts", "nb_restarts"),
    "std": ("sigma", "stddev", "scale"),
    "rel_step_size": (*_STEP, "step_size", "lr"),
    "step_size": (*_STEP, "rel_step_size", "lr"),
    "steps": (
        *("iterations", "iteration", "iters", "iter", "n_iter", "niter", "n_iters", "num_iter", "nb_iter"),
        *("max_iter", "maxiter", "max_iterations", "num_steps", "n_steps", "nb_steps", "epochs", "queries"),
    ),
    "targets": ("n_target_classes", "n_targets", "target_classes"),
    # options of commands and functions
    "attacks": ("attack", "method"),
    "batch_size": ("batch", "bs", "batchsize"),
    "bf16": ("half",),
    "data_root": ("data", "data_dir", "datadir", "data_path", "root"),
    "device": ("gpu", "cuda"),
    "early_stop": ("mode",),
    "eot_samples": ("samples", "eot_iter", "n_eot", "num_eot", "eot"),
    "n": ("num", "num_images", "n_ex", "n_examples", "limit"),
    "out": ("output", "output_dir", "save_dir", "log_dir", "outdir"),
    "quantize": ("realise",),
    "strict": ("no_red_flags",),
    "threat": ("eps", "epsilon", "norm", "threat_model"),
    "weights": ("checkpoint", "ckpt", "state_dict", "model_path", "pretrained"),
}

_NUMBERED = re.compile(r"(pgd|apgd|bim|i_?fgsm)_?(\d{1,6})")
"""Papers append the number of steps to the name: PGD-20."""


def normalized(word: str) -> str:
    """Return a word as the table spells it."""
    return re.sub(r"[-_\s]+", "_", word.lower()).strip("_")


def ours(word: str) -> list[str]:
    """Return the names that a word from elsewhere may mean here, the most likely first."""
    word = normalized(word)
    numbered = _NUMBERED.fullmatch(word)
    if numbered:
        return [f"{'apgd' if numbered[1] == 'apgd' else 'pgd'}(steps={numbered[2]})"]
    return [name for name, words in ALIASES.items() if word in words]


RENAMED: dict[str, tuple[str, ...]] = {
    "adversarial_game": ("gan_loss",),
    "c": ("initial_const",),
    "focused": ("margin_search",),
    "half": ("bf16",),
    "nearest": ("steepest_min_norm",),
    "no_red_flags": ("strict",),
    "realise": ("quantize",),
    "reconstruction": ("vae_loss",),
    "rounds": ("binary_search_steps",),
    "samples": ("eot_samples",),
    "smoothed": ("if_shattered",),
    "step": ("rel_step_size", "step_size", "lr"),
    "where_masked": ("if_masked",),
}
"""Names of the last version that are still accepted, with their new names."""


class RenamedWarning(FutureWarning):
    """A name of the last version was used."""


def current(name: str, known: Collection[str]) -> str:
    """Return the name itself, or with a warning the new name of a name of the last version."""
    new = next((new for new in RENAMED.get(name, ()) if new in known), name)
    if name in known or new == name:
        return name
    warnings.warn(f"{name} is now called {new}; the old name will be refused", RenamedWarning, stacklevel=2)
    return new
