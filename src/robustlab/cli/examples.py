"""The examples below each command's ``--help``, and the order of the commands."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "study": (
        "robustlab study",
        "robustlab study mnist --quick --open",
        "robustlab study recipes/mnist.toml --seed 1 --out runs/seed-1",
    ),
    "train": (
        'robustlab train "trades(eps=0.3, beta=6)" --architecture cnn --out runs/trades',
        'robustlab train "ibp_training(eps=0.1)" --architecture strided_cnn --epochs 20 --schedule cosine',
        'robustlab train "fgsm_training(eps=8/255)" --model my.py:make --dataset cifar10 --out runs/mine',
    ),
    "evaluate": (
        "robustlab evaluate mnist_cnn -n 100",
        "robustlab evaluate my.py:make_model --weights w.pt --dataset cifar10 --norm linf --eps 8/255",
        'robustlab evaluate mnist_cnn --threat "l2(eps=2)" --attacks "pgd(steps=40), fgsm" --open',
    ),
    "certify": (
        'robustlab certify mnist_cnn --threat "linf(eps=0.01)" -n 100',
        'robustlab certify my.py:make --weights w.pt --dataset cifar10 --threat "linf(eps=2/255)"',
        'robustlab certify runs/ibp --threat "linf(eps=0.1)" --certifier crown --out runs/proofs',
    ),
    "compare": (
        "robustlab compare runs/before runs/after",
        "robustlab compare runs/before runs/after --json",
        "robustlab compare runs/a runs/b runs/c --html comparison.html",
    ),
    "gate": (
        "robustlab gate runs/after --min-robust 0.9 --confident",
        "robustlab gate runs/after --baseline runs/before --max-drop 0.01 --strict",
    ),
    "export": (
        "robustlab export runs/after --to hf-card",
        "robustlab export runs/after --to junit --out robustness.xml",
        'robustlab export runs/after --to "mlflow(experiment=vision)" --out http://localhost:5000',
    ),
    "report": (
        "robustlab report runs/mnist",
        "robustlab report runs/mnist --open",
    ),
    "explain": (
        "robustlab explain",
        "robustlab explain zero-gradients",
    ),
    "ls": (
        "robustlab ls",
        "robustlab ls attacks",
        "robustlab ls pgd --json",
    ),
    "doctor": (
        "robustlab doctor",
        "robustlab doctor --data-root ~/data",
        "robustlab doctor --json",
    ),
}
"""By command, in the order in which ``robustlab --help`` lists them."""


def epilog(command: str) -> str:
    """Return the text below a command's options; ``\\b`` keeps its lines as they are."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in EXAMPLES[command])])
