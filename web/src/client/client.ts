/**
 * The protocol client: sends, follows and cancels runs over a connection that may come and go.
 *
 * Owns what is still unanswered and when it is said again; a send that is unanswered when its client
 * ends is kept in the outbox, for the next one. What a frame does to a run's text is
 * `transcript.ts`'s business; sockets and tickets are `connection.ts`'s. Whatever happens is told
 * to one listener as a `ClientEvent`.
 */

import { type Backoff, patientDelay_ms } from "./backoff";
import { Connection, type ConnectionState } from "./connection";
import type { Clock, KeptSend, OpenSocket, Outbox, Random } from "./ports";
import { type Transcript, applyFrame, isOver, newTranscript } from "./transcript";
import { type ErrorFrame, type RunFrame, encodeFrame, fitsInFrame, isOfGateway, readFrame } from "./wire";

export type ClientEvent =
  | { readonly kind: "connection"; readonly state: ConnectionState }
  /** The run was first heard of, or what is known of it changed. */
  | { readonly kind: "run"; readonly run: Transcript; readonly stopping: boolean }
  /** A send that a client before this one has made; it may have been taken already. */
  | { readonly kind: "send_taken_over"; readonly send: KeptSend }
  | { readonly kind: "send_rejected"; readonly messageId: string; readonly problem: Problem }
  /** The server knows no such run: it is followed no more. */
  | { readonly kind: "run_lost"; readonly runId: string; readonly problem: Problem }
  /** The server complained about nothing in particular. */
  | { readonly kind: "problem"; readonly problem: Problem }
  | { readonly kind: "unauthorized" };

export interface Problem {
  readonly code: string;
  readonly message: string;
  /** When trying again makes sense, as an RFC 3339 time. */
  readonly retryAt: string | null;
}

export interface ClientOptions {
  readonly wsUrl: string;
  readonly openSocket: OpenSocket;
  readonly clock: Clock;
  readonly random: Random;
  readonly outbox: Outbox;
  /** A new id matching `[A-Za-z0-9_-]{8,64}`, unique for this user. */
  newMessageId(): string;
  takeTicket(): Promise<string>;
  onEvent(event: ClientEvent): void;
}

interface UnansweredSend {
  readonly frame: string;
  tries: number;
  refusals: number;
  due_ms: number;
}

interface FollowedRun {
  transcript: Transcript;
  attach: {
    /** Without an answer yet. */
    tries: number;
    /** Of the last one, as long as it has no answer. */
    offset: number | null;
    due_ms: number;
  };
  cancel: { tries: number; due_ms: number } | null;
}

const RESEND: Backoff = { first_ms: 8_000, most_ms: 60_000 };
const REFUSED_RESEND: Backoff = { first_ms: 1_000, most_ms: 30_000 };
/** Refusals that the same send may get past; it may even have been taken, so its id must stay. */
const PASSING_CODES: ReadonlySet<string> = new Set(["busy", "internal_error"]);
/** A refusal is an answer: after so many of them the user should know. */
const MAX_REFUSALS = 5;
const REATTACH: Backoff = { first_ms: 5_000, most_ms: 120_000 };
const RECANCEL: Backoff = { first_ms: 5_000, most_ms: 30_000 };
/** A server that wants to be asked sooner is not believed. */
const SOONEST_LOOK_MS = 1_000;
/** A run that says nothing for so long may have lost its worker, or a frame that was its last. */
const SILENCE_MS = 30_000;

export class ChatClient {
  private readonly connection: Connection;
  private readonly sends = new Map<string, UnansweredSend>();
  private readonly runs = new Map<string, FollowedRun>();
  /** The chat that is open, if the server is to tell of each of its runs. */
  private watched: { chatId: string; refusals: number; due_ms: number } | null = null;
  /** Where the server has noted this connection, by a watch or by a send. */
  private readonly notedIn = new Set<string>();
  private cancelTimer: () => void = () => undefined;

  constructor(private readonly options: ClientOptions) {
    this.connection = new Connection({
      wsUrl: options.wsUrl,
      openSocket: options.openSocket,
      clock: options.clock,
      random: options.random,
      takeTicket: () => options.takeTicket(),
      expectsFrames: () => this.sends.size > 0 || this.activeRuns().length > 0,
      onState: (state) => {
        if (state === "open") this.sayEverythingAgain();
        options.onEvent({ kind: "connection", state });
      },
      onText: (text) => this.received(text),
      onUnauthorized: () => options.onEvent({ kind: "unauthorized" }),
    });
  }

  start(): void {
    this.connection.start();
    this.options.outbox.takeOver((send) => this.takeOver(send));
  }

  /** Ends the connection and forgets everything; the runs themselves go on, and the outbox keeps its own. */
  stop(): void {
    this.cancelTimer();
    this.sends.clear();
    this.runs.clear();
    this.watched = null;
    this.connection.stop();
  }

  wake(): void {
    this.connection.wake();
  }

