/**
 * Which chats are being answered, whether they are open or not: an answer goes on without its page. Pure.
 *
 * Owns what was heard of runs that are not over, and where to look for those that nobody here has heard of.
 */

import type { ActiveRun } from "../client/http";
import { type Transcript, isOver } from "../client/transcript";

/** A little more than a user of any plan may have. */
const CHATS_MOST = 10;

export class Answering {
  /** The chat, by run. */
  private readonly runs = new Map<string, string>();

  get chats(): ReadonlySet<string> {
    return new Set(this.runs.values());
  }

  heard({ runId, chatId, status }: Transcript): void {
    if (isOver(status)) this.runs.delete(runId);
    else if (chatId !== null) this.runs.set(runId, chatId);
  }

  lost(runId: string): void {
    this.runs.delete(runId);
  }

  /**
   * Finds as many runs as the account says that there are, in chats by latest activity: that is where they
   * are. `read` answers with a chat's run, if one is active in it.
   */
  async find(
    count: number,
    chatIds: readonly string[],
    read: (chatId: string) => Promise<ActiveRun | null>,
    found: (run: ActiveRun, chatId: string) => void,
  ): Promise<void> {
    let left = count;
    for (const chatId of chatIds.slice(0, CHATS_MOST)) {
      if (left === 0) return;
      const run = await read(chatId);
      if (run === null) continue;
      found(run, chatId);
      left -= 1;
    }
  }
}
