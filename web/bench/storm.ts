/**
 * Many clients of the product in one process, whose network goes away at once: `make bench-client` builds
 * and runs it.
 *
 * Reads a plan as one JSON object from standard input and writes what each client saw as one JSON array;
 * tells on standard error how far it is. All that the clients say passes a relay, which is the network: it
 * drops every connection without a good-bye, refuses new ones for a while, and is there again.
 */

import { type AddressInfo, type Socket as TcpSocket, connect, createServer } from "node:net";
import { text as textOf } from "node:stream/consumers";
import WebSocket from "ws";
import { ChatClient, type ClientEvent } from "../src/client/client";
import { HttpApi } from "../src/client/http";
import type { Clock, OpenSocket } from "../src/client/ports";
import { type Transcript, isOver } from "../src/client/transcript";

interface Plan {
  readonly http_url: string;
  readonly ws_url: string;
  /** Of each user, who has one run. */
  readonly id_tokens: readonly string[];
  readonly viewers_per_run: number;
  readonly prompt: string;
  /** How much of its answer everybody has when the network goes. */
  readonly seen_before: number;
  readonly away_ms: number;
  /** After it, whoever is not whole again is given up. */
  readonly patience_ms: number;
}

/** Times are ms after the cut; null for what did not happen. */
interface Outcome {
  readonly user: number;
  readonly chat_id: string | null;
  readonly status: string | null;
  readonly text: string;
  /** Tickets asked for until it was whole. */
  readonly attempts: number;
  readonly open_ms: number | null;
  /** New text of the answer was there, or its end. */
  readonly whole_ms: number | null;
}

const FEW = 4;

const clock: Clock = {
  nowMs: () => performance.now(),
  after(delay_ms, action) {
    const timer = setTimeout(action, delay_ms);
    return () => clearTimeout(timer);
  },
};

const openSocket: OpenSocket = (url, events) => {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  socket.on("open", () => events.onOpen());
  socket.on("message", (data) => events.onText(String(data)));
  socket.on("close", () => events.onClose());
  // A close follows, which is all that the client wants to know.
  socket.on("error", () => undefined);
  return { send: (text) => socket.send(text), close: () => socket.terminate() };
};

/** Passes bytes on to one port of this machine, or does not. */
class Relay {
  private readonly open = new Set<TcpSocket>();
  private readonly server = createServer((near) => this.pass(near));

  constructor(private readonly target: { readonly host: string; readonly port: number }) {}

  /** Answers with the port that it listens on. */
  listen(port = 0): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(port, "127.0.0.1", () => {
        resolve((this.server.address() as AddressInfo).port);
      });
    });
  }

  /** Ends all that passes and listens no more. */
  cut(): void {
    this.server.close();
    for (const socket of this.open) socket.resetAndDestroy();
  }

  private pass(near: TcpSocket): void {
    const far = connect(this.target);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.open.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.open.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  }
}

class Viewer {
  run: Transcript | null = null;
  private readonly client: ChatClient;
  private isOpen = false;
  private cutAt_ms: number | null = null;
  private lengthAtCut = 0;
  private attempts = 0;
  private open_ms: number | null = null;
  private whole_ms: number | null = null;
  private changed: () => void = () => undefined;

  constructor(
    private readonly user: number,
    plan: Plan,
    idToken: string,
  ) {
    const http = new HttpApi({ baseUrl: plan.http_url, fetch, idToken: async () => idToken });
    this.client = new ChatClient({
      wsUrl: plan.ws_url,
      openSocket,
      clock,
      random: Math.random,
      // It only ever looks on.
      outbox: { keep: () => undefined, drop: () => undefined, takeOver: () => undefined },
      newMessageId: () => crypto.randomUUID(),
      takeTicket: () => {
        if (this.whole_ms === null) this.attempts += 1;
        return http.takeTicket();
      },
      onEvent: (event) => this.happened(event),
    });
  }

  async start(): Promise<void> {
    this.client.start();
    await this.until(() => this.isOpen);
  }

  send(text: string): void {
    this.client.send(null, text);
  }

  follow({ runId, chatId, messageId }: Transcript): void {
    if (chatId !== null && messageId !== null) this.client.follow(runId, { chatId, messageId });
  }

  stop(): void {
    this.client.stop();
  }

