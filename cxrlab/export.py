"""`python -m cxrlab.export`: a run as a file that serves without this package."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlab.config.app import command
from cxrlab.errors import UserError

if TYPE_CHECKING:
    from cxrlab.config.commands import ExportConfig
    from cxrlab.exporting.export import Export

_ONNX = ("onnx", "onnxruntime", "onnxscript")
_log = logging.getLogger("cxrlab")


@command("export", schema="ExportConfig")
def main(config: ExportConfig) -> None:
    """Refuse what can't be written before anything heavy is imported, then export."""
    from hydra.core.hydra_config import HydraConfig

    check_installed(config.format)
    from cxrlab.serving.runs import find_checkpoint

    folder = find_checkpoint(config.run, config.tracking).parents[1]
    output = Path(config.output or HydraConfig.get().runtime.output_dir).expanduser().absolute()
    export_run(config, folder, output)
    print(output)


def export_run(config: ExportConfig, folder: Path, output: Path) -> Export:
    """Write the files and the table of what they cost.

    Args:
        config: what to write.
        folder: of the finished run, which is not changed.
        output: folder for the files and `export.json`.

    Raises:
        UserError: the run is not finished, or a file would not equal it.
    """
    from cxrlab.exporting.export import export
    from cxrlab.exporting.summary import print_export
    from cxrlab.report.finished import read_run
    from cxrlab.tracking.derived import run_label

    _log.info("exporting %s as %s", folder, ", ".join(config.format))
    exported = export(config, read_run(folder), run_label(folder), output)
    print_export(exported)
    return exported


def check_installed(formats: tuple[str, ...]) -> None:
    """Refuse ONNX where a package that writes it is missing.

    Raises:
        UserError: names the packages, and the extra that brings them.
    """
    missing = [name for name in _ONNX if importlib.util.find_spec(name) is None]
    if "onnx" in formats and missing:
        raise UserError(
            f"format=onnx: {', '.join(missing)} not installed; pip install 'cxrlab[export]', or "
            "take format=pt2"
        )


if __name__ == "__main__":
    main()
