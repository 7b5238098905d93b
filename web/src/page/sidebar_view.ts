/** The list of past chats and the account's line. Shows and reports clicks; decides nothing. */

import type { Chat, Me } from "../client/http";
import { KeyedList, element, part, setText } from "./elements";
import { momentInWords } from "./words";

export interface SidebarActions {
  newChat(): void;
  moreChats(): void;
  signOut(): void;
}

export class SidebarView {
  private readonly sidebar = part("sidebar", HTMLElement);
  private readonly menu = part("menu", HTMLButtonElement);
  private readonly items = new KeyedList<ChatItem>(part("chat-list", HTMLUListElement));
  private readonly more = part("more-chats", HTMLButtonElement);
  private readonly email = part("account-email", HTMLElement);
  private readonly tier = part("tier", HTMLElement);
  private readonly budget = part("budget", HTMLElement);

  constructor(actions: SidebarActions) {
    part("new-chat", HTMLButtonElement).addEventListener("click", () => {
      this.fold();
      actions.newChat();
    });
    part("sign-out", HTMLButtonElement).addEventListener("click", () => actions.signOut());
    this.more.addEventListener("click", () => actions.moreChats());
    this.menu.addEventListener("click", () => this.setUnfolded(!this.isUnfolded));
    this.sidebar.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.isUnfolded) return;
      this.fold();
      this.menu.focus();
    });
  }

  /** On narrow windows the sidebar lies over the thread; elsewhere this changes nothing. */
  fold(): void {
    this.setUnfolded(false);
  }

  showChats(
    chats: readonly Chat[],
    openChatId: string | null,
    titleOf: (chat: Chat) => string,
    answering: ReadonlySet<string>,
    hasMore: boolean,
  ): void {
    this.items.show(
      chats,
      (chat) => chat.chat_id,
      (chat) => new ChatItem(chat.chat_id, () => this.fold()),
      (item, chat) => {
        const { chat_id: id } = chat;
        item.show(titleOf(chat), id === openChatId, answering.has(id));
      },
    );
    this.more.hidden = !hasMore;
  }

  showAccount(me: Me): void {
    setText(this.email, me.email ?? "");
    setText(this.tier, me.tier);
    setText(this.budget, budgetInWords(me));
  }

  private get isUnfolded(): boolean {
    return this.sidebar.classList.contains("unfolded");
  }

  private setUnfolded(isUnfolded: boolean): void {
    this.sidebar.classList.toggle("unfolded", isUnfolded);
    this.menu.setAttribute("aria-expanded", String(isUnfolded));
  }
}

class ChatItem {
  readonly root: HTMLLIElement;
  private readonly link: HTMLAnchorElement;
  private readonly mark = element("span", {
    class: "answering",
    role: "img",
    "aria-label": "Still being answered",
    title: "Still being answered",
    "data-testid": "chat-answering",
  });

  constructor(chatId: string, onClick: () => void) {
    this.link = element("a", {
      href: `#${chatId}`,
      dir: "auto",
      "data-testid": "chat-item",
      "data-chat-id": chatId,
    });
    this.link.addEventListener("click", onClick);
    this.root = element("li", {}, this.link, this.mark);
  }

  show(title: string, isOpen: boolean, isAnswering: boolean): void {
    setText(this.link, title);
    this.mark.hidden = !isAnswering;
    if (isOpen) this.link.setAttribute("aria-current", "page");
    else this.link.removeAttribute("aria-current");
  }
}

function budgetInWords({ usage }: Me): string {
  const used = usage.used_tokens.toLocaleString();
  const budget = usage.budget_tokens.toLocaleString();
  const end = usage.window_ends_at;
  const renewal = end === null ? "" : `, renewed ${momentInWords(end)}`;
  return `${used} of ${budget} tokens used${renewal}`;
}
