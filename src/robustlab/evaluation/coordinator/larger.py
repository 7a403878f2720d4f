"""What an evaluation within a larger eps says about the same images within a smaller one."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from robustlab.attacks import Attack
from robustlab.attacks.session import Session
from robustlab.core.tolerance import with_tolerance
from robustlab.evaluation.adversarial import adversarial_of
from robustlab.evaluation.finished import read_finished
from robustlab.runs.run import EvaluationFolder
from robustlab.threats import ThreatModel


@dataclass(frozen=True, kw_only=True)
class LargerEps:
    """The results of a finished evaluation within a larger eps, of the same model, images and attacks.

    Attributes:
        threat: the threat model of that evaluation.
        withstood: ids of the images that withstood all attacks there, also those that are proven.
        proven: ids of the images that are proven there.
        near: the adversarial images (C, H, W) that lie within the smaller eps, too, by image id.
    """

    threat: ThreatModel
    withstood: frozenset[int]
    proven: frozenset[int]
    near: Mapping[int, Tensor]

    @classmethod
    def of(cls, run: EvaluationFolder, threat: ThreatModel) -> "LargerEps":
        """Read them from the evaluation's folder, for an evaluation within another eps of ``threat``.

        Raises:
            RunError: the folder's files are missing or damaged.
        """
        finished, reach = read_finished(run), with_tolerance(threat.eps)
        # Not all of them: those of many large images do not fit into memory.
        near = {v.image_id for v in finished.verdicts if v.state == "broken" and v.distance <= reach}
        found = adversarial_of(run, only=near)
        return cls(
            threat=threat.at(run.results.eps),
            withstood=frozenset(v.image_id for v in finished.verdicts if v.robust),
            proven=frozenset(v.image_id for v in finished.verdicts if v.state == "certified"),
            near=dict(zip(found.ids.tolist(), found.images, strict=True)),
        )


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FoundBefore(Attack):
    """Tries the adversarial images that attacks within a larger eps found; it searches nothing."""

    name = "found_within"
    needs_gradient = False
    passes = 1

    larger: LargerEps

    def __repr__(self) -> str:
        return f"{self.name}({self.larger.threat!r})"

    def brief(self) -> str:
        return repr(self)

    def search(self, session: Session) -> None:
        points = session.clean.clone()
        for row, number in enumerate(session.ids.tolist()):
            points[row] = self.larger.near.get(number, points[row])
        session.query(points, "margin")
