"""A chat of any length, played turn by turn through what a worker does for its prompts.

The messages are those of LoCoMo's talks, one after the other. Where they end they begin anew, in other
words: each but the commonest is exchanged for one that is about as frequent, so that a long chat does not
repeat itself. Left out: the engine. A summary's text stands in for one: headings and the first words of
what left the tail, as many as a summary may have. It is there a turn later than it was asked for.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from chatcore.domain.chat import Message, Role
from chatcore.domain.compaction import leaving, summary_prompt
from chatcore.domain.context import Room, build, room_for
from chatcore.domain.context_plan import ContextPlan, CountTokens
from chatcore.domain.ledger import prompt_tokens
from chatcore.domain.summary import SECTIONS, Summary
from chatcore.domain.tiers import DEFAULTS, Tier, TierLimits, with_background
from gpu_service.worker.histories import Known

BUDGET_TOKENS = 8_000
"""Of a prompt."""

OUTPUT_TOKENS = 1_000
_MINUTE_MS = 60_000
_WORD = re.compile(r"\w+")
_COMMON, _ALIKE = 150, 50
"""Words that stay, and how many that follow each other in frequency are exchanged among themselves."""
_WORD_TOKENS = 1.35


@dataclass(frozen=True, slots=True)
class Turn:
    """messages: in the chat when it was asked; build_ms: of its prompt; compacted: tokens that a summary
    run read and wrote after it, 0 where there was none."""

    messages: int
    plan: ContextPlan
    build_ms: float
    compacted: int


def limits() -> TierLimits:
    return replace(
        DEFAULTS[Tier.PRO],
        context_tokens=BUDGET_TOKENS + OUTPUT_TOKENS,
        max_output_tokens=OUTPUT_TOKENS,
    )


def talk(messages: Sequence[Message], length: int) -> list[Message]:
    """So many messages, of the user and the assistant in turn, a minute apart."""
    ranked = _by_frequency(messages)
    rounds = [_exchanged(messages, ranked, number) for number in range(-(-length // len(messages)))]
    return [
        replace(
            message,
            chat_id="long",
            seq=number + 1,
            message_id=f"m{number}",
            role=(Role.USER, Role.ASSISTANT)[number % 2],
            created_ms=(number + 1) * _MINUTE_MS,
        )
        for number, message in enumerate([each for one in rounds for each in one][:length])
    ]


def _by_frequency(messages: Sequence[Message]) -> Sequence[str]:
    counts = Counter(word for each in messages for word in _WORD.findall(each.text))
    return sorted(counts, key=lambda word: (-counts[word], word))


def _exchanged(
    messages: Sequence[Message], ranked: Sequence[str], number: int
) -> Sequence[Message]:
    """The messages in the words of that round; the first one is their own."""
    if not number:
        return messages
    other = dict(zip(ranked[:_COMMON], ranked[:_COMMON], strict=True))
    for start in range(_COMMON, len(ranked), _ALIKE):
        block = ranked[start : start + _ALIKE]
        turn = number * 7 % len(block)
        other |= zip(block, [*block[turn:], *block[:turn]], strict=True)
    return [
        replace(each, text=_WORD.sub(lambda found: other[found[0]], each.text)) for each in messages
    ]


def played(
    chat: Sequence[Message], count_tokens: CountTokens, first_built: int = 0
) -> Iterator[Turn]:
    """Each turn whose question is not before first_built, as a worker that knows the chat makes it."""
    users = limits()
    room, background = room_for(users), with_background({Tier.PRO: users})[Tier.BACKGROUND]
    known, coming = Known(), None
    count_turn = known.count_turn(count_tokens)
    for place in range(0, len(chat) - 1, 2):
        asked, answer = chat[place], chat[place + 1]
        plan, build_ms = None, 0.0
        if place >= first_built:
            began_s = time.perf_counter()
            prompt = build(
                known.history(asked),
                "",
                room,
                count_tokens,
                count_turn,
                known.recall(asked.created_ms),
            )
            build_ms, plan = (time.perf_counter() - began_s) * 1000, prompt.plan
        known.extend([asked, answer])
        if coming is not None:
            known.adopt(coming)
            coming = None
        compacted = 0
        going = leaving(known.messages, known.summary, room, background, count_turn, count_tokens)
        if going:
            coming = _summary(known.summary, going, room, answer.created_ms)
            read = summary_prompt(known.summary, going, room.summary, count_tokens)
            compacted = count_tokens(read) + count_tokens(coming.text)
            assert count_tokens(read) <= prompt_tokens(background)
        if plan is not None:
            yield Turn(place + 1, plan, build_ms, compacted)


def _summary(former: Summary | None, going: Sequence[Message], room: Room, made_ms: int) -> Summary:
    words = " ".join(message.text for message in going).split()
    most = round(room.summary * 2 / 3 / _WORD_TOKENS)
    text = f"## {SECTIONS[0]}\n- {' '.join(words[:most])}"
    version = former.version + 1 if former else 1
    return Summary("long", f"s{version}", version, going[-1].seq, text, made_ms)
