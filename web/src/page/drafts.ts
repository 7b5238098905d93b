/**
 * What was written and not sent, by chat, over reloads.
 *
 * Owns its place in the browser's storage and its end: drafts are one person's, and go when he signs
 * out. A browser without storage keeps none.
 */

const PREFIX = "chatcore.draft.";
const NEW_CHAT = "new";

/** The part of `Storage` that drafts need. */
export interface DraftStorage {
  readonly length: number;
  key(index: number): string | null;
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

export class Drafts {
  constructor(private readonly storage: DraftStorage) {}

  of(chatId: string | null): string {
    return this.storage.getItem(keyOf(chatId)) ?? "";
  }

  keep(chatId: string | null, text: string): void {
    try {
      if (text.trim() === "") this.storage.removeItem(keyOf(chatId));
      else this.storage.setItem(keyOf(chatId), text);
    } catch {
      // The storage is full: what is written stays on the page.
    }
  }

  clear(): void {
    const keys = Array.from({ length: this.storage.length }, (_, at) => this.storage.key(at));
    for (const key of keys) if (key?.startsWith(PREFIX)) this.storage.removeItem(key);
  }
}

function keyOf(chatId: string | null): string {
  return PREFIX + (chatId ?? NEW_CHAT);
}
