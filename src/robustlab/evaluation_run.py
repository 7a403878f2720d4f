"""What `robustlab.evaluate` returns: a finished evaluation with its images, data frames and figures."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustlab.core.arguments import as_path, check_choice
from robustlab.runs import run as on_disk
from robustlab.runs.run import EvaluationFolder, Run

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from robustlab.evaluation.adversarial import Adversarial, ImageFormat
    from robustlab.report.evaluation.charts import FigureName


@dataclass(frozen=True, kw_only=True, repr=False)
class EvaluationRun(EvaluationFolder):
    """A finished run of an evaluation.

    Attributes:
        folder: the absolute path.
        results: every figure.
        images: the attacked images as a `robustlab.data.Split`; None after `load_run`.
    """

    def frame(self) -> "pandas.DataFrame":
        """Return a data frame with a row for each attack.

        Raises:
            SetupError: pandas is not installed.
        """
        from robustlab.runs.frames import attacks_frame

        return attacks_frame(self.results.rows)

    def images_frame(self) -> "pandas.DataFrame":
        """Return a data frame with the verdict on each image, as in images.csv.

        Raises:
            SetupError: pandas is not installed.
            RunError: images.csv is missing or damaged.
        """
        from robustlab.evaluation.finished import read_finished
        from robustlab.runs.frames import images_frame

        return images_frame(read_finished(self.folder).verdicts)

    def adversarial(self) -> "Adversarial":
        """Return the adversarial images of the broken images, with labels, predictions and ids.

        Raises:
            RunError: the run's files are missing or damaged.
        """
        from robustlab.evaluation.adversarial import adversarial_of

        return adversarial_of(self)

    def save_images(self, kind: "ImageFormat" = "png", folder: str | Path | None = None) -> Path:
        """Write the adversarial images and return the folder.

        Args:
            kind: ``"npz"`` writes one file without loss; ``"png"`` a file for each image, with 8 bits per
                value, and ``adversarial.csv``, which says what the rounding changed.
            folder: made if absent; default: ``adversarial`` in the run's folder.

        Raises:
            RunError: the run's files are missing or damaged.
            OutputError: a file could not be written.
        """
        check_choice("kind", kind, ("png", "npz"))
        from robustlab.evaluation.adversarial import save_adversarial

        place = self.folder / "adversarial" if folder is None else as_path("folder", folder)
        return save_adversarial(self, kind, place)

    def figure(self, name: "FigureName" = "curve") -> "Figure":
        """Return a chart of the page as a matplotlib figure.

        Args:
            name: ``"curve"``: robust accuracy against eps; ``"attacks"``: the accuracy left against passes;
                ``"flips"``: the classes that broken images were taken for; ``"distances"``: of these images.

        Raises:
            SpecError: the name is unknown, or the run has no data for the chart.
        """
        from robustlab.report.evaluation.charts import figure_of

        return figure_of(self.results, name)


def with_methods(run: EvaluationFolder) -> EvaluationRun:
    """Return a finished evaluation as what users get."""
    return EvaluationRun(folder=run.folder, results=run.results, images=run.images)


def load_run(folder: str | Path) -> Run | EvaluationRun:
    """Read a finished run, of a study or of an evaluation.

    Raises:
        RunError: the folder holds no finished run, a damaged one, or one of a newer or far older robustlab.
    """
    run = on_disk.load_run(folder)
    return with_methods(run) if isinstance(run, EvaluationFolder) else run
