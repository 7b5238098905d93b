import { describe, expect, it } from "vitest";
import type { Message } from "../src/client/http";
import { applyFrame, newTranscript } from "../src/client/transcript";
import { Thread } from "../src/page/thread";
import { type Link, statusInWords } from "../src/page/status";
import { firstWords, sentenceFor, usageInWords, waitInWords } from "../src/page/words";
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

const CONNECTED: Link = { state: "open", wasConnected: true, isOnline: true };

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

  it("takes in what was said elsewhere, and keeps what it had", () => {
    const thread = new Thread("chat-1");
    const older = message({ message_id: "message-0", role: "user", run_id: "run-0" });
    const newest = message({ message_id: "message-1", role: "user" });
    thread.addNewest([newest], "cursor-1");
    thread.addOlder([older], null);
    const elsewhere = message({ message_id: "message-2", role: "user", run_id: "run-2" });
    thread.addNewest([newest, elsewhere], "cursor-2");
    expect(thread.entries().map(({ key }) => key)).toEqual(["message-0", "message-1", "message-2"]);
    expect(thread.cursor).toBeNull();
  });

  it("begins anew where so much was said elsewhere that a gap would be left", () => {
    const thread = new Thread("chat-1");
    thread.addNewest([message({ message_id: "message-1", role: "user" })], null);
    thread.addNewest([message({ message_id: "message-9", role: "user", run_id: "run-9" })], "more");
    expect(thread.entries().map(({ key }) => key)).toEqual(["message-9"]);
    expect(thread.cursor).toBe("more");
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

  it("shows a pause as a wait, with the text so far", () => {
    const thread = new Thread("chat-1");
    thread.setAnswer(applyFrame(answering, frames.queued(1, { reason: "resuming" })).transcript, false);
    const paused = { status: "queued", text: "Hi", wait: "Paused: a moment, it goes on" };
    expect(thread.entries()[0]).toMatchObject(paused);
    expect(statusInWords(thread, CONNECTED)).toBe("Paused…");
    thread.setAnswer(answering, false);
    expect(thread.entries()[0]).toMatchObject({ status: "running", wait: null });
    expect(statusInWords(thread, CONNECTED)).toBe("Answering…");
  });

  it("says how it is connected, and what becomes of a message that could not go out yet", () => {
    const thread = new Thread("chat-1");
    const lost: Link = { ...CONNECTED, state: "waiting" };
    expect(statusInWords(thread, { ...lost, wasConnected: false })).toBe("Connecting…");
    expect(statusInWords(thread, lost)).toBe("Connection lost. Reconnecting…");
    expect(statusInWords(thread, { ...CONNECTED, isOnline: false })).toBe("You are offline.");
    thread.addSend("message-1", "Hello");
    expect(statusInWords(thread, { ...lost, isOnline: false })).toBe(
      "You are offline. Your message goes out when the connection is back.",
    );
    expect(statusInWords(thread, CONNECTED)).toBe("Sending…");
  });

  it("tells how a stored answer ended", () => {
    const told = (finish_reason: "stop" | "cancelled" | "abandoned" | "failed") => {
      const thread = new Thread("chat-1");
      thread.addNewest([message({ message_id: "a", role: "assistant", finish_reason })], null);
      return thread.entries()[0];
    };
    expect(told("stop")).toMatchObject({ status: "completed", note: null });
    expect(told("cancelled")).toMatchObject({ status: "cancelled", note: "Stopped." });
    expect(told("abandoned")).toMatchObject({ status: "cancelled" });
    expect(told("failed")).toMatchObject({ status: "failed", note: "The answer broke off here." });
  });

  it("makes the entry of a stored message once", () => {
    const thread = new Thread("chat-1");
    thread.addNewest([message({ message_id: "message-1", role: "user" })], null);
    expect(thread.entries()[0]).toBe(thread.entries()[0]);
  });

  it("gives the text of a refused send back", () => {
    const thread = new Thread("chat-1");
    thread.addSend("message-1", "Hello");
    thread.takeBack("message-1");
    expect(thread.entries()).toEqual([]);
    expect(thread.isSending).toBe(false);
  });
});

it("a wait is told in few words, that change no more often than they must", () => {
  const said = (reason: string, position: number | null = null, estimate_s: number | null = null) =>
    waitInWords({ epoch: 0, reason, position, estimate_s });
  expect(said("starting", 0, 0)).toBe("Starting");
  expect(said("busy")).toBe("Waiting for a free GPU");
  expect(said("busy", 12)).toBe("12 before you");
  expect(said("busy", 12, 8.5)).toBe("12 before you, about 9 s");
  expect(said("busy", 12, 33)).toBe(said("busy", 12, 36));
  expect(said("busy", 12, 57.9)).toBe("12 before you, about 1 min");
  expect(said("busy", 12, 110)).toBe("12 before you, about 2 min");
  expect(said("own_runs", 13, 9)).toBe("Waiting for your other answer");
  expect(said("resuming", 0, 0)).toBe("Paused: a moment, it goes on");
  expect(said("from_the_future")).toBe("Waiting for a free GPU");
});

it("what passes by itself is told with when to try again", () => {
  const soon = new Date();
  soon.setHours(12, 5);
  for (const code of ["queue_too_old", "tier_paused"]) {
    expect(sentenceFor(code)).toMatch(/ Please try again later\.$/);
    expect(sentenceFor(code, soon.toISOString())).toMatch(/ Please try again at \S*5.*\.$/);
  }
});

it("titles are cut between words and between characters", () => {
  expect(firstWords("  One\n two ")).toBe("One two");
  expect(firstWords(`${"word ".repeat(20)}`)).toBe(`${"word ".repeat(11).trim()}…`);
  expect([...firstWords("🙂".repeat(100))]).toHaveLength(60);
});

describe("usage in words", () => {
  it("tells what was read and written, and of the former what a cache had", () => {
    const usage = { input_tokens: 4_128, cached_tokens: 0, output_tokens: 56 };
    expect(usageInWords(usage)).toBe("4,128 tokens read, 56 written");
    expect(usageInWords({ ...usage, cached_tokens: 3_900 })).toBe(
      "4,128 tokens read (3,900 of them cached), 56 written",
    );
  });
});
