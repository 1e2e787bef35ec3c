"""What made a run: the code, the packages and the device."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import cxrlab

UNKNOWN = "unknown"
_GIT_SECONDS = 5.0
_PACKAGES = (
    "torch", "torchvision", "torchmetrics", "pytorch-lightning", "timm", "captum", "kornia",
    "mlflow", "hydra-core", "omegaconf", "pydantic", "numpy", "pandas", "scikit-learn",
    "opencv-python-headless", "opencv-python", "matplotlib", "safetensors",
)  # fmt: skip


def git_state(folder: Path | None = None) -> tuple[str, str]:
    """Commit and `true` or `false` for uncommitted changes; `unknown` twice outside a checkout.

    Args:
        folder: Top folder of the checkout; None for the one this package lies in. An installed
            package gives `unknown`, also when its environment lies inside some other repository.
    """
    folder = folder or Path(cxrlab.__file__).resolve().parents[1]
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != folder.resolve():
        return UNKNOWN, UNKNOWN
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    changes = _git(folder, "status", "--porcelain")
    if commit is None or changes is None:
        return UNKNOWN, UNKNOWN
    return commit, "true" if changes else "false"


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that numbers depend on, by distribution name."""
    versions = {"cxrlab": cxrlab.__version__}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def environment_text() -> str:
    """Requirements file of the core packages, headed by the Python and the platform.

    `pip install -r` on it brings back the packages; cxrlab itself stands as a comment, since a
    version of a checkout can't be installed from an index.
    """
    versions = package_versions()
    own = versions.pop("cxrlab")
    head = [
        f"# Python {platform.python_version()} ({platform.python_implementation()})",
        f"# {platform.platform()}",
        f"# cxrlab {own}, commit {git_state()[0]}",
    ]
    return "\n".join([*head, *(f"{name}=={version}" for name, version in versions.items()), ""])


def run_tags(command: str, device: str) -> dict[str, str]:
    """The tags of origin that every run carries.

    Args:
        command: The command line, as a user would type it.
        device: What the run computes on, `cpu` or the GPU's name; `cpu` gets the processor's name.
    """
    commit, dirty = git_state()
    return {
        "cxrlab.command": command,
        "cxrlab.git_commit": commit,
        "cxrlab.git_dirty": dirty,
        "cxrlab.device": f"cpu ({_processor()})" if device == "cpu" else device,
        "cxrlab.version": cxrlab.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
