"""Train as people do until validation AUROC is reached: `MANIFEST FOLDER AUROC SEED`.

Prints the seconds from the start of this process, imports included; an epoch is validated at its
end, as Lightning does it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

START = time.time()


def main(manifest: str, folder: str, quality: str, seed: str) -> None:
    """Train; see the module."""
    import pandas as pd
    import pytorch_lightning as pl

    from benchmarks.plain import PlainClassifier, loaders
    from cxrlab.config.paths import weights_dir

    class Stop(pl.Callback):
        def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            if float(trainer.callback_metrics["val/auroc"]) >= float(quality):
                trainer.should_stop = True

    pl.seed_everything(int(seed), verbose=False)
    table = pd.read_csv(manifest)
    inside = [
        [str(Path(p).relative_to("train")) for p in table["path"][table["split"] == split]]
        for split in ("train", "val")
    ]
    train, val = loaders(Path(folder) / "train", (inside[0], inside[1]), workers=0)
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
