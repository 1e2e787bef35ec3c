"""What a run could not send, kept in its folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cxrlab.files import damaged, write_atomically
from cxrlab.layout import UNSENT_FILE
from cxrlab.tracking.parcels import End, Kept, Metrics, Parcel, from_json, to_json


@dataclass(frozen=True)
class Spool:
    """What is missing in the store of a run, beside points of its `metrics.csv`.

    Attributes:
        run_id: MLflow id of the run.
        uri: of its server, without user name and password.
        parcels: what is missing, in order; files are in the run's folder.
    """

    run_id: str
    uri: str
    parcels: tuple[Kept, ...]

    @classmethod
    def of(cls, run_id: str, uri: str, parcels: Iterable[Parcel]) -> Spool:
        """What is left of some parcels; metrics are in `metrics.csv` anyway."""
        return cls(run_id, uri, tuple(p for p in parcels if not isinstance(p, Metrics)))

    @classmethod
    def read(cls, output: Path) -> Spool | None:
        """What the run in a folder could not send; None where nothing is missing.

        Raises:
            UserError: the file is damaged.
        """
        file = output / UNSENT_FILE
        if not file.is_file():
            return None
        try:
            raw = json.loads(file.read_text(encoding="utf-8"))
            return cls(raw["run_id"], raw["uri"], tuple(map(from_json, raw["parcels"])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise damaged(file, error) from error

    @property
    def finished(self) -> bool:
        """Whether the run came to its end, whatever its server says."""
        return any(isinstance(p, End) and p.status == "FINISHED" for p in self.parcels)

    @staticmethod
    def remove(output: Path) -> None:
        """Forget what was missing, once it is not."""
        (output / UNSENT_FILE).unlink(missing_ok=True)

    def write(self, output: Path) -> None:
        """Write `unsent.json`.

        Raises:
            OSError: the folder can't be written.
        """
        content = {"run_id": self.run_id, "uri": self.uri}
        rows = [to_json(parcel) for parcel in self.parcels]
        write_atomically(output / UNSENT_FILE, json.dumps({**content, "parcels": rows}, indent=2))
