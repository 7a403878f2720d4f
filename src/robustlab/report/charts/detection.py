"""How a detector's scores of clean and perturbed images overlap, and its ROC curve."""

from matplotlib.figure import Figure

from robustlab.report.charts.canvas import BLUE, INK, RED, Chart, chart, percent_axis, place_look
from robustlab.report.study.view import StudyView
from robustlab.report.text import number, score, slug
from robustlab.runs.results import Detection

_SIZE = (340, 296)


def histogram_chart(detection: Detection, view: StudyView) -> Chart:
    """Return the histogram of a detector's scores, with its thresholds."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for counts, colour, label, dash in (
            (detection.clean_histogram, BLUE, "clean", "-"),
            (detection.perturbed_histogram, RED, "perturbed", "--"),
        ):
            axes.stairs(counts, detection.edges, fill=True, color=colour, alpha=0.28)
            axes.stairs(counts, detection.edges, color=colour, linestyle=dash, linewidth=1.4, label=label)
        axes.axvline(
            detection.calibrated.threshold, color=INK, linewidth=1.2, linestyle=":", label="5 % threshold"
        )
        if detection.natural is not None:
            natural = detection.natural.threshold
            label = f"natural threshold, {number(natural)}"
            axes.axvline(natural, color=INK, linewidth=1.2, linestyle="-.", label=label)
        axes.set_ylim(bottom=0)
        axes.locator_params(nbins=6)
        axes.set_xlabel("score (higher: more suspicious)")
        axes.set_ylabel("images")
        figure.legend(loc="outside lower center", ncols=2)

    name = f"scores-{slug(detection.id)}-{slug(detection.variant or 'all')}"
    return chart(name, f"{detection.title}: scores {view.variant(detection.variant)}".strip(), _SIZE, paint)


def roc_chart(detections: list[Detection], view: StudyView) -> Chart:
    """Return the ROC curves of one detection for all its choices of values."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":", alpha=0.6)
        for detection in detections:
            colour, marker, dash = place_look(view.place(detection.variant))
            choice = f"{view.variant(detection.variant)}, " if detection.variant else ""
            label = f"{choice}AUROC {score(detection.auroc.value)}"
            x, y = ([point[axis] for point in detection.roc] for axis in (0, 1))
            axes.plot(x, y, color=colour, linestyle=dash, label=label)
            point = detection.calibrated
            axes.plot(point.false_positive_rate.value, point.detection_rate.value, marker, color=colour, ms=6)
        percent_axis(axes)
        percent_axis(axes, "x")
        axes.set_xlabel("false positives")
        axes.set_ylabel("detections")
        figure.legend(loc="outside lower center")

    first = detections[0]
    return chart(f"roc-{slug(first.id)}", f"{first.title}: ROC curve", _SIZE, paint)
