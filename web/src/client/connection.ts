/**
 * One WebSocket kept alive: a ticket, a socket, pings, and a new one when it is gone.
 *
 * Owns when to connect and when to give a socket up. Reads no frame and knows
 * nothing of runs: what to say again on a new connection is its user's business.
 *
 *     stopped ──start──▶ connecting ──open──▶ open ──closed, silent or too old──┐
 *                          ▲   └──refused──▶ waiting ◀─────────────────────────┘
 *                          └──delay over, or wake()──┘
 */

import { type Backoff, spreadDelay_ms } from "./backoff";
import type { Clock, OpenSocket, Random, Socket } from "./ports";
import { encodeFrame } from "./wire";

export type ConnectionState = "stopped" | "connecting" | "open" | "waiting";

export interface ConnectionOptions {
  readonly wsUrl: string;
  readonly openSocket: OpenSocket;
  readonly clock: Clock;
  readonly random: Random;
  /** Rejects with an error whose `code` is "unauthorized" if the user must sign in again. */
  takeTicket(): Promise<string>;
  /** While true, silence is suspected sooner. */
  expectsFrames(): boolean;
  onState(state: ConnectionState): void;
  onText(text: string): void;
  onUnauthorized(): void;
}

const RECONNECT: Backoff = { first_ms: 1_000, most_ms: 30_000 };
const CONNECT_TIMEOUT_MS = 15_000;
const PONG_TIMEOUT_MS = 10_000;
/** A socket that lasted this long was a success: the next failure is a first one again. */
const STEADY_MS = 5_000;
/** API Gateway ends a connection after 10 silent minutes; ping well before. */
const IDLE_PING_MS = 240_000;
const EXPECTING_PING_MS = 30_000;
/** API Gateway ends a connection after 2 hours; go before, at a time of our own. */
const MAX_AGE_MS = 6_600_000;
const MAX_AGE_SPREAD_MS = 300_000;

export class Connection {
  private state: ConnectionState = "stopped";
  private socket: Socket | null = null;
  private failures = 0;
  /** Of the present try: what an earlier one still says is not listened to. */
  private generation = 0;
  private openedAt_ms = 0;
  private pingDue_ms = 0;
  private cancelTimer: () => void = () => undefined;
  private cancelAgeTimer: () => void = () => undefined;

  constructor(private readonly options: ConnectionOptions) {}

  get isOpen(): boolean {
    return this.state === "open";
  }

  start(): void {
    if (this.state === "stopped") void this.connect();
  }

  stop(): void {
    this.drop();
    this.failures = 0;
    this.enter("stopped");
  }

  /** The network is said to be back: do not sit out the delay. */
  wake(): void {
    if (this.state !== "waiting") return;
    this.cancelTimer();
    void this.connect();
  }

  /** False if there is no open connection; the text is then not kept. */
  send(text: string): boolean {
    if (this.socket === null || this.state !== "open") return false;
    this.socket.send(text);
    // What was said wants an answer, but speaking proves nothing: only ever bring the ping forward.
    if (this.options.clock.nowMs() + EXPECTING_PING_MS < this.pingDue_ms) {
      this.pingAfter(EXPECTING_PING_MS);
    }
    return true;
  }

  private enter(state: ConnectionState): void {
    if (this.state === state) return;
    this.state = state;
    this.options.onState(state);
  }

  private async connect(): Promise<void> {
    const generation = ++this.generation;
    this.enter("connecting");
    this.setTimer(CONNECT_TIMEOUT_MS, () => this.lost());
    let ticket: string;
    try {
      ticket = await this.options.takeTicket();
    } catch (error) {
      if (generation !== this.generation) return;
      if ((error as { code?: unknown }).code === "unauthorized") {
        this.stop();
        this.options.onUnauthorized();
      } else {
        this.retryLater();
      }
      return;
    }
    if (generation !== this.generation) return;
    const ifPresent = (action: () => void) => () => {
      if (generation === this.generation) action();
    };
    this.socket = this.options.openSocket(
      `${this.options.wsUrl}?ticket=${encodeURIComponent(ticket)}`,
      {
        onOpen: ifPresent(() => this.opened()),
        onText: (text) => {
          ifPresent(() => this.options.onText(text))();
          // Only now is it known whether more is expected.
          ifPresent(() => this.listen())();
        },
        onClose: ifPresent(() => this.lost()),
      },
    );
    this.setTimer(CONNECT_TIMEOUT_MS, () => this.lost());
  }

  private opened(): void {
    this.openedAt_ms = this.options.clock.nowMs();
    this.cancelAgeTimer = this.options.clock.after(
      MAX_AGE_MS + this.options.random() * MAX_AGE_SPREAD_MS,
      () => {
        this.drop();
        void this.connect();
      },
    );
    this.enter("open");
    this.listen();
  }

  /** Any frame proves the connection; after a while without one, ask for one. */
  private listen(): void {
    this.pingAfter(this.options.expectsFrames() ? EXPECTING_PING_MS : IDLE_PING_MS);
  }

  private pingAfter(delay_ms: number): void {
    this.pingDue_ms = this.options.clock.nowMs() + delay_ms;
    this.setTimer(delay_ms, () => {
      this.socket?.send(encodeFrame({ action: "ping" }));
      this.setTimer(PONG_TIMEOUT_MS, () => this.lost());
    });
  }

  private lost(): void {
    const wasSteady =
      this.state === "open" && this.options.clock.nowMs() - this.openedAt_ms >= STEADY_MS;
    if (wasSteady) this.failures = 0;
    this.drop();
    this.retryLater();
  }

  private retryLater(): void {
    this.enter("waiting");
    const delay_ms = spreadDelay_ms(RECONNECT, this.failures, this.options.random);
    this.failures += 1;
    this.setTimer(delay_ms, () => void this.connect());
  }

  /** Lets go of the socket, whose own close event then belongs to a past generation. */
  private drop(): void {
    this.generation += 1;
    this.cancelTimer();
    this.cancelAgeTimer();
    this.socket?.close();
    this.socket = null;
  }

  private setTimer(delay_ms: number, action: () => void): void {
    this.cancelTimer();
    this.cancelTimer = this.options.clock.after(delay_ms, action);
  }
}
