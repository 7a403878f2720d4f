"""The versions of installed libraries, and whether they fit together."""

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

from robustlab import __version__
from robustlab.core.errors import SetupError
from robustlab.core.text import shown

_REPORTED = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "safetensors")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that figures depend on."""
    known = {"python": platform.python_version(), "robustlab": __version__}
    for name in _REPORTED:
        try:
            known[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            known[name] = "not installed"
    return known


def check_torchvision() -> None:
    """Check that torchvision can be imported beside the installed torch.

    Raises:
        SetupError: it can't, as when the two come from different builds.
    """
    try:
        import torchvision  # noqa: F401 (slow to import)
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        pair = versions()
        raise SetupError(
            f"torchvision {pair['torchvision']} does not match torch {pair['torch']} ({shown(error)}). "
            "Install a matching pair: pip uninstall -y torch torchvision && pip install torch torchvision"
        ) from None


def git_revision() -> str | None:
    """Return the commit of the checkout that robustlab runs from, ``-dirty`` if changed; None outside one."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        tracked = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name],
            capture_output=True,
            check=False,
        )
        if tracked.returncode:
            return None
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far, in MB; 0 on Windows, where it is unknown."""
    if sys.platform == "win32":
        return 0.0
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: a process inherits its parent's value.
        peaks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        if peaks:
            return int(peaks[0]) * 1024 / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
