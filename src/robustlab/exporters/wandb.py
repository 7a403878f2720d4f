"""Weights & Biases: a run with figures, settings and files."""

import shutil

from robustlab.core.spec import register
from robustlab.exporters.base import Exporter, FinishedRun, explained, package
from robustlab.exporters.summary import summary_of


@register("wandb")
class WandB(Exporter):
    """Writes figures, settings and the report to Weights & Biases.

    With ``WANDB_MODE=offline`` the run stays on the disk until ``wandb sync`` uploads it. ``--out`` is the
    folder of these files; default the working directory.
    """

    project: str = "robustlab"
    """The project that the run belongs to."""

    def export(self, run: FinishedRun, out: str | None) -> str:
        wandb, summary = package("wandb"), summary_of(run)
        with explained("wandb"):
            quiet = wandb.Settings(silent=True)
            config = summary.settings | {"robustlab": summary.tags}
            name = summary.title[:120]
            with wandb.init(
                project=self.project, name=name, config=config, dir=out, settings=quiet
            ) as logged:
                epochs = sorted({epoch for curve in summary.curves.values() for epoch, _ in curve})
                for epoch in epochs:
                    curves = {key: dict(curve) for key, curve in summary.curves.items()}
                    here = {key: curve[epoch] for key, curve in curves.items() if epoch in curve}
                    logged.log(here, step=epoch)
                logged.summary.update(summary.metrics)
                for path in summary.files:  # copies: of a file elsewhere wandb would keep a link
                    copy = shutil.copy2(path, logged.dir)
                    logged.save(copy, base_path=logged.dir, policy="now")
                where = logged.settings.sync_dir if logged.offline else logged.url
        return str(where)
