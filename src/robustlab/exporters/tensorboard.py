"""TensorBoard: scalars and texts in an event file."""

import time
from pathlib import Path
from typing import Any

from robustlab.core.spec import register
from robustlab.exporters.base import Exporter, FinishedRun, explained, package
from robustlab.exporters.summary import RunSummary, summary_of
from robustlab.report.markdown import code, plain, table

_MODULES = (
    "compat.proto.event_pb2",
    "compat.proto.summary_pb2",
    "compat.proto.tensor_pb2",
    "compat.proto.tensor_shape_pb2",
    "compat.proto.types_pb2",
    "plugins.text.metadata",
    "summary.writer.event_file_writer",
)

_OWN = ".robustlab"
"""The end of the names of the files that are written here."""


@register("tensorboard")
class TensorBoard(Exporter):
    """Writes figures as scalars, and settings and verdict as texts, to a folder of TensorBoard.

    The folder is ``--out``; default ``tensorboard`` in the run's folder.
    """

    def export(self, run: FinishedRun, out: str | None) -> str:
        tensorboard, summary = package("tensorboard", *_MODULES), summary_of(run)
        folder = run.folder / "tensorboard" if out is None else Path(out)
        with explained("tensorboard"):
            proto = tensorboard.compat.proto
            for earlier in folder.glob(f"events.*{_OWN}"):  # its points would be shown a second time
                earlier.unlink()
            files = tensorboard.summary.writer.event_file_writer
            writer = files.EventFileWriter(str(folder), filename_suffix=_OWN)
            for step, value in _values(tensorboard, summary):
                summed = proto.summary_pb2.Summary(value=[value])
                event = proto.event_pb2.Event(wall_time=time.time(), step=step, summary=summed)
                writer.add_event(event)
            writer.close()
        return str(folder)


def _values(tensorboard: Any, summary: RunSummary) -> list[tuple[int, Any]]:
    """Return TensorBoard's values, each with its step."""
    proto = tensorboard.compat.proto
    scalar = proto.summary_pb2.Summary.Value
    values = [(0, scalar(tag=name, simple_value=value)) for name, value in summary.metrics.items()]
    for name, curve in summary.curves.items():
        values += [(epoch, scalar(tag=name, simple_value=value)) for epoch, value in curve]
    named = {**summary.settings, **summary.tags}
    texts = {
        "summary": f"{plain(summary.title)}\n\n{summary.text}",
        "settings": table(["", ""], [[plain(name), code(value)] for name, value in named.items()]),
    }
    for name, text in texts.items():
        tensor = proto.tensor_pb2.TensorProto(
            dtype=proto.types_pb2.DT_STRING,
            tensor_shape=proto.tensor_shape_pb2.TensorShapeProto(),
            string_val=[text.encode()],
        )
        metadata = tensorboard.plugins.text.metadata.create_summary_metadata(
            display_name=name, description=""
        )
        values.append((0, scalar(tag=name, tensor=tensor, metadata=metadata)))
    return values
