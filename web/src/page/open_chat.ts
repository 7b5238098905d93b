/**
 * The chat that is open: which one, and what of it has been read.
 *
 * Owns the address, whose hash is the open chat's id, so that a reload comes back to it; and the order
 * in which a chat is read. What is said in it meanwhile comes from elsewhere.
 */

import type { ChatClient } from "../client/client";
import type { HttpApi } from "../client/http";
import type { PastChats } from "./past_chats";
import type { Problems } from "./problems";
import { Thread } from "./thread";
import { codeOf } from "./words";

export interface OpenChatOptions {
  readonly http: HttpApi;
  readonly client: ChatClient;
  readonly chats: PastChats;
  readonly problems: Problems;
  /** The chat's thread, with what is on its way in it. */
  threadOf(chatId: string | null): Thread;
  /** Another chat is open now. */
  opened(): void;
  changed(): void;
}

export class OpenChat {
  private current = new Thread(null);

  constructor(private readonly options: OpenChatOptions) {}

  get thread(): Thread {
    return this.current;
  }

  goTo(chatId: string | null): void {
    if (hashChatId() === chatId) void this.open(chatId);
    else location.hash = chatId ?? "";
  }

  /** The chat that the address names. */
  openNamed(): Promise<void> {
    return this.open(hashChatId());
  }

  /** The chat as it is now, with the run that is active in it. Rejects with a problem that has a code. */
  read(): Promise<void> {
    return this.readInto(this.current);
  }

  async loadOlder(): Promise<void> {
    const thread = this.current;
    const { chatId, cursor } = thread;
    if (chatId === null || cursor === null) return;
    const page = await this.options.http.messages(chatId, cursor);
    thread.addOlder(page.messages, page.next_cursor);
    this.messagesCame(thread);
  }

  /** The new chat of this thread has its id, whether it is open still or not. */
  begun(thread: Thread, chatId: string): void {
    thread.chatId = chatId;
    if (this.current !== thread) return;
    history.replaceState(null, "", `#${chatId}`);
    this.options.client.watch(chatId);
  }

  private async open(chatId: string | null): Promise<void> {
    const { client, problems } = this.options;
    const thread = this.options.threadOf(chatId);
    this.current = thread;
    client.watch(chatId);
    this.options.opened();
    await problems.acting(() => this.readInto(thread));
  }

  private async readInto(thread: Thread): Promise<void> {
    const { http, client, chats } = this.options;
    const { chatId } = thread;
    if (chatId === null) return;
    try {
      // In this order: a run that ends in between is then in the messages, and not lost.
      const chat = await http.chat(chatId);
      if (this.current !== thread) return;
      chats.put(chat);
      const page = await http.messages(chatId, null);
      thread.addNewest(page.messages, page.next_cursor);
      this.messagesCame(thread);
      if (this.current !== thread || chat.active_run === null) return;
      client.follow(chat.active_run.run_id, { chatId, messageId: chat.active_run.message_id });
    } catch (problem) {
      if (this.current !== thread) return;
      if (codeOf(problem) === "chat_not_found") {
        chats.forget(chatId);
        this.current = new Thread(null);
        client.watch(null);
        this.options.changed();
        history.replaceState(null, "", location.pathname);
      }
      throw problem;
    }
  }

  private messagesCame({ chatId, cursor, firstUserText }: Thread): void {
    if (chatId !== null && cursor === null && firstUserText !== null) {
      this.options.chats.begins(chatId, firstUserText);
    }
    this.options.changed();
  }
}

function hashChatId(): string | null {
  return location.hash.length > 1 ? decodeURIComponent(location.hash.slice(1)) : null;
}
