/**
 * Sends on their way, and the chats they belong to, as another chat may be open when their answer
 * comes. Pure.
 *
 * Owns which thread a send is shown in until it is answered.
 */

import type { KeptSend } from "../client/ports";
import { Thread } from "./thread";

export interface Send {
  readonly thread: Thread;
  readonly text: string;
  /** It was made by an earlier page, and may have been answered since. */
  readonly isTakenOver: boolean;
}

export class Sends {
  private readonly sends = new Map<string, Send>();

  add(messageId: string, thread: Thread, text: string): void {
    this.put(messageId, { thread, text, isTakenOver: false });
  }

  /** Where it belongs, if that is open; else it goes out unseen, as it does when one looks elsewhere. */
  takeOver({ messageId, chatId, text }: KeptSend, open: Thread): void {
    const isHere = open.chatId === chatId && (chatId !== null || open.isBlank);
    const thread = isHere ? open : this.threadOf(chatId);
    this.put(messageId, { thread, text, isTakenOver: true });
  }

  /** The chat's thread with what is on its way in it. A new chat (null) is always another one. */
  threadOf(chatId: string | null): Thread {
    const sends = chatId === null ? [] : [...this.sends.values()];
    return sends.find(({ thread }) => thread.chatId === chatId)?.thread ?? new Thread(chatId);
  }

  /** The send that was answered, if it was on its way. */
  answered(messageId: string): Send | null {
    const send = this.sends.get(messageId) ?? null;
    this.sends.delete(messageId);
    return send;
  }

  private put(messageId: string, send: Send): void {
    this.sends.set(messageId, send);
    send.thread.addSend(messageId, send.text);
  }
}
