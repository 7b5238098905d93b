/** Generated from docs/openapi.json by `npm run generate`: not to be changed by hand. */

export interface components {
  schemas: {
    readonly AccountBody: {
      readonly user_id: string;
      readonly email: string | null;
      /** @enum {string} */
      readonly tier: "free" | "plus" | "pro";
      readonly usage: components["schemas"]["AccountUsage"];
      readonly limits: components["schemas"]["AccountLimits"];
    };
    /** @description Nothing new is taken since closed_at; what there is goes by itself from then on. */
    readonly AccountDeletedBody: {
      readonly closed_at: string;
    };
    /** @description email: the account's, so that nothing is deleted by mistake. */
    readonly AccountDeletion: {
      readonly email: string;
    };
    readonly AccountLimits: {
      readonly max_text_chars: number;
      readonly max_active_runs: number;
      readonly max_output_tokens: number;
      readonly context_tokens: number;
    };
    /**
     * @description Charged tokens: input that no cache held counts once, output twice. Of several budgets, the one of
     *     which the greatest part is used.
     */
    readonly AccountUsage: {
      readonly budget_tokens: number;
      readonly used_tokens: number;
      readonly reserved_tokens: number;
      readonly window_ends_at: string | null;
      readonly active_runs: number;
    };
    /** @description The run in the making; message_id is that of the user's message. Attach to follow it. */
    readonly ActiveRunBody: {
      readonly run_id: string;
      readonly status: components["schemas"]["Status"];
      readonly epoch: number;
      readonly message_id: string;
    };
    /**
     * @description active_run is told where one chat is read (GET /chats/{chat_id}); elsewhere it is null. usage is
     *     that of all its runs that have ended.
     */
    readonly ChatBody: {
      readonly chat_id: string;
      readonly title: string | null;
      readonly created_at: string;
      readonly last_active_at: string;
      readonly active_run: components["schemas"]["ActiveRunBody"] | null;
      readonly usage: components["schemas"]["UsageBody"];
    };
    readonly ChatChanges: {
      readonly title: string;
    };
    readonly ChatList: {
      readonly chats: readonly components["schemas"]["ChatBody"][];
      readonly next_cursor: string | null;
    };
    /**
     * @description What clients may rely on: once published, a code keeps its meaning.
     * @enum {string}
     */
    readonly Code: "unauthorized" | "frame_not_json" | "frame_not_object" | "frame_too_large" | "body_not_json" | "body_too_large" | "action_unknown" | "field_invalid" | "text_empty" | "text_too_long" | "text_invalid" | "cursor_invalid" | "route_not_found" | "method_not_allowed" | "chat_not_found" | "run_not_found" | "export_not_found" | "account_closed" | "confirmation_wrong" | "message_conflict" | "run_active" | "too_many_active_runs" | "budget_exhausted" | "tier_paused" | "queue_too_old" | "busy" | "internal_error" | "engine_unavailable" | "engine_error" | "attempts_exhausted" | "prompt_too_long";
    /**
     * @description How the prompt was made up, in its order, in tokens by the server's own count: the system prompt,
     *     the summary, the tail, recalled messages, the newest message, the answer so far. prefix_tokens: of
     *     them, those at the beginning that began the chat's last prompt too; left_out: messages that are in
     *     none of the parts.
     */
    readonly ContextBody: {
      readonly budget_tokens: number;
      readonly tokens: number;
      readonly prefix_tokens: number;
      readonly system_tokens: number;
      readonly summary: components["schemas"]["SummaryPartBody"] | null;
      readonly tail: components["schemas"]["TailPartBody"];
      readonly recalled: readonly components["schemas"]["RecalledPartBody"][];
      readonly recalled_tokens: number;
      readonly newest_tokens: number;
      readonly continuation_tokens: number;
      readonly left_out: number;
    };
    /**
     * @description What the engines did for the runs that ended on that day, in their own tokens. runs: those that
     *     used anything; deleting a chat takes nothing away.
     */
    readonly DayUsageBody: {
      readonly day: string;
      readonly runs: number;
      readonly input_tokens: number;
      readonly cached_tokens: number;
      readonly output_tokens: number;
    };
    /**
     * @description counts: of lines by their kind. made_at, counts and links_end_at are null, and files is empty, until
     *     it is ready. It is kept for 7 days.
     */
    readonly ExportBody: {
      readonly export_id: string;
      readonly status: components["schemas"]["ExportState"];
      readonly made_at: string | null;
      readonly counts: {
        readonly [key: string]: number;
      } | null;
      readonly files: readonly components["schemas"]["ExportFileBody"][];
      readonly links_end_at: string | null;
    };
    /**
     * @description lines: JSON objects, each with its kind. url: fetches the file without a token, until
     *     links_end_at.
     */
    readonly ExportFileBody: {
      readonly name: string;
      readonly lines: number;
      readonly bytes: number;
      readonly url: string;
    };
    /** @enum {string} */
    readonly ExportState: "preparing" | "ready" | "failed";
    /** @enum {string} */
    readonly FinishReason: "stop" | "length" | "cancelled" | "abandoned" | "failed";
    /** @description finish_reason and usage are those of answers; null on a user's message. */
    readonly MessageBody: {
      readonly message_id: string;
      readonly role: components["schemas"]["Role"];
      readonly text: string;
      readonly created_at: string;
      readonly run_id: string;
      readonly finish_reason: components["schemas"]["FinishReason"] | null;
      readonly usage: components["schemas"]["UsageBody"] | null;
    };
    readonly MessageList: {
      readonly messages: readonly components["schemas"]["MessageBody"][];
      readonly next_cursor: string | null;
    };
    readonly NewChat: {
      readonly title?: string | null;
    };
    readonly NewMessage: {
      readonly message_id: string;
      readonly text: string;
    };
    /** @description RFC 9457. code is stable; retry_at tells when the same request may succeed. */
    readonly Problem: {
      readonly type: string;
      readonly title: string;
      readonly status: number;
      readonly detail: string;
      readonly code: components["schemas"]["Code"];
      readonly retry_at?: string | null;
    };
    /**
     * @description An older message that was quoted because it bears on the newest. rank: 0 for the one that does
     *     most.
     */
    readonly RecalledPartBody: {
      readonly message_id: string;
      readonly rank: number;
      readonly tokens: number;
    };
    /** @enum {string} */
    readonly Role: "user" | "assistant";
    /**
     * @description error says why a failed run failed. usage and context are null until the run has ended; context
     *     also where it never had a prompt.
     */
    readonly RunBody: {
      readonly run_id: string;
      readonly chat_id: string;
      readonly message_id: string;
      readonly answer_message_id: string;
      readonly status: components["schemas"]["Status"];
      readonly epoch: number;
      readonly created_at: string;
      readonly started_at: string | null;
      readonly ended_at: string | null;
      readonly finish_reason: components["schemas"]["FinishReason"] | null;
      readonly error: components["schemas"]["Code"] | null;
      readonly usage: components["schemas"]["UsageBody"] | null;
      readonly context: components["schemas"]["ContextBody"] | null;
    };
    /** @enum {string} */
    readonly Status: "queued" | "running" | "completed" | "failed" | "cancelled";
    /** @description The notes on older messages. version: 1 for a chat's first. */
    readonly SummaryPartBody: {
      readonly version: number;
      readonly tokens: number;
    };
    /**
     * @description Why the verbatim tail begins where it does.
     * @enum {string}
     */
    readonly TailFrom: "the_start" | "the_summary" | "the_cut" | "the_newest";
    /**
     * @description The messages that went in as they are, or if they are very long, by their ends (clipped). begins
     *     says why with the one it does: the_start of the chat, behind the_summary, at the_cut where older ones
     *     were left out since no summary was there in time, or later for the_newest, which was very long.
     */
    readonly TailPartBody: {
      readonly begins: components["schemas"]["TailFrom"];
      readonly messages: number;
      readonly clipped: number;
      readonly tokens: number;
    };
    readonly TicketBody: {
      readonly ticket: string;
      readonly expires_at: string;
    };
    /** @description The sum of the days. */
    readonly TotalUsageBody: {
      readonly runs: number;
      readonly input_tokens: number;
      readonly cached_tokens: number;
      readonly output_tokens: number;
    };
    /** @description What the engine did for an answer, in its own tokens; cached_tokens are part of input_tokens. */
    readonly UsageBody: {
      readonly input_tokens: number;
      readonly cached_tokens: number;
      readonly output_tokens: number;
    };
    /**
     * @description days: only those with use, oldest first, from first_day to last_day, both included. Days are
     *     those of UTC, such as 2027-01-15.
     */
    readonly UsageReportBody: {
      readonly first_day: string;
      readonly last_day: string;
      readonly days: readonly components["schemas"]["DayUsageBody"][];
      readonly total: components["schemas"]["TotalUsageBody"];
    };
  };
  responses: never;
  parameters: never;
  requestBodies: never;
  headers: never;
  pathItems: never;
}
export type AccountBody = components["schemas"]["AccountBody"];
export type AccountDeletedBody = components["schemas"]["AccountDeletedBody"];
export type AccountDeletion = components["schemas"]["AccountDeletion"];
export type AccountLimits = components["schemas"]["AccountLimits"];
export type AccountUsage = components["schemas"]["AccountUsage"];
export type ActiveRunBody = components["schemas"]["ActiveRunBody"];
export type ChatBody = components["schemas"]["ChatBody"];
export type ChatChanges = components["schemas"]["ChatChanges"];
export type ChatList = components["schemas"]["ChatList"];
export type Code = components["schemas"]["Code"];
export type ContextBody = components["schemas"]["ContextBody"];
export type DayUsageBody = components["schemas"]["DayUsageBody"];
export type ExportBody = components["schemas"]["ExportBody"];
export type ExportFileBody = components["schemas"]["ExportFileBody"];
export type ExportState = components["schemas"]["ExportState"];
export type FinishReason = components["schemas"]["FinishReason"];
export type MessageBody = components["schemas"]["MessageBody"];
export type MessageList = components["schemas"]["MessageList"];
export type NewChat = components["schemas"]["NewChat"];
export type NewMessage = components["schemas"]["NewMessage"];
export type Problem = components["schemas"]["Problem"];
export type RecalledPartBody = components["schemas"]["RecalledPartBody"];
export type Role = components["schemas"]["Role"];
export type RunBody = components["schemas"]["RunBody"];
export type Status = components["schemas"]["Status"];
export type SummaryPartBody = components["schemas"]["SummaryPartBody"];
export type TailFrom = components["schemas"]["TailFrom"];
export type TailPartBody = components["schemas"]["TailPartBody"];
export type TicketBody = components["schemas"]["TicketBody"];
export type TotalUsageBody = components["schemas"]["TotalUsageBody"];
export type UsageBody = components["schemas"]["UsageBody"];
export type UsageReportBody = components["schemas"]["UsageReportBody"];
