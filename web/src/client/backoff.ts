/** How long to wait before trying again. Pure. */

import type { Random } from "./ports";

export interface Backoff {
  readonly first_ms: number;
  readonly most_ms: number;
}

function ceiling_ms(backoff: Backoff, failures: number): number {
  return Math.min(backoff.most_ms, backoff.first_ms * 2 ** Math.min(failures, 30));
}

/** Anywhere below the ceiling, so that clients that lost a server together do not return together. */
export function spreadDelay_ms(backoff: Backoff, failures: number, random: Random): number {
  return random() * ceiling_ms(backoff, failures);
}

/** Around the ceiling: for waiting on an answer, where coming too early only costs a frame. */
export function patientDelay_ms(backoff: Backoff, failures: number, random: Random): number {
  return ceiling_ms(backoff, failures) * (0.75 + random() / 2);
}
