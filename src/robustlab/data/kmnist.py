"""Kuzushiji-MNIST (Clanuwat et al. 2018, arXiv:1812.01718): cursive Japanese characters."""

from robustlab.core.spec import register
from robustlab.data.idx import IdxDataset, idx_archives, idx_files


@register("kmnist")
class KMNIST(IdxDataset):
    """70,000 cursive Japanese characters, 28x28, grey."""

    title = "Kuzushiji-MNIST (Clanuwat et al.)"
    folder = "KMNIST/raw"
    class_names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    mean, std = (0.1918,), (0.3483,)
    files = idx_files("", "", "", "")  # only the MD5 of the compressed files is published
    archives = idx_archives(
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    )
