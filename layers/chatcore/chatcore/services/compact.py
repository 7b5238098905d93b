"""Compact: the steps of making a chat's next summary, each of which may be repeated.

plan ──▶ (the summary's run, in the lowest lane) ──▶ commit
  │                 │ failed, too late, stopped         │
  ▼                 ▼                                   ▼
not needed       release: the chat goes on         only if the chat is as it was
                 with what it has                  when this was planned

Died after any of them: the execution repeats it. Died with the execution: the note in the chat grows
stale, and the next compaction passes it over.
"""

from dataclasses import replace
from enum import StrEnum

from chatcore.domain.run import Kind, Run, background_run
from chatcore.domain.summary import SummaryAsked
from chatcore.ports import Stores
from chatcore.protocol.queue import Job, job_for


class NotNeeded(StrEnum):
    """Why nothing is to be made."""

    CHAT_GONE = "chat_gone"
    OUTDATED = "outdated"
    """Another summary has come, or is being made."""


def plan(stores: Stores, asked: SummaryAsked, now_ms: int, trace_id: str = "") -> Job | NotNeeded:
    """The job of the run that makes the summary, which the chat knows of from now on. Raises
    StoreUnavailable, Conflict."""
    chat = stores.chats.get(asked.user_id, asked.chat_id)
    if chat is None or chat.deleted_ms is not None:
        return NotNeeded.CHAT_GONE
    former = stores.summaries.get(asked.chat_id, asked.summary_id) if asked.summary_id else None
    prior_seq = former.up_to_seq if former else 0
    if bool(asked.summary_id) != bool(former) or asked.up_to_seq <= prior_seq:
        return NotNeeded.OUTDATED
    run = _run(asked, prior_seq, now_ms, trace_id)
    if not stores.chats.begin_compaction(run, now_ms):
        return NotNeeded.OUTDATED
    # What was the chat's before its present one, and what came too late. Not sooner: a run that was sent
    # before a commit goes by the summary that was the chat's then.
    stores.summaries.remove(asked.chat_id, kept_id=asked.summary_id)
    return job_for(run)


def commit(stores: Stores, asked: SummaryAsked) -> bool:
    """The run's summary is the chat's from now on. False where the chat is not as it was any more: then
    nothing has changed. Raises StoreUnavailable, Conflict."""
    run = _run(asked)
    made = stores.summaries.get(asked.chat_id, run.run_id)
    if made is None or not stores.chats.commit_summary(run):
        release(stores, asked)
        return False
    return True


def release(stores: Stores, asked: SummaryAsked) -> None:
    """Nothing came of it: the chat may be compacted anew. Raises StoreUnavailable."""
    stores.chats.end_compaction(asked.user_id, asked.chat_id, _run(asked).run_id)


def _run(asked: SummaryAsked, prior_seq: int = 0, now_ms: int = 0, trace_id: str = "") -> Run:
    run = background_run(
        Kind.SUMMARY,
        asked.user_id,
        asked.chat_id,
        asked.up_to_seq,
        now_ms,
        asked.asked_ms,
        trace_id,
    )
    return replace(
        run,
        prior_seq=prior_seq,
        summary_id=asked.summary_id,
        summary_tokens=asked.summary_tokens,
        # Where the chat is known: there its next prefix can be read ahead.
        favourite=asked.worker_id,
        prefix_tokens=asked.tail_tokens,
    )
