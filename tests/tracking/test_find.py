from __future__ import annotations

from pathlib import Path

import pytest

from cxrlab.config.schema import TrackingConfig
from cxrlab.errors import UserError
from cxrlab.tracking.find import OUTPUT_TAG, find_run
from cxrlab.tracking.parcels import End
from cxrlab.tracking.spool import Spool
from cxrlab.tracking.store import Store


@pytest.mark.parametrize(("status", "goes_on"), [("FINISHED", False), ("KILLED", True)])
def test_a_run_whose_end_its_server_did_not_hear_is_sent_and_not_repeated(
    status: str, goes_on: bool, store: Store, tmp_path: Path
) -> None:
    config = TrackingConfig(
        enabled=True, uri=store.uri, experiment="x", name=None, patient_ids="hashed",
        log_model=False, grace=0,
    )  # fmt: skip
    run_id = store.client().create_run("0", tags={OUTPUT_TAG: str(tmp_path)}).info.run_id
    Spool(run_id, "http://server", (End(status, 1),)).write(tmp_path)
    if goes_on:
        assert find_run("latest", config).run_id == run_id
    else:
        with pytest.raises(UserError, match=r"has finished.*python -m cxrlab.sync run="):
            find_run("latest", config)
