"""One winner, whatever the timing. Not on moto: it checks and writes without a lock."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from chatcore.domain.admission import Admission, decide
from chatcore.domain.errors import Conflict
from chatcore.domain.run import Ending, Event, FinishReason, Usage
from chatcore.domain.tiers import LIMITS, Tier
from chatcore.ports import Claimed, Stores, Ticket
from tests.contract.sends import ALICE, NOW_MS, admitted, claimed, send_of

THREADS = 16
ROUNDS = 5


def race(contenders: list[Callable[[], bool]]) -> int:
    """How many of them won, all let go at once."""
    barrier = Barrier(len(contenders))

    def run(contender: Callable[[], bool]) -> bool:
        barrier.wait()
        return contender()

    with ThreadPoolExecutor(len(contenders)) as pool:
        return sum(pool.map(run, contenders))


def test_one_worker_claims(racing_stores: Stores) -> None:
    for number in range(ROUNDS):
        run = admitted(racing_stores, send_of(f"message-{number:04d}"), NOW_MS)

        def claim(worker: int, run_id: str = run.run_id) -> bool:
            try:
                got = racing_stores.runs.claim(run_id, f"worker-{worker}", "i", NOW_MS)
            except Conflict:
                return False
            return isinstance(got, Claimed)

        assert race([lambda w=w: claim(w) for w in range(THREADS)]) == 1  # type: ignore[misc]
        ended = racing_stores.runs.get(run.run_id)
        assert ended is not None
        assert ended.epoch == 1
        assert racing_stores.runs.end(ended, _ending(Event.COMPLETE))


def test_one_of_finish_and_cancel_ends_it_and_it_is_paid_once(racing_stores: Stores) -> None:
    for number in range(ROUNDS):
        run = claimed(racing_stores, admitted(racing_stores, send_of(f"message-{number:04d}")))

        def end(event: Event, run: object = run) -> bool:
            while True:
                try:
                    return racing_stores.runs.end(run, _ending(event))  # type: ignore[arg-type]
                except Conflict:
                    continue

        events = [Event.COMPLETE, Event.CANCEL] * (THREADS // 2)
        assert race([lambda e=e: end(e) for e in events]) == 1  # type: ignore[misc]
    assert racing_stores.ledgers.get(ALICE.user_id).settled_tokens == 2 * ROUNDS


def test_one_send_is_admitted_into_a_chat(racing_stores: Stores) -> None:
    first = claimed(racing_stores, admitted(racing_stores, send_of("message-first")))
    assert racing_stores.runs.end(first, _ending(Event.COMPLETE))

    def submit(number: int) -> bool:
        send = send_of(f"message-{number:04d}", chat_id=first.chat_id)
        decision = decide(send, racing_stores.runs.view(send), LIMITS[Tier.FREE], NOW_MS)
        if not isinstance(decision, Admission):
            return False
        try:
            racing_stores.runs.admit(decision)
        except Conflict:
            return False
        return True

    assert race([lambda n=n: submit(n) for n in range(THREADS)]) == 1  # type: ignore[misc]
    assert len(racing_stores.ledgers.get(ALICE.user_id).active) == 1
    assert len(racing_stores.messages.newest(first.chat_id, 10, None).items) == 3


def test_a_ticket_opens_one_socket(racing_stores: Stores) -> None:
    racing_stores.tickets.put(Ticket("hash", "user-alice", Tier.PRO, NOW_MS + 30_000))

    def take() -> bool:
        return racing_stores.tickets.take("hash", NOW_MS) is not None

    assert race([take] * THREADS) == 1


def _ending(event: Event) -> Ending:
    reason = FinishReason.STOP if event is Event.COMPLETE else FinishReason.CANCELLED
    return Ending(event, NOW_MS + 5, "done", Usage(output_tokens=1), reason)
