import { describe, expect, it } from "vitest";
import type { Message } from "../src/client/http";
import { applyFrame, newTranscript } from "../src/client/transcript";
import { Thread } from "../src/page/thread";
import { firstWords } from "../src/page/words";
import { frames } from "./fakes";

function message(fields: Partial<Message> & Pick<Message, "message_id" | "role">): Message {
  return {
    text: fields.message_id,
    created_at: "2026-01-01T00:00:00.000Z",
    run_id: "run-1",
    finish_reason: null,
    usage: null,
    ...fields,
  };
}

const answering = applyFrame(
  applyFrame(newTranscript("run-1"), frames.started(1, 0)).transcript,
  frames.delta(1, 0, "Hi"),
).transcript;

describe("entries", () => {
  it("puts an answer behind its question while it is made", () => {
    const thread = new Thread(null);
    thread.addSend("message-1", "Hello");
    expect(thread.entries().map(({ status }) => status)).toEqual(["sending"]);
    thread.setAnswer(answering, false);
    expect(thread.entries().map(({ status, text }) => [status, text])).toEqual([
      ["sent", "Hello"],
      ["running", "Hi"],
    ]);
  });

  it("shows an answer once that is both stored and followed", () => {
    const thread = new Thread("chat-1");
    thread.addSend("message-1", "Hello");
    thread.setAnswer(answering, false);
    thread.addOlder(
      [
        message({ message_id: "message-0", role: "user", run_id: "run-0" }),
        message({ message_id: "answer-0", role: "assistant", run_id: "run-0" }),
        message({ message_id: "message-1", role: "user" }),
        message({ message_id: "answer-1", role: "assistant", text: "Hi there" }),
      ],
      null,
    );
    expect(thread.entries().map(({ key }) => key)).toEqual([
      "message-0",
      "run-0",
      "message-1",
      "run-1",
    ]);
  });

  it("tells how an answer ended", () => {
    const thread = new Thread("chat-1");
    thread.addOlder(
      [message({ message_id: "answer-1", role: "assistant", finish_reason: "cancelled" })],
      null,
    );
    expect(thread.entries()[0]).toMatchObject({ status: "cancelled", note: "Stopped." });
    const finished = applyFrame(answering, frames.completed(1, 2)).transcript;
    thread.setAnswer(finished, true);
    expect(thread.entries()[0]?.note).toBe("The answer was finished before it could be stopped.");
  });

  it("gives the text of a refused send back", () => {
    const thread = new Thread("chat-1");
    thread.addSend("message-1", "Hello");
    thread.takeBack("message-1");
    expect(thread.entries()).toEqual([]);
    expect(thread.isSending).toBe(false);
  });
});

it("titles are cut between words and between characters", () => {
  expect(firstWords("  One\n two ")).toBe("One two");
  expect(firstWords(`${"word ".repeat(20)}`)).toBe(`${"word ".repeat(11).trim()}…`);
  expect([...firstWords("🙂".repeat(100))]).toHaveLength(60);
});
