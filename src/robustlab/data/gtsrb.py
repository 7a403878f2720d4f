"""GTSRB (Stallkamp et al. 2012, Man vs. Computer): photos of German traffic signs."""

import csv
import io
import zipfile
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from robustlab.core.spec import register
from robustlab.data.files import FileDataset
from robustlab.data.resizing import Resizing

_TRAIN, _TEST = "GTSRB-Training_fixed.zip", "GTSRB_Final_Test_Images.zip"
_LABELS = "GTSRB_Final_Test_GT.zip"


@register("gtsrb")
class GTSRB(FileDataset):
    """26,640 training and 12,630 test photos of 43 traffic signs, in colour, brought to one size.

    The files are read from the official archives, which need not be unpacked.
    """

    size: Annotated[int, Field(ge=8, le=512)] = 32
    """Height and width in pixels; the photos are 15 to 250 pixels large."""

    title = "GTSRB (Stallkamp et al.)"
    folder = "gtsrb"
    class_names = (
        *("speed limit 20", "speed limit 30", "speed limit 50", "speed limit 60", "speed limit 70"),
        *("speed limit 80", "end of speed limit 80", "speed limit 100", "speed limit 120", "no passing"),
        *("no passing for trucks", "right of way", "priority road", "yield", "stop", "no vehicles"),
        *("no trucks", "no entry", "danger", "curve left", "curve right", "double curve", "bumpy road"),
        *("slippery road", "road narrows", "road works", "traffic signals", "pedestrians", "children"),
        *("bicycles", "ice or snow", "wild animals", "end of limits", "turn right", "turn left"),
        *("straight on", "straight or right", "straight or left", "keep right", "keep left"),
        *("roundabout", "end of no passing", "end of no passing for trucks"),
    )
    files = {  # noqa: RUF012 (a class variable)
        _TRAIN: ("513f3c79a4c5141765e10e952eaa2478", 0),
        _TEST: ("c7e4e6327067d32654124b0fe9e82185", 0),
        _LABELS: ("fe31e9c9270bbcd7b84b7f21a9d9d9e5", 0),
    }
    test_files = (_TEST, _LABELS)

    def read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        from PIL import Image

        folder, resized = root / self.folder, Resizing(resize=(self.size, self.size))
        with zipfile.ZipFile(folder / (_TRAIN if train else _TEST)) as photos:
            names = sorted(name for name in photos.namelist() if name.endswith(".ppm"))
            images = torch.stack(
                [resized.tensor(Image.open(io.BytesIO(photos.read(name)))) for name in names]
            )
        if train:
            classes = {name: int(name.split("/")[-2]) for name in names}
        else:
            with zipfile.ZipFile(folder / _LABELS) as table, table.open("GT-final_test.csv") as content:
                rows = csv.DictReader(io.TextIOWrapper(content), delimiter=";")
                classes = {f"GTSRB/Final_Test/Images/{row['Filename']}": int(row["ClassId"]) for row in rows}
        return images, torch.tensor([classes[name] for name in names])

    def torchvision(self, root: Path, *, train: bool, download: bool = False) -> Any:
        from torchvision import datasets

        return datasets.GTSRB(str(root), split="train" if train else "test", download=download)