  /** Sends a message (to a new chat if `chatId` is null) and answers with the id it made for it. */
  send(chatId: string | null, text: string): string {
    const messageId = this.options.newMessageId();
    const kept: KeptSend = { messageId, chatId, text };
    const frame = frameOf(kept);
    if (!fitsInFrame(frame)) {
      this.options.clock.after(0, () =>
        this.reject(messageId, {
          code: "text_too_long",
          message: "The message is too long.",
          retryAt: null,
        }),
      );
      return messageId;
    }
    // Before it is said: whatever ends this client in between, the next one says it.
    this.options.outbox.keep(kept);
    this.begin(messageId, frame);
    return messageId;
  }

  /** Follows a run that was not begun here, from its beginning, and tells what is known of it. */
  follow(runId: string, known: { chatId: string; messageId: string }): void {
    let followed = this.runs.get(runId);
    if (followed === undefined) {
      followed = this.meet(newTranscript(runId, known));
      this.sayAttach(followed);
      this.arm();
    }
    this.tellRun(followed);
  }

  /** Be told of each run of this chat from its beginning, whichever device sends; of no chat if null. */
  watch(chatId: string | null): void {
    this.watched = chatId === null ? null : { chatId, refusals: 0, due_ms: Infinity };
    this.sayWatch();
    this.arm();
  }

  cancel(runId: string): void {
    const followed = this.runs.get(runId);
    if (followed === undefined || isOver(followed.transcript.status) || followed.cancel) return;
    followed.cancel = { tries: 0, due_ms: 0 };
    this.sayCancel(followed);
    this.arm();
    this.tellRun(followed);
  }

  private takeOver(kept: KeptSend): void {
    if (this.sends.has(kept.messageId)) return;
    this.begin(kept.messageId, frameOf(kept));
    this.options.onEvent({ kind: "send_taken_over", send: kept });
  }

  private begin(messageId: string, frame: string): void {
    const send: UnansweredSend = { frame, tries: 0, refusals: 0, due_ms: 0 };
    this.sends.set(messageId, send);
    this.saySend(send);
    this.arm();
  }

  /** Answers whether it was waited for. */
  private answered(messageId: string): boolean {
    this.options.outbox.drop(messageId);
    return this.sends.delete(messageId);
  }

  private meet(transcript: Transcript): FollowedRun {
    const followed: FollowedRun = {
      transcript,
      attach: { tries: 0, offset: null, due_ms: this.now_ms + SILENCE_MS },
      cancel: null,
    };
    this.runs.set(transcript.runId, followed);
    return followed;
  }

  private received(text: string): void {
    const frame = readFrame(text);
    if (frame === null) {
      if (!isOfGateway(text)) return;
      this.askAgainSooner();
    } else if (frame.type === "error") {
      this.complained(frame);
    } else if (frame.type !== "pong") {
      this.heard(frame);
    }
    this.arm();
  }

  /** Something that was said did not get through, and it is not told what. */
  private askAgainSooner(): void {
    const soon_ms = (tries: number): number =>
      this.now_ms + patientDelay_ms(REFUSED_RESEND, tries - 1, this.options.random);
    if (this.watched !== null) {
      this.notedIn.delete(this.watched.chatId);
      this.watched.due_ms = soon_ms(1);
    }
    for (const send of this.sends.values()) {
      if (send.tries > 0) send.due_ms = Math.min(send.due_ms, soon_ms(send.tries));
    }
    for (const { attach, cancel } of this.activeRuns()) {
      if (attach.offset !== null) attach.due_ms = Math.min(attach.due_ms, soon_ms(attach.tries));
      if (cancel !== null) cancel.due_ms = Math.min(cancel.due_ms, soon_ms(cancel.tries));
    }
  }

  private heard(frame: RunFrame): void {
    const followed = this.runs.get(frame.run_id) ?? this.meet(newTranscript(frame.run_id));
    const before = followed.transcript;
    const step = applyFrame(before, frame);
    followed.transcript = step.transcript;
    if (frame.type === "run.queued" && step.transcript.wait?.epoch === frame.epoch) {
      // Also where it says the same as before: it has been asked, and is asked again later.
      const look_ms = Math.max(SOONEST_LOOK_MS, frame.look_again_s * 1_000);
      followed.attach = { tries: 0, offset: null, due_ms: this.now_ms + look_ms };
    } else if (step.attachFrom !== null) {
      // The same gap shows with every frame until the replay comes; it is asked for once.
      if (followed.attach.offset !== step.attachFrom) this.sayAttach(followed);
    } else if (step.transcript !== before) {
      followed.attach = { tries: 0, offset: null, due_ms: this.now_ms + SILENCE_MS };
    }
    // A send is answered by any frame that names its message; a repeated one, by a whole replay.
    if (frame.type === "run.queued" || frame.type === "run.started") {
      // Whoever sends into a chat watches it.
      if (this.answered(frame.message_id)) this.notedIn.add(frame.chat_id);
    }
    if (step.transcript !== before) this.tellRun(followed);
  }

