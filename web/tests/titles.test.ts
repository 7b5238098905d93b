import { beforeEach, describe, expect, it } from "vitest";
import { type Chat, HttpProblem } from "../src/client/http";
import { Titles } from "../src/page/titles";
import { FakeClock } from "./fakes";

function chat(title: string | null): Chat {
  return {
    chat_id: "chat-1",
    title,
    created_at: "2030-01-01T00:00:00.000Z",
    last_active_at: "2030-01-01T00:00:00.000Z",
    active_run: null,
    usage: { input_tokens: 0, cached_tokens: 0, output_tokens: 0 },
  };
}

describe("titles", () => {
  let clock: FakeClock;
  let answers: (Chat | HttpProblem)[];
  let looks: number[];
  let named: (string | null)[];
  let listed: boolean;
  let titles: Titles;

  beforeEach(() => {
    clock = new FakeClock();
    answers = [];
    looks = [];
    named = [];
    listed = true;
    const read = async (): Promise<Chat> => {
      looks.push(clock.nowMs());
      const next = answers.shift() ?? chat(null);
      if (next instanceof Error) throw next;
      return next;
    };
    titles = new Titles(
      clock,
      read,
      () => listed,
      ({ title }) => named.push(title),
    );
  });

  it("are the server's, else a chat's first words", () => {
    expect(titles.of(chat(null))).toBe("New chat");
    titles.begins("chat-1", "  Which  ferries leave?");
    expect(titles.of(chat(null))).toBe("Which ferries leave?");
    expect(titles.of(chat("Ferries"))).toBe("Ferries");
  });

  it("are looked for after an answer, until the server has named the chat", async () => {
    answers = [chat(null), chat("Ferries")];
    titles.answered(chat(null));
    titles.answered(chat(null));
    await clock.pass(60_000);
    expect([looks, named]).toEqual([[1_000, 4_000], ["Ferries"]]);
  });

  it("are given up after some looks, and looked for again after the next answer", async () => {
    titles.answered(chat(null));
    await clock.pass(60_000);
    expect([looks, named]).toEqual([[1_000, 4_000, 14_000], []]);
    titles.answered(chat(null));
    await clock.pass(1_000);
    expect(looks).toHaveLength(4);
  });

  it("are not looked for once the chat is deleted, and are when that is taken back and answered", async () => {
    titles.answered(chat(null));
    await clock.pass(1_000);
    listed = false;
    await clock.pass(60_000);
    expect(looks).toEqual([1_000]);
    listed = true;
    titles.answered(chat(null));
    await clock.pass(1_000);
    expect(looks).toHaveLength(2);
  });

  it("are not looked for where there is one, nor after a trouble", async () => {
    titles.answered(chat("Ferries"));
    await clock.pass(60_000);
    expect(looks).toEqual([]);
    answers = [new HttpProblem("network", 0, "")];
    titles.answered(chat(null));
    await clock.pass(60_000);
    expect([looks.length, named]).toEqual([1, []]);
  });
});
