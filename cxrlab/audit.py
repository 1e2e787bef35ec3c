"""`python -m cxrlab.audit`: what is wrong with a dataset and its split."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlab.config.app import command

if TYPE_CHECKING:
    from cxrlab.config.commands import AuditConfig


@command("audit", schema="AuditConfig")
def main(config: AuditConfig) -> None:
    """Prepare the data as training would, check it, print and write what was found."""
    from cxrlab.config.paths import cache_dir, store_dir
    from cxrlab.data.audit.page import write_page
    from cxrlab.data.audit.run import audit_cached
    from cxrlab.data.audit.table import print_audit
    from cxrlab.data.prepare import prepare
    from cxrlab.data.sources import load_manifest
    from cxrlab.files import write_atomically
    from cxrlab.tracking.ids import hash_patients

    data = prepare(load_manifest(config.data), config.data)
    if config.tracking.patient_ids == "hashed":
        data = replace(data, manifest=hash_patients(data.manifest, store_dir()))
    found = audit_cached(data, cache_dir(config.data.cache))
    file = output_file(config.output)
    write_atomically(file, json.dumps(found.to_json(), indent=1))
    write_page(found, data, file.with_suffix(".html"))
    print_audit(found)
    print(file)


def output_file(configured: str | None) -> Path:
    """The JSON file to write: the one named, or `data/audit.json` in the run's folder."""
    if configured:
        return Path(configured).expanduser().absolute()
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().runtime.output_dir) / "data" / "audit.json"


if __name__ == "__main__":
    main()
