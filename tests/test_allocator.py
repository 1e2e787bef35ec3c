import platform
import subprocess
import sys

import pytest

# Allocates and frees what steps of a large convolution do; prints the page faults of later ones.
STEPS = """
import resource, sys
from cxrlab.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
import torch
def step():
    return [torch.ones(10_000_000) for _ in range(3)]
for _ in range(8):  # holes of the right size are there after some steps
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator only")
def test_settled_steps_cause_no_page_faults() -> None:
    assert _page_faults("keep") < 1_000
    assert _page_faults("give back") > 100_000


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from cxrlab.allocator import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    assert not keep_freed_memory()


def _page_faults(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", STEPS, mode], capture_output=True, text=True, check=True
    )
    return int(done.stdout)
