import { describe, expect, it } from "vitest";
import type { Chat } from "../src/client/http";
import { ChatList } from "../src/page/chat_list";

function chat(id: string, minute: number): Chat {
  return {
    chat_id: id,
    title: null,
    created_at: "2026-01-01T00:00:00.000Z",
    last_active_at: `2026-01-01T00:${String(minute).padStart(2, "0")}:00.000Z`,
    active_run: null,
    usage: { input_tokens: 0, cached_tokens: 0, output_tokens: 0 },
  };
}

const ids = (list: ChatList): string => list.all.map((each) => each.chat_id).join("");

function twoPages(): ChatList {
  const list = new ChatList();
  list.addNewest({ chats: [chat("a", 9), chat("b", 8)], next_cursor: "1" }, list.listed);
  list.addOlder({ chats: [chat("c", 7), chat("d", 6)], next_cursor: "2" });
  return list;
}

describe("the list of chats", () => {
  it("is read page by page, latest first", () => {
    const list = twoPages();
    expect(ids(list)).toBe("abcd");
    expect(list.cursor).toBe("2");
    list.put(chat("c", 10));
    expect(ids(list)).toBe("cabd");
    list.remove("a");
    expect(ids(list)).toBe("cbd");
  });

  it("read again, leaves later pages alone and drops what was deleted elsewhere", () => {
    const list = twoPages();
    list.addNewest({ chats: [chat("e", 11), chat("b", 8)], next_cursor: "1b" }, list.listed);
    expect(ids(list)).toBe("ebcd");
    expect(list.cursor).toBe("2");
  });

  it("read again to its end, is just that", () => {
    const list = twoPages();
    list.addNewest({ chats: [chat("b", 8)], next_cursor: null }, list.listed);
    expect(ids(list)).toBe("b");
    expect(list.cursor).toBeNull();
  });

  it("keeps what came to it while the page was on its way", () => {
    const list = new ChatList();
    const before = list.listed;
    list.put(chat("new", 12));
    list.addNewest({ chats: [chat("a", 9)], next_cursor: null }, before);
    expect(ids(list)).toBe("newa");
  });

  it("still has more to load when one old chat was opened by its address", () => {
    const list = new ChatList();
    const before = list.listed;
    list.put(chat("z", 1));
    list.addNewest({ chats: [chat("a", 9), chat("b", 8)], next_cursor: "1" }, before);
    expect(ids(list)).toBe("abz");
    expect(list.cursor).toBe("1");
  });

  it("takes the newer state of a chat that it has", () => {
    const list = twoPages();
    list.addNewest(
      { chats: [{ ...chat("c", 12), title: "Named" }, chat("a", 9)], next_cursor: "1" },
      list.listed,
    );
    expect(ids(list)).toBe("cabd");
    expect(list.find("c")?.title).toBe("Named");
  });
});
