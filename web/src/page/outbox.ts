/**
 * Sends that have no answer yet, in the browser's storage, so that they outlive their tab.
 *
 * Owns whose they are. The tab that makes one holds its name until the tab is closed; the others wait for the
 * name, and the first of them takes over:
 *
 *     tab 1   keep ── says it, offline ── closed
 *     tab 2     └ waits for the name ───────┴ says it
 *
 * Tabs see each other's storage a little late, so two may say the same in the end: the server takes a
 * message's id once. Sends are one person's, and go when he signs out. A browser without storage keeps none.
 */

import type { KeptSend, Outbox } from "../client/ports";
import type { DraftStorage } from "./drafts";

const PREFIX = "chatcore.outbox.";

/** This tab among those of its browser that have the page open. */
export interface Tab {
  /** Calls `held` once no other tab holds the name; then this one does, until it is closed. */
  hold(name: string, held: () => void): void;
  /** Calls `look` when another tab has changed what is stored. */
  onStored(look: () => void): void;
}

/** As it is stored; order: a time of this machine's, in ms. */
interface Stored {
  readonly chat_id: string | null;
  readonly text: string;
  readonly order: number;
}

export class StoredOutbox implements Outbox {
  /** Their names are held by this tab, or waited for. */
  private readonly asked = new Set<string>();

  constructor(
    private readonly storage: DraftStorage,
    private readonly tab: Tab,
    private readonly now_ms: () => number,
  ) {}

  keep({ messageId, chatId, text }: KeptSend): void {
    this.asked.add(messageId);
    this.tab.hold(PREFIX + messageId, () => undefined);
    const stored: Stored = { chat_id: chatId, text, order: this.now_ms() };
    try {
      this.storage.setItem(PREFIX + messageId, JSON.stringify(stored));
    } catch {
      // The storage is full: it goes out as long as its tab is there.
    }
  }

  drop(messageId: string): void {
    this.storage.removeItem(PREFIX + messageId);
  }

  takeOver(take: (send: KeptSend) => void): void {
    const look = (): void => {
      for (const messageId of this.keptIds()) {
        if (this.asked.has(messageId)) continue;
        this.asked.add(messageId);
        this.tab.hold(PREFIX + messageId, () => {
          // Whoever held the name may have had an answer.
          const stored = this.read(messageId);
          if (stored !== null) take({ messageId, chatId: stored.chat_id, text: stored.text });
        });
      }
    };
    look();
    this.tab.onStored(look);
  }

  clear(): void {
    for (const key of this.keys()) this.storage.removeItem(key);
  }

  /** The oldest first. */
  private keptIds(): string[] {
    return this.keys()
      .map((key) => key.slice(PREFIX.length))
      .map((messageId) => ({ messageId, order: this.read(messageId)?.order ?? 0 }))
      .sort((a, b) => a.order - b.order)
      .map(({ messageId }) => messageId);
  }

  private keys(): string[] {
    return Array.from({ length: this.storage.length }, (_, at) => this.storage.key(at)).filter(
      (key): key is string => key?.startsWith(PREFIX) === true,
    );
  }

  private read(messageId: string): Stored | null {
    const text = this.storage.getItem(PREFIX + messageId);
    return text === null ? null : (JSON.parse(text) as Stored);
  }
}
