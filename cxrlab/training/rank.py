"""`python -m cxrlab.training.rank FOLDER`: one more process of a run that the first one leads."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NoReturn

import yaml

from cxrlab.config.app import FAILED, INTERRUPTED
from cxrlab.config.schema import Config
from cxrlab.config.validate import validate
from cxrlab.layout import CONFIG_FILE
from cxrlab.training.ranks import Ranks, ranks_of


def main() -> None:
    """Take part in the run whose folder is the argument, as long as its first process lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    output = Path(sys.argv[1])
    ranks = ranks_of(read_config(output).trainer)
    logging.basicConfig(
        level=logging.WARNING, format=f"process {ranks.rank}: %(levelname)s: %(message)s"
    )
    try:
        train_share(output, ranks)
    except KeyboardInterrupt:
        _leave(INTERRUPTED)
    except BaseException:
        traceback.print_exc()
        _leave(FAILED)


def _leave(status: int) -> NoReturn:
    """End without the farewells of libraries, which may wait for a process that is gone."""
    sys.stderr.flush()
    os._exit(status)


def read_config(output: Path) -> Config:
    """The configuration that the first process wrote."""
    return validate(yaml.safe_load((output / CONFIG_FILE).read_text()), Config)


def follow(output: Path, ranks: Ranks) -> None:
    """What a process that SLURM started does until the first one is ready, and then.

    Args:
        output: the folder of the run.
        ranks: the place of this process.
    """
    from cxrlab.training.parallel import wait_until_ready

    wait_until_ready(output)
    train_share(output, ranks)


def train_share(output: Path, ranks: Ranks) -> None:
    """Train on this process's share; whatever is written, the first process writes.

    Args:
        output: the folder of the run, with its configuration.
        ranks: the place of this process.
    """
    import pytorch_lightning as pl

    from cxrlab.data.prepare import prepare
    from cxrlab.data.sources import load_manifest
    from cxrlab.tracking.run import NullRun
    from cxrlab.training.build import build_classifier, build_datamodule
    from cxrlab.training.fit import fit
    from cxrlab.training.hardware import choose_hardware

    config = read_config(output)
    data = prepare(load_manifest(config.data), config.data)
    hardware = choose_hardware(config.trainer, ranks)
    pl.seed_everything(config.seed, verbose=False)
    classifier, _ = build_classifier(config, data)
    batches = build_datamodule(config, data, classifier, hardware.device, ranks)
    fit(config, classifier, batches, NullRun(output), hardware, [], ranks)


def _end_with_parent() -> None:
    """A first process that is killed can't say so, and its partners would wait for it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
