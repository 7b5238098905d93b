/** The open chat: its messages, the composer and its buttons. Shows and reports; decides nothing. */

import { Pacer } from "../client/pacer";
import { KeyedList, element, growText, part, setText } from "./elements";
import { clock } from "./surroundings";
import type { Entry } from "./thread";

export interface ThreadActions {
  send(text: string): void;
  stop(): void;
  deleteChat(): void;
  olderMessages(): void;
}

export interface ThreadState {
  readonly title: string;
  readonly entries: readonly Entry[];
  readonly hasOlder: boolean;
  readonly canDelete: boolean;
  readonly canSend: boolean;
  readonly canStop: boolean;
  readonly status: string;
}

const AT_END_PX = 48;

export class ThreadView {
  private readonly title = part("chat-title", HTMLElement);
  private readonly remove = part("delete-chat", HTMLButtonElement);
  private readonly scroller = part("scroller", HTMLElement);
  private readonly older = part("older-messages", HTMLButtonElement);
  private readonly messages = part("messages", HTMLOListElement);
  private readonly status = part("status", HTMLElement);
  private readonly composer = part("composer", HTMLTextAreaElement);
  private readonly stop = part("stop", HTMLButtonElement);
  private readonly sendButton = part("send", HTMLButtonElement);
  private readonly items = new KeyedList<MessageItem>(this.messages);
  /** Those with text that has arrived and is not shown yet. */
  private readonly behind = new Set<MessageItem>();
  private readonly stillness = window.matchMedia("(prefers-reduced-motion: reduce)");
  private isFrameDue = false;
  private canSend = false;
  private isAtEnd = true;

  constructor(private readonly actions: ThreadActions) {
    part("composer-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.composer.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    this.composer.addEventListener("input", () => this.composerChanged());
    this.stop.addEventListener("click", () => actions.stop());
    this.remove.addEventListener("click", () => actions.deleteChat());
    this.older.addEventListener("click", () => actions.olderMessages());
    this.scroller.addEventListener("scroll", () => {
      this.isAtEnd = this.fromEnd_px() - this.scroller.clientHeight < AT_END_PX;
    });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.showArrived();
    });
    // A phone's keyboard or a turned phone must not hide the end from who was reading there.
    new ResizeObserver(() => {
      if (this.isAtEnd) this.scrollToEnd();
    }).observe(this.scroller);
  }

  focusComposer(): void {
    this.composer.focus();
  }

  /** Puts text back that was not taken, before whatever has been written since. */
  giveBack(text: string): void {
    const written = this.composer.value;
    this.composer.value = written === "" ? text : `${text}\n${written}`;
    this.composerChanged();
  }

  show(state: ThreadState): void {
    setText(this.title, state.title);
    this.remove.hidden = !state.canDelete;
    this.canSend = state.canSend;
    const hadFocus = document.activeElement === this.stop;
    this.stop.hidden = !state.canStop;
    if (hadFocus && this.stop.hidden) this.composer.focus();
    setText(this.status, state.status);
    this.showEntries(state.entries, state.hasOlder);
    this.composerChanged();
  }

  private showEntries(entries: readonly Entry[], hasOlder: boolean): void {
    this.keepingPlace(() => {
      this.older.hidden = !hasOlder;
      this.behind.clear();
      this.items.show(
        entries,
        (entry) => entry.key,
        (entry) => new MessageItem(entry.role),
        (item, entry) => {
          item.set(entry);
          this.behind.add(item);
        },
      );
      this.showArrived();
    });
  }

  /** Shows as much as the pace allows, and comes back for the rest with the next picture. */
  private showArrived(): void {
    // A hidden page is drawn no pictures, so nothing would come back for the rest.
    const isPaced = !document.hidden && !this.stillness.matches;
    for (const item of this.behind) if (!item.showArrived(isPaced)) this.behind.delete(item);
    if (this.behind.size === 0 || this.isFrameDue) return;
    this.isFrameDue = true;
    requestAnimationFrame(() => {
      this.isFrameDue = false;
      this.keepingPlace(() => this.showArrived());
    });
  }

  /** Whoever reads the end goes on doing so, and nothing else moves because of what came before. */
  private keepingPlace(change: () => void): void {
    const fromEnd_px = this.fromEnd_px();
    const wasAtEnd = fromEnd_px - this.scroller.clientHeight < AT_END_PX;
    const firstBefore = this.messages.firstElementChild;
    change();
    const cameBefore = firstBefore !== null && firstBefore !== this.messages.firstElementChild;
    if (wasAtEnd) this.scrollToEnd();
    else if (cameBefore) this.scroller.scrollTop = this.scroller.scrollHeight - fromEnd_px;
  }

  private submit(): void {
    const text = this.composer.value;
    if (!this.canSend || text.trim() === "") return;
    this.composer.value = "";
    this.scrollToEnd();
    this.actions.send(text);
  }

  /** From the top of what is in view. */
  private fromEnd_px(): number {
    return this.scroller.scrollHeight - this.scroller.scrollTop;
  }

  private scrollToEnd(): void {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  private composerChanged(): void {
    this.sendButton.disabled = !this.canSend || this.composer.value.trim() === "";
  }
}

/**
 * One message. The element marked as the message holds its text and nothing else.
 *
 * An answer that was seen in the making is paced, and says that it ended only with its whole text;
 * everything else is shown as it comes.
 */
class MessageItem {
  readonly root: HTMLLIElement;
  private readonly text: HTMLElement;
  private readonly note: HTMLElement;
  private readonly wait: HTMLElement;
  private entry: Entry | null = null;
  private pacer: Pacer | null = null;

  constructor(role: Entry["role"]) {
    this.text = element("div", { class: "text", "data-testid": "message", "data-role": role });
    this.note = element("p", { class: "small note", "data-testid": "message-note" });
    this.wait = element("p", {
      class: "small note",
      "aria-live": "polite",
      "data-testid": "message-wait",
    });
    this.root = element(
      "li",
      { class: `message ${role}` },
      element("span", { class: "unseen" }, role === "user" ? "You:" : "Answer:"),
      this.text,
      this.wait,
      this.note,
    );
  }

  set(entry: Entry): void {
    this.entry = entry;
    const isMade = entry.status === "queued" || entry.status === "running";
    if (isMade) this.pacer ??= new Pacer();
    this.pacer?.arrived(entry.text, clock.nowMs());
    if (!isMade) this.pacer?.ended(clock.nowMs());
  }

  /** Answers whether there is more to show later. */
  showArrived(isPaced: boolean): boolean {
    const { entry, pacer } = this;
    if (entry === null) return false;
    if (!isPaced) pacer?.catchUp();
    const now_ms = clock.nowMs();
    const isBehind = pacer?.isBehindAt(now_ms) ?? false;
    growText(this.text, pacer?.shownAt(now_ms) ?? entry.text);
    const isMade = entry.status === "queued" || entry.status === "running";
    if (!isBehind || isMade) {
      this.text.dataset["status"] = entry.status;
      setText(this.note, entry.note ?? "");
      this.note.hidden = entry.note === null;
      setText(this.wait, entry.wait ?? "");
    }
    return isBehind;
  }
}
