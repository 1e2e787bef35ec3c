"""What a run sends to MLflow beside its metrics, as data that can wait in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cxrlab.tracking.params import PARAM_LENGTH, TAG_LENGTH, allowed_name, cut


@dataclass(frozen=True)
class Metrics:
    """The points that the run's buffer holds; on disk they are in `metrics.csv`."""


@dataclass(frozen=True)
class Params:
    """Params, within MLflow's limits."""

    values: dict[str, str]

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Params:
        """Any values, as texts cut at MLflow's 6,000 characters."""
        return cls({allowed_name(k): cut(str(value), PARAM_LENGTH) for k, value in params.items()})


@dataclass(frozen=True)
class Tags:
    """Tags, within MLflow's limits."""

    values: dict[str, str]

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> Tags:
        """Any texts, cut at MLflow's 8,000 characters."""
        return cls({allowed_name(key): cut(text, TAG_LENGTH) for key, text in tags.items()})


@dataclass(frozen=True)
class Upload:
    """A file of the run's folder, kept under the same path."""

    path: str


@dataclass(frozen=True)
class DatasetUse:
    """A split that the run used; the texts are MLflow's own of a dataset."""

    name: str
    digest: str
    source: str
    schema: str
    profile: str
    context: str


@dataclass(frozen=True)
class Network:
    """A folder of the run's, written by MLflow, that is its model `name`."""

    name: str


@dataclass(frozen=True)
class End:
    """How the run ended, and when, in milliseconds since 1970."""

    status: str
    time: int


Kept = Params | Tags | Upload | DatasetUse | Network | End
Parcel = Metrics | Kept
_WORDS: dict[type[Any], str] = {
    Params: "param",
    Tags: "tag",
    Upload: "file",
    DatasetUse: "dataset",
    Network: "model",
    End: "status",
}
_KINDS = {kind.__name__: kind for kind in _WORDS}


def to_json(parcel: Kept) -> dict[str, Any]:
    """A parcel as it is kept in a file."""
    return {"kind": type(parcel).__name__, **asdict(parcel)}


def from_json(row: dict[str, Any]) -> Kept:
    """The parcel that `to_json` wrote.

    Raises:
        KeyError: there is no such kind.
        TypeError: it has not the fields of its kind.
    """
    fields = {key: value for key, value in row.items() if key != "kind"}
    parcel: Kept = _KINDS[row["kind"]](**fields)
    return parcel


def counted(parcels: Iterable[Kept]) -> str:
    """How many of each kind, in words; `nothing` for none."""
    counts: Counter[str] = Counter()
    for parcel in parcels:
        many = len(parcel.values) if isinstance(parcel, Params | Tags) else 1
        counts[_WORDS[type(parcel)]] += many
    return (
        ", ".join(f"{many} {word}{'s' * (many > 1)}" for word, many in counts.items()) or "nothing"
    )
