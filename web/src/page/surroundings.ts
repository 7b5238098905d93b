/** The browser as the protocol client wants to see it, and the settings this page is served with. */

import type { Clock, Fetch, OpenSocket } from "../client/ports";
import type { Tab } from "./outbox";

export interface Config {
  readonly http_url: string;
  readonly ws_url: string;
  readonly cognito_url: string;
  readonly user_pool_client_id: string;
  readonly region: string;
}

export async function loadConfig(): Promise<Config> {
  const reply = await fetch("/config.json", { cache: "no-store" });
  if (!reply.ok) throw new Error(`config.json: status ${reply.status}`);
  const config: unknown = await reply.json();
  return config as Config;
}

export const clock: Clock = {
  nowMs: () => performance.now(),
  after(delay_ms, action) {
    const timer = setTimeout(action, delay_ms);
    return () => clearTimeout(timer);
  },
};

/** API Gateway itself gives up after 30 s. */
const REQUEST_TIMEOUT_MS = 35_000;

export const request: Fetch = (url, asked) =>
  fetch(url, {
    ...asked,
    // A page that goes takes its requests along, but for those that may outlive it.
    keepalive: asked.method === "DELETE",
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });

export const openSocket: OpenSocket = (url, events) => {
  const socket = new WebSocket(url);
  socket.onopen = () => events.onOpen();
  socket.onclose = () => events.onClose();
  socket.onmessage = (message) => {
    if (typeof message.data === "string") events.onText(message.data);
  };
  return socket;
};

/** Not `crypto.randomUUID`, which is missing on plain-http pages other than localhost. */
export function newMessageId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What a tab stores may be seen before its name is asked for: browsers do not keep the two in order. */
const STORED_BEFORE_NAMED_MS = 1_000;

export const tab: Tab = {
  hold(name, held) {
    const locks = locksOf(navigator);
    if (locks === undefined) return held();
    void locks.request(name, () => {
      held();
      // Until the tab is closed.
      return new Promise<never>(() => undefined);
    });
  },
  onStored(look) {
    if (locksOf(navigator) === undefined) return;
    window.addEventListener("storage", () => void clock.after(STORED_BEFORE_NAMED_MS, look));
  },
};

/** Missing on plain-http pages other than localhost: there a tab takes what it finds when it is opened. */
function locksOf(browser: Partial<Navigator>): LockManager | undefined {
  return browser.locks;
}
