/** The one line above the composer that says what is going on. Pure. */

import type { ConnectionState } from "../client/connection";
import type { Thread } from "./thread";

export function statusInWords(
  thread: Thread,
  connection: ConnectionState,
  wasConnected: boolean,
): string {
  if (connection === "waiting" || connection === "connecting") {
    return wasConnected ? "Connection lost. Reconnecting…" : "Connecting…";
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
