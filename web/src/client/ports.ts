/**
 * What the protocol client needs from its surroundings.
 *
 * The client is compiled without the DOM's types (`tsconfig.client.json`), so everything that
 * a browser offers reaches it through one of these.
 */

export interface Clock {
  nowMs(): number;
  /** Calls `action` once after `delay_ms`; the returned function takes it back. */
  after(delay_ms: number, action: () => void): () => void;
}

/** Uniform in [0, 1). */
export type Random = () => number;

export interface HttpReply {
  readonly ok: boolean;
  readonly status: number;
  text(): Promise<string>;
}

export type Fetch = (
  url: string,
  request: { method: string; headers: Record<string, string>; body?: string },
) => Promise<HttpReply>;

export interface Socket {
  send(text: string): void;
  close(): void;
}

export interface SocketEvents {
  onOpen(): void;
  onText(text: string): void;
  /** Also called when the connection could not be made. */
  onClose(): void;
}

export type OpenSocket = (url: string, events: SocketEvents) => Socket;

/** A send that has no answer yet. */
export interface KeptSend {
  readonly messageId: string;
  /** null: a new chat. */
  readonly chatId: string | null;
  readonly text: string;
}

/** Keeps sends until they are answered, so that they outlive the client that made them. */
export interface Outbox {
  keep(send: KeptSend): void;
  drop(messageId: string): void;
  /** Calls `take` once for each kept send that no other client is left to send, now and later. */
  takeOver(take: (send: KeptSend) => void): void;
}
