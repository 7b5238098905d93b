/**
 * A release's protocol client hears conversations of another release, and shows them whole.
 *
 * `test_clients.py` copies this file into the tests of the release whose client it tries.
 */

import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { stage } from "./fakes";

interface Conversation {
  readonly name: string;
  readonly frames: Record<string, unknown>[];
  readonly run_id: string;
  readonly text: string;
}

const path = process.env["CONVERSATIONS"] ?? "";
const conversations = JSON.parse(readFileSync(path, "utf8")) as Conversation[];

it.each(conversations)("$name", async ({ frames, run_id, text }) => {
  const { client, clock, events, open, textOf } = stage();
  const socket = await open();
  client.send(null, "What is my dog called?");
  await clock.pass(0);
  for (const frame of frames) {
    socket.hears(frame);
    await clock.pass(10);
  }
  expect(textOf(run_id)).toBe(text);
  const last = events.findLast((event) => event.kind === "run");
  expect(last?.kind === "run" && last.run.status).toBe("completed");
  expect(socket.actions("attach")).toEqual([]);
});
