/**
 * The chats that the sidebar lists, latest activity first. Pure.
 *
 * Read page by page, and the first page again later: then a chat that is not in it was deleted
 * elsewhere, unless it is older than the page or came to the list while the page was on its way.
 */

import type { Chat, ChatPage } from "../client/http";

/** What was listed when a page was asked for. */
export type Listed = ReadonlySet<string>;

export class ChatList {
  private chats: readonly Chat[] = [];
  private olderCursor: string | null = null;

  get all(): readonly Chat[] {
    return this.chats;
  }

  /** Of the next page; null at the end of the list. */
  get cursor(): string | null {
    return this.olderCursor;
  }

  get listed(): Listed {
    return new Set(this.chats.map((chat) => chat.chat_id));
  }

  find(chatId: string | null): Chat | undefined {
    return this.chats.find((chat) => chat.chat_id === chatId);
  }

  put(chat: Chat): void {
    this.set([...this.without(chat.chat_id), chat]);
  }

  remove(chatId: string): void {
    this.chats = this.without(chatId);
  }

  /** The first page, asked for when `before` was listed. */
  addNewest(page: ChatPage, before: Listed): void {
    const last = page.chats.at(-1);
    const isBehind = (chat: Chat): boolean =>
      page.next_cursor !== null && last !== undefined && latestFirst(last, chat) < 0;
    const hadOlder = this.olderCursor !== null && this.chats.some(isBehind);
    const kept = this.chats.filter((chat) => isBehind(chat) || !before.has(chat.chat_id));
    this.merge(kept, page.chats);
    if (!hadOlder) this.olderCursor = page.next_cursor;
  }

  addOlder(page: ChatPage): void {
    this.merge(this.chats, page.chats);
    this.olderCursor = page.next_cursor;
  }

  private merge(kept: readonly Chat[], read: readonly Chat[]): void {
    const fresh = new Set(read.map((chat) => chat.chat_id));
    this.set([...kept.filter((chat) => !fresh.has(chat.chat_id)), ...read]);
  }

  private set(chats: readonly Chat[]): void {
    this.chats = [...chats].sort(latestFirst);
  }

  private without(chatId: string): readonly Chat[] {
    return this.chats.filter((chat) => chat.chat_id !== chatId);
  }
}

/** RFC 3339 times of one form sort as text. */
function latestFirst(a: Chat, b: Chat): number {
  if (a.last_active_at === b.last_active_at) return 0;
  return a.last_active_at > b.last_active_at ? -1 : 1;
}
