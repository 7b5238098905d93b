import { beforeEach, describe, expect, it } from "vitest";
import { Drafts } from "../src/page/drafts";
import { FakeStorage } from "./fakes";

describe("drafts", () => {
  let storage: FakeStorage;
  let drafts: Drafts;

  beforeEach(() => {
    storage = new FakeStorage();
    drafts = new Drafts(storage);
  });

  it("are kept by chat, that of a new chat too", () => {
    drafts.keep("chat-1", "one");
    drafts.keep(null, "new");
    expect([drafts.of("chat-1"), drafts.of(null), drafts.of("chat-2")]).toEqual(["one", "new", ""]);
    expect(new Drafts(storage).of("chat-1")).toBe("one");
  });

  it("go when there is nothing in them", () => {
    drafts.keep("chat-1", "one");
    drafts.keep("chat-1", "  ");
    expect(storage.entries.size).toBe(0);
  });

  it("go all at once, and nothing else", () => {
    storage.setItem("another", "x");
    drafts.keep("chat-1", "one");
    drafts.keep("chat-2", "two");
    drafts.clear();
    expect([...storage.entries]).toEqual([["another", "x"]]);
  });

  it("are nobody's trouble where the storage is full", () => {
    storage.isFull = true;
    drafts.keep("chat-1", "one");
    expect(drafts.of("chat-1")).toBe("");
  });
});
