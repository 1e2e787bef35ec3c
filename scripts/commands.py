"""The commands of cxrlab, as users start them."""

from __future__ import annotations

import subprocess
import sys


def run(name: str, *overrides: str) -> None:
    """Run `python -m cxrlab.NAME` to its end; what it says of a failure ends this process too."""
    line = [sys.executable, "-m", f"cxrlab.{name}", *overrides]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(line)}\n{done.stderr}")
