"""`python -m cxrlab.compare`: finished runs on the same images, and whether they differ."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlab.config.app import command

if TYPE_CHECKING:
    from cxrlab.comparison.compare import Comparison
    from cxrlab.config.commands import CompareConfig

FIGURE = "comparison.png"

_log = logging.getLogger("cxrlab")
_NAME_LENGTH = 100  # MLflow shows a name in one line


@command("compare", schema="CompareConfig")
def main(config: CompareConfig) -> None:
    """Find the runs before anything heavy is imported, then compare them."""
    from hydra.core.hydra_config import HydraConfig

    from cxrlab.serving.runs import find_folders

    folders = find_folders(config.runs, config.tracking, key="runs")
    output = Path(HydraConfig.get().runtime.output_dir)
    compare(config, folders, output)
    print(output)


def compare(config: CompareConfig, folders: list[Path], output: Path) -> Comparison:
    """Compare, write the tables and the figure, track and print them.

    Args:
        config: what to compare, and where to keep it.
        folders: of the runs, which are not changed; the first one's system is the reference.
        output: folder for `comparison.csv`, `comparison.json` and `comparison.png`.

    Raises:
        UserError: a run has no such predictions, or the runs can't be compared.
    """
    from cxrlab.comparison.compare import compare_systems
    from cxrlab.comparison.figures import draw_comparison
    from cxrlab.comparison.files import comparison_metrics, write_comparison
    from cxrlab.comparison.runs import ComparedRun
    from cxrlab.comparison.summary import print_comparison
    from cxrlab.comparison.systems import form_systems
    from cxrlab.tracking.derived import derived_run
    from cxrlab.tracking.params import cut

    runs = [ComparedRun.read(folder) for folder in folders]
    systems = form_systems(runs, config.split)
    names = [system.name for system in systems]
    _log.info("comparing %s", ", ".join(names))
    task = runs[0].evaluation.task
    found = compare_systems(systems, task, config.split, draws=config.bootstrap)
    write_comparison(found, output)
    draw_comparison(found).savefig(output / FIGURE)
    with derived_run(
        config.tracking,
        command="compare",
        name=config.tracking.name or cut(f"compare {' vs '.join(names)}", _NAME_LENGTH),
        output=output,
        tags={"cxrlab.compared": ",".join(run.label for run in runs)},
        params=config.model_dump(mode="json"),
    ) as run:
        run.log_metrics(comparison_metrics(found))
    print_comparison(found)
    return found


if __name__ == "__main__":
    main()
