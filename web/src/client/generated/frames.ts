/** Generated from docs/asyncapi.yaml by `npm run generate`: not to be changed by hand. */

export interface components {
  schemas: {
    /** @description Ask: make a message, and a run that answers it. Saying it again is safe. */
    readonly Send: {
      /**
       * @description Which action this is.
       * @enum {unknown}
       */
      readonly action: "send";
      /**
       * @description The chat that it goes into; null or absent makes a new one.
       * @default null
       */
      readonly chat_id: string | null;
      /** @description Made by the client, unique for the user. The same id and text: a repeat. */
      readonly message_id: string;
      /** @description Not only white space; the plan's max_text_chars is told by GET /me. */
      readonly text: string;
    };
    /** @description Stop a run. Its end is told to all its viewers. */
    readonly Cancel: {
      /**
       * @description Which action this is.
       * @enum {unknown}
       */
      readonly action: "cancel";
      /** @description The run. It follows from the user and the message_id of the send. */
      readonly run_id: string;
    };
    /** @description Follow a run from a place in its text on, whatever state it is in. */
    readonly Attach: {
      /**
       * @description Which action this is.
       * @enum {unknown}
       */
      readonly action: "attach";
      /** @description The run. It follows from the user and the message_id of the send. */
      readonly run_id: string;
      /**
       * @description Code points of the answer that the client has.
       * @default 0
       */
      readonly offset: number;
      /**
       * @description The epoch that told them; 0 where it is not known.
       * @default 0
       */
      readonly epoch: number;
    };
    /** @description Be told of each run of a chat from its beginning, whoever sends it. */
    readonly Watch: {
      /**
       * @description Which action this is.
       * @enum {unknown}
       */
      readonly action: "watch";
      /** @description A chat of the user's. */
      readonly chat_id: string;
    };
    /** @description Keep an idle connection open. */
    readonly Ping: {
      /**
       * @description Which action this is.
       * @enum {unknown}
       */
      readonly action: "ping";
    };
    /** @description The run waits for a slot: at first, or again. May come after run.started. */
    readonly RunQueued: {
      /**
       * @description Which event this is.
       * @enum {unknown}
       */
      readonly type: "run.queued";
      /** @description The run. It follows from the user and the message_id of the send. */
      readonly run_id: string;
      /** @description The chat that the run belongs to. */
      readonly chat_id: string;
      /** @description Id of the user's message that the run answers. */
      readonly message_id: string;
      /** @description The attempt after which it waits, 0 before any. Void where a later one is known. */
      readonly epoch: number;
      /**
       * @description starting: nobody is before it. busy: others are. own_runs: an earlier run of the same user is. resuming: it had a slot, and goes on with the text that it has.
       * @enum {string}
       */
      readonly reason: "starting" | "busy" | "own_runs" | "resuming";
      /** @description How many runs are before it; null where that is not known. */
      readonly position: number | null;
      /** @description Seconds until it starts, about; null where that is not known. */
      readonly estimate_s: number | null;
      /** @description An attach after so many seconds is told anew, if the run still waits. */
      readonly look_again_s: number;
    };
    /** @description A worker has the run, or answers an attach: text follows from offset on. */
    readonly RunStarted: {
      /**
       * @description Which event this is.
       * @enum {unknown}
       */
      readonly type: "run.started";
      /** @description The run. It follows from the user and the message_id of the send. */
      readonly run_id: string;
      /** @description The chat that the run belongs to. */
      readonly chat_id: string;
      /** @description Id of the user's message that the run answers. */
      readonly message_id: string;
      /** @description Number of the run's attempt that this belongs to. */
      readonly epoch: number;
      /** @description Where the text that follows begins, in code points. */
      readonly offset: number;
    };
    /** @description A piece of the answer. */
    readonly RunDelta: {
      /**
       * @description Which event this is.
       * @enum {unknown}
       */
      readonly type: "run.delta";
      /** @description The run. It follows from the user and the message_id of the send. */
      readonly run_id: string;
      /** @description Number of the run's attempt that this belongs to. */
      readonly epoch: number;
      /** @description Where the text begins in the answer, in code points. */
      readonly offset: number;
      /** @description Whole code points, never half of one. */
      readonly text: string;
    };
    /** @description Cut the text back to offset: what was behind it is void. */
    readonly RunRewound: {
      /**
       * @description Which event this is.
       * @enum {unknown}
       */
      readonly type: "run.rewound";
      /** @description The run. It follows from the user and the message_id of the send. */
      readonly run_id: string;
      /** @description Number of the run's attempt that this belongs to. */
      readonly epoch: number;
      /** @description How many code points stay. */
      readonly offset: number;
    };
    /** @description The answer is whole and stored. */
    readonly RunCompleted: {
      /**
       * @description Which event this is.
       * @enum {unknown}
       */
      readonly type: "run.completed";
      /** @description The run. It follows from the user and the message_id of the send. */
      readonly run_id: string;
      /** @description The chat that the run belongs to. */
      readonly chat_id: string;
      /** @description Id of the answer. */
      readonly message_id: string;
      /** @description Number of the run's attempt that this belongs to. */
      readonly epoch: number;
      /** @description Code points of the stored answer: what the client must now have. */
      readonly length: number;
      /** @description Over all epochs of the run. */
      readonly usage: components["schemas"]["UsageFields"];
      /**
       * @description stop: the engine was done. length: the plan's max_output_tokens cut it.
       * @enum {string}
       */
      readonly finish_reason: "stop" | "length";
    };
    /** @description What the engine did for the answer, in its own tokens. */
    readonly UsageFields: {
      /** @description Of the prompt. */
      readonly input_tokens: number;
      /** @description Of those, what a cache held. */
      readonly cached_tokens: number;
      /** @description Of the answer. */
      readonly output_tokens: number;
    };
    /** @description The run is over without a whole answer. What there is of it is stored. */
    readonly RunFailed: {
      /**
       * @description Which event this is.
       * @enum {unknown}
       */
      readonly type: "run.failed";
      /** @description The run. It follows from the user and the message_id of the send. */
      readonly run_id: string;
      /** @description The chat that the run belongs to. */
      readonly chat_id: string;
      /** @description Id of the answer; null where there is no text of it. */
      readonly message_id: string | null;
      /** @description Number of the run's attempt that this belongs to. */
      readonly epoch: number;
      /** @description Code points of the stored answer: what the client must now have. */
      readonly length: number;
      /**
       * @description Why, in a stable word (see errors.md).
       * @enum {string}
       */
      readonly code: "prompt_too_long" | "engine_unavailable" | "engine_error" | "attempts_exhausted" | "internal_error";
      /** @description The same as a sentence for the person. */
      readonly message: string;
      /** @description Over all epochs of the run; null where it is not known. */
      readonly usage: components["schemas"]["UsageFields"] | null;
    };
    /** @description The run was stopped, or given up by all. What there is of its answer is stored. */
    readonly RunCancelled: {
      /**
       * @description Which event this is.
       * @enum {unknown}
       */
      readonly type: "run.cancelled";
      /** @description The run. It follows from the user and the message_id of the send. */
      readonly run_id: string;
      /** @description The chat that the run belongs to. */
      readonly chat_id: string;
      /** @description Id of the answer; null where there is no text of it. */
      readonly message_id: string | null;
      /** @description Number of the run's attempt that this belongs to. */
      readonly epoch: number;
      /** @description Code points of the stored answer: what the client must now have. */
      readonly length: number;
      /** @description Over all epochs of the run; null where none began. */
      readonly usage: components["schemas"]["UsageFields"] | null;
    };
    /** @description An action was refused, or could not be done. */
    readonly Error: {
      /**
       * @description Which event this is.
       * @enum {unknown}
       */
      readonly type: "error";
      /**
       * @description A stable word (see errors.md).
       * @enum {string}
       */
      readonly code: "unauthorized" | "frame_not_json" | "frame_not_object" | "frame_too_large" | "body_not_json" | "body_too_large" | "action_unknown" | "field_invalid" | "text_empty" | "text_too_long" | "text_invalid" | "cursor_invalid" | "route_not_found" | "method_not_allowed" | "chat_not_found" | "run_not_found" | "export_not_found" | "account_closed" | "confirmation_wrong" | "message_conflict" | "run_active" | "too_many_active_runs" | "budget_exhausted" | "tier_paused" | "queue_too_old" | "busy" | "internal_error" | "engine_unavailable" | "engine_error" | "attempts_exhausted" | "prompt_too_long";
      /** @description One sentence for the person. */
      readonly message: string;
      /**
       * @description message_id of the send, or run_id or chat_id, that this answers.
       * @default null
       */
      readonly ref: string | null;
      /**
       * @description When the same may succeed (RFC 3339), where it is known.
       * @default null
       */
      readonly retry_at: string | null;
    };
    /** @description The answer to a ping. */
    readonly Pong: {
      /**
       * @description Which event this is.
       * @enum {unknown}
       */
      readonly type: "pong";
    };
  };
  responses: never;
  parameters: never;
  requestBodies: never;
  headers: never;
  pathItems: never;
}
export type Send = components["schemas"]["Send"];
export type Cancel = components["schemas"]["Cancel"];
export type Attach = components["schemas"]["Attach"];
export type Watch = components["schemas"]["Watch"];
export type Ping = components["schemas"]["Ping"];
export type RunQueued = components["schemas"]["RunQueued"];
export type RunStarted = components["schemas"]["RunStarted"];
export type RunDelta = components["schemas"]["RunDelta"];
export type RunRewound = components["schemas"]["RunRewound"];
export type RunCompleted = components["schemas"]["RunCompleted"];
export type UsageFields = components["schemas"]["UsageFields"];
export type RunFailed = components["schemas"]["RunFailed"];
export type RunCancelled = components["schemas"]["RunCancelled"];
export type Error = components["schemas"]["Error"];
export type Pong = components["schemas"]["Pong"];

export type Action =
  | Send
  | Cancel
  | Attach
  | Watch
  | Ping;

export type Event =
  | RunQueued
  | RunStarted
  | RunDelta
  | RunRewound
  | RunCompleted
  | RunFailed
  | RunCancelled
  | Error
  | Pong;
