import { beforeEach, describe, expect, it } from "vitest";
import type { KeptSend } from "../src/client/ports";
import { StoredOutbox } from "../src/page/outbox";
import { FakeBrowser, type FakeTab } from "./browser";

describe("the outbox of a tab", () => {
  let browser: FakeBrowser;
  let now_ms: number;

  function opened(): { tab: FakeTab; outbox: StoredOutbox; taken: string[]; sends: KeptSend[] } {
    const tab = browser.open();
    const outbox = new StoredOutbox(tab.storage, tab, () => (now_ms += 1));
    const taken: string[] = [];
    const sends: KeptSend[] = [];
    outbox.takeOver((send) => {
      taken.push(send.messageId);
      sends.push(send);
    });
    return { tab, outbox, taken, sends };
  }

  const send = (messageId: string, chatId: string | null = "chat-1"): KeptSend => ({
    messageId,
    chatId,
    text: `Text of ${messageId}`,
  });

  beforeEach(() => {
    browser = new FakeBrowser();
    now_ms = 0;
  });

  it("is taken over by the next page, the oldest first, word for word", () => {
    const first = opened();
    now_ms = 50;
    first.outbox.keep(send("b", null));
    now_ms = 20;
    first.outbox.keep(send("a"));
    first.tab.close();
    expect(opened().sends).toEqual([send("a"), send("b", null)]);
  });

  it("is nobody else's while its tab is open, and one other's when it is closed", () => {
    const [first, second, third] = [opened(), opened(), opened()];
    first.outbox.keep(send("a"));
    const late = opened();
    expect([first, second, third, late].map(({ taken }) => taken)).toEqual([[], [], [], []]);
    first.tab.close();
    expect([second, third, late].map(({ taken }) => taken)).toEqual([["a"], [], []]);
    second.tab.close();
    expect([third, late].map(({ taken }) => taken)).toEqual([["a"], []]);
  });

  it("is over with the answer, whichever tab has heard it", () => {
    const [first, second] = [opened(), opened()];
    first.outbox.keep(send("a"));
    first.outbox.keep(send("b"));
    first.outbox.drop("a");
    second.outbox.drop("b");
    first.tab.close();
    expect([second.taken, opened().taken, browser.storage.entries.size]).toEqual([[], [], 0]);
  });

  it("is not taken over by the tab that made it", () => {
    const looks: (() => void)[] = [];
    const taken: KeptSend[] = [];
    // Also where a browser has no locks, and every name is free.
    const tab = { hold: (_: string, held: () => void) => held(), onStored: looks.push.bind(looks) };
    const outbox = new StoredOutbox(browser.storage, tab, () => 0);
    outbox.takeOver((each) => taken.push(each));
    outbox.keep(send("a"));
    for (const look of looks) look();
    expect([looks.length, taken]).toEqual([1, []]);
  });

  it("goes all at once, and nothing else", () => {
    const first = opened();
    browser.storage.setItem("another", "x");
    first.outbox.keep(send("a"));
    first.outbox.keep(send("b"));
    first.outbox.clear();
    first.tab.close();
    expect([opened().taken, [...browser.storage.entries]]).toEqual([[], [["another", "x"]]]);
  });

  it("is nobody's trouble where the storage is full", () => {
    const first = opened();
    browser.storage.isFull = true;
    first.outbox.keep(send("a"));
    first.outbox.drop("a");
    first.tab.close();
    expect(opened().taken).toEqual([]);
  });
});
