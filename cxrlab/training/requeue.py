"""Back into the queue when SLURM wants its machines back."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from cxrlab.errors import warn


@contextmanager
def requeued_when_preempted() -> Iterator[None]:
    """Queue the SLURM job again when the training inside ended for SIGUSR1, all being saved.

    The job then runs the same command, finds its folder (`outputs/slurm-<job id>`) and goes on.
    A job that SLURM itself pre-empts gets SIGTERM and is queued by SLURM.
    """
    from cxrlab.training.stopping import Preempted

    try:
        yield
    except Preempted:
        job = os.environ["SLURM_JOB_ID"]
        if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
            job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
        scontrol = shutil.which("scontrol")
        if scontrol is None:
            warn(f"no scontrol in PATH, so job {job} can't be queued again; submit it once more")
        elif status := subprocess.run([scontrol, "requeue", job], check=False).returncode:
            warn(f"scontrol requeue {job} ended with status {status}; submit the job once more")
        else:
            logging.getLogger("cxrlab").info("job %s is queued again", job)
        raise