  private complained(frame: ErrorFrame): void {
    const problem: Problem = {
      code: frame.code,
      message: frame.message,
      retryAt: frame.retry_at,
    };
    // An older server, as after a step back, which does not watch chats: nobody has to hear of it.
    if (frame.code === "action_unknown") return;
    if (frame.ref === null) {
      this.options.onEvent({ kind: "problem", problem });
      return;
    }
    const send = this.sends.get(frame.ref);
    if (send !== undefined) {
      send.refusals += 1;
      if (PASSING_CODES.has(frame.code) && send.refusals < MAX_REFUSALS) {
        send.due_ms =
          this.now_ms + patientDelay_ms(REFUSED_RESEND, send.refusals - 1, this.options.random);
      } else {
        this.reject(frame.ref, problem);
      }
    } else if (frame.ref === this.watched?.chatId) {
      this.notedIn.delete(frame.ref);
      this.watched.refusals += 1;
      const again_ms = patientDelay_ms(
        REFUSED_RESEND,
        this.watched.refusals - 1,
        this.options.random,
      );
      // A chat that is not there is found so by whoever reads it.
      this.watched.due_ms = PASSING_CODES.has(frame.code) ? this.now_ms + again_ms : Infinity;
    } else if (frame.code === "run_not_found" && this.runs.delete(frame.ref)) {
      // Anything else that was asked of a run is asked again when it falls due.
      this.options.onEvent({ kind: "run_lost", runId: frame.ref, problem });
    }
  }

  private reject(messageId: string, problem: Problem): void {
    this.answered(messageId);
    this.options.onEvent({ kind: "send_rejected", messageId, problem });
  }

  private tellRun(followed: FollowedRun): void {
    this.options.onEvent({
      kind: "run",
      run: followed.transcript,
      stopping: followed.cancel !== null,
    });
  }

  private sayEverythingAgain(): void {
    this.notedIn.clear();
    this.sayWatch();
    for (const send of this.sends.values()) this.saySend(send);
    for (const followed of this.activeRuns()) {
      this.sayAttach(followed);
      if (followed.cancel) this.sayCancel(followed);
    }
    this.arm();
  }

  private saySend(send: UnansweredSend): void {
    if (!this.connection.send(send.frame)) return;
    send.tries += 1;
    send.due_ms = this.now_ms + patientDelay_ms(RESEND, send.tries - 1, this.options.random);
  }

  private sayWatch(): void {
    const { watched } = this;
    if (watched === null) return;
    watched.due_ms = Infinity;
    if (this.notedIn.has(watched.chatId)) return;
    if (!this.connection.send(encodeFrame({ action: "watch", chat_id: watched.chatId }))) return;
    this.notedIn.add(watched.chatId);
  }

  private sayAttach(followed: FollowedRun): void {
    const { runId, length, epoch } = followed.transcript;
    const frame = encodeFrame({ action: "attach", run_id: runId, offset: length, epoch });
    if (!this.connection.send(frame)) return;
    const tries = followed.attach.tries + 1;
    const wait_ms = patientDelay_ms(REATTACH, tries - 1, this.options.random);
    followed.attach = { tries, offset: length, due_ms: this.now_ms + wait_ms };
  }

  private sayCancel(followed: FollowedRun): void {
    const { cancel, transcript } = followed;
    if (cancel === null) return;
    if (!this.connection.send(encodeFrame({ action: "cancel", run_id: transcript.runId }))) return;
    cancel.tries += 1;
    cancel.due_ms = this.now_ms + patientDelay_ms(RECANCEL, cancel.tries - 1, this.options.random);
  }

  /** One timer, for whatever falls due first; without a connection everything waits for one. */
  private arm(): void {
    this.cancelTimer();
    const dues_ms = [...this.sends.values()].map((send) => send.due_ms);
    if (this.watched !== null) dues_ms.push(this.watched.due_ms);
    for (const followed of this.activeRuns()) {
      dues_ms.push(followed.attach.due_ms);
      if (followed.cancel) dues_ms.push(followed.cancel.due_ms);
    }
    const due_ms = Math.min(...dues_ms);
    if (due_ms === Infinity || !this.connection.isOpen) return;
    const delay_ms = Math.max(0, due_ms - this.now_ms);
    this.cancelTimer = this.options.clock.after(delay_ms, () => this.fellDue());
  }

  private fellDue(): void {
    const now_ms = this.now_ms;
    if (this.watched !== null && this.watched.due_ms <= now_ms) this.sayWatch();
    for (const send of this.sends.values()) if (send.due_ms <= now_ms) this.saySend(send);
    for (const followed of this.activeRuns()) {
      if (followed.attach.due_ms <= now_ms) this.sayAttach(followed);
      if (followed.cancel && followed.cancel.due_ms <= now_ms) this.sayCancel(followed);
    }
    this.arm();
  }

  private activeRuns(): FollowedRun[] {
    return [...this.runs.values()].filter(({ transcript }) => !isOver(transcript.status));
  }

  private get now_ms(): number {
    return this.options.clock.nowMs();
  }
}

function frameOf({ messageId, chatId, text }: KeptSend): string {
  return encodeFrame({ action: "send", chat_id: chatId, message_id: messageId, text });
}
