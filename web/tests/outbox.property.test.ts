/**
 * Whatever is closed or cut at whichever moment, each send is taken once, and no two tabs that are open
 * both call it theirs.
 */

import fc from "fast-check";
import { expect, it } from "vitest";
import { StoredOutbox } from "../src/page/outbox";
import { FakeBrowser } from "./browser";
import { type FakeSocket, type Stage, frames, stage } from "./fakes";

const TABS = 3;
/** Longer than any pause between two tries. */
const ALL_TRIES_MS = 60_000;

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ does: fc.constant("send" as const), tab: tabNumber() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constantFrom("open" as const, "close" as const, "cut" as const, "wait" as const),
      tab: tabNumber(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      does: fc.constantFrom("connect" as const, "reach" as const, "hear" as const),
      tab: tabNumber(),
    }),
  },
);

function tabNumber() {
  return fc.nat({ max: TABS - 1 });
}

/** Takes each message once, as the real one does; every frame and every reply may be lost. */
class Server {
  readonly taken: string[] = [];
  private readonly heard = new Map<FakeSocket, number>();
  private readonly replies = new Map<FakeSocket, string[]>();

  /** What was said since the last time comes in. */
  reach(socket: FakeSocket): void {
    const said = socket.actions("send");
    for (const { message_id: id } of said.slice(this.heard.get(socket) ?? 0)) {
      if (typeof id !== "string") throw new Error("a send without an id");
      if (!this.taken.includes(id)) this.taken.push(id);
      this.replies.set(socket, [...(this.replies.get(socket) ?? []), id]);
    }
    this.heard.set(socket, said.length);
  }

  answer(socket: FakeSocket): void {
    const ids = this.replies.get(socket) ?? [];
    this.replies.delete(socket);
    for (const id of ids) socket.hears({ ...frames.queued(0, {}, id), run_id: `run-${id}` });
  }
}

interface OpenTab {
  readonly stage: Stage;
  readonly made: string[];
  close(): void;
}

class World {
  readonly browser = new FakeBrowser();
  readonly server = new Server();
  readonly made: string[] = [];
  private now_ms = 0;
  private readonly tabs = new Map<number, OpenTab>();

  open(at: number): void {
    if (this.tabs.has(at)) return;
    const tab = this.browser.open();
    const opened = stage({
      outbox: new StoredOutbox(tab.storage, tab, () => (this.now_ms += 1)),
      newMessageId: () => `message-${this.made.length}`,
    });
    this.tabs.set(at, { stage: opened, made: [], close: () => tab.close() });
    opened.client.start();
  }

  /** As when its process is killed: it says and hears nothing any more. */
  close(at: number): void {
    this.tabs.get(at)?.close();
    this.tabs.delete(at);
  }

  async does(what: string, at: number): Promise<void> {
    if (what === "open") this.open(at);
    if (what === "close") this.close(at);
    const tab = this.tabs.get(at);
    if (tab === undefined) return;
    const { stage: opened } = tab;
    if (what === "send") {
      const id = opened.client.send(this.made.length % 2 ? "chat-1" : null, "Hello");
      this.made.push(id);
      tab.made.push(id);
    }
    if (what === "wait") await opened.clock.pass(20_000);
    await opened.clock.pass(0);
    const socket = opened.sockets.at(-1);
    if (socket === undefined || socket.isClosed) return;
    if (what === "connect") socket.events.onOpen();
    if (what === "cut") socket.events.onClose();
    if (what === "reach") this.server.reach(socket);
    if (what === "hear") this.server.answer(socket);
  }

  async end(): Promise<void> {
    for (let at = 0; at < TABS; at += 1) this.close(at);
    this.open(0);
    await this.does("wait", 0);
    for (const what of ["connect", "reach", "hear"]) await this.does(what, 0);
    await this.tabs.get(0)?.stage.clock.pass(ALL_TRIES_MS);
  }

  /** What each open tab shows as its own: what was made in it, and what it has taken over. */
  get shown(): string[] {
    return [...this.tabs.values()].flatMap(({ stage: { events }, made }) => [
      ...made,
      ...events.flatMap((event) => (event.kind === "send_taken_over" ? [event.send.messageId] : [])),
    ]);
  }
}

it("is sent once, wherever its tab is closed", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const world = new World();
      world.open(0);
      for (const { does, tab } of steps) {
        await world.does(does, tab);
        expect(new Set(world.shown).size).toBe(world.shown.length);
      }
      await world.end();
      expect([...world.server.taken].sort()).toEqual([...world.made].sort());
      expect(world.browser.storage.entries.size).toBe(0);
    }),
    { numRuns: 300 },
  );
});
