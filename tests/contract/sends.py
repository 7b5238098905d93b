"""Sends and admitted runs, as the contract tests need them."""

from chatcore.domain.admission import Admission, Send, decide
from chatcore.domain.identity import User
from chatcore.domain.run import Run
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.ports import Claimed, Stores

NOW_MS = 1_800_000_000_000
ALICE = User("user-alice", Tier.FREE)


def send_of(
    message_id: str = "message-0001",
    text: str = "Hello",
    user: User = ALICE,
    chat_id: str | None = None,
) -> Send:
    return Send(
        user=user,
        chat_id=chat_id,
        message_id=message_id,
        text=text,
        viewer="socket-1",
        trace_id="1-581cf771-a006649127e371903a2de979",
        trace_parent="53995c3f42cd8ad8",
    )


def admitted(stores: Stores, send: Send, now_ms: int = NOW_MS) -> Run:
    decision = decide(send, stores.runs.view(send), DEFAULTS[send.user.tier], now_ms)
    assert isinstance(decision, Admission)
    stores.runs.admit(decision)
    return decision.run


def claimed(stores: Stores, run: Run, worker_id: str = "worker-1", now_ms: int = NOW_MS) -> Run:
    claim = stores.runs.claim(run.run_id, worker_id, f"inbox-{worker_id}", now_ms)
    assert isinstance(claim, Claimed)
    return claim.run
