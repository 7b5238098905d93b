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
 *
 * An attempt may also be broken off and the run wait again. What is said of a wait carries the
 * epoch after which it began: whatever is heard of that epoch or an older one does not end it.
 */

import { afterCodePoints, firstCodePoints, lengthInCodePoints } from "./codepoints";
import type { Status } from "./generated/bodies";
import type { RunFrame, Usage } from "./wire";

export type RunStatus = Status;

export interface Failure {
  readonly code: string;
  readonly message: string;
}

export interface Wait {
  /** The attempt after which the run waits; 0 where it has had none. */
  readonly epoch: number;
  /** A stable word; a newer server may have others than this client knows. */
  readonly reason: string;
  /** How many runs are before it, where that is known. */
  readonly position: number | null;
  /** Until it starts, where that is known. */
  readonly estimate_s: number | null;
}

export interface Transcript {
  readonly runId: string;
  readonly chatId: string | null;
  /** The user's message that the run answers. */
  readonly messageId: string | null;
  readonly answerMessageId: string | null;
  /** Only goes forward: what pauses is still running, and waits. */
  readonly status: RunStatus;
  /** While the run is queued or paused, as far as it was told. */
  readonly wait: Wait | null;
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
    wait: null,
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
      return unchanged(waiting(transcript, frame));
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
        usage: frame.usage,
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

/** It may come late, from before an attempt that is known already. */
function waiting(
  transcript: Transcript,
  frame: Extract<RunFrame, { type: "run.queued" }>,
): Transcript {
  const { epoch, reason, position, estimate_s } = frame;
  const { wait } = transcript;
  if (epoch < Math.max(transcript.epoch, wait?.epoch ?? 0)) return transcript;
  const isKnown =
    wait?.epoch === epoch &&
    wait.reason === reason &&
    wait.position === position &&
    wait.estimate_s === estimate_s;
  return isKnown ? transcript : { ...transcript, wait: { epoch, reason, position, estimate_s } };
}

/** The run is running, by what was heard of this attempt. */
function running(transcript: Transcript, epoch: number): Transcript {
  const wait = transcript.wait !== null && epoch > transcript.wait.epoch ? null : transcript.wait;
  if (transcript.status === "running" && transcript.wait === wait) return transcript;
  return { ...transcript, status: "running", wait };
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
  return { transcript: running(next, frame.epoch), attachFrom: null };
}

function textCame(transcript: Transcript, frame: Extract<RunFrame, { type: "run.delta" }>): Step {
  if (frame.epoch < transcript.epoch) return unchanged(transcript);
  const next = running(inEpoch(transcript, frame.epoch), frame.epoch);
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

function withoutWait(transcript: Transcript): Transcript {
  return transcript.wait === null ? transcript : { ...transcript, wait: null };
}

/** The end is believed only once all text before it is here; the replay repeats it. */
function ended(
  transcript: Transcript,
  frame: Extract<RunFrame, { type: "run.completed" | "run.failed" | "run.cancelled" }>,
  outcome: Partial<Transcript> & { status: RunStatus },
): Step {
  if (frame.epoch < transcript.epoch) return unchanged(transcript);
  const known = withoutWait(inEpoch(transcript, frame.epoch));
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
