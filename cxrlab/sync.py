"""`python -m cxrlab.sync`: send what a tracking server missed, once it is back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cxrlab.config.app import command

if TYPE_CHECKING:
    from cxrlab.config.commands import SyncConfig


@command("sync", schema="SyncConfig")
def main(config: SyncConfig) -> None:
    """Send each run, and say what was sent of it."""
    from cxrlab.tracking.sync import send_unsent, unsent_folders

    folders = unsent_folders(config.run, Path(config.folder))
    if not folders:
        what = f"no run in {config.folder}" if config.run == "all" else config.run
        missing = "anything" if config.run == "all" else "nothing"
        print(f"nothing to send: {what} misses {missing} in its store")
    for folder in folders:
        print(send_unsent(folder, config.tracking))


if __name__ == "__main__":
    main()
