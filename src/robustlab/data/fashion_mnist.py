"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747): articles of clothing."""

from robustlab.core.spec import register
from robustlab.data.idx import IdxDataset, idx_archives, idx_files


@register("fashion_mnist")
class FashionMNIST(IdxDataset):
    """70,000 photos of clothes, 28x28, grey."""

    title = "Fashion-MNIST (Xiao, Rasul & Vollgraf)"
    folder = "FashionMNIST/raw"
    class_names = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
    mean, std = (0.2860,), (0.3530,)
    # Of the images only the MD5 of the compressed files is published.
    files = idx_files("", "9018921c3c673c538a1fc5bad174d6f9", "", "15d484375f8d13e6eb1aabb0c3f46965")
    archives = idx_archives(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    )
