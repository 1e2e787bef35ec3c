"""How fast cxrlab is, beside what people write by hand and what the hardware admits.

    python scripts/benchmark.py --output speed.json
    python scripts/benchmark.py --only training_over_plain,training_over_limit

Contestants run in processes of their own and take turns of some steps; the others are stopped by
the system meanwhile, so that drift of the machine cancels. A figure is the median over the rounds,
with the lowest and the highest. The real dataset is needed: `chest_xray/`, and for full-size files
`chest_xray_originals/`, in the folder that `CXRLAB_DATA` names. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import MEASUREMENTS, Bench, Figures
from cxrlab.config.paths import data_dir

# Figure -> the target on 2 CPU cores, and whether more is better.
TARGETS = {
    "training_over_plain": (1.7, True),
    "training_over_plain_originals": (2.0, True),
    "training_over_limit": (0.95, True),
    "time_to_quality_plain_over_fast": (3.0, True),
    "plain_epoch_over_head_trial": (100.0, True),
    "features_over_limit": (0.95, True),
    "attribution_over_captum": (3.0, True),
    "attribution_over_captum_best": (1.5, True),
    "attribution_error_over_captum": (1.0, False),
    "prediction_over_plain": (1.8, True),
    "help_seconds": (1.0, False),
    "config_error_seconds": (1.5, False),
    "first_step_seconds": (10.0, False),
    "tracking_share": (0.02, False),
    "resident_megabytes_100k": (2000.0, False),
    "resident_100k_over_5k": (1.05, False),
    "speed_100k_over_5k": (0.95, True),
}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--only", help="names of figures, separated by commas")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--steps", type=int, default=8, help="pieces of work a turn")
    parser.add_argument("--work", type=Path, help="folder for caches, runs and logs; kept")
    parser.add_argument(
        "--at-least", type=float, help="fail where a figure is worse than this share of its target"
    )
    chosen = parser.parse_args()
    wanted = frozenset(chosen.only.split(",")) if chosen.only else None
    known = {name for names in MEASUREMENTS.values() for name in names}
    if wanted and not wanted <= known:
        parser.error(f"no figure {sorted(wanted - known)}; there are {', '.join(sorted(known))}")
    data = data_dir()
    if data is None or not (data / "chest_xray" / "train").is_dir():
        parser.error("CXRLAB_DATA names no folder with chest_xray/train; set it")
    found: Figures = {}
    with tempfile.TemporaryDirectory(prefix="cxrlab-benchmark-") as temporary:
        bench = Bench(data, chosen.work or Path(temporary), chosen.rounds, chosen.steps, wanted)
        bench.work.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(bench.work)  # for the runs of the contestants
        os.environ["CXRLAB_CACHE"] = str(bench.work / "cache")
        for measure, names in MEASUREMENTS.items():
            if wanted is None or wanted & set(names):
                print(f"{', '.join(names)}", flush=True)
                found |= measure(bench)
                _write(found, chosen.output)
    _print(found)
    if chosen.at_least and (worse := too_slow(found, chosen.at_least)):
        sys.exit(f"worse than {chosen.at_least:g} of the target: {', '.join(worse)}")


def too_slow(found: Figures, share: float) -> list[str]:
    """Names of the figures whose median misses a target that is eased to a share of it."""
    worse = []
    for name, figure in found.items():
        target, more = TARGETS[name]
        is_met = figure.median >= target * share if more else figure.median <= target / share
        if not is_met:
            worse.append(name)
    return worse


def _write(found: Figures, output: Path | None) -> None:
    if output:
        text = json.dumps({name: figure.as_dict() for name, figure in found.items()}, indent=2)
        output.write_text(text + "\n")


def _print(found: Figures) -> None:
    table = Table("figure", "median", "low", "high", "runs", "target")
    for name, figure in found.items():
        target, more = TARGETS[name]
        shown = f"{'at least' if more else 'under'} {target:g}"
        numbers = (f"{value:.3g}" for value in (figure.median, figure.low, figure.high))
        table.add_row(name, *numbers, str(figure.runs), shown)
    Console(file=sys.stdout).print(table)


if __name__ == "__main__":
    main()
