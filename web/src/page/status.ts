/** The one line above the composer that says what is going on. Pure. */

import type { ConnectionState } from "../client/connection";
import type { Thread } from "./thread";

/** How the page is connected; wasConnected: at any time; isOnline: as far as the browser knows. */
export interface Link {
  readonly state: ConnectionState;
  readonly wasConnected: boolean;
  readonly isOnline: boolean;
}

export function statusInWords(thread: Thread, link: Link): string {
  if (!link.isOnline || link.state === "waiting" || link.state === "connecting") {
    const how = disconnectionInWords(link);
    return thread.isSending ? `${how} Your message goes out when the connection is back.` : how;
  }
  if (thread.isSending) return "Sending…";
  const { active } = thread;
  if (active?.stopping) return "Stopping…";
  const wait = active?.transcript.wait ?? null;
  if (wait !== null) return wait.reason === "resuming" ? "Paused…" : "Waiting for a free GPU…";
  switch (active?.transcript.status ?? thread.lastAnswer?.status) {
    case "queued":
      return "Waiting for a free GPU…";
    case "running":
      return "Answering…";
    case "completed":
      return "The answer is complete.";
    case "cancelled":
      return "The answer was stopped.";
    case "failed":
      return "The answer failed.";
    default:
      return "";
  }
}

function disconnectionInWords({ isOnline, wasConnected }: Link): string {
  if (!isOnline) return "You are offline.";
  return wasConnected ? "Connection lost. Reconnecting…" : "Connecting…";
}
