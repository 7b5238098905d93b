/**
 * What chats are called: as the server says, else by their first words.
 *
 * Owns the first words as far as they are known here, and when to look whether the server has named a chat,
 * which it does some time after the first answer.
 */

import type { Chat } from "../client/http";
import type { Clock } from "../client/ports";
import { firstWords } from "./words";

/** After a first answer. */
const LOOKS_MS = [1_000, 3_000, 10_000];

export class Titles {
  private readonly known = new Map<string, string>();
  private readonly awaited = new Set<string>();

  constructor(
    private readonly clock: Clock,
    private readonly read: (chatId: string) => Promise<Chat>,
    private readonly isListed: (chatId: string) => boolean,
    private readonly named: (chat: Chat) => void,
  ) {}

  of(chat: Chat): string {
    return chat.title ?? this.known.get(chat.chat_id) ?? "New chat";
  }

  /** The chat's first message is known. */
  begins(chatId: string, text: string): void {
    this.known.set(chatId, firstWords(text));
  }

  /** The chat has been answered: if it has no name, it is about to be given one. */
  answered({ chat_id: chatId, title }: Chat): void {
    if (title !== null || this.awaited.has(chatId)) return;
    this.awaited.add(chatId);
    this.look(chatId, LOOKS_MS);
  }

  private look(chatId: string, looks_ms: readonly number[]): void {
    const [pause_ms, ...later_ms] = looks_ms;
    if (pause_ms === undefined) {
      this.awaited.delete(chatId);
      return;
    }
    const came = (chat: Chat) => {
      if (chat.title === null) this.look(chatId, later_ms);
      else this.named(chat);
    };
    this.clock.after(pause_ms, () => {
      // One that is deleted meanwhile is not asked for.
      if (!this.isListed(chatId)) this.awaited.delete(chatId);
      // Whatever fails here, the chat has its first words for a title.
      else void this.read(chatId).then(came, () => undefined);
    });
  }
}
