/**
 * The page as a whole: which chat is open, what happens on a click, and where events go.
 *
 * Owns the order of things; how they look is the views' business, how they travel the client's, and
 * what is known of chats, sends and the account theirs.
 */

import { ChatClient, type ClientEvent } from "../client/client";
import type { ConnectionState } from "../client/connection";
import { HttpApi } from "../client/http";
import { type Transcript, isOver } from "../client/transcript";
import { Account } from "./account";
import { Answering } from "./answering";
import { Drafts } from "./drafts";
import { part } from "./elements";
import { OpenChat } from "./open_chat";
import { OtherTabs } from "./other_tabs";
import { StoredOutbox } from "./outbox";
import { PastChats } from "./past_chats";
import { Problems } from "./problems";
import { Sends } from "./sends";
import { type Ending, Session } from "./session";
import { SidebarView } from "./sidebar_view";
import { statusInWords } from "./status";
import { type Config, clock, newMessageId, openSocket, request, tab } from "./surroundings";
import type { Thread } from "./thread";
import { ThreadView } from "./thread_view";
import { codeOf, firstWords } from "./words";

export class App {
  private readonly problems = new Problems(() => this.leave("unauthorized"));
  private readonly session: Session;
  private readonly http: HttpApi;
  private readonly client: ChatClient;
  private readonly sidebar: SidebarView;
  private readonly threadView: ThreadView;
  private readonly account: Account;
  private readonly chats: PastChats;
  private readonly openChat: OpenChat;

  private connection: ConnectionState = "stopped";
  private wasConnected = false;
  private readonly sends = new Sends();
  private readonly answering = new Answering();
  private readonly otherTabs = new OtherTabs((news) => {
    if (news.kind === "signed_out") this.session.startOver();
    else this.lookAgain();
  });
  private readonly drafts = new Drafts(localStorage);
  private readonly outbox = new StoredOutbox(localStorage, tab, () => Date.now());

