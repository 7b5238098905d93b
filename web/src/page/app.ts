/**
 * The page as a whole: which chat is open, what happens on a click, and where events go.
 *
 * Owns the order of things; how they look is the views' business and how they travel the
 * client's. The open chat's id is the address's hash, so that a reload comes back to it.
 */

import { ChatClient, type ClientEvent } from "../client/client";
import type { ConnectionState } from "../client/connection";
import type { KeptSend } from "../client/ports";
import { type Chat, type ChatPage, HttpApi, type Me } from "../client/http";
import { type Transcript, isOver } from "../client/transcript";
import { Identity } from "../identity/cognito";
import { AccountView } from "./account_view";
import { Answering } from "./answering";
import { ChatList } from "./chat_list";
import { Deletions } from "./deletions";
import { Drafts } from "./drafts";
import { part, setText } from "./elements";
import { ExportRequest } from "./export_request";
import { OtherTabs } from "./other_tabs";
import { StoredOutbox } from "./outbox";
import { SidebarView } from "./sidebar_view";
import { SignInView } from "./sign_in_view";
import { statusInWords } from "./status";
import { type Config, clock, newMessageId, openSocket, tab } from "./surroundings";
import { Thread } from "./thread";
import { ThreadView } from "./thread_view";
import { codeOf, firstWords, sentenceFor } from "./words";

/** Why the page was reloaded, as a code, for the page that comes after. */
const NOTICE_KEY = "chatcore.notice";
const ACCOUNT_DELETED = "account_deleted";

/** API Gateway itself gives up after 30 s. */
const REQUEST_TIMEOUT_MS = 35_000;

/** How long after a first answer to look whether the server has named the chat. */
const TITLE_LOOKS_MS = [1_000, 3_000, 10_000];

interface Send {
  readonly thread: Thread;
  readonly text: string;
  /** It was made by an earlier page, and may have been answered since. */
  readonly isTakenOver: boolean;
}

export class App {
  private readonly identity: Identity;
  private readonly http: HttpApi;
  private readonly client: ChatClient;
  private readonly signInView: SignInView;
  private readonly sidebar: SidebarView;
  private readonly threadView: ThreadView;
  private readonly accountView: AccountView;
  private readonly chatView = part("chat-view", HTMLElement);
  private readonly error = part("error", HTMLElement);
  private readonly notice = part("notice", HTMLElement);
  private readonly toast = part("toast", HTMLElement);
  private readonly toastText = part("toast-text", HTMLElement);
  private readonly undoButton = part("undo-delete", HTMLButtonElement);

  private connection: ConnectionState = "stopped";
  private wasConnected = false;
  private thread = new Thread(null);
  /** Where a send on its way belongs, as another chat may be open when its answer comes. */
  private readonly sends = new Map<string, Send>();
  private readonly chats = new ChatList();
  private readonly knownTitles = new Map<string, string>();
  private readonly awaitingTitle = new Set<string>();
  private readonly answering = new Answering();
  private readonly otherTabs = new OtherTabs((news) => {
    if (news.kind === "signed_out") this.startOver();
    else this.lookAgain();
  });
  private readonly drafts = new Drafts(localStorage);
  private readonly outbox = new StoredOutbox(localStorage, tab, () => Date.now());
  private readonly deletions = new Deletions(
    clock,
    (chat) => void this.trying(() => this.tellDeletion(chat)),
    (chat) => this.showDeletion(chat),
  );

