"""The model of prefix caches on shared lanes: cache, trace, lanes, and the way of an offer."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.scheduling import prefixes
from bench.scheduling.prefix_cache import (
    TOKEN_S,
    Cache,
    hit_rate,
    prefill_s,
    round_robin,
)
from bench.scheduling.prefix_fleet import DROPPED, NONE, OURS, Fleet, Rule
from bench.scheduling.prefix_lanes import Fcfs, Lanes, Ours
from bench.scheduling.prefix_trace import BLOCK_TOKENS, Asked, Turn, read, turns
from bench.trace import Missing
from chatcore.domain.affinity import TWIN_DELAY_S
from chatcore.domain.beat import BEAT_FRESH_MS
from chatcore.domain.ledger import FIRST_GUESS_TOKENS, GUESS_SHARE
from chatcore.domain.tiers import DEFAULTS, Tier


def asked(*blocks: int, output_tokens: int = 10, chat: int = 0) -> Asked:
    return Asked(0.0, blocks, BLOCK_TOKENS * len(blocks), output_tokens, chat)


def turn(
    *blocks: int, user: str = "ann", output_tokens: int = 10, previous: Turn | None = None
) -> Turn:
    return Turn(asked(*blocks, output_tokens=output_tokens), user, previous)


def fleet(rule: Rule, lanes: Lanes | None = None, *, slots: int = 1, present: int = 9) -> Fleet:
    return Fleet(lanes or Fcfs(), rule, slots=slots, present=present, seed=1, workers=2, blocks=100)


class TestCache:
    def test_what_was_used_least_recently_goes(self) -> None:
        cache = Cache(2)
        for block in (1, 2, 1, 3):
            cache.use([block])
        assert [cache.use([block]) for block in (1, 2)] == [1, 0]

    def test_only_an_unbroken_prefix_counts(self) -> None:
        cache = Cache(None)
        cache.use([1, 3])
        assert cache.use([1, 2, 3]) == 1
        assert cache.use([1, 2, 3, 4]) == 3

    def test_the_rate_is_of_all_blocks(self) -> None:
        trace = [asked(1, 2), asked(1, 2, 3), asked(9)]
        assert hit_rate(trace, None) == 2 / 6

    def test_round_robin_finds_only_what_the_same_worker_had(self) -> None:
        assert round_robin([asked(1)] * 8 + [asked(1)]) == 1 / 9


class TestTrace:
    def row(self, *blocks: int, at_ms: int = 0) -> str:
        tokens = BLOCK_TOKENS * len(blocks)
        return json.dumps(
            {"timestamp": at_ms, "input_length": tokens, "output_length": 7, "hash_ids": blocks}
        )

    def written(self, path: Path, rows: Sequence[str]) -> list[Asked]:
        file = path / "trace.jsonl"
        file.write_text("\n".join(rows))
        return read(file)

    def test_a_turn_continues_the_chat_whose_prefix_it_has(self, tmp_path: Path) -> None:
        trace = self.written(
            tmp_path,
            [
                self.row(0, 1, 2),
                self.row(0, 5),
                self.row(0, 1, 3, at_ms=1_500),
                self.row(0, 5, 6),
                self.row(0, 1, 2, 4),
            ],
        )
        assert [request.chat for request in trace] == [0, 1, 0, 1, 0]
        assert trace[2] == Asked(1.5, (0, 1, 3), 3 * BLOCK_TOKENS, 7, 0)

    def test_the_system_prompt_makes_no_chat(self, tmp_path: Path) -> None:
        assert [a.chat for a in self.written(tmp_path, [self.row(0, 1), self.row(0, 2)])] == [0, 1]

    def test_a_copy_keeps_chats_in_order_and_with_one_user(self) -> None:
        trace = [asked(0, 1, chat=0), asked(0, 2, chat=1), asked(0, 1, 3, chat=0)]
        copy = turns(trace, seed=4)
        assert {tuple(each.asked.blocks) for each in copy} == {tuple(a.blocks) for a in trace}
        first, second = (each for each in copy if each.asked.chat == 0)
        assert (first.previous, second.previous) == (None, first)
        assert first.user == second.user

    @pytest.mark.parametrize("content", [None, "{}\n", "no JSON\n", "[1]\n"])
    def test_a_missing_or_another_file_is_explained(
        self, tmp_path: Path, content: str | None
    ) -> None:
        path = tmp_path / "trace.jsonl"
        if content is not None:
            path.write_text(content)
        with pytest.raises(Missing, match="kvcache-ai/Mooncake"):
            read(path)


def admitted(lanes: Lanes, *turns: Turn) -> None:
    for each in turns:
        lanes.admit(each)
        lanes.put(each)


def begun(lanes: Lanes) -> Turn:
    """The next one, by a worker that has another slot to give."""
    taken = lanes.take(contended=True)
    assert taken is not None
    taken.worker = 0
    lanes.begin(taken)
    return taken


class TestLanes:
    def test_who_was_served_least_comes_first(self) -> None:
        lanes = Ours()
        many = [turn(*range(20), user="ann") for _ in range(3)]
        one = turn(1, user="bob")
        admitted(lanes, *many, one)
        assert [begun(lanes) for _ in range(4)] == [many[0], one, *many[1:]]

    def test_a_prompt_is_charged_as_far_as_it_was_not_cached(self) -> None:
        lanes, cached, anew = Ours(), turn(*range(20), user="ann"), turn(*range(20), user="bob")
        admitted(lanes, cached, anew)
        assert [begun(lanes), begun(lanes)] == [cached, anew]
        cached.hits = 19
        for each in (cached, anew):
            lanes.charge(each, 0)
        again = [turn(1, user=user) for user in ("bob", "ann")]
        admitted(lanes, *again)
        assert [begun(lanes), begun(lanes)] == [again[1], again[0]]

    def test_an_answer_is_charged_while_it_is_made_and_once(self) -> None:
        lanes, long = Ours(), turn(1, output_tokens=2_000)
        admitted(lanes, long)
        begun(lanes)
        tags = []
        for made in (500, 1_000):
            lanes.charge(long, made)
            tags.append(lanes.shared.ledgers["ann"].finish_tag)
        lanes.end(long)
        tags.append(lanes.shared.ledgers["ann"].finish_tag)
        weight = DEFAULTS[Tier.PRO].weight
        assert tags == [(BLOCK_TOKENS + 2 * made) // weight for made in (500, 1_000, 2_000)]

    def test_one_job_of_a_user_is_in_the_lanes(self) -> None:
        lanes = Ours()
        admitted(lanes, *(turn(1) for _ in range(5)))
        assert lanes.shared.sends == 1
        begun(lanes)
        assert lanes.shared.sends == 2

    def test_only_who_has_nobody_before_him_may_be_offered(self) -> None:
        lanes = Ours()
        first, second, waits, late = (turn(1, user=user) for user in ("ann", "ann", "bob", "cyd"))
        lanes.admit(first)
        assert lanes.is_next(first)
        # Behind his own run, though that is offered and in no lane.
        lanes.admit(second)
        assert not lanes.is_next(second)
        admitted(lanes, waits)
        lanes.publish()
        lanes.now_s = 1.0
        lanes.admit(late)
        assert not lanes.is_next(late)

    def test_an_account_is_looked_at_again_only_where_others_may_wait(self) -> None:
        for contended in (True, False):
            lanes, served = Ours(), [turn(*range(20)), turn(*range(20))]
            admitted(lanes, *served)
            begun(lanes)
            # His next one is in a lane already when the first turns out to cost more.
            lanes.charge(served[0], 0)
            assert lanes.take(contended) is served[1]
            assert lanes.moves == (1 if contended else 0)

    @pytest.mark.parametrize("lanes", [Fcfs(), Ours()])
    def test_whose_turn_it_was_comes_back_before_all_others(self, lanes: Lanes) -> None:
        left, waits = turn(1, user="ann"), turn(2, user="bob")
        admitted(lanes, left, waits)
        assert lanes.take(contended=True) is left
        lanes.give_back(left)
        assert [begun(lanes), begun(lanes)] == [left, waits]

    @pytest.mark.parametrize("lanes", [Fcfs(), Ours()])
    def test_what_another_worker_has_begun_is_passed_over(self, lanes: Lanes) -> None:
        twin, waits = turn(1, user="ann"), turn(2, user="bob")
        lanes.admit(twin)
        lanes.give_back(twin)
        admitted(lanes, waits)
        twin.worker = 0
        lanes.begin(twin)
        assert lanes.take(contended=True) is waits
        assert lanes.take(contended=True) is None


class TestFleet:
    def test_a_turn_takes_its_uncached_prefill_and_its_tokens(self) -> None:
        first = turn(0, 1, output_tokens=10)
        second = turn(0, 1, 2, output_tokens=10, previous=first)
        one_worker = Fleet(Fcfs(), NONE, slots=1, present=9, seed=1, workers=1)
        one_worker.serve([first, second])
        assert (first.hits, second.hits) == (0, 2)
        assert first.first_s == pytest.approx(prefill_s(2 * BLOCK_TOKENS))
        assert first.ended_s == pytest.approx(first.first_s + 10 * TOKEN_S)
        # The chat's next turn is sent when its last has ended.
        assert second.arrived_s == first.ended_s
        assert second.first_s == pytest.approx(second.arrived_s + prefill_s(BLOCK_TOKENS))
        assert second.service == BLOCK_TOKENS + 20

    def test_accounts_are_charged_when_it_is_begun_while_it_is_made_and_at_its_end(self) -> None:
        tags: list[int] = []

        class Seen(Ours):
            def charge(self, turn: Turn, made_tokens: int) -> None:
                super().charge(turn, made_tokens)
                tags.append(self.shared.ledgers["ann"].finish_tag)

        lanes, long = Seen(), turn(0, output_tokens=250)
        Fleet(lanes, OURS, slots=1, present=9, seed=1, workers=1).serve([long])
        weight = DEFAULTS[Tier.PRO].weight
        # With its first token, after three seconds, and after six; the guess is more than its prompt.
        guessed = GUESS_SHARE * FIRST_GUESS_TOKENS
        assert guessed > BLOCK_TOKENS
        made = [guessed, BLOCK_TOKENS + 200, BLOCK_TOKENS + 400]
        assert tags == [tokens // weight for tokens in made]
        account = lanes.shared.ledgers["ann"]
        assert account.finish_tag == account.served == -(-long.service // weight)
        assert not account.charged
        assert lanes.now_s == long.ended_s

    def test_no_more_are_in_the_system_than_may_be_present(self) -> None:
        each = [turn(number) for number in range(4)]
        fleet(NONE, slots=9, present=2).serve(each)
        assert [t.arrived_s for t in each[:2]] == [0, 0]
        assert each[2].arrived_s == min(t.ended_s for t in each[:2])

    def test_a_free_favourite_gets_its_chat_whoever_else_is_free(self) -> None:
        chat = [turn(0, 1)]
        for number in range(2, 30):
            chat.append(turn(*range(number), previous=chat[-1]))
        model = fleet(OURS, slots=4)
        model.serve(chat)
        assert len({t.worker for t in chat[1:]}) == 1
        assert model.counts.left == 0

    def test_an_offer_that_does_not_wait_is_dropped_and_its_twin_taken(self) -> None:
        first = turn(0, 1, output_tokens=100)
        hold = turn(7, output_tokens=200)
        following = turn(0, 1, 2, previous=first)
        # The favourite takes the one that waits, and has it for longer than the other has its first.
        waits = turn(8, output_tokens=150)
        model = fleet(DROPPED)
        model.serve([first, hold, waits, following])
        assert model.counts.offered == 1
        assert waits.worker == first.worker
        assert following.worker == hold.worker != first.worker
        assert following.started_s == hold.ended_s
        assert following.hits == 0

    def test_an_offer_that_has_waited_too_long_is_given_up(self) -> None:
        first = turn(0, 1, output_tokens=100)
        hold = turn(7, output_tokens=1_000)
        following = turn(0, 1, 2, previous=first)
        waiting = [turn(8, output_tokens=600), turn(9, output_tokens=100)]
        fleet(OURS).serve([first, hold, *waiting, following])
        assert waiting[1].worker == first.worker
        assert following.started_s >= waiting[1].ended_s

    def test_affinity_buys_no_turn(self) -> None:
        first = turn(*range(100), user="ann", output_tokens=100)
        following = turn(*range(101), user="ann", previous=first)
        waiting = [turn(200 + n, user="bob", output_tokens=200) for n in range(12)]
        fleet(OURS, Ours(), present=20).serve([first, *waiting, following])
        assert following.started_s >= max(each.started_s for each in waiting)

    def test_an_offer_waits_for_its_favourites_slot(self) -> None:
        first = turn(0, *range(10, 40), output_tokens=100)
        hold = turn(7, output_tokens=1_000)
        following = turn(0, *range(10, 41), previous=first)
        model = fleet(OURS)
        model.serve([first, hold, turn(8, output_tokens=150), following])
        assert following.worker == first.worker
        assert following.hits == 31
        assert model.counts.left == 0

    def test_a_run_is_left_to_its_favourite_where_others_wait(self) -> None:
        first = turn(0, 1, output_tokens=100)
        hold = turn(7, output_tokens=200)
        following = turn(0, 1, 2, previous=first)
        model = fleet(OURS)
        waiting = [turn(100 + n, output_tokens=100) for n in range(4)]
        model.serve([first, hold, turn(8, output_tokens=150), *waiting, following])
        assert following.worker == first.worker
        assert following.hits == 2

    def test_a_favourite_that_is_dead_is_offered_nothing(self) -> None:
        first = turn(0, 1, output_tokens=300)
        following = turn(0, 1, 2, previous=first)
        model = self.with_a_favourite_silent_from(1.0)
        model.serve([first, following])
        assert first.ended_s * 1000 > BEAT_FRESH_MS + 1_000
        assert model.counts.offered == 0
        assert following.worker != first.worker
        assert following.started_s == following.arrived_s

    def test_the_twin_is_taken_where_the_favourite_has_just_died(self) -> None:
        first = turn(0, 1, output_tokens=100)
        following = turn(0, 1, 2, previous=first)
        model = self.with_a_favourite_silent_from(2.5)
        model.serve([first, following])
        assert model.counts.offered == 1
        assert following.worker != first.worker
        waited_s = following.started_s - following.arrived_s
        # Nobody else waits, and so short a prefix is worth no longer a wait.
        assert waited_s == pytest.approx(TWIN_DELAY_S)

    def with_a_favourite_silent_from(self, silent_s: float) -> Fleet:
        """The worker that by the seed's lot gets the first turn is found out first."""
        probe = turn(0)
        fleet(OURS, slots=2).serve([probe])
        assert probe.worker is not None
        return Fleet(
            *(Fcfs(), OURS),
            slots=2,
            present=9,
            seed=1,
            workers=2,
            blocks=100,
            silent_s={probe.worker: silent_s},
        )

    def test_whoever_claims_first_answers_and_only_once(self) -> None:
        trace = [
            asked(0, *range(n, n + 5), output_tokens=300, chat=n) for n in range(0, 200, 5)
        ] * 3
        each = turns(trace, seed=1)
        model = fleet(OURS, Ours(), slots=2, present=20)
        model.serve(each)
        assert all(t.ended_s > t.first_s > t.started_s >= t.arrived_s for t in each)
        assert model.counts.left > 0
        assert all(worker.free == 2 for worker in model.workers)


