/**
 * A person's own data, asked for: from the request to links that work. Pure.
 *
 * Owns when to look whether the files are ready, how much trouble is borne meanwhile, and when the links
 * have ended. The server makes one export an hour, so asking again only finds the same one.
 */

import { type Backoff, patientDelay_ms } from "../client/backoff";
import type { Export } from "../client/http";
import type { Clock, Random } from "../client/ports";
import { codeOf } from "./words";

export type ExportState =
  | { readonly kind: "none" }
  | { readonly kind: "preparing" }
  | { readonly kind: "ready"; readonly made: Export }
  | { readonly kind: "links_ended" }
  | { readonly kind: "failed"; readonly code: string };

/** What the request needs of the HTTP API. */
export interface Exports {
  startExport(): Promise<Export>;
  readExport(exportId: string): Promise<Export>;
}

const LOOK: Backoff = { first_ms: 1_000, most_ms: 15_000 };
/** They pass; the server goes on meanwhile. */
const PASSING_CODES: ReadonlySet<string> = new Set(["network", "busy", "internal_error"]);
const MAX_TROUBLES = 5;
/** A link is good for 15 minutes; one that is about to end is none. */
export const LINKS_MS = 14 * 60_000;

export class ExportRequest {
  private current: ExportState = { kind: "none" };
  private cancelTimer: () => void = () => undefined;

  constructor(
    private readonly exports: Exports,
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly changed: (state: ExportState) => void,
  ) {}

  get state(): ExportState {
    return this.current;
  }

  /** Asks, unless it is being asked already. */
  async ask(): Promise<void> {
    if (this.current.kind === "preparing") return;
    this.cancelTimer();
    this.turnTo({ kind: "preparing" });
    try {
      const { export_id: exportId, status } = await this.exports.startExport();
      if (status === "failed") this.turnTo({ kind: "failed", code: "export_failed" });
      // Made within the last hour. Only reading it gives links.
      else if (status === "ready") await this.look(exportId, 0, 0);
      else this.lookLater(exportId, 0, 0);
    } catch (problem) {
      this.turnTo({ kind: "failed", code: codeOf(problem) });
    }
  }

  private lookLater(exportId: string, looks: number, troubles: number): void {
    const pause_ms = patientDelay_ms(LOOK, looks, this.random);
    this.clock.after(pause_ms, () => void this.look(exportId, looks + 1, troubles));
  }

  private async look(exportId: string, looks: number, troubles: number): Promise<void> {
    let told: Export;
    try {
      told = await this.exports.readExport(exportId);
    } catch (problem) {
      const code = codeOf(problem);
      if (PASSING_CODES.has(code) && troubles < MAX_TROUBLES) {
        this.lookLater(exportId, looks, troubles + 1);
      } else {
        this.turnTo({ kind: "failed", code });
      }
      return;
    }
    if (told.status === "preparing") {
      this.lookLater(exportId, looks, 0);
    } else if (told.status === "failed") {
      this.turnTo({ kind: "failed", code: "export_failed" });
    } else {
      this.turnTo({ kind: "ready", made: told });
      this.cancelTimer = this.clock.after(LINKS_MS, () => this.turnTo({ kind: "links_ended" }));
    }
  }

  private turnTo(state: ExportState): void {
    this.current = state;
    this.changed(state);
  }
}
