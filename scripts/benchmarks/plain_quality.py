"""Train as people do until validation AUROC is reached: `MANIFEST FOLDER AUROC SEED`.

Prints the seconds from the start of this process, imports included; an epoch is validated at its
end, as Lightning does it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

START = time.time()


def main(manifest: str, folder: str, quality: str, seed: str) -> None:
    """Train; see the module."""
    import pandas as pd
    import pytorch_lightning as pl

    from benchmarks.plain import loaders

    pl.seed_everything(int(seed), verbose=False)
    with tempfile.TemporaryDirectory() as links:
        for path, label, split in pd.read_csv(manifest)[["path", "label", "split"]].values:
            link = Path(links) / split / label / Path(path).name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((Path(folder) / path).resolve())
        train, val = loaders(Path(links) / "train", Path(links) / "val", workers=0)
        _train(train, val, float(quality))


def _train(train: Any, val: Any, quality: float) -> None:
    import pytorch_lightning as pl

    from benchmarks.plain import PlainClassifier
    from cxrlab.config.paths import weights_dir

    class Stop(pl.Callback):
        def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            found = float(trainer.callback_metrics["val/auroc"])
            print(f"{time.time() - START:.0f} s: validation AUROC {found:.4f}", flush=True)
            if found >= quality:
                trainer.should_stop = True

    known = weights_dir()
    file = known / "mobilenetv2_100.safetensors" if known else None
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=20, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, num_sanity_val_steps=0, callbacks=[Stop()],
    )  # fmt: skip
    trainer.fit(PlainClassifier(file), train, val)
    if not trainer.should_stop:
        raise SystemExit(f"no epoch of {trainer.max_epochs} reached {quality}")
    print(time.time() - START)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main(*sys.argv[1:])