  constructor(config: Config) {
    this.identity = new Identity({
      url: config.cognito_url,
      clientId: config.user_pool_client_id,
      storage: localStorage,
    });
    this.http = new HttpApi({
      baseUrl: config.http_url,
      fetch: (url, request) =>
        fetch(url, {
          ...request,
          // A page that goes takes its requests along, but for those that may outlive it.
          keepalive: request.method === "DELETE",
          signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
        }),
      idToken: (renewed) => this.identity.idToken(renewed),
    });
    this.client = new ChatClient({
      wsUrl: config.ws_url,
      openSocket,
      clock,
      random: Math.random,
      outbox: this.outbox,
      newMessageId,
      takeTicket: () => this.http.takeTicket(),
      onEvent: (event) => this.happened(event),
    });
    this.signInView = new SignInView({
      signIn: (email, password) => this.acting(() => this.signIn(email, password)),
      prove: (code) =>
        this.acting(async () => {
          await this.identity.prove(code);
          this.enter();
        }),
      signUp: (email, password) =>
        this.acting(async () => {
          if (await this.identity.signUp(email, password)) await this.signIn(email, password);
          else this.signInView.askForCode();
        }),
      confirm: (email, code, password) =>
        this.acting(async () => {
          await this.identity.confirm(email, code);
          await this.signIn(email, password);
        }),
      sendCodeAgain: (email) => this.acting(() => this.identity.sendCodeAgain(email)),
    });
    this.sidebar = new SidebarView({
      newChat: () => this.goTo(null),
      moreChats: () => void this.acting(() => this.loadOlderChats()),
      signOut: () => this.leave(),
    });
    this.threadView = new ThreadView({
      send: (text) => this.send(text),
      written: (text) => this.drafts.keep(this.thread.chatId, text),
      rename: (title) => void this.acting(() => this.rename(title)),
      stop: () => this.stop(),
      deleteChat: () => this.deleteChat(),
      olderMessages: () => void this.acting(() => this.loadOlder(this.thread)),
    });
    const exportRequest = new ExportRequest(this.http, clock, Math.random, (state) =>
      this.accountView.showExport(state),
    );
    this.accountView = new AccountView({
      askForExport: () => void exportRequest.ask(),
      deleteAccount: (email) => this.deleteAccount(email),
    });
    this.undoButton.addEventListener("click", () => this.undoDelete());
    window.addEventListener("pagehide", () => this.deletions.flush());
    window.addEventListener("hashchange", () => {
      if (this.identity.isSignedIn) void this.open(hashChatId());
    });
    window.addEventListener("online", () => {
      this.client.wake();
      this.show();
    });
    window.addEventListener("offline", () => this.show());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.client.wake();
      this.lookAgain();
    });
  }

  start(): void {
    if (this.identity.isSignedIn) this.enter();
    else this.signInView.show();
    const notice = sessionStorage.getItem(NOTICE_KEY);
    sessionStorage.removeItem(NOTICE_KEY);
    if (notice === ACCOUNT_DELETED) this.showNotice();
    else if (notice !== null) this.showError(sentenceFor(notice));
  }

  private async signIn(email: string, password: string): Promise<void> {
    try {
      await this.identity.signIn(email, password);
    } catch (problem) {
      if (codeOf(problem) === "second_factor_needed") {
        this.signInView.askForSecondFactor();
        return;
      }
      if (codeOf(problem) === "not_confirmed") {
        this.signInView.askForCode();
        await this.identity.sendCodeAgain(email);
      }
      throw problem;
    }
    this.enter();
  }

  private enter(): void {
    this.signInView.hide();
    this.notice.hidden = true;
    this.chatView.hidden = false;
    void this.open(hashChatId());
    // Once a chat is open: what an earlier page has left unsent is shown where it belongs.
    this.client.start();
    void this.trying(() => this.findAnswers());
  }

  /** By a reload, so that nothing of this user stays on the page for the next one. */
  private leave(): void {
    this.deletions.flush();
    this.identity.signOut();
    this.drafts.clear();
    this.outbox.clear();
    this.otherTabs.tell({ kind: "signed_out" });
    this.startOver();
  }

  private async deleteAccount(email: string): Promise<void> {
    try {
      await this.http.deleteAccount(email);
    } catch (problem) {
      if (codeOf(problem) === "unauthorized") this.failed("unauthorized");
      throw problem;
    }
    sessionStorage.setItem(NOTICE_KEY, ACCOUNT_DELETED);
    this.leave();
  }

  private startOver(): void {
    history.replaceState(null, "", location.pathname);
    location.reload();
  }

  /** Runs one action of the user's; what goes wrong is told in words. */
  private acting(action: () => Promise<void>): Promise<void> {
    this.showError(null);
    return this.trying(action);
  }

  private async trying(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (problem) {
      this.failed(codeOf(problem));
    }
  }

  private failed(code: string, retryAt: string | null = null): void {
    if (code === "unauthorized") {
      sessionStorage.setItem(NOTICE_KEY, code);
      this.leave();
    } else {
      this.showError(sentenceFor(code, retryAt));
    }
  }

  private showError(sentence: string | null): void {
    setText(this.error, sentence ?? "");
    this.error.hidden = sentence === null;
  }

  private showNotice(): void {
    this.notice.hidden = false;
    setText(this.notice, "Your account was deleted. Everything of it is being removed now.");
  }

  private goTo(chatId: string | null): void {
    if (hashChatId() === chatId) void this.open(chatId);
    else location.hash = chatId ?? "";
  }

  private async open(chatId: string | null): Promise<void> {
    const thread = this.threadOfSends(chatId) ?? new Thread(chatId);
    this.thread = thread;
    this.client.watch(chatId);
    this.threadView.takeUp(this.drafts.of(chatId));
    this.show();
    this.threadView.focusComposer();
    await this.acting(() => this.read(thread));
  }

  /** The thread's chat as it is now, with the run that is active in it. */
  private async read(thread: Thread): Promise<void> {
    const { chatId } = thread;
    if (chatId === null) return;
    try {
      // In this order: a run that ends in between is then in the messages, and not lost.
      const chat = await this.http.chat(chatId);
      if (this.thread !== thread) return;
      this.putInList(chat);
      const page = await this.http.messages(chatId, null);
      thread.addNewest(page.messages, page.next_cursor);
      this.messagesCame(thread);
      if (this.thread !== thread || chat.active_run === null) return;
      this.client.follow(chat.active_run.run_id, {
        chatId,
        messageId: chat.active_run.message_id,
      });
    } catch (problem) {
      if (this.thread !== thread) return;
      if (codeOf(problem) === "chat_not_found") {
        this.forget(chatId);
        this.thread = new Thread(null);
        this.client.watch(null);
        this.show();
        history.replaceState(null, "", location.pathname);
      }
      throw problem;
    }
  }

  /** Another tab or another device may have gone on with these chats, or has just sent something. Nobody asked for this, so an
   * unreachable service is no news; a hidden page looks when it is seen again. */
  private lookAgain(): void {
    if (!this.identity.isSignedIn || document.visibilityState !== "visible") return;
    for (const look of [this.loadChats(), this.read(this.thread)]) {
      look.catch((problem: unknown) => {
        if (codeOf(problem) !== "network") this.failed(codeOf(problem));
      });
    }
  }

  private async loadOlder(thread: Thread): Promise<void> {
    const { chatId, cursor } = thread;
    if (chatId === null || cursor === null) return;
    const page = await this.http.messages(chatId, cursor);
    thread.addOlder(page.messages, page.next_cursor);
    this.messagesCame(thread);
  }

  private messagesCame({ chatId, cursor, firstUserText }: Thread): void {
    if (chatId !== null && cursor === null && firstUserText !== null) {
      this.knownTitles.set(chatId, firstWords(firstUserText));
    }
    this.show();
  }

  private async loadChats(): Promise<void> {
    const before = this.chats.listed;
    const page = await this.http.chats(null);
    this.chats.addNewest(this.withoutDeleted(page), before);
    this.show();
  }

  /** Answers went on while there was no page: chats that are not open show it, too. */
  private async findAnswers(): Promise<void> {
    const [me] = await Promise.all([this.loadAccount(), this.loadChats()]);
    await this.answering.find(
      me.usage.active_runs,
      this.chats.all.map((chat) => chat.chat_id),
      // Nobody asked for this: a chat that cannot be read is passed over.
      (chatId) => this.http.chat(chatId).then((chat) => chat.active_run, () => null),
      (run, chatId) => this.client.follow(run.run_id, { chatId, messageId: run.message_id }),
    );
  }

  private async loadOlderChats(): Promise<void> {
    if (this.chats.cursor === null) return;
    this.chats.addOlder(this.withoutDeleted(await this.http.chats(this.chats.cursor)));
    this.show();
  }

  /** The server does not know yet of deletions that may be taken back. */
  private withoutDeleted(page: ChatPage): ChatPage {
    return { ...page, chats: page.chats.filter((chat) => !this.deletions.holds(chat.chat_id)) };
  }

  private async loadAccount(): Promise<Me> {
    const me = await this.http.me();
    this.sidebar.showAccount(me);
    this.accountView.showEmail(me.email);
    return me;
  }

  private send(text: string): void {
    this.showError(null);
    const messageId = this.client.send(this.thread.chatId, text);
    this.sends.set(messageId, { thread: this.thread, text, isTakenOver: false });
    this.thread.addSend(messageId, text);
    this.show();
  }

  /** Where it belongs, if that is open; else it goes out unseen, as it does when one looks elsewhere. */
  private sendTakenOver({ messageId, chatId, text }: KeptSend): void {
    const isHere = this.thread.chatId === chatId && (chatId !== null || this.thread.isBlank);
    const thread = isHere ? this.thread : (this.threadOfSends(chatId) ?? new Thread(chatId));
    this.sends.set(messageId, { thread, text, isTakenOver: true });
    thread.addSend(messageId, text);
  }

  /** A chat with something in it that is on its way; a new chat is always another one. */
  private threadOfSends(chatId: string | null): Thread | null {
    if (chatId === null) return null;
    const sends = [...this.sends.values()];
    return sends.find(({ thread }) => thread.chatId === chatId)?.thread ?? null;
  }

  private stop(): void {
    const active = this.thread.active;
    if (active !== null) this.client.cancel(active.transcript.runId);
  }

  private async rename(title: string): Promise<void> {
    const { chatId } = this.thread;
    if (chatId === null) return;
    this.putInList(await this.http.rename(chatId, title));
    this.otherTabs.tell({ kind: "changed" });
  }

  private deleteChat(): void {
    const chat = this.chats.find(this.thread.chatId);
    if (chat === undefined) return;
    this.deletions.put(chat);
    this.forget(chat.chat_id);
    this.goTo(null);
  }

  private undoDelete(): void {
    const chat = this.deletions.undo();
    if (chat === null) return;
    this.putInList(chat);
    this.goTo(chat.chat_id);
  }

  private async tellDeletion(chat: Chat): Promise<void> {
    try {
      await this.http.deleteChat(chat.chat_id);
      this.drafts.keep(chat.chat_id, "");
      this.otherTabs.tell({ kind: "changed" });
    } catch (problem) {
      if (codeOf(problem) === "chat_not_found") return;
      this.putInList(chat);
      throw problem;
    }
  }

  private showDeletion(chat: Chat | null): void {
    this.toast.hidden = chat === null;
    setText(this.toastText, chat === null ? "" : `“${this.titleOf(chat)}” was deleted.`);
  }

  private happened(event: ClientEvent): void {
    switch (event.kind) {
      case "connection":
        this.connection = event.state;
        if (event.state !== "open") break;
        if (this.wasConnected) this.lookAgain();
        this.wasConnected = true;
        break;
      case "run":
        this.runChanged(event.run, event.stopping);
        break;
      case "send_taken_over":
        this.sendTakenOver(event.send);
        break;
      case "send_rejected":
        this.sendRejected(event.messageId);
        this.failed(event.problem.code, event.problem.retryAt);
        break;
      case "run_lost":
        this.answering.lost(event.runId);
        if (this.thread.dropAnswer(event.runId)) this.failed(event.problem.code);
        break;
      case "problem":
        this.failed(event.problem.code, event.problem.retryAt);
        break;
      case "unauthorized":
        this.failed("unauthorized");
        break;
    }
    this.show();
  }

  private runChanged(run: Transcript, stopping: boolean): void {
    if (run.messageId !== null) this.sendAccepted(run.messageId, run.chatId);
    if (this.thread.owns(run)) {
      // Before it is in the thread: a run that is there has been seen before.
      const isNew = !this.thread.knows(run.runId);
      this.thread.setAnswer(run, stopping);
      if (isNew && run.messageId !== null && !this.thread.has(run.messageId)) this.lookAgain();
    }
    this.answering.heard(run);
    if (!isOver(run.status)) return;
    if (run.chatId !== null) {
      this.moveToTop(run.chatId);
      this.namedLater(run.chatId);
    }
    void this.trying(async () => void (await this.loadAccount()));
  }

  private sendAccepted(messageId: string, chatId: string | null): void {
    const send = this.sends.get(messageId);
    if (send === undefined || chatId === null) return;
    this.sends.delete(messageId);
    this.otherTabs.tell({ kind: "changed" });
    if (send.thread.chatId !== null) {
      this.moveToTop(chatId);
      return;
    }
    send.thread.chatId = chatId;
    if (this.thread === send.thread) {
      history.replaceState(null, "", `#${chatId}`);
      this.client.watch(chatId);
      // What has been said since is not told by the answer.
      if (send.isTakenOver) void this.trying(() => this.read(send.thread));
    }
    this.knownTitles.set(chatId, firstWords(send.text));
    void this.trying(async () => {
      this.putInList(await this.http.chat(chatId));
      // A short answer may have been over before the chat was in the list.
      if (send.thread.active === null) this.namedLater(chatId);
    });
  }

  private namedLater(chatId: string): void {
    const chat = this.chats.find(chatId);
    if (chat === undefined || chat.title !== null || this.awaitingTitle.has(chatId)) return;
    this.awaitingTitle.add(chatId);
    this.lookForTitle(chatId, TITLE_LOOKS_MS);
  }

  /** The server names a chat that nobody has named, some time after its first answer. */
  private lookForTitle(chatId: string, looks_ms: readonly number[]): void {
    const [pause_ms, ...later_ms] = looks_ms;
    if (pause_ms === undefined) {
      this.awaitingTitle.delete(chatId);
      return;
    }
    const named = (chat: Chat) => {
      if (chat.title === null) this.lookForTitle(chatId, later_ms);
      else this.putInList(chat);
    };
    // Whatever fails here, the chat has its first words for a title.
    clock.after(pause_ms, () => void this.http.chat(chatId).then(named, () => undefined));
  }

  private sendRejected(messageId: string): void {
    const send = this.sends.get(messageId);
    if (send === undefined) return;
    this.sends.delete(messageId);
    send.thread.takeBack(messageId);
    this.threadView.giveBack(send.text);
  }

  private putInList(chat: Chat): void {
    if (this.deletions.holds(chat.chat_id)) return;
    this.chats.put(chat);
    this.show();
  }

  private moveToTop(chatId: string): void {
    const chat = this.chats.find(chatId);
    if (chat) this.putInList({ ...chat, last_active_at: new Date().toISOString() });
  }

  private forget(chatId: string): void {
    this.chats.remove(chatId);
    this.show();
  }

  private titleOf(chat: Chat): string {
    return chat.title ?? this.knownTitles.get(chat.chat_id) ?? "New chat";
  }

  private show(): void {
    const { thread } = this;
    const chat = this.chats.find(thread.chatId);
    this.sidebar.showChats(
      this.chats.all,
      thread.chatId,
      (each) => this.titleOf(each),
      this.answering.chats,
      this.chats.cursor !== null,
    );
    const active = thread.active;
    this.threadView.show({
      title: chat ? this.titleOf(chat) : firstWords(thread.firstUserText ?? "New chat"),
      entries: thread.entries(),
      hasOlder: thread.cursor !== null,
      canDelete: thread.chatId !== null,
      canSend: active === null && !thread.isSending,
      canStop: active !== null && !active.stopping,
      status: statusInWords(thread, {
        state: this.connection,
        wasConnected: this.wasConnected,
        isOnline: navigator.onLine,
      }),
    });
  }
}

function hashChatId(): string | null {
  return location.hash.length > 1 ? decodeURIComponent(location.hash.slice(1)) : null;
}
