"""One winner, whatever the timing. Not on moto: it checks and writes without a lock."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from chatcore.domain.admission import Admission, decide
from chatcore.domain.errors import Conflict
from chatcore.domain.identity import User
from chatcore.domain.ledger import dispatched
from chatcore.domain.run import Ending, Event, FinishReason, Run, Usage
from chatcore.domain.tiers import DEFAULTS, Tier
from chatcore.domain.usage import DayUsage, day_of
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
    today = day_of(NOW_MS)
    (used,) = racing_stores.usage.days(ALICE.user_id, today, today)
    assert used == DayUsage(today, ROUNDS, Usage(output_tokens=ROUNDS))


def test_one_send_is_admitted_into_a_chat(racing_stores: Stores) -> None:
    first = claimed(racing_stores, admitted(racing_stores, send_of("message-first")))
    assert racing_stores.runs.end(first, _ending(Event.COMPLETE))

    def submit(number: int) -> bool:
        send = send_of(f"message-{number:04d}", chat_id=first.chat_id)
        decision = decide(send, racing_stores.runs.view(send), DEFAULTS[Tier.FREE], NOW_MS)
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


def test_virtual_time_only_grows_however_many_workers_move_it(racing_stores: Stores) -> None:
    """Sixteen workers, each of which finds a further lane now and then."""
    rng = random.Random(4)
    moves = [[rng.randrange(400) for _ in range(12)] for _ in range(THREADS)]

    def works(fronts: list[int]) -> bool:
        known = 0
        for front in fronts:
            seen = racing_stores.calendars.advance(Tier.FREE, front)
            if seen < max(known, front):
                return False
            known = seen
        return True

    assert race([lambda f=fronts: works(f) for fronts in moves]) == THREADS  # type: ignore[misc]
    greatest = max(front for fronts in moves for front in fronts)
    assert racing_stores.calendars.get(Tier.FREE).front == greatest


def test_an_account_loses_nothing_when_all_write_it_at_once(racing_stores: Stores) -> None:
    """A user's runs get slots, are charged and settled by as many workers, while he goes on sending."""
    paula = User("user-paula", Tier.PRO)
    stores, count = racing_stores, DEFAULTS[Tier.PRO].max_active_runs

    def again(act: Callable[[], bool]) -> bool:
        while True:
            try:
                return act()
            except Conflict:
                continue

    def sends(number: int) -> Run:
        run: list[Run] = []

        def once() -> bool:
            run.append(admitted(stores, send_of(f"message-{number:04d}", user=paula)))
            return True

        again(once)
        return run[-1]

    def is_served(run: Run) -> bool:
        mine = claimed(stores, run)

        def noted() -> bool:
            ledger = stores.ledgers.get(paula.user_id)
            account = dispatched(ledger, run.run_id, run.tier, 0, run.weight)
            if account is not None:
                stores.ledgers.put(account, ledger.version)
            return run.run_id in stores.ledgers.get(paula.user_id).charged

        def charged() -> bool:
            stores.ledgers.charge(paula.user_id, run.run_id, 1_234)
            return stores.ledgers.get(paula.user_id).charged[run.run_id] == 1_234

        ends = again(noted) and again(charged)
        return ends and again(lambda: stores.runs.end(mine, _ending(Event.COMPLETE)))

    first = [sends(number) for number in range(count // 2)]

    def is_sent_and_served(number: int) -> bool:
        return is_served(sends(number))

    contenders: list[Callable[[], bool]] = [
        *(lambda run=run: is_served(run) for run in first),
        *(lambda n=n: is_sent_and_served(n) for n in range(count // 2, count)),
    ]
    assert race(contenders) == count
    ledger = stores.ledgers.get(paula.user_id)
    assert (ledger.active, ledger.charged, ledger.waiting) == ({}, {}, ())
    assert (ledger.settled_runs, ledger.settled_tokens, ledger.served) == (count, 2 * count, count)


def _ending(event: Event) -> Ending:
    reason = FinishReason.STOP if event is Event.COMPLETE else FinishReason.CANCELLED
    return Ending(event, NOW_MS + 5, "done", Usage(output_tokens=1), reason)
