"""Runs: read one. A foreign run answers as if it did not exist."""

from chatcore.domain.errors import Code, Refusal
from chatcore.domain.identity import User
from chatcore.domain.run import Run
from chatcore.ports import Stores


def get_run(stores: Stores, user: User, run_id: str) -> Run | Refusal:
    run = stores.runs.get(run_id)
    if run is None or run.user_id != user.user_id:
        return Refusal(Code.RUN_NOT_FOUND, "There is no such run.", run_id)
    return run
