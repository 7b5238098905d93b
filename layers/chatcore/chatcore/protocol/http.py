"""Owns the bodies of the HTTP API. Only the HTTP Lambda imports it: it costs pydantic."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from chatcore.domain.chat import Chat, Message, Role
from chatcore.domain.context_plan import ContextPlan, SummaryPart, TailFrom
from chatcore.domain.errors import Code
from chatcore.domain.export import ExportState
from chatcore.domain.identity import MESSAGE_ID_PATTERN
from chatcore.domain.ledger import Ledger, current, scarcest
from chatcore.domain.moment import rfc3339
from chatcore.domain.run import FinishReason, Run, Status, Usage
from chatcore.domain.tiers import Tier, TierLimits, UserTier, tier_of
from chatcore.domain.usage import DayUsage, UsageReport
from chatcore.protocol.export import File, Manifest


class _Body(BaseModel):
    model_config = ConfigDict(strict=True)


class NewChat(_Body):
    title: str | None = None


class ChatChanges(_Body):
    title: str


class NewMessage(_Body):
    message_id: Annotated[str, Field(pattern=MESSAGE_ID_PATTERN)]
    text: str


class UsageBody(BaseModel):
    """What the engine did for an answer, in its own tokens; cached_tokens are part of input_tokens."""

    input_tokens: int
    cached_tokens: int
    output_tokens: int

    @classmethod
    def of(cls, usage: Usage) -> "UsageBody":
        return cls(
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
        )


class ActiveRunBody(BaseModel):
    """The run in the making; message_id is that of the user's message. Attach to follow it."""

    run_id: str
    status: Status
    epoch: int
    message_id: str

    @classmethod
    def of(cls, run: Run) -> "ActiveRunBody":
        return cls(
            run_id=run.run_id,
            status=run.status,
            epoch=run.epoch,
            message_id=run.message_id,
        )


class ChatBody(BaseModel):
    """active_run is told where one chat is read (GET /chats/{chat_id}); elsewhere it is null. usage is
    that of all its runs that have ended."""

    chat_id: str
    title: str | None
    created_at: str
    last_active_at: str
    active_run: ActiveRunBody | None
    usage: UsageBody

    @classmethod
    def of(cls, chat: Chat, run: Run | None = None) -> "ChatBody":
        return cls(
            chat_id=chat.chat_id,
            title=chat.title,
            created_at=rfc3339(chat.created_ms),
            last_active_at=rfc3339(chat.last_active_ms),
            active_run=None if run is None else ActiveRunBody.of(run),
            usage=UsageBody.of(chat.usage),
        )


class ChatList(BaseModel):
    chats: list[ChatBody]
    next_cursor: str | None


class MessageBody(BaseModel):
    """finish_reason and usage are those of answers; null on a user's message."""

    message_id: str
    role: Role
    text: str
    created_at: str
    run_id: str
    finish_reason: FinishReason | None
    usage: UsageBody | None

    @classmethod
    def of(cls, message: Message) -> "MessageBody":
        return cls(
            message_id=message.message_id,
            role=message.role,
            text=message.text,
            created_at=rfc3339(message.created_ms),
            run_id=message.run_id,
            finish_reason=message.finish_reason,
            usage=None if message.usage is None else UsageBody.of(message.usage),
        )


class MessageList(BaseModel):
    messages: list[MessageBody]
    next_cursor: str | None


class SummaryPartBody(BaseModel):
    """The notes on older messages. version: 1 for a chat's first."""

    version: int
    tokens: int

    @classmethod
    def of(cls, part: SummaryPart) -> "SummaryPartBody":
        return cls(version=part.version, tokens=part.tokens)


class TailPartBody(BaseModel):
    """The messages that went in as they are, or if they are very long, by their ends (clipped). begins
    says why with the one it does: the_start of the chat, behind the_summary, at the_cut where older ones
    were left out since no summary was there in time, or later for the_newest, which was very long."""

    begins: TailFrom
    messages: int
    clipped: int
    tokens: int


