"""MNIST (LeCun, Cortes & Burges, http://yann.lecun.com/exdb/mnist): handwritten digits."""

from robustlab.core.spec import register
from robustlab.data.idx import IdxDataset, idx_archives, idx_files


@register("mnist")
class MNIST(IdxDataset):
    """70,000 handwritten digits, 28x28, grey."""

    title = "MNIST (LeCun, Cortes & Burges)"
    folder = "MNIST/raw"
    class_names = tuple("0123456789")
    mean, std = (0.1307,), (0.3081,)
    files = idx_files(
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    )
    archives = idx_archives(
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    )