class TestPlay:
    def test_what_it_ends_with(self, tmp_path: Path) -> None:
        rows = [TestTrace().row(0, n, *range(n, n + 9)) for n in range(10, 410, 10)] * 3
        path = tmp_path / "trace.jsonl"
        path.write_text("\n".join(rows))
        with ThreadPoolExecutor(1) as pool:
            found = prefixes.play(read(path), 2, pool)
        assert set(found.cases) == set(prefixes.CASES)
        ours = found.cases["nobody waits: affinity (ours)"]
        assert 0 < found.references.shared_lru < 1
        assert ours.hit_rate > found.cases["nobody waits: no affinity"].hit_rate
        assert 1 <= ours.most_loaded <= found.worst_loaded["nobody waits: affinity (ours)"]
        goals = prefixes.goals(found)
        assert goals["prefix_hit_rate"].goal == ">= 0.314"
        assert not goals["reference_round_robin"].met
        assert json.dumps(prefixes.figures_of(found))


class TestPicture:
    def test_the_same_figures_give_the_same_bytes(self, tmp_path: Path) -> None:
        plots = pytest.importorskip("bench.scheduling.plots", exc_type=ImportError)
        pictures = [tmp_path / "one.png", tmp_path / "other.png"]
        for picture in pictures:
            plots.cache_hits(picture, {"ours": 0.32, "round robin": 0.1}, {"infinite": 0.35})
        one, other = (picture.read_bytes() for picture in pictures)
        assert one == other
        assert one.startswith(b"\x89PNG")
        assert b"Software" not in one
