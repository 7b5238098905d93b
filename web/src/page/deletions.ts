/**
 * A chat that was deleted and may still come back: for some seconds, one at a time.
 *
 * Owns the time until the server is told. A deletion that was told cannot be undone, since everything of
 * the chat is removed; so it is told late, or at once when the page goes.
 */

import type { Chat } from "../client/http";
import type { Clock } from "../client/ports";

export const UNDO_MS = 6_000;

export class Deletions {
  private pending: Chat | null = null;
  private cancelTimer: () => void = () => undefined;

  /** `tell` is called once for each chat that was not taken back; `changed` when the pending one does. */
  constructor(
    private readonly clock: Clock,
    private readonly tell: (chat: Chat) => void,
    private readonly changed: (pending: Chat | null) => void,
  ) {}

  put(chat: Chat): void {
    this.flush();
    this.pending = chat;
    this.cancelTimer = this.clock.after(UNDO_MS, () => this.flush());
    this.changed(chat);
  }

  /** The chat that is not deleted after all. */
  undo(): Chat | null {
    const chat = this.pending;
    this.end();
    return chat;
  }

  /** Tells the server now. */
  flush(): void {
    const chat = this.pending;
    this.end();
    if (chat !== null) this.tell(chat);
  }

  holds(chatId: string): boolean {
    return this.pending?.chat_id === chatId;
  }

  private end(): void {
    this.cancelTimer();
    if (this.pending === null) return;
    this.pending = null;
    this.changed(null);
  }
}