class RecalledPartBody(BaseModel):
    """An older message that was quoted because it bears on the newest. rank: 0 for the one that does
    most."""

    message_id: str
    rank: int
    tokens: int


class ContextBody(BaseModel):
    """How the prompt was made up, in its order, in tokens by the server's own count: the system prompt,
    the summary, the tail, recalled messages, the newest message, the answer so far. prefix_tokens: of
    them, those at the beginning that began the chat's last prompt too; left_out: messages that are in
    none of the parts."""

    budget_tokens: int
    tokens: int
    prefix_tokens: int
    system_tokens: int
    summary: SummaryPartBody | None
    tail: TailPartBody
    recalled: list[RecalledPartBody]
    recalled_tokens: int
    newest_tokens: int
    continuation_tokens: int
    left_out: int

    @classmethod
    def of(cls, plan: ContextPlan) -> "ContextBody":
        summary, tail = plan.summary, plan.tail
        return cls(
            budget_tokens=plan.budget_tokens,
            tokens=plan.tokens,
            prefix_tokens=plan.prefix_tokens,
            system_tokens=plan.system_tokens,
            summary=None if summary is None else SummaryPartBody.of(summary),
            tail=TailPartBody(
                begins=tail.begins,
                messages=tail.messages,
                clipped=tail.clipped,
                tokens=tail.tokens,
            ),
            recalled=[
                RecalledPartBody(message_id=each.message_id, rank=each.rank, tokens=each.tokens)
                for each in plan.recalled
            ],
            recalled_tokens=plan.recalled_tokens,
            newest_tokens=plan.newest_tokens,
            continuation_tokens=plan.continuation_tokens,
            left_out=plan.left_out,
        )


class RunBody(BaseModel):
    """error says why a failed run failed. usage and context are null until the run has ended; context
    also where it never had a prompt."""

    run_id: str
    chat_id: str
    message_id: str
    answer_message_id: str
    status: Status
    epoch: int
    created_at: str
    started_at: str | None
    ended_at: str | None
    finish_reason: FinishReason | None
    error: Code | None
    usage: UsageBody | None
    context: ContextBody | None

    @classmethod
    def of(cls, run: Run) -> "RunBody":
        return cls(
            run_id=run.run_id,
            chat_id=run.chat_id,
            message_id=run.message_id,
            answer_message_id=run.answer_message_id,
            status=run.status,
            epoch=run.epoch,
            created_at=rfc3339(run.created_ms),
            started_at=None if run.started_ms is None else rfc3339(run.started_ms),
            ended_at=None if run.ended_ms is None else rfc3339(run.ended_ms),
            finish_reason=run.finish_reason,
            error=run.failure,
            usage=None if run.usage is None else UsageBody.of(run.usage),
            context=None if run.context is None else ContextBody.of(run.context),
        )


class AccountDeletion(_Body):
    """email: the account's, so that nothing is deleted by mistake."""

    email: Annotated[str, Field(max_length=320)]


class AccountDeletedBody(BaseModel):
    """Nothing new is taken since closed_at; what there is goes by itself from then on."""

    closed_at: str

    @classmethod
    def of(cls, closed_ms: int) -> "AccountDeletedBody":
        return cls(closed_at=rfc3339(closed_ms))


class ExportFileBody(BaseModel):
    """lines: JSON objects, each with its kind. url: fetches the file without a token, until
    links_end_at."""

    name: str
    lines: int
    bytes: int
    url: str

    @classmethod
    def of(cls, file: File, url: str) -> "ExportFileBody":
        return cls(name=file.name, lines=file.lines, bytes=file.bytes, url=url)


