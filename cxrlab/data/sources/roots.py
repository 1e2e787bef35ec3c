"""Where a dataset lies, and what to say when it lies nowhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cxrlab.config.paths import data_dir
from cxrlab.errors import UserError


def given_path(value: str | None, key: str, what: str) -> Path:
    """The absolute path that a key of the user's own data names.

    Raises:
        UserError: it names none.
    """
    if value is None:
        raise UserError(f"{key} is not set; give {key.rpartition(' ')[2]}=PATH {what}")
    return Path(value).expanduser().absolute()


def places(name: str, root: str | None) -> list[Path]:
    """Where to look: `data.root`, else `$CXRLAB_DATA/<name>`; nowhere if neither is set."""
    if root is not None:
        return [Path(root).expanduser().absolute()]
    base = data_dir()
    return [base / name] if base else []


def find_root(
    looked: Sequence[Path], is_root: Callable[[Path], bool], inside: Sequence[str] = ()
) -> Path | None:
    """The first folder that is the dataset's, or that holds it under one of some names.

    Args:
        looked: what `places` returned.
        is_root: whether a folder has the dataset's layout.
        inside: names under which archives unpack, in case their parent was named.
    """
    candidates = (folder / part for folder in looked for part in ("", *inside))
    return next((folder for folder in candidates if is_root(folder)), None)


def not_found(name: str, what: str, looked: Sequence[Path], *, get: str) -> UserError:
    """The error of a dataset that is in none of the places: what was missed, where, what to do.

    Args:
        name: of the dataset.
        what: the file or folder that tells the dataset, such as `train/ folder`.
        looked: what `places` returned.
        get: the third way, after `data.root` and `CXRLAB_DATA`.
    """
    where = ", ".join(map(str, looked)) or "CXRLAB_DATA (not set)"
    return UserError(
        f"{name}: no {what} in {where}. Three ways: data.root=PATH of the unpacked dataset; "
        f"CXRLAB_DATA=FOLDER that holds {name}/; or {get}"
    )


def require_root(
    name: str,
    root: str | None,
    *,
    signs: Sequence[str],
    inside: Sequence[str] = (),
    get: str,
) -> Path:
    """The folder of a dataset that is known by a file or folder in it.

    Args:
        name: of the dataset.
        root: `data.root`.
        signs: names, one of which the folder must hold.
        inside: names under which archives unpack, in case their parent was named.
        get: how to get the dataset, for the message.

    Raises:
        UserError: it is nowhere; the message says where it looked and how to get it.
    """
    looked = places(name, root)
    found = find_root(looked, lambda folder: any((folder / s).exists() for s in signs), inside)
    if found is None:
        raise not_found(name, " or ".join(signs), looked, get=get)
    return found
