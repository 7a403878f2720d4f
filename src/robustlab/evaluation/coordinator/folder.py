"""The default folder of an evaluation, and its identity in an existing folder."""

import hashlib
import json
from pathlib import Path

from robustlab.core.text import file_part
from robustlab.evaluation.coordinator.goals import spelled_target
from robustlab.evaluation.coordinator.setup import LoadedInputs, eot_samples
from robustlab.options import OF_OUTCOMES, EvaluationOptions
from robustlab.runs.owner import CERTIFICATES, EVALUATION, Owner


def owner_of(request: LoadedInputs, options: EvaluationOptions) -> Owner:
    """Return the owner record of an evaluation, or of a search for certificates.

    It does not contain the number of images, the attacks, the search precision or robustlab's version. So an
    evaluation continues in its folder if these change.
    """
    subject, chosen = request.subject, request.chosen
    identity = {
        "weights": subject.sha256(),
        "code_and_settings": subject.code,
        "dataset": chosen.name,
        "images": chosen.split.sha256(),
        "threat": repr(request.threat),
        "seed": str(options.seed),
        "surrogates": _hash([[model.code, model.sha256()] for model in request.surrogates]),
    }
    settings = {name: getattr(options, name) for name in OF_OUTCOMES}
    settings["samples"], settings["eot_samples"] = eot_samples(request, options), None
    settings["target"] = None if options.target is None else spelled_target(options.target)
    identity |= {name: str(value) for name, value in settings.items() if value is not None}
    kind = CERTIFICATES if options.proofs_only else EVALUATION
    return Owner(name=kind + subject.name, identity=identity)


def default_folder(request: LoadedInputs, options: EvaluationOptions, owner: Owner) -> Path:
    """Return the default folder of an evaluation; another identity has another folder."""
    eps = f"-{request.threat.eps:g}" if request.threat.bounded else ""
    parts = [
        options.job,
        file_part(request.subject.name),
        file_part(request.chosen.name),
        request.threat.inner.name + eps,
        _hash(owner.identity)[:8],
    ]
    return Path("runs") / "-".join(parts)


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
