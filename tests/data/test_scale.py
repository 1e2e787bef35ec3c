"""As many images as NIH ChestX-ray14 has, on a laptop."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.replica import write_nih

IMAGES = 112_120

# In a process of its own, whose peak memory is of this alone.
_SCRIPT = """
import json, sys, time
from hydra import compose, initialize_config_dir
from cxrlab.config.paths import cache_dir, conf_dir
from cxrlab.config.schema import Config
from cxrlab.config.validate import validate
from cxrlab.data.audit.run import audit_cached
from cxrlab.data.prepare import prepare
from cxrlab.data.sources import load_manifest

with initialize_config_dir(str(conf_dir()), version_base="1.3"):
    config = validate(compose("train", sys.argv[1:]), Config).data
start = time.perf_counter()
data = prepare(load_manifest(config), config)
prepared = time.perf_counter()
found = audit_cached(data, cache_dir())
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(json.dumps({
    "images": found.images,
    "prepare": prepared - start,
    "audit": time.perf_counter() - prepared,
    "megabytes": int(status["VmHWM"].split()[0]) / 1024,
}))
"""


def run(root: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, "data=nih_chestxray14", f"data.root={root}",
         "data.image_size=64"],
        capture_output=True, text=True, check=True, timeout=900,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_112_000_images_are_read_split_and_audited_in_a_minute(tmp_path: Path) -> None:
    root = write_nih(tmp_path / "nih", images=IMAGES, size=64)
    first = run(root)  # decodes too, which takes as long as the files are large
    print(first)
    assert first["images"] == IMAGES
    assert first["megabytes"] < 1500
    second = run(root)
    print(second)
    assert second["prepare"] + second["audit"] < 60
    assert second["megabytes"] < 1500
