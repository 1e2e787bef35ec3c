from __future__ import annotations

import os
import re
import subprocess
import sys

from cxrlab.config.paths import conf_dir

SCRIPT = conf_dir().parent / "scripts" / "measure_audit.py"


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return done.stdout


def test_planted_copies_are_found_and_nothing_else() -> None:
    shown = run("leaks", "data=phantom", "data.images=40", "data.image_size=96")
    for change in ("JPEG 75", "half the side", "mirrored"):
        assert re.search(rf"^{change} +100\.0% found, 0 other pairs$", shown, flags=re.MULTILINE)