  /** What happens from now on is counted. */
  isCut(): void {
    this.cutAt_ms = clock.nowMs();
    // Its socket may still hold what came before: that is not what it is to come back to.
    this.isOpen = false;
    this.lengthAtCut = this.run?.length ?? 0;
    this.attempts = 0;
  }

  get isWhole(): boolean {
    return this.whole_ms !== null;
  }

  get isOver(): boolean {
    return this.run !== null && isOver(this.run.status);
  }

  until(done: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.changed = () => {
        if (!done()) return;
        this.changed = () => undefined;
        resolve();
      };
      this.changed();
    });
  }

  outcome(): Outcome {
    return {
      user: this.user,
      chat_id: this.run?.chatId ?? null,
      status: this.run?.status ?? null,
      text: this.run?.text ?? "",
      attempts: this.attempts,
      open_ms: this.open_ms,
      whole_ms: this.whole_ms,
    };
  }

  private happened(event: ClientEvent): void {
    const after_ms = this.cutAt_ms === null ? null : clock.nowMs() - this.cutAt_ms;
    if (event.kind === "connection") {
      this.isOpen = event.state === "open";
      if (this.isOpen && after_ms !== null) this.open_ms ??= after_ms;
    } else if (event.kind === "run") {
      this.run = event.run;
      const isNews = event.run.length > this.lengthAtCut || isOver(event.run.status);
      if (isNews && this.isOpen && after_ms !== null) this.whole_ms ??= after_ms;
    } else {
      process.stderr.write(`${JSON.stringify(event)}\n`);
    }
    this.changed();
  }
}

async function inTurn<Each>(all: readonly Each[], act: (each: Each) => Promise<void>): Promise<void> {
  const left = [...all];
  const work = async (): Promise<void> => {
    for (let each = left.shift(); each !== undefined; each = left.shift()) await act(each);
  };
  await Promise.all(Array.from({ length: FEW }, work));
}

function tell(words: string): void {
  process.stderr.write(`${words}\n`);
}

async function storm(plan: Plan): Promise<Outcome[]> {
  const { hostname, port } = new URL(plan.http_url);
  const relay = new Relay({ host: hostname, port: Number(port) });
  const relayPort = await relay.listen();
  const through = (url: string): string =>
    url.replace(`${hostname}:${port}`, `127.0.0.1:${relayPort}`);
  const ways = { http_url: through(plan.http_url), ws_url: through(plan.ws_url) };
  const groups = plan.id_tokens.map((token, user) =>
    Array.from({ length: plan.viewers_per_run }, () => new Viewer(user, { ...plan, ...ways }, token)),
  );
  const viewers = groups.flat();

  let begun_ms = clock.nowMs();
  const told = (words: string): void => {
    tell(`${words} after ${((clock.nowMs() - begun_ms) / 1000).toFixed(1)} s`);
    begun_ms = clock.nowMs();
  };
  await inTurn(viewers, (viewer) => viewer.start());
  told(`${viewers.length} clients connected`);
  await inTurn(groups, async ([first, ...others]) => {
    if (first === undefined) return;
    first.send(plan.prompt);
    await first.until(() => first.run !== null);
    for (const other of others) if (first.run !== null) other.follow(first.run);
  });
  await Promise.all(
    viewers.map((viewer) => viewer.until(() => (viewer.run?.length ?? 0) >= plan.seen_before)),
  );
  told("all of them read");

  relay.cut();
  for (const viewer of viewers) viewer.isCut();
  await new Promise((resolve) => setTimeout(resolve, plan.away_ms));
  await relay.listen(relayPort);
  const impatient = new Promise((resolve) => setTimeout(resolve, plan.patience_ms, "late"));
  const whole = Promise.all(viewers.map((viewer) => viewer.until(() => viewer.isWhole)));
  await Promise.race([whole, impatient]);
  told(`${viewers.filter((viewer) => viewer.isWhole).length} whole again`);
  const over = Promise.all(viewers.map((viewer) => viewer.until(() => viewer.isOver)));
  await Promise.race([over, impatient]);
  told(`${viewers.filter((viewer) => viewer.isOver).length} have read to the end`);
  const outcomes = viewers.map((viewer) => viewer.outcome());
  for (const viewer of viewers) viewer.stop();
  relay.cut();
  return outcomes;
}

const outcomes = await storm(JSON.parse(await textOf(process.stdin)) as Plan);
process.stdout.write(JSON.stringify(outcomes), () => process.exit(0));
