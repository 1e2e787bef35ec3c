"""`python -m cxrlab.disk`: what runs and caches take, and their removal when told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cxrlab.config.app import command

if TYPE_CHECKING:
    from cxrlab.config.commands import DiskConfig


@command("disk", schema="DiskConfig")
def main(config: DiskConfig) -> None:
    """Show all, or what a request to clean would delete; delete it with `yes=true`."""
    from cxrlab.config.paths import cache_dir
    from cxrlab.housekeeping.caches import find_caches
    from cxrlab.housekeeping.clean import carry_out, plan
    from cxrlab.housekeeping.runs import find_orphans, find_runs
    from cxrlab.housekeeping.table import print_items, print_removals, size_text
    from cxrlab.housekeeping.tracked import read_store

    tracking = read_store(config.tracking)
    runs = find_runs(Path(config.outputs).expanduser().absolute(), tracking)
    claimed = [run_id for item in runs for run_id in item.run_ids]
    orphans = find_orphans(tracking, claimed)
    items = [*runs, *orphans, *find_caches(cache_dir(config.cache))]
    if config.clean is None:
        print_items(items)
        return
    removals = plan(items, config)
    print_removals(removals, config)
    if removals and config.yes:
        print(f"{size_text(carry_out(removals, tracking))} deleted")


if __name__ == "__main__":
    main()
