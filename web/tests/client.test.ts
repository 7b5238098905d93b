import { describe, expect, it } from "vitest";
import { HttpProblem } from "../src/client/http";
import { FakeOutbox, frames, stage } from "./fakes";

describe("connecting", () => {
  it("takes a ticket for every connection", async () => {
    const { client, clock, sockets, socket } = stage();
    client.start();
    await clock.pass(0);
    expect(socket().url).toBe("wss://ws.test/live?ticket=ticket%2F1");
    socket().events.onClose();
    await clock.pass(30_000);
    expect(sockets.map(({ url }) => url).slice(0, 2)).toEqual([
      "wss://ws.test/live?ticket=ticket%2F1",
      "wss://ws.test/live?ticket=ticket%2F2",
    ]);
  });

  it("waits longer after every failure, up to a limit", async () => {
    const delays_ms: number[] = [];
    let failedAt_ms: number | null = null;
    const { client, clock } = stage({
      takeTicket: async () => {
        if (failedAt_ms !== null) delays_ms.push(clock.nowMs() - failedAt_ms);
        failedAt_ms = clock.nowMs();
        throw new HttpProblem("network", 0, "");
      },
    });
    client.start();
    await clock.pass(120_000);
    expect(delays_ms.slice(0, 8)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
  });

  it("begins anew with short delays after a connection that lasted", async () => {
    const { clock, sockets, open, socket } = stage();
    await open();
    await clock.pass(6_000);
    socket().events.onClose();
    await clock.pass(500);
    expect(sockets).toHaveLength(2);
  });

  it("does not sit out the delay when woken", async () => {
    const { client, clock, sockets, open } = stage();
    const first = await open();
    first.events.onClose();
    client.wake();
    await clock.pass(0);
    expect(sockets).toHaveLength(2);
    client.wake();
    await clock.pass(0);
    expect(sockets).toHaveLength(2);
  });

  it("stops and tells when the user must sign in again", async () => {
    const { client, clock, events, sockets } = stage({
      takeTicket: () => Promise.reject(new HttpProblem("unauthorized", 401, "")),
    });
    client.start();
    await clock.pass(600_000);
    expect(sockets).toHaveLength(0);
    expect(events.at(-1)).toEqual({ kind: "unauthorized" });
  });

  it("gives up a socket that does not open", async () => {
    const { client, clock, sockets } = stage();
    client.start();
    await clock.pass(16_000);
    expect(sockets).toHaveLength(2);
    expect(sockets[0]?.isClosed).toBe(true);
  });

  it("gives up a ticket that does not come, and does not use it if it comes late", async () => {
    let hand: (ticket: string) => void = () => undefined;
    let asked = 0;
    const { client, clock, sockets } = stage({
      takeTicket: () => {
        asked += 1;
        if (asked > 1) return Promise.resolve("second");
        return new Promise((resolve) => (hand = resolve));
      },
    });
    client.start();
    await clock.pass(16_000);
    expect(asked).toBe(2);
    hand("first");
    await clock.pass(0);
    expect(sockets.map((socket) => socket.url)).toEqual(["wss://ws.test/live?ticket=second"]);
  });

  it("pings when idle and gives up a socket that does not answer", async () => {
    const { clock, sockets, open } = stage();
    const first = await open();
    await clock.pass(240_000);
    expect(first.actions("ping")).toHaveLength(1);
    first.hears({ type: "pong" });
    await clock.pass(240_000);
    expect(first.actions("ping")).toHaveLength(2);
    await clock.pass(11_000);
    expect(first.isClosed).toBe(true);
    expect(sockets).toHaveLength(2);
  });

  it("suspects silence sooner while something is unanswered, even if it is repeated", async () => {
    const { client, clock, open } = stage();
    const first = await open();
    client.send("chat-1", "Hello");
    await clock.pass(41_000);
    expect(first.actions("ping")).toHaveLength(1);
    expect(first.actions("send").length).toBeGreaterThan(1);
    expect(first.isClosed).toBe(true);
  });

  it("changes the connection before the gateway ends it", async () => {
    const { clock, sockets, open } = stage();
    const first = await open();
    for (let minute = 0; minute < 119; minute += 1) {
      first.hears({ type: "pong" });
      await clock.pass(60_000);
    }
    expect(first.isClosed).toBe(true);
    expect(sockets.length).toBeGreaterThan(1);
  });

  it("does not listen to a socket it has let go of", async () => {
    const { client, clock, open, textOf } = stage();
    const first = await open();
    first.events.onClose();
    client.wake();
    await clock.pass(0);
    first.hears({ ...frames.delta(1, 0, "ghost") });
    first.events.onClose();
    expect(textOf("run-1")).toBeUndefined();
  });
});

describe("sending", () => {
  it("keeps a send until there is a connection", async () => {
    const { client, open } = stage();
    client.send(null, "Hello");
    const socket = await open();
    expect(socket.said).toEqual([
      { action: "send", chat_id: null, message_id: "message-1", text: "Hello" },
    ]);
  });

  it("repeats an unanswered send with its id, on a new connection and after a time-out", async () => {
    const { client, clock, open, socket } = stage();
    const first = await open();
    client.send("chat-1", "Hello");
    await clock.pass(8_000);
    expect(first.actions("send")).toHaveLength(2);
    first.events.onClose();
    client.wake();
    await clock.pass(0);
    socket().events.onOpen();
    const repeated = [...first.actions("send"), ...socket().actions("send")];
    expect(new Set(repeated.map((frame) => JSON.stringify(frame))).size).toBe(1);
    expect(repeated).toHaveLength(3);
  });

  it("does not repeat an answered send", async () => {
    for (const answer of [frames.queued(), frames.started(1, 0)]) {
      const { client, clock, open } = stage();
      const socket = await open();
      client.send("chat-1", "Hello");
      socket.hears({ ...answer });
      await clock.pass(20_000);
      expect(socket.actions("send")).toHaveLength(1);
    }
  });

  it("tells a rejection, with when to try again", async () => {
    const { client, events, open } = stage();
    const socket = await open();
    client.send("chat-1", "Hello");
    socket.hears({
      type: "error",
      code: "budget_exhausted",
      message: "No.",
      ref: "message-1",
      retry_at: "2030-01-01T00:00:00.000Z",
    });
    expect(events.at(-1)).toEqual({
      kind: "send_rejected",
      messageId: "message-1",
      problem: {
        code: "budget_exhausted",
        message: "No.",
        retryAt: "2030-01-01T00:00:00.000Z",
      },
    });
  });

  it("tries again when the service is busy, and says so in the end", async () => {
    const { client, clock, events, open } = stage();
    const socket = await open();
    client.send("chat-1", "Hello");
    for (let refusal = 0; refusal < 5; refusal += 1) {
      expect(events.at(-1)?.kind).not.toBe("send_rejected");
      socket.hears({ type: "error", code: "busy", message: "Busy.", ref: "message-1" });
      await clock.pass(1_000 * 2 ** refusal);
    }
    expect(socket.actions("send")).toHaveLength(5);
    expect(events.filter(({ kind }) => kind === "send_rejected")).toHaveLength(1);
  });

  it("rejects what no frame can hold without sending it", async () => {
    const { client, clock, events, open } = stage();
    const socket = await open();
    client.send("chat-1", "漢".repeat(11_000));
    await clock.pass(0);
    expect(socket.said).toHaveLength(0);
    expect(events.at(-1)).toMatchObject({
      kind: "send_rejected",
      problem: { code: "text_too_long" },
    });
  });

  it("takes a replay for an answer to a repeated send, even if its end came first", async () => {
    const { client, clock, events, open } = stage();
    const socket = await open();
    client.send(null, "Hello");
    socket.hears({ ...frames.delta(1, 0, "Hi") });
    socket.hears({ ...frames.completed(1, 2) });
    socket.hears({ ...frames.started(1, 0) });
    await clock.pass(60_000);
    expect(socket.actions("send")).toHaveLength(1);
    const last = events.findLast(({ kind }) => kind === "run");
    expect(last).toMatchObject({
      run: { messageId: "message-1", chatId: "chat-1", status: "completed", text: "Hi" },
    });
  });

  it("ignores what it cannot read, as the gateway's own complaints", async () => {
    const { events, open } = stage();
    const socket = await open();
    const before = events.length;
    socket.events.onText("not json");
    socket.hears({ message: "Internal server error", connectionId: "x" });
    socket.hears({ type: "run.delta", run_id: "run-1", epoch: 1, offset: -1, text: "a" });
    socket.hears({ type: "from.the.future" });
    expect(events).toHaveLength(before);
  });
});

describe("the outbox", () => {
  const kept = { messageId: "message-0", chatId: "chat-1", text: "Hello" };

  it("has a send before it is said, and until it is answered", async () => {
    const outbox = new FakeOutbox();
    const { client, open } = stage({ outbox });
    const socket = await open();
    const say = socket.send.bind(socket);
    socket.send = (text) => {
      expect([...outbox.kept.keys()]).toEqual(["message-1"]);
      say(text);
    };
    client.send("chat-1", "Hello");
    expect(outbox.kept.get("message-1")).toEqual({ ...kept, messageId: "message-1" });
    socket.hears({ ...frames.queued() });
    expect([socket.actions("send").length, outbox.kept.size]).toEqual([1, 0]);
  });

  it("has nothing that was refused, or that no frame can hold", async () => {
    const outbox = new FakeOutbox();
    const { client, clock, open } = stage({ outbox });
    const socket = await open();
    client.send("chat-1", "漢".repeat(11_000));
    expect(outbox.kept.size).toBe(0);
    await clock.pass(0);
    client.send("chat-1", "Hello");
    socket.hears({ type: "error", code: "run_active", message: "No.", ref: "message-2" });
    expect(outbox.kept.size).toBe(0);
  });

  it("has what the client before has left: it is said under its id, and told", async () => {
    const outbox = new FakeOutbox();
    outbox.keep(kept);
    const { clock, events, open, socket } = stage({ outbox });
    await open();
    expect(events).toContainEqual({ kind: "send_taken_over", send: kept });
    expect(socket().said).toEqual([
      { action: "send", chat_id: "chat-1", message_id: "message-0", text: "Hello" },
    ]);
    socket().hears({ ...frames.started(1, 0, "message-0") });
    await clock.pass(20_000);
    expect([socket().actions("send").length, outbox.kept.size]).toEqual([1, 0]);
  });

  it("keeps what is unanswered when its client is stopped", () => {
    const outbox = new FakeOutbox();
    const { client } = stage({ outbox });
    client.send(null, "Hello");
    client.stop();
    expect([...outbox.kept.keys()]).toEqual(["message-1"]);
  });
});

describe("following", () => {
  it("attaches from the beginning to a run that was not begun here", async () => {
    const { client, open, textOf } = stage();
    const socket = await open();
    client.follow("run-1", { chatId: "chat-1", messageId: "message-1" });
    expect(socket.said).toEqual([{ action: "attach", run_id: "run-1", offset: 0, epoch: 0 }]);
    socket.hears({ ...frames.delta(1, 0, "Hello") });
    expect(textOf("run-1")).toBe("Hello");
    client.follow("run-1", { chatId: "chat-1", messageId: "message-1" });
    expect(socket.said).toHaveLength(1);
  });

  it("attaches from its own length, in code points, after a reconnect", async () => {
    const { client, clock, open, socket, textOf } = stage();
    const first = await open();
    first.hears({ ...frames.started(1, 0) });
    first.hears({ ...frames.delta(1, 0, "a🙂") });
    first.events.onClose();
    client.wake();
    await clock.pass(0);
    socket().events.onOpen();
    expect(socket().said).toEqual([
      { action: "attach", run_id: "run-1", offset: 2, epoch: 1 },
    ]);
    socket().hears({ ...frames.delta(1, 2, "b") });
    expect(textOf("run-1")).toBe("a🙂b");
  });

  it("asks once for what a gap hides, and again if no answer comes", async () => {
    const { clock, open, textOf } = stage();
    const socket = await open();
    socket.hears({ ...frames.started(1, 0) });
    socket.hears({ ...frames.delta(1, 2, "c") });
    socket.hears({ ...frames.delta(1, 3, "d") });
    expect(socket.actions("attach")).toEqual([
      { action: "attach", run_id: "run-1", offset: 0, epoch: 1 },
    ]);
    await clock.pass(5_000);
    expect(socket.actions("attach")).toHaveLength(2);
    socket.hears({ ...frames.delta(1, 0, "abcd") });
    expect(textOf("run-1")).toBe("abcd");
  });

  it("asks again soon where the gateway says that something failed", async () => {
    const { client, clock, open } = stage();
    const socket = await open();
    client.send("chat-1", "Hello");
    client.follow("run-1", { chatId: "chat-1", messageId: "message-0" });
    socket.hears({ message: "Internal server error", connectionId: "c", requestId: "r" });
    await clock.pass(900);
    expect(socket.said).toHaveLength(2);
    await clock.pass(100);
    expect(socket.said.map((frame) => frame["action"])).toEqual(["send", "attach", "send", "attach"]);
    // Each time it waits longer.
    socket.hears({ message: "Internal server error" });
    await clock.pass(1_900);
    expect(socket.said).toHaveLength(4);
    await clock.pass(100);
    expect(socket.said).toHaveLength(6);
  });

  it("does not ask again for what has been answered when the gateway speaks", async () => {
    const { client, clock, open } = stage();
    const socket = await open();
    client.follow("run-1", { chatId: "chat-1", messageId: "message-1" });
    socket.hears({ ...frames.started(1, 0) });
    socket.hears({ ...frames.delta(1, 0, "Hello") });
    socket.hears({ message: "Internal server error" });
    await clock.pass(10_000);
    expect(socket.actions("attach")).toHaveLength(1);
  });

  it("asks anew when a wait is to be looked at again, for as long as it lasts", async () => {
    const { client, clock, events, open } = stage();
    const socket = await open();
    client.send("chat-1", "Hello");
    socket.hears({ ...frames.queued(0, { position: 12, look_again_s: 7 }) });
    await clock.pass(6_900);
    expect(socket.actions("attach")).toHaveLength(0);
    await clock.pass(100);
    expect(socket.actions("attach")).toEqual([
      { action: "attach", run_id: "run-1", offset: 0, epoch: 0 },
    ]);
    socket.hears({ ...frames.queued(0, { position: 12, look_again_s: 7 }) });
    await clock.pass(7_000);
    expect(socket.actions("attach")).toHaveLength(2);
    socket.hears({ ...frames.queued(0, { position: 4, look_again_s: 5 }) });
    expect(events.at(-1)).toMatchObject({ kind: "run", run: { wait: { position: 4 } } });
    await clock.pass(4_000);
    socket.hears({ ...frames.started(1, 0) });
    await clock.pass(20_000);
    expect(socket.actions("attach")).toHaveLength(2);
    socket.hears({ ...frames.queued(1, { reason: "resuming", look_again_s: 5 }) });
    await clock.pass(5_000);
    expect(socket.actions("attach")).toHaveLength(3);
  });

  it("is not made to ask more often than once a second, nor by a wait that is over", async () => {
    const { clock, open } = stage();
    const socket = await open();
    socket.hears({ ...frames.queued(0, { look_again_s: 0 }) });
    await clock.pass(900);
    expect(socket.actions("attach")).toHaveLength(0);
    await clock.pass(100);
    expect(socket.actions("attach")).toHaveLength(1);
    socket.hears({ ...frames.started(1, 0) });
    socket.hears({ ...frames.queued(0, { look_again_s: 0 }) });
    await clock.pass(20_000);
    expect(socket.actions("attach")).toHaveLength(1);
  });

  it("piles up no looks while there is no connection", async () => {
    let isOnline = true;
    const { client, clock, open, socket, sockets } = stage({
      takeTicket: () =>
        isOnline ? Promise.resolve("ticket") : Promise.reject(new HttpProblem("network", 0, "")),
    });
    const first = await open();
    first.hears({ ...frames.queued(0, { look_again_s: 7 }) });
    isOnline = false;
    first.events.onClose();
    await clock.pass(300_000);
    expect(first.actions("attach")).toHaveLength(0);
    expect(sockets).toHaveLength(1);
    isOnline = true;
    client.wake();
    await clock.pass(0);
    socket().events.onOpen();
    expect(socket().actions("attach")).toHaveLength(1);
    socket().hears({ ...frames.queued(0, { look_again_s: 7 }) });
    await clock.pass(6_000);
    expect(socket().actions("attach")).toHaveLength(1);
  });

  it("asks after a run that has fallen silent, less and less often", async () => {
    const { clock, open } = stage();
    const socket = await open();
    socket.hears({ ...frames.started(1, 0) });
    for (let second = 0; second < 300; second += 1) {
      await clock.pass(1_000);
      socket.hears({ type: "pong" });
    }
    const asked = socket.actions("attach").length;
    expect(asked).toBeGreaterThanOrEqual(4);
    expect(asked).toBeLessThanOrEqual(8);
  });

  it("lets a finished run be", async () => {
    const { client, clock, open, socket } = stage();
    const first = await open();
    first.hears({ ...frames.delta(1, 0, "a") });
    first.hears({ ...frames.completed(1, 1) });
    first.events.onClose();
    client.wake();
    await clock.pass(0);
    socket().events.onOpen();
    await clock.pass(120_000);
    expect(socket().said).toEqual([]);
  });

  it("tells when there is no such run", async () => {
    const { client, clock, events, open } = stage();
    const socket = await open();
    client.follow("run-1", { chatId: "chat-1", messageId: "message-1" });
    socket.hears({ type: "error", code: "run_not_found", message: "None.", ref: "run-1" });
    expect(events.at(-1)).toMatchObject({ kind: "run_lost", runId: "run-1" });
    await clock.pass(120_000);
    expect(socket.actions("attach")).toHaveLength(1);
  });
});

describe("cancelling", () => {
  it("repeats a cancel until the run is over, and tells the true outcome", async () => {
    const { client, clock, events, open, socket } = stage();
    const first = await open();
    first.hears({ ...frames.started(1, 0) });
    client.cancel("run-1");
    client.cancel("run-1");
    expect(first.actions("cancel")).toEqual([{ action: "cancel", run_id: "run-1" }]);
    expect(events.at(-1)).toMatchObject({ kind: "run", stopping: true });
    first.events.onClose();
    client.wake();
    await clock.pass(0);
    socket().events.onOpen();
    expect(socket().actions("cancel")).toHaveLength(1);
    await clock.pass(10_000);
    expect(socket().actions("cancel")).toHaveLength(2);
    socket().hears({ ...frames.completed(1, 0) });
    expect(events.at(-1)).toMatchObject({ run: { status: "completed" }, stopping: true });
    await clock.pass(60_000);
    expect(socket().actions("cancel")).toHaveLength(2);
  });
});

it("forgets everything when stopped", async () => {
  const { client, clock, open, sockets } = stage();
  const socket = await open();
  client.send("chat-1", "Hello");
  client.stop();
  await clock.pass(600_000);
  expect(socket.isClosed).toBe(true);
  expect(sockets).toHaveLength(1);
});

describe("watching the chat that is open", () => {
  const watches = (socket: { actions(name: string): Record<string, unknown>[] }) =>
    socket.actions("watch").map((frame) => frame["chat_id"]);

  it("says so once a connection, and again on the next", async () => {
    const { client, clock, open, socket } = stage();
    const first = await open();
    client.watch("c_1");
    client.watch("c_1");
    expect(watches(first)).toEqual(["c_1"]);
    client.watch("c_2");
    first.events.onClose();
    await clock.pass(1_000);
    socket().events.onOpen();
    expect(watches(socket())).toEqual(["c_2"]);
  });

  it("is known by a send, and waits for a connection", async () => {
    const { client, clock, open, socket } = stage();
    client.watch("c_1");
    const first = await open();
    expect(watches(first)).toEqual(["c_1"]);
    client.watch(null);
    const messageId = client.send(null, "Hello");
    socket().hears({ ...frames.started(1, 0, messageId), chat_id: "c_9" });
    client.watch("c_9");
    await clock.pass(1_000);
    expect(watches(first)).toEqual(["c_1"]);
  });

  it("is said again where the server was busy, and not where there is no such chat", async () => {
    const { client, clock, open, socket } = stage();
    const first = await open();
    client.watch("c_1");
    const refused = { type: "error", message: "", ref: "c_1", retry_at: null };
    socket().hears({ ...refused, code: "busy" });
    await clock.pass(2_000);
    expect(watches(first)).toEqual(["c_1", "c_1"]);
    socket().hears({ ...refused, code: "chat_not_found" });
    await clock.pass(60_000);
    expect(watches(first)).toEqual(["c_1", "c_1"]);
  });

  it("says nothing where an older server does not know what that is", async () => {
    const { client, open, socket, events } = stage();
    await open();
    client.watch("c_1");
    const before = events.length;
    socket().hears({ type: "error", code: "action_unknown", message: "", ref: null, retry_at: null });
    expect(events).toHaveLength(before);
  });
});
