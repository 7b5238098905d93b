/**
 * What one open chat shows: stored messages, sends on their way, and answers in the making. Pure.
 *
 * A stored answer and a followed run are the same thing seen twice while the run ends; the run
 * wins, as it is newer. Must not touch the page or the network.
 */

import type { Message } from "../client/http";
import { type Transcript, isOver } from "../client/transcript";
import { sentenceFor, usageInWords, waitInWords } from "./words";

export interface Entry {
  readonly key: string;
  readonly role: "user" | "assistant";
  readonly text: string;
  readonly status: "sending" | "sent" | "queued" | "running" | "completed" | "failed" | "cancelled";
  /** How it ended, if that is worth a word. */
  readonly note: string | null;
  /** While it waits: why, and for how long. */
  readonly wait: string | null;
  /** Of an answer that has ended: what it took. */
  readonly usage: string | null;
}

interface OwnMessage {
  readonly messageId: string;
  readonly text: string;
  isAccepted: boolean;
}

interface FollowedAnswer {
  readonly transcript: Transcript;
  readonly stopping: boolean;
}

export class Thread {
  private stored: readonly Message[] = [];
  private olderCursor: string | null = null;
  private own: OwnMessage[] = [];
  private readonly answers = new Map<string, FollowedAnswer>();

  /** `chatId` is null until the first message of a new chat is taken. */
  constructor(public chatId: string | null) {}

  get cursor(): string | null {
    return this.olderCursor;
  }

  get active(): FollowedAnswer | null {
    for (const answer of this.answers.values()) {
      if (!isOver(answer.transcript.status)) return answer;
    }
    return null;
  }

  get isSending(): boolean {
    return this.own.some((message) => !message.isAccepted);
  }

  get lastAnswer(): Transcript | null {
    return [...this.answers.values()].at(-1)?.transcript ?? null;
  }

  /** Nothing has been said in it. */
  get isBlank(): boolean {
    return this.stored.length === 0 && this.own.length === 0;
  }

  get firstUserText(): string | null {
    const stored = this.stored.find((message) => message.role === "user");
    return stored?.text ?? this.own[0]?.text ?? null;
  }

  addOlder(messages: readonly Message[], cursor: string | null): void {
    this.stored = [...messages, ...this.stored];
    this.olderCursor = cursor;
  }

  /** The latest page, read for the first time or again; what was known already stays as it is. */
  addNewest(messages: readonly Message[], cursor: string | null): void {
    const known = new Set(this.stored.map((message) => message.message_id));
    const added = messages.filter((message) => !known.has(message.message_id));
    const isContinued = added.length < messages.length;
    this.stored = isContinued ? [...this.stored, ...added] : messages;
    if (!isContinued) this.olderCursor = cursor;
  }

  addSend(messageId: string, text: string): void {
    this.own.push({ messageId, text, isAccepted: false });
  }

  /** Takes a refused send out again. */
  takeBack(messageId: string): void {
    this.own = this.own.filter((message) => message.messageId !== messageId);
  }

  owns(transcript: Transcript): boolean {
    return (
      (this.chatId !== null && transcript.chatId === this.chatId) ||
      this.own.some((message) => message.messageId === transcript.messageId)
    );
  }

  knows(runId: string): boolean {
    return this.answers.has(runId);
  }

  /** Whether the question with this id is among its messages. */
  has(messageId: string): boolean {
    return (
      this.stored.some((message) => message.message_id === messageId) ||
      this.own.some((message) => message.messageId === messageId)
    );
  }

  setAnswer(transcript: Transcript, stopping: boolean): void {
    this.answers.set(transcript.runId, { transcript, stopping });
    for (const message of this.own) {
      if (message.messageId === transcript.messageId) message.isAccepted = true;
    }
  }

  dropAnswer(runId: string): boolean {
    return this.answers.delete(runId);
  }

  entries(): Entry[] {
    const entries: Entry[] = [];
    const unplaced = new Map(this.answers);
    const place = (messageId: string): void => {
      for (const [runId, answer] of unplaced) {
        if (answer.transcript.messageId !== messageId) continue;
        entries.push(answerEntry(answer));
        unplaced.delete(runId);
      }
    };
    for (const message of this.stored) {
      if (message.role === "user") {
        entries.push(entryOf(message));
        place(message.message_id);
      } else if (message.run_id === null || !this.answers.has(message.run_id)) {
        entries.push(entryOf(message));
      }
    }
    const storedIds = new Set(this.stored.map((message) => message.message_id));
    for (const message of this.own) {
      if (storedIds.has(message.messageId)) continue;
      entries.push({
        key: message.messageId,
        role: "user",
        text: message.text,
        status: message.isAccepted ? "sent" : "sending",
        note: null,
        wait: null,
        usage: null,
      });
      place(message.messageId);
    }
    for (const answer of unplaced.values()) entries.push(answerEntry(answer));
    return entries;
  }
}

/** Stored messages do not change: their entries are made once, and are known again by their identity. */
const STORED = new WeakMap<Message, Entry>();

function entryOf(message: Message): Entry {
  const known = STORED.get(message);
  if (known !== undefined) return known;
  const entry = newEntryOf(message);
  STORED.set(message, entry);
  return entry;
}

function newEntryOf(message: Message): Entry {
  const { finish_reason: reason } = message;
  const status = message.role === "user" ? "sent" : statusOf(reason);
  return {
    // An answer keeps its element while it turns from a run into a stored message.
    key: message.role === "assistant" && message.run_id ? message.run_id : message.message_id,
    role: message.role,
    text: message.text,
    status,
    note: message.role === "assistant" ? noteFor(status, reason, null) : null,
    wait: null,
    usage: message.usage === null ? null : usageInWords(message.usage),
  };
}

function statusOf(reason: Message["finish_reason"]): Entry["status"] {
  if (reason === "cancelled" || reason === "abandoned") return "cancelled";
  return reason === "failed" ? "failed" : "completed";
}

function answerEntry({ transcript, stopping }: FollowedAnswer): Entry {
  const { runId, status, text, finishReason, failure, wait, usage } = transcript;
  const finishedAnyway = stopping && status === "completed";
  return {
    key: runId,
    role: "assistant",
    text,
    // What pauses looks like what has not begun, with its text.
    status: wait === null ? status : "queued",
    note: finishedAnyway
      ? "The answer was finished before it could be stopped."
      : noteFor(status, finishReason, failure?.code ?? null),
    wait: wait === null ? null : waitInWords(wait),
    usage: usage === null ? null : usageInWords(usage),
  };
}

function noteFor(
  status: Entry["status"],
  reason: string | null,
  failureCode: string | null,
): string | null {
  if (reason === "abandoned") return "Stopped, as nobody was there to see it.";
  if (status === "cancelled") return "Stopped.";
  if (status === "failed") {
    return failureCode === null ? "The answer broke off here." : sentenceFor(failureCode);
  }
  return reason === "length" ? "The answer reached its greatest length." : null;
}