  constructor(config: Config) {
    const { problems } = this;
    this.session = new Session(config, problems, () => this.enter());
    this.http = new HttpApi({
      baseUrl: config.http_url,
      fetch: request,
      idToken: (renewed) => this.session.idToken(renewed),
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
    this.chats = new PastChats({
      http: this.http,
      problems,
      otherTabs: this.otherTabs,
      changed: () => this.show(),
      gone: (chatId) => this.drafts.keep(chatId, ""),
      cameBack: (chatId) => this.openChat.goTo(chatId),
    });
    this.openChat = new OpenChat({
      http: this.http,
      client: this.client,
      chats: this.chats,
      problems,
      threadOf: (chatId) => this.sends.threadOf(chatId),
      opened: () => this.chatOpened(),
      changed: () => this.show(),
    });
    this.sidebar = new SidebarView({
      newChat: () => this.openChat.goTo(null),
      moreChats: () => void problems.acting(() => this.chats.loadOlder()),
      signOut: () => this.leave("signed_out"),
    });
    this.account = new Account(this.http, problems, this.sidebar, () =>
      this.leave("account_deleted"),
    );
    this.threadView = new ThreadView({
      send: (text) => this.send(text),
      written: (text) => this.drafts.keep(this.thread.chatId, text),
      rename: (title) => void problems.acting(() => this.rename(title)),
      stop: () => this.stop(),
      deleteChat: () => this.deleteChat(),
      olderMessages: () => void problems.acting(() => this.openChat.loadOlder()),
    });
    window.addEventListener("hashchange", () => {
      if (this.session.isSignedIn) void this.openChat.openNamed();
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
    this.session.start();
  }

  private enter(): void {
    part("chat-view", HTMLElement).hidden = false;
    void this.openChat.openNamed();
    // Once a chat is open: what an earlier page has left unsent is shown where it belongs.
    this.client.start();
    void this.problems.trying(() => this.findAnswers());
  }

  private leave(ending: Ending): void {
    this.chats.flush();
    this.session.end(ending);
    this.drafts.clear();
    this.outbox.clear();
    this.otherTabs.tell({ kind: "signed_out" });
    this.session.startOver();
  }

  private get thread(): Thread {
    return this.openChat.thread;
  }

  private chatOpened(): void {
    this.threadView.takeUp(this.drafts.of(this.thread.chatId));
    this.show();
    this.threadView.focusComposer();
  }

  /**
   * Another tab or another device may have gone on with these chats, or has just sent something. Nobody
   * asked for this, so an unreachable service is no news; a hidden page looks when it is seen again.
   */
  private lookAgain(): void {
    if (!this.session.isSignedIn || document.visibilityState !== "visible") return;
    for (const look of [this.chats.loadNewest(), this.openChat.read()]) {
      look.catch((problem: unknown) => {
        if (codeOf(problem) !== "network") this.problems.tell(codeOf(problem));
      });
    }
  }

  /** Answers went on while there was no page: chats that are not open show it, too. */
  private async findAnswers(): Promise<void> {
    const [me] = await Promise.all([this.account.load(), this.chats.loadNewest()]);
    await this.answering.find(
      me.usage.active_runs,
      this.chats.all.map((chat) => chat.chat_id),
      // Nobody asked for this: a chat that cannot be read is passed over.
      (chatId) => this.http.chat(chatId).then((chat) => chat.active_run, () => null),
      (run, chatId) => this.client.follow(run.run_id, { chatId, messageId: run.message_id }),
    );
  }

  private send(text: string): void {
    this.problems.clear();
    const messageId = this.client.send(this.thread.chatId, text);
    this.sends.add(messageId, this.thread, text);
    this.show();
  }

  private stop(): void {
    const active = this.thread.active;
    if (active !== null) this.client.cancel(active.transcript.runId);
  }

  private async rename(title: string): Promise<void> {
    const { chatId } = this.thread;
    if (chatId !== null) await this.chats.rename(chatId, title);
  }

  private deleteChat(): void {
    const chat = this.chats.find(this.thread.chatId);
    if (chat === undefined) return;
    this.chats.delete(chat);
    this.openChat.goTo(null);
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
        this.sends.takeOver(event.send, this.thread);
        break;
      case "send_rejected":
        this.sendRejected(event.messageId);
        this.problems.tell(event.problem.code, event.problem.retryAt);
        break;
      case "run_lost":
        this.answering.lost(event.runId);
        if (this.thread.dropAnswer(event.runId)) this.problems.tell(event.problem.code);
        break;
      case "problem":
        this.problems.tell(event.problem.code, event.problem.retryAt);
        break;
      case "unauthorized":
        this.problems.tell("unauthorized");
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
      this.chats.moveToTop(run.chatId);
      this.chats.answered(run.chatId);
    }
    void this.problems.trying(async () => void (await this.account.load()));
  }

  private sendAccepted(messageId: string, chatId: string | null): void {
    const send = chatId === null ? null : this.sends.answered(messageId);
    if (send === null || chatId === null) return;
    this.otherTabs.tell({ kind: "changed" });
    if (send.thread.chatId !== null) {
      this.chats.moveToTop(chatId);
      return;
    }
    this.openChat.begun(send.thread, chatId);
    // What has been said since is not told by the answer.
    if (send.isTakenOver) void this.problems.trying(() => this.openChat.read());
    this.chats.begins(chatId, send.text);
    void this.problems.trying(async () => {
      this.chats.put(await this.http.chat(chatId));
      // A short answer may have been over before the chat was in the list.
      if (send.thread.active === null) this.chats.answered(chatId);
    });
  }

  private sendRejected(messageId: string): void {
    const send = this.sends.answered(messageId);
    if (send === null) return;
    send.thread.takeBack(messageId);
    this.threadView.giveBack(send.text);
  }

  private show(): void {
    const { thread } = this;
    const chat = this.chats.find(thread.chatId);
    this.sidebar.showChats(
      this.chats.all,
      thread.chatId,
      (each) => this.chats.titleOf(each),
      this.answering.chats,
      this.chats.hasMore,
    );
    const active = thread.active;
    this.threadView.show({
      title: chat ? this.chats.titleOf(chat) : firstWords(thread.firstUserText ?? "New chat"),
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
