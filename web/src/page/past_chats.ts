/**
 * The chats there are: read page by page, named, renamed, and deleted with a moment to take it back.
 *
 * Owns what is known of them here. Which one is open, and what is said in it, is not its business.
 */

import type { Chat, ChatPage, HttpApi } from "../client/http";
import { ChatList } from "./chat_list";
import { Deletions } from "./deletions";
import { part, setText } from "./elements";
import type { OtherTabs } from "./other_tabs";
import type { Problems } from "./problems";
import { clock } from "./surroundings";
import { Titles } from "./titles";
import { codeOf } from "./words";

export interface PastChatsOptions {
  readonly http: HttpApi;
  readonly problems: Problems;
  readonly otherTabs: OtherTabs;
  /** What is listed, or how it is called, is another now. */
  changed(): void;
  /** The deletion of a chat was told, and cannot be taken back. */
  gone(chatId: string): void;
  /** A deletion was taken back. */
  cameBack(chatId: string): void;
}

export class PastChats {
  private readonly list = new ChatList();
  private readonly titles: Titles;
  private readonly deletions: Deletions;
  private readonly toast = part("toast", HTMLElement);
  private readonly toastText = part("toast-text", HTMLElement);

  constructor(private readonly options: PastChatsOptions) {
    const { http, problems } = options;
    this.titles = new Titles(
      clock,
      (chatId) => http.chat(chatId),
      (chatId) => this.find(chatId) !== undefined,
      (chat) => this.put(chat),
    );
    this.deletions = new Deletions(
      clock,
      (chat) => void problems.trying(() => this.tellDeletion(chat)),
      (chat) => this.showDeletion(chat),
    );
    part("undo-delete", HTMLButtonElement).addEventListener("click", () => this.undoDelete());
    window.addEventListener("pagehide", () => this.flush());
  }

  get all(): readonly Chat[] {
    return this.list.all;
  }

  get hasMore(): boolean {
    return this.list.cursor !== null;
  }

  find(chatId: string | null): Chat | undefined {
    return this.list.find(chatId);
  }

  titleOf(chat: Chat): string {
    return this.titles.of(chat);
  }

  async loadNewest(): Promise<void> {
    const before = this.list.listed;
    const page = await this.options.http.chats(null);
    this.list.addNewest(this.withoutDeleted(page), before);
    this.options.changed();
  }

  async loadOlder(): Promise<void> {
    if (this.list.cursor === null) return;
    const page = await this.options.http.chats(this.list.cursor);
    this.list.addOlder(this.withoutDeleted(page));
    this.options.changed();
  }

  put(chat: Chat): void {
    if (this.deletions.holds(chat.chat_id)) return;
    this.list.put(chat);
    this.options.changed();
  }

  forget(chatId: string): void {
    this.list.remove(chatId);
    this.options.changed();
  }

  moveToTop(chatId: string): void {
    const chat = this.find(chatId);
    if (chat) this.put({ ...chat, last_active_at: new Date().toISOString() });
  }

  /** The chat's first message is known. */
  begins(chatId: string, text: string): void {
    this.titles.begins(chatId, text);
  }

  answered(chatId: string): void {
    const chat = this.find(chatId);
    if (chat) this.titles.answered(chat);
  }

  async rename(chatId: string, title: string): Promise<void> {
    this.put(await this.options.http.rename(chatId, title));
    this.options.otherTabs.tell({ kind: "changed" });
  }

  /** Takes the chat out of the list; the server is told when it can no longer be taken back. */
  delete(chat: Chat): void {
    this.deletions.put(chat);
    this.forget(chat.chat_id);
  }

  /** Tells the server now of what is deleted. */
  flush(): void {
    this.deletions.flush();
  }

  /** The server does not know yet of deletions that may be taken back. */
  private withoutDeleted(page: ChatPage): ChatPage {
    return { ...page, chats: page.chats.filter((chat) => !this.deletions.holds(chat.chat_id)) };
  }

  private undoDelete(): void {
    const chat = this.deletions.undo();
    if (chat === null) return;
    this.put(chat);
    this.options.cameBack(chat.chat_id);
  }

  private async tellDeletion(chat: Chat): Promise<void> {
    try {
      await this.options.http.deleteChat(chat.chat_id);
      this.options.gone(chat.chat_id);
      this.options.otherTabs.tell({ kind: "changed" });
    } catch (problem) {
      if (codeOf(problem) === "chat_not_found") return;
      this.put(chat);
      throw problem;
    }
  }

  private showDeletion(chat: Chat | null): void {
    this.toast.hidden = chat === null;
    setText(this.toastText, chat === null ? "" : `“${this.titleOf(chat)}” was deleted.`);
  }
}
