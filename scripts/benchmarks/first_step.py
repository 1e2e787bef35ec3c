"""`python -m cxrlab.train` that ends where its first training step begins."""

from __future__ import annotations

import os
from typing import Any

from cxrlab import train


def main() -> None:
    """Run the command, watched."""
    original = train.train

    def watched(*arguments: Any) -> str:
        import pytorch_lightning as pl

        class End(pl.Callback):
            def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
                os._exit(0)

        return original(*arguments, callbacks=[End()])

    train.train = watched
    train.main()


if __name__ == "__main__":
    main()
