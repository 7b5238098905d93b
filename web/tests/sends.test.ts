import { beforeEach, describe, expect, it } from "vitest";
import { Sends } from "../src/page/sends";
import { Thread } from "../src/page/thread";

describe("sends on their way", () => {
  let sends: Sends;

  const kept = (chatId: string | null) => ({ messageId: "message-0", chatId, text: "Hello" });
  const shown = (thread: Thread) => thread.entries().map(({ text, status }) => [text, status]);

  beforeEach(() => {
    sends = new Sends();
  });

  it("are seen in their chat, whatever is looked at meanwhile", () => {
    const thread = sends.threadOf("chat-1");
    sends.add("message-1", thread, "Hello");
    expect(shown(sends.threadOf("chat-2"))).toEqual([]);
    expect(shown(sends.threadOf("chat-1"))).toEqual([["Hello", "sending"]]);
    expect(sends.answered("message-1")).toMatchObject({ thread, isTakenOver: false });
    expect(sends.answered("message-1")).toBeNull();
    expect(sends.threadOf("chat-1")).not.toBe(thread);
  });

  it("do not keep one from beginning another chat", () => {
    sends.add("message-1", sends.threadOf(null), "Hello");
    expect(shown(sends.threadOf(null))).toEqual([]);
  });

  it("of an earlier page are seen in the chat that is open, if it is theirs", () => {
    for (const chatId of ["chat-1", null]) {
      sends = new Sends();
      const open = new Thread(chatId);
      sends.takeOver(kept(chatId), open);
      expect(shown(open)).toEqual([["Hello", "sending"]]);
      expect(sends.answered("message-0")).toMatchObject({ thread: open, isTakenOver: true });
    }
  });

  it("of an earlier page are in no other chat, and not in a new one that has begun", () => {
    const begun = new Thread(null);
    begun.addSend("message-1", "Mine");
    for (const [chatId, open] of [
      ["chat-1", new Thread("chat-2")],
      ["chat-1", new Thread(null)],
      [null, new Thread("chat-2")],
      [null, begun],
    ] as const) {
      sends = new Sends();
      const before = shown(open);
      sends.takeOver(kept(chatId), open);
      expect(shown(open)).toEqual(before);
      expect(sends.answered("message-0")?.thread.chatId).toBe(chatId);
    }
  });

  it("that were stored before the page was closed are not seen twice", () => {
    const open = new Thread("chat-1");
    sends.takeOver(kept("chat-1"), open);
    open.addNewest(
      [
        {
          message_id: "message-0",
          role: "user",
          text: "Hello",
          created_at: "2030-01-01T00:00:00.000Z",
          run_id: "run-1",
          finish_reason: null,
          usage: null,
        },
      ],
      null,
    );
    expect(shown(open)).toEqual([["Hello", "sent"]]);
  });
});
