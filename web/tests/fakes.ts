/** A clock, sockets and frames for tests. The fake socket neither limits nor reorders frames. */

import { ChatClient, type ClientEvent, type ClientOptions } from "../src/client/client";
import type { Clock, KeptSend, Outbox, SocketEvents } from "../src/client/ports";
import type { RunFrame } from "../src/client/wire";
import type { DraftStorage } from "../src/page/drafts";

export class FakeClock implements Clock {
  private now_ms = 0;
  private timers: { due_ms: number; action: () => void }[] = [];

  nowMs(): number {
    return this.now_ms;
  }

  after(delay_ms: number, action: () => void): () => void {
    const timer = { due_ms: this.now_ms + delay_ms, action };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }

  /** Lets time pass, and promises settle before and after every timer. */
  async pass(delay_ms: number): Promise<void> {
    const end_ms = this.now_ms + delay_ms;
    for (;;) {
      await settled();
      const next = this.timers
        .filter((timer) => timer.due_ms <= end_ms)
        .sort((a, b) => a.due_ms - b.due_ms)[0];
      if (next === undefined) break;
      this.timers = this.timers.filter((other) => other !== next);
      this.now_ms = Math.max(this.now_ms, next.due_ms);
      next.action();
    }
    this.now_ms = end_ms;
  }
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

export class FakeSocket {
  readonly said: Record<string, unknown>[] = [];
  isClosed = false;

  constructor(
    readonly url: string,
    readonly events: SocketEvents,
  ) {}

  send(text: string): void {
    this.said.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    this.isClosed = true;
  }

  hears(frame: Record<string, unknown>): void {
    this.events.onText(JSON.stringify(frame));
  }

  actions(name: string): Record<string, unknown>[] {
    return this.said.filter((frame) => frame["action"] === name);
  }
}

/** Has one client at a time. */
export class FakeOutbox implements Outbox {
  readonly kept = new Map<string, KeptSend>();

  keep(send: KeptSend): void {
    this.kept.set(send.messageId, send);
  }

  drop(messageId: string): void {
    this.kept.delete(messageId);
  }

  takeOver(take: (send: KeptSend) => void): void {
    for (const send of this.kept.values()) take(send);
  }
}

export class FakeStorage implements DraftStorage {
  readonly entries = new Map<string, string>();
  isFull = false;

  get length(): number {
    return this.entries.size;
  }

  key(index: number): string | null {
    return [...this.entries.keys()][index] ?? null;
  }

  getItem(key: string): string | null {
    return this.entries.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    if (this.isFull) throw new Error("QuotaExceededError");
    this.entries.set(key, value);
  }

  removeItem(key: string): void {
    this.entries.delete(key);
  }
}

export interface Stage {
  readonly client: ChatClient;
  readonly clock: FakeClock;
  readonly sockets: FakeSocket[];
  readonly events: ClientEvent[];
  socket(): FakeSocket;
  /** Starts the client and opens its socket. */
  open(): Promise<FakeSocket>;
  textOf(runId: string): string | undefined;
}

export function stage(overrides: Partial<ClientOptions> = {}): Stage {
  const clock = new FakeClock();
  const sockets: FakeSocket[] = [];
  const events: ClientEvent[] = [];
  let messages = 0;
  let tickets = 0;
  const client = new ChatClient({
    wsUrl: "wss://ws.test/live",
    openSocket: (url, socketEvents) => {
      const socket = new FakeSocket(url, socketEvents);
      sockets.push(socket);
      return socket;
    },
    clock,
    random: () => 0.5,
    outbox: new FakeOutbox(),
    newMessageId: () => `message-${(messages += 1)}`,
    takeTicket: async () => `ticket/${(tickets += 1)}`,
    onEvent: (event) => events.push(event),
    ...overrides,
  });
  const socket = (): FakeSocket => {
    const last = sockets.at(-1);
    if (last === undefined) throw new Error("no socket was opened");
    return last;
  };
  return {
    client,
    clock,
    sockets,
    events,
    socket,
    async open() {
      client.start();
      await clock.pass(0);
      socket().events.onOpen();
      return socket();
    },
    textOf(runId) {
      const last = events.findLast((event) => event.kind === "run" && event.run.runId === runId);
      return last?.kind === "run" ? last.run.text : undefined;
    },
  };
}

type Waiting = Pick<
  Extract<RunFrame, { type: "run.queued" }>,
  "reason" | "position" | "estimate_s" | "look_again_s"
>;

const RUN = { run_id: "run-1" } as const;
const CHAT = { ...RUN, chat_id: "chat-1" } as const;

export const frames = {
  queued: (epoch = 0, wait: Partial<Waiting> = {}, message_id = "message-1"): RunFrame => ({
    type: "run.queued",
    ...CHAT,
    message_id,
    epoch,
    reason: "busy",
    position: 12,
    estimate_s: 8.5,
    look_again_s: 7,
    ...wait,
  }),
  started: (epoch: number, offset: number, message_id = "message-1"): RunFrame => ({
    type: "run.started",
    ...CHAT,
    message_id,
    epoch,
    offset,
  }),
  delta: (epoch: number, offset: number, text: string): RunFrame => ({
    type: "run.delta",
    ...RUN,
    epoch,
    offset,
    text,
  }),
  rewound: (epoch: number, offset: number): RunFrame => ({
    type: "run.rewound",
    ...RUN,
    epoch,
    offset,
  }),
  completed: (epoch: number, length: number): RunFrame => ({
    type: "run.completed",
    ...CHAT,
    message_id: "answer-1",
    epoch,
    length,
    usage: { input_tokens: 1, cached_tokens: 0, output_tokens: 2 },
    finish_reason: "stop",
  }),
  cancelled: (epoch: number, length: number): RunFrame => ({
    type: "run.cancelled",
    ...CHAT,
    message_id: null,
    epoch,
    length,
    usage: null,
  }),
  failed: (epoch: number, length: number): RunFrame => ({
    type: "run.failed",
    ...CHAT,
    message_id: null,
    epoch,
    length,
    code: "engine_error",
    message: "The engine failed.",
    usage: null,
  }),
};
