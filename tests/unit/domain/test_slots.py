"""Slots of a worker: room for all, some more for those who pay, and who has to leave."""

import pytest

from chatcore.domain.lanes import JUMP_TOKENS, Turns
from chatcore.domain.slots import Slots
from chatcore.domain.tiers import Tier

FREE, PLUS, PRO = Tier.FREE, Tier.PLUS, Tier.PRO
OVERCOMMIT = {FREE: 0, PLUS: 1, PRO: 2}


def full(tier: Tier = FREE, count: int = 2) -> Slots:
    """A worker whose slots are all taken by runs of a tier that are under way."""
    slots = Slots(count, overcommit=OVERCOMMIT)
    for _ in range(count):
        slots.give(tier, [tier])
        slots.has_read(tier)
    return slots


def test_a_free_slot_is_room_for_anybody() -> None:
    assert all(Slots(1, overcommit=OVERCOMMIT).has_room(tier) for tier in Tier)


@pytest.mark.parametrize(("tier", "more"), [(FREE, 0), (PLUS, 1), (PRO, 2)])
def test_beyond_them_a_tier_has_its_own(tier: Tier, more: int) -> None:
    slots = full()
    given = 0
    while slots.has_room(tier):
        slots.give(tier, [FREE, tier])
        slots.has_read(tier)
        given += 1
    assert given == more


def test_a_tier_far_ahead_of_its_due_has_no_more_than_the_others() -> None:
    turns = Turns(weights=dict.fromkeys(Tier, 1))
    slots = Slots(1, turns=turns, overcommit=OVERCOMMIT)
    slots.give(FREE, [FREE, PRO])
    slots.has_read(FREE)
    assert slots.has_room(PRO)
    turns.settle(PRO, turns.take(PRO, [FREE, PRO]), 3 * JUMP_TOKENS)
    assert not slots.has_room(PRO)


def test_who_pays_does_not_queue_behind_a_lower_tiers_prompt_that_is_being_read() -> None:
    slots = Slots(4, overcommit=OVERCOMMIT)
    slots.give(PLUS, [PLUS])
    assert slots.has_room(FREE)
    assert slots.has_room(PLUS)
    assert not slots.has_room(PRO)
    slots.has_read(PLUS)
    assert slots.has_room(PRO)


def test_the_last_of_a_tiers_slots_makes_it_crowded() -> None:
    slots = full()
    grants = [slots.give(PRO, [FREE, PRO]) for _ in range(2)]
    assert [grant.crowded for grant in grants] == [False, True]
    assert full().give(PLUS, [FREE, PLUS]).crowded


def test_a_slot_is_contended_when_none_is_left() -> None:
    slots = Slots(2, overcommit=OVERCOMMIT)
    assert [slots.give(FREE, [FREE]).contended for _ in range(2)] == [False, True]


def test_a_released_slot_is_room_again() -> None:
    slots = full()
    slots.release(FREE)
    assert slots.has_room(FREE)
    assert slots.running[FREE] == 1


def test_there_are_as_many_turns_as_free_slots() -> None:
    slots = Slots(1, overcommit=OVERCOMMIT)
    waited_s = {FREE: 0.0, PRO: 0.0}
    assert [tier for tier in waited_s if slots.is_turn_of(tier, waited_s)] == [PRO]
    assert all(Slots(2).is_turn_of(tier, waited_s) for tier in waited_s)


def test_what_a_tier_is_charged_ahead_is_told() -> None:
    turns = Turns()
    grant = Slots(1, turns=turns, overcommit=OVERCOMMIT).give(FREE, [FREE])
    assert grant.ahead == Turns().take(FREE, [FREE])
