import { describe, expect, it } from "vitest";
import type { ActiveRun } from "../src/client/http";
import { applyFrame, newTranscript } from "../src/client/transcript";
import { Answering } from "../src/page/answering";
import { frames } from "./fakes";

const run = (run_id: string): ActiveRun => ({
  run_id,
  status: "running",
  epoch: 1,
  message_id: "message-1",
});

describe("chats that are being answered", () => {
  it("are those of runs that are not over", () => {
    const answering = new Answering();
    const queued = applyFrame(newTranscript("run-1"), frames.queued()).transcript;
    answering.heard(newTranscript("run-2"));
    answering.heard(queued);
    expect([...answering.chats]).toEqual(["chat-1"]);
    answering.heard(applyFrame(queued, frames.completed(1, 0)).transcript);
    expect([...answering.chats]).toEqual([]);
    answering.heard(queued);
    answering.lost("run-1");
    expect([...answering.chats]).toEqual([]);
  });

  it("are looked for until there are as many as there must be", async () => {
    const read: string[] = [];
    const found: string[] = [];
    const look = (count: number, chats: number) =>
      new Answering().find(
        count,
        Array.from({ length: chats }, (_, number) => `chat-${number}`),
        async (chatId) => {
          read.push(chatId);
          return chatId === "chat-1" || chatId === "chat-3" ? run(`run-of-${chatId}`) : null;
        },
        (each, chatId) => found.push(`${each.run_id} ${chatId}`),
      );
    await look(0, 30);
    expect(read).toEqual([]);
    await look(2, 30);
    expect(read).toEqual(["chat-0", "chat-1", "chat-2", "chat-3"]);
    expect(found).toEqual(["run-of-chat-1 chat-1", "run-of-chat-3 chat-3"]);
    read.length = 0;
    await look(3, 30);
    expect(read).toHaveLength(10);
  });
});
