/**
 * One run's answer as this client knows it: frames in, text out. Pure.
 *
 * Owns the rule that rendered text equals committed text whatever order, repeats and losses the
 * frames come with. Must not know of sockets, time or the page.
 *
 * A run may be made by several attempts (epochs). A later attempt goes on from a checkpoint, so
 * what an earlier attempt streamed beyond that checkpoint is not part of the answer:
 *
 *     epoch 1   |=== checkpoint ===|---- streamed, then lost ----x
 *     epoch 2                      |==== what the answer really says ====>
 *                                  ^ run.started / run.rewound of epoch 2 carry this offset
 *
 * Text of one epoch is consistent at every offset. Across epochs only `durable` code points are
 * known to be kept, unless the new attempt follows directly on ours and says where it began.
 */

import { afterCodePoints, firstCodePoints, lengthInCodePoints } from "./codepoints";
import type { RunFrame, Usage } from "./wire";

export type RunStatus = "queued" | "running" | "completed" | "failed" | "cancelled";

export interface Failure {
  readonly code: string;
  readonly message: string;
}

export interface Transcript {
  readonly runId: string;
  readonly chatId: string | null;
  /** The user's message that the run answers. */
  readonly messageId: string | null;
  readonly answerMessageId: string | null;
  readonly status: RunStatus;
  /** The attempt whose text this is; 0 before any was heard of. */
  readonly epoch: number;
  readonly text: string;
  /** Of `text`, in code points. */
  readonly length: number;
  /** So many leading code points stay part of the answer in every later epoch. */
  readonly durable: number;
  readonly finishReason: string | null;
  readonly failure: Failure | null;
  readonly usage: Usage | null;
}

export interface Step {
  /** The very object that came in if the frame changed nothing. */
  readonly transcript: Transcript;
  /** Text is missing: ask the server to replay from this offset. */
  readonly attachFrom: number | null;
}

export function newTranscript(
  runId: string,
  known: { chatId?: string | null; messageId?: string | null } = {},
): Transcript {
  return {
    runId,
    chatId: known.chatId ?? null,
    messageId: known.messageId ?? null,
    answerMessageId: null,
    status: "queued",
    epoch: 0,
    text: "",
    length: 0,
    durable: 0,
    finishReason: null,
    failure: null,
    usage: null,
  };
}

export function isOver(status: RunStatus): boolean {
  return status === "completed" || status === "failed" || status === "cancelled";
}

export function applyFrame(before: Transcript, frame: RunFrame): Step {
  if (frame.run_id !== before.runId) return unchanged(before);
  // What the run answers is told by these alone, so even a late one is heard for that.
  const tellsIds = frame.type === "run.queued" || frame.type === "run.started";
  const transcript = tellsIds ? identified(before, frame) : before;
  if (isOver(transcript.status)) return unchanged(transcript);
  switch (frame.type) {
    case "run.queued":
      // Statuses only go forward: it may come late.
      return unchanged(transcript);
    case "run.started":
    case "run.rewound":
      return attemptBegan(transcript, frame);
    case "run.delta":
      return textCame(transcript, frame);
    case "run.completed":
      return ended(transcript, frame, {
        status: "completed",
        finishReason: frame.finish_reason,
        usage: frame.usage,
      });
    case "run.failed":
      return ended(transcript, frame, {
        status: "failed",
        failure: { code: frame.code, message: frame.message },
      });
    case "run.cancelled":
      return ended(transcript, frame, { status: "cancelled", usage: frame.usage });
  }
}

function unchanged(transcript: Transcript): Step {
  return { transcript, attachFrom: null };
}

function identified(
  transcript: Transcript,
  ids: { chat_id: string; message_id: string },
): Transcript {
  if (transcript.chatId === ids.chat_id && transcript.messageId === ids.message_id) {
    return transcript;
  }
  return { ...transcript, chatId: ids.chat_id, messageId: ids.message_id };
}

function cutTo(transcript: Transcript, length: number): Transcript {
  if (length >= transcript.length) return transcript;
  return {
    ...transcript,
    text: firstCodePoints(transcript.text, length),
    length,
    durable: Math.min(transcript.durable, length),
  };
}

/** Follows a newer epoch of which nothing is known but its number. */
function inEpoch(transcript: Transcript, epoch: number): Transcript {
  if (epoch === transcript.epoch) return transcript;
  return { ...cutTo(transcript, transcript.durable), epoch };
}

function attemptBegan(
  transcript: Transcript,
  frame: Extract<RunFrame, { type: "run.started" | "run.rewound" }>,
): Step {
  if (frame.epoch < transcript.epoch) return unchanged(transcript);
  let next = transcript;
  if (frame.epoch === transcript.epoch) {
    // A start that is heard again (attach answers with it) takes nothing back.
    if (frame.type === "run.rewound") next = cutTo(next, frame.offset);
  } else if (frame.epoch === transcript.epoch + 1) {
    const kept = cutTo(next, frame.offset);
    next = { ...kept, epoch: frame.epoch, durable: kept.length };
  } else {
    // An attempt in between was missed: it may have replaced what lies before this offset.
    next = inEpoch(next, frame.epoch);
    next = cutTo(next, frame.offset);
  }
  if (next.status !== "running") next = { ...next, status: "running" };
  return { transcript: next, attachFrom: null };
}

function textCame(transcript: Transcript, frame: Extract<RunFrame, { type: "run.delta" }>): Step {
  if (frame.epoch < transcript.epoch) return unchanged(transcript);
  let next = inEpoch(transcript, frame.epoch);
  if (next.status !== "running") next = { ...next, status: "running" };
  if (frame.offset > next.length) return { transcript: next, attachFrom: next.length };
  const added = afterCodePoints(frame.text, next.length - frame.offset);
  if (added === "") return unchanged(next);
  return {
    transcript: {
      ...next,
      text: next.text + added,
      length: next.length + lengthInCodePoints(added),
    },
    attachFrom: null,
  };
}

/** The end is believed only once all text before it is here; the replay repeats it. */
function ended(
  transcript: Transcript,
  frame: Extract<RunFrame, { type: "run.completed" | "run.failed" | "run.cancelled" }>,
  outcome: Partial<Transcript> & { status: RunStatus },
): Step {
  if (frame.epoch < transcript.epoch) return unchanged(transcript);
  const known = inEpoch(transcript, frame.epoch);
  if (frame.length > known.length) return { transcript: known, attachFrom: known.length };
  return {
    transcript: {
      ...cutTo(known, frame.length),
      ...outcome,
      chatId: frame.chat_id,
      answerMessageId: frame.message_id,
    },
    attachFrom: null,
  };
}
