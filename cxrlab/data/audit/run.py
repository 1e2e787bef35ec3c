"""All checks, once for each state of a dataset."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd

from cxrlab.data.audit.balance import check_balance, summarise
from cxrlab.data.audit.files import check_files
from cxrlab.data.audit.findings import SEVERITIES, Audit
from cxrlab.data.audit.leakage import check_leakage
from cxrlab.data.cache import storage_error
from cxrlab.data.prepare import PreparedData
from cxrlab.files import write_atomically

# Part of the key of stored audits: other checks or messages, another number.
VERSION = 1


def audit(data: PreparedData) -> Audit:
    """Run every check on a prepared dataset; reads thumbnails and tables, changes nothing."""
    from cxrlab.data.audit.shortcuts import find_shortcuts

    findings = [
        *check_leakage(data),
        *check_balance(data.manifest),
        *check_files(data),
        *find_shortcuts(data),
    ]
    findings.sort(key=lambda finding: -SEVERITIES.index(finding.severity))
    return Audit(len(data.manifest), summarise(data.manifest), tuple(findings))


def audit_cached(data: PreparedData, folder: Path) -> Audit:
    """The audit of this state of the data, from an earlier call if there was one.

    Args:
        data: the prepared dataset.
        folder: where decoded images are cached; audits lie in `audit/` there.

    Raises:
        UserError: the folder can't be written.
    """
    file = folder / "audit" / f"{_key(data)}.json"
    if file.is_file():
        return Audit.from_json(json.loads(file.read_text(encoding="utf-8")))
    found = audit(data)
    text = json.dumps(found.to_json(), indent=1)
    try:
        write_atomically(file, text)
    except OSError as error:
        raise storage_error(error, file.parent, len(text)) from error
    return found


def _key(data: PreparedData) -> str:
    """Digest of everything that the checks read: contents, split, patients, unreadable files."""
    manifest = data.manifest
    named = manifest.table[["path", "label", "patient_id"]].sort_values("path")
    parts = [
        str(VERSION),
        str(manifest.root),
        manifest.name,
        data.fingerprint,
        manifest.split_hash(),
        str(pd.util.hash_pandas_object(named, index=False).sum()),
        json.dumps(data.bad, sort_keys=True),
        data.duplicates.to_csv(index=False),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
