import { beforeEach, describe, expect, it } from "vitest";
import type { Chat } from "../src/client/http";
import { Deletions, UNDO_MS } from "../src/page/deletions";
import { FakeClock } from "./fakes";

function chat(id: string): Chat {
  return {
    chat_id: id,
    title: id,
    created_at: "2026-01-01T00:00:00.000Z",
    last_active_at: "2026-01-01T00:00:00.000Z",
    active_run: null,
    usage: { input_tokens: 0, cached_tokens: 0, output_tokens: 0 },
  };
}

describe("deletions", () => {
  let clock: FakeClock;
  let told: string[];
  let pending: (string | null)[];
  let deletions: Deletions;

  beforeEach(() => {
    clock = new FakeClock();
    told = [];
    pending = [];
    deletions = new Deletions(
      clock,
      (each) => told.push(each.chat_id),
      (each) => pending.push(each?.chat_id ?? null),
    );
  });

  it("are told when the time for taking them back is over", async () => {
    deletions.put(chat("a"));
    await clock.pass(UNDO_MS - 1);
    expect([told, deletions.holds("a")]).toEqual([[], true]);
    await clock.pass(1);
    expect([told, deletions.holds("a"), pending]).toEqual([["a"], false, ["a", null]]);
  });

  it("are not told when they were taken back", async () => {
    deletions.put(chat("a"));
    expect(deletions.undo()?.chat_id).toBe("a");
    await clock.pass(2 * UNDO_MS);
    expect([told, deletions.undo()]).toEqual([[], null]);
  });

  it("are told at once when the next one comes or the page goes", () => {
    deletions.put(chat("a"));
    deletions.put(chat("b"));
    expect(told).toEqual(["a"]);
    deletions.flush();
    deletions.flush();
    expect(told).toEqual(["a", "b"]);
  });
});
