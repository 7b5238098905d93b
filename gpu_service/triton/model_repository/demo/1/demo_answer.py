"""What the demo engine answers.

Owns the choice of the statements to quote and the sentences around them. It quotes what the prompt
holds and knows nothing else, and says so. The answer depends on the prompt alone: no clock, no
chance, no memory of other prompts.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import demo_parts
import demo_summary
import demo_title
from demo_known import Source, Statement, is_correction, statements
from demo_prompt import Prompt
from demo_statements import clip, is_question, sentences, terms

MAX_GENERATED_WORDS = 10_000
_LONG_ANSWER_WORDS = 600
_MAX_QUOTES = 3
_MAX_RECAP_QUOTES = 12
_MAX_QUOTE_CHARS = 300
_MAX_QUESTION_CHARS = 120

# Of the best match's weight, what another statement needs to be quoted too. A statement that says
# it corrects something often repeats little of what it corrects.
_MIN_SHARE_OF_BEST = 0.7
_MIN_SHARE_OF_BEST_IF_CORRECTION = 0.3
# Of the question's weight, what a statement needs to be offered as an answer to it.
_MIN_COVERAGE = 0.5

_GREETING = re.compile(
    r"(?:hi|hello|hey|good (?:morning|afternoon|evening)|thanks|thank you)(?: \w+)?\W*"
)
_RECAP = re.compile(
    r"\b(?:summari[sz]e|recap|summary)\b"
    r"|\bwhat (?:did|have|had) (?:i|we) (?:say|said|tell|told|talk|talked|discuss|discussed)\b"
    r"|\bwhat do you (?:know|remember)\b",
    re.IGNORECASE,
)
_COUNT = re.compile(r"\bcount (?:up )?(?:from 1 )?to (\d{1,9})\b", re.IGNORECASE)
_WORDS = re.compile(
    r"\b(?:write|tell|say|give|answer|reply|generate|produce|explain|describe)\b"
    r"[^.?!]{0,80}?\b(\d{1,9})[ -]words?\b",
    re.IGNORECASE,
)
_LONG = re.compile(
    r"\b(?:write|tell|give|answer|reply|generate|produce|please|want|need)\b[^.?!]{0,80}?"
    r"\b(?:long|lengthy|detailed) (?:answer|reply|response|text|story|essay)\b",
    re.IGNORECASE,
)
_SELF = (
    "I am the demo engine of chatcore: there is no language model behind me, so I know nothing "
    "of the world and can only quote what this chat itself says."
)
_INVITATION = (
    "Tell me something and ask me about it later, or ask me to count to 100 or to write 200 words "
    "if you want to see a long answer arrive."
)
_PHRASES = (
    "of this text from the demo engine has no meaning beyond its number.",
    "is here so that you can watch a long answer arrive piece by piece.",
    "comes out the same each time the same prompt is given.",
    "would show at once if anything before it were lost or repeated.",
    "was made by counting, for there is no language model here.",
)


@dataclass(frozen=True)
class Match:
    """A statement that shares terms with a question, and how much of the question it covers."""

    statement: Statement
    coverage: float


def answer(prompt: Prompt) -> str:
    """All that the engine writes to a prompt, never empty."""
    task = demo_parts.task(prompt)
    if task is demo_parts.Task.SUMMARY:
        return demo_summary.summary(prompt)
    if task is demo_parts.Task.TITLE:
        return demo_title.title(prompt)
    users = [position for position, turn in enumerate(prompt.turns) if turn.role == "user"]
    if not users:
        return f"{_SELF} {_INVITATION}"
    last = prompt.turns[users[-1]].text
    return _generated(last) or _extracted(last, statements(prompt.turns, users[-1]))


def _generated(message: str) -> str:
    """A long text, if the message asks for one; else nothing."""
    if count := _COUNT.search(message):
        last = min(int(count[1]), MAX_GENERATED_WORDS)
        numbers = ", ".join(str(number) for number in range(1, last + 1))
        return f"The demo engine counts to {last}: {numbers or 'nothing to count'}."
    if words := _WORDS.search(message):
        return _words(min(int(words[1]), MAX_GENERATED_WORDS))
    if _LONG.search(message):
        return _words(_LONG_ANSWER_WORDS)
    return ""


def _words(count: int) -> str:
    endless = (
        word
        for number, phrase in enumerate(itertools.cycle(_PHRASES), start=1)
        for word in f"Sentence {number} {phrase}".split()
    )
    return " ".join(itertools.islice(endless, max(1, count))).rstrip(".") + "."


def _extracted(message: str, known: Sequence[Statement]) -> str:
    asked = [sentence for sentence in sentences(message) if is_question(sentence)]
    if asked:
        return _reply_to_question(" ".join(asked), known)
    if not terms(message) or _GREETING.fullmatch(message.strip().casefold()):
        return f"Hello. {_SELF} {_INVITATION}"
    return _reply_to_statement(message, known)


def _reply_to_question(question: str, known: Sequence[Statement]) -> str:
    wanted = terms(question)
    if not wanted:
        return _recap(known) if _RECAP.search(question) else f"{_SELF} {_INVITATION}"
    said = [statement for statement in known if statement.source is not Source.ASSISTANT]
    answered = [statement for statement in known if statement.source is Source.ASSISTANT]
    matches = _search(wanted, said) or _search(wanted, answered)
    label = clip(question, _MAX_QUESTION_CHARS)
    if not matches:
        return (
            f"I looked through all that was stated in this chat and found nothing about ‘{label}’. "
            f"{_SELF} {_INVITATION}"
        )
    quotes = _quotes([match.statement for match in matches[:_MAX_QUOTES]])
    if max(match.coverage for match in matches) < _MIN_COVERAGE:
        return (
            f"I found nothing in this chat that answers ‘{label}’ as a whole. "
            f"What comes closest: {quotes} {_SELF}"
        )
    return f"{quotes} That is what this chat says about ‘{label}’, newest first. {_SELF}"


def _reply_to_statement(message: str, known: Sequence[Statement]) -> str:
    noted = f"Noted: “{clip(message, _MAX_QUOTE_CHARS)}”"
    related = [
        match.statement
        for match in _search(terms(message), known)
        if match.coverage >= _MIN_COVERAGE and match.statement.source is Source.USER
    ]
    before = f" On this there was something before. {_quotes(related[:1])}" if related else ""
    return f"{noted}{before} Ask me about it later in this chat and I will quote it to you. {_SELF}"


def _recap(known: Sequence[Statement]) -> str:
    said = [statement for statement in reversed(known) if statement.source is not Source.ASSISTANT]
    if not said:
        return f"Nothing has been stated in this chat so far. {_SELF} {_INVITATION}"
    shown = said[:_MAX_RECAP_QUOTES]
    quotes = " ".join(f"“{clip(statement.text, _MAX_QUOTE_CHARS)}”" for statement in shown)
    return f"What was stated in this chat, newest first: {quotes} {_SELF}"


def _search(wanted: frozenset[str], among: Sequence[Statement]) -> list[Match]:
    """The statements that share the weightiest terms with what is wanted, newest first."""
    held = [(statement, terms(statement.text) & wanted) for statement in among]
    frequency = Counter(term for _, shared in held for term in shared)
    weight = {term: math.log(1 + len(among) / (1 + frequency[term])) for term in wanted}
    total = sum(weight.values())
    scored = [(statement, sum(weight[term] for term in shared)) for statement, shared in held]
    best = max((score for _, score in scored), default=0.0)
    return [
        Match(statement, score / total)
        for statement, score in sorted(scored, key=lambda pair: pair[0].age_key, reverse=True)
        if score > 0 and score >= best * _needed_share(statement)
    ]


def _needed_share(statement: Statement) -> float:
    if is_correction(statement.text):
        return _MIN_SHARE_OF_BEST_IF_CORRECTION
    return _MIN_SHARE_OF_BEST


def _quotes(chosen: Sequence[Statement]) -> str:
    opening = {
        Source.USER: ("Earlier you said", "Before that you said"),
        Source.NOTES: ("The notes on this chat say", "The notes on this chat also say"),
        Source.ASSISTANT: ("I quoted earlier", "I also quoted"),
    }
    return " ".join(
        f"{opening[statement.source][position > 0]}: “{clip(statement.text, _MAX_QUOTE_CHARS)}”"
        for position, statement in enumerate(chosen)
    )