class ExportBody(BaseModel):
    """counts: of lines by their kind. made_at, counts and links_end_at are null, and files is empty, until
    it is ready. It is kept for 7 days."""

    export_id: str
    status: ExportState
    made_at: str | None
    counts: dict[str, int] | None
    files: list[ExportFileBody]
    links_end_at: str | None

    @classmethod
    def of(
        cls,
        export_id: str,
        state: ExportState,
        manifest: Manifest | None,
        links: Mapping[str, str],
        links_end_ms: int,
    ) -> "ExportBody":
        return cls(
            export_id=export_id,
            status=state,
            made_at=None if manifest is None else manifest.made_at,
            counts=None if manifest is None else manifest.counts,
            files=[
                ExportFileBody.of(file, links[file.name])
                for file in (() if manifest is None else manifest.files)
            ],
            links_end_at=None if manifest is None else rfc3339(links_end_ms),
        )


class TicketBody(BaseModel):
    ticket: str
    expires_at: str


class AccountUsage(BaseModel):
    """Charged tokens: input that no cache held counts once, output twice. Of several budgets, the one of
    which the greatest part is used."""

    budget_tokens: int
    used_tokens: int
    reserved_tokens: int
    window_ends_at: str | None
    active_runs: int


class AccountLimits(BaseModel):
    max_text_chars: int
    max_active_runs: int
    max_output_tokens: int
    context_tokens: int


class AccountBody(BaseModel):
    user_id: str
    email: str | None
    tier: UserTier
    usage: AccountUsage
    limits: AccountLimits

    @classmethod
    def of(
        cls, email: str | None, tier: Tier, ledger: Ledger, limits: TierLimits, now_ms: int
    ) -> "AccountBody":
        account = current(ledger, limits, now_ms)
        budget, window = scarcest(account, limits)
        return cls(
            user_id=account.user_id,
            email=email,
            tier=tier_of(tier),
            usage=AccountUsage(
                budget_tokens=budget.tokens,
                used_tokens=account.used_tokens(window),
                reserved_tokens=account.reserved_tokens,
                window_ends_at=rfc3339(window.ends_ms) if window.ends_ms else None,
                active_runs=len(account.active),
            ),
            limits=AccountLimits(
                max_text_chars=limits.max_text_chars,
                max_active_runs=limits.max_active_runs,
                max_output_tokens=limits.max_output_tokens,
                context_tokens=limits.context_tokens,
            ),
        )


class DayUsageBody(BaseModel):
    """What the engines did for the runs that ended on that day, in their own tokens. runs: those that
    used anything; deleting a chat takes nothing away."""

    day: str
    runs: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int

    @classmethod
    def of(cls, used: DayUsage) -> "DayUsageBody":
        return cls(
            day=used.day,
            runs=used.runs,
            input_tokens=used.usage.input_tokens,
            cached_tokens=used.usage.cached_tokens,
            output_tokens=used.usage.output_tokens,
        )


class TotalUsageBody(BaseModel):
    """The sum of the days."""

    runs: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int

    @classmethod
    def of(cls, report: UsageReport) -> "TotalUsageBody":
        total = report.total
        return cls(
            runs=report.runs,
            input_tokens=total.input_tokens,
            cached_tokens=total.cached_tokens,
            output_tokens=total.output_tokens,
        )


class UsageReportBody(BaseModel):
    """days: only those with use, oldest first, from first_day to last_day, both included. Days are
    those of UTC, such as 2027-01-15."""

    first_day: str
    last_day: str
    days: list[DayUsageBody]
    total: TotalUsageBody

    @classmethod
    def of(cls, report: UsageReport) -> "UsageReportBody":
        return cls(
            first_day=report.period.first_day,
            last_day=report.period.last_day,
            days=[DayUsageBody.of(used) for used in report.days],
            total=TotalUsageBody.of(report),
        )


class Problem(BaseModel):
    """RFC 9457. code is stable; retry_at tells when the same request may succeed."""

    type: str
    title: str
    status: int
    detail: str
    code: Code
    retry_at: str | None = None
