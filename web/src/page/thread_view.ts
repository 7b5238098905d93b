/** The open chat: its messages, the composer and its buttons. Shows and reports; decides nothing. */

import { Pacer } from "../client/pacer";
import { KeyedList, element, part, setText } from "./elements";
import { MarkdownText } from "./markdown_text";
import { clock } from "./surroundings";
import type { Entry } from "./thread";
import { Speaker } from "./speaker";
import { TitleView } from "./title_view";

export interface ThreadActions {
  send(text: string): void;
  /** What is in the composer now. */
  written(text: string): void;
  rename(title: string): void;
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
  private readonly title: TitleView;
  private readonly remove = part("delete-chat", HTMLButtonElement);
  private readonly scroller = part("scroller", HTMLElement);
  private readonly older = part("older-messages", HTMLButtonElement);
  private readonly messages = part("messages", HTMLOListElement);
  private readonly status = part("status", HTMLElement);
  private readonly composer = part("composer", HTMLTextAreaElement);
  private readonly stop = part("stop", HTMLButtonElement);
  private readonly sendButton = part("send", HTMLButtonElement);
  private readonly spoken = part("spoken", HTMLElement);
  private readonly speaker = new Speaker();
  /** The answer that was seen in the making: an old one is not read out. */
  private spokenKey: string | null = null;
  private readonly items = new KeyedList<MessageItem>(this.messages);
  /** Those with text that has arrived and is not shown yet. */
  private readonly behind = new Set<MessageItem>();
  private readonly stillness = window.matchMedia("(prefers-reduced-motion: reduce)");
  private isFrameDue = false;
  private canSend = false;
  private isAtEnd = true;

  constructor(private readonly actions: ThreadActions) {
    this.title = new TitleView((title) => actions.rename(title));
    part("composer-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.composer.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    this.composer.addEventListener("input", () => {
      this.composerChanged();
      actions.written(this.composer.value);
    });
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
    this.actions.written(this.composer.value);
  }

  /** Puts in what was written in this chat before. */
  takeUp(draft: string): void {
    this.composer.value = draft;
    this.composerChanged();
  }

  show(state: ThreadState): void {
    this.title.show(state.title, state.canDelete);
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
      this.items.show(
        entries,
        (entry) => entry.key,
        (entry) => new MessageItem(entry.role),
        (item, entry) => {
          if (item.set(entry)) this.behind.add(item);
        },
      );
      this.showArrived();
    });
    this.speak(entries.at(-1));
  }

  private speak(last: Entry | undefined): void {
    if (last?.role !== "assistant") return;
    if (last.status === "running") this.spokenKey = last.key;
    if (last.key !== this.spokenKey) return;
    const words = this.speaker.next(last.key, last.text, last.status !== "running");
    if (words !== "") this.spoken.textContent = words;
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
    this.actions.written("");
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
 * One message. The element marked as the message holds its text and nothing else: a person's as it was
 * written, an answer's as Markdown, with the text itself as its `source`.
 *
 * An answer that was seen in the making is paced, and says that it ended only with its whole text;
 * everything else is shown as it comes.
 */
class MessageItem {
  readonly root: HTMLLIElement;
  private readonly text: HTMLElement;
  private readonly note: HTMLElement;
  private readonly wait: HTMLElement;
  private readonly usage: HTMLElement;
  private entry: Entry | null = null;
  private pacer: Pacer | null = null;

  constructor(role: Entry["role"]) {
    const marks = { class: "text", "data-testid": "message", "data-role": role };
    this.text =
      role === "user"
        ? element("div", { ...marks, dir: "auto" })
        : element("markdown-text", marks);
    this.note = element("p", { class: "small note", "data-testid": "message-note" });
    this.wait = element("p", {
      class: "small note",
      "aria-live": "polite",
      "data-testid": "message-wait",
    });
    this.usage = element("p", { class: "small usage", "data-testid": "message-usage" });
    this.root = element(
      "li",
      { class: `message ${role}` },
      element("span", { class: "unseen" }, role === "user" ? "You:" : "Answer:"),
      this.text,
      this.wait,
      this.note,
      this.usage,
    );
  }

  /** Answers whether it is another than before. */
  set(entry: Entry): boolean {
    if (entry === this.entry) return false;
    this.entry = entry;
    const isMade = entry.status === "queued" || entry.status === "running";
    if (isMade) this.pacer ??= new Pacer();
    this.pacer?.arrived(entry.text, clock.nowMs());
    if (!isMade) this.pacer?.ended(clock.nowMs());
    return true;
  }

  /** Answers whether there is more to show later. */
  showArrived(isPaced: boolean): boolean {
    const { entry, pacer } = this;
    if (entry === null) return false;
    if (!isPaced) pacer?.catchUp();
    const now_ms = clock.nowMs();
    const isBehind = pacer?.isBehindAt(now_ms) ?? false;
    const shown = pacer?.shownAt(now_ms) ?? entry.text;
    if (this.text instanceof MarkdownText) this.text.source = shown;
    else setText(this.text, shown);
    const isMade = entry.status === "queued" || entry.status === "running";
    if (!isBehind || isMade) {
      this.text.dataset["status"] = entry.status;
      setText(this.note, entry.note ?? "");
      this.note.hidden = entry.note === null;
      setText(this.wait, entry.wait ?? "");
      setText(this.usage, entry.usage ?? "");
      this.usage.hidden = entry.usage === null;
    }
    return isBehind;
  }
}
