/**
 * How much of an answer to show at a moment, so that text that comes in lumps is read evenly. Pure.
 *
 * Owns nothing but the pace: times and what has arrived come in, what to show comes out. Must not
 * know of clocks, the page or frames; never shows what has not arrived.
 *
 * The server gathers text between frames (for up to `FRAME_GAP_MOST_MS`), so what one frame brought
 * is spread over the time until the next one is expected:
 *
 *     arrived   ......|-------------|-------------|        a frame each
 *     shown     ......,.-'´,.-'´,.-'´,.-'´,.-'´,.-'        whole when the next one comes
 *
 * The first text is shown whole and at once: there is nothing before it that one could be reading.
 */

import { firstCodePoints, lengthInCodePoints } from "./codepoints";

const FRAME_GAP_MOST_MS = 600;
/** More than one, so that a frame that comes a little late finds some text still to be shown. */
const SLACK = 1.2;
/** Of what was expected before, beside what came last. */
const MEMORY = 0.5;
/** Text of so long a time came all at once: a replay, which nobody wants to see typed. */
const FAR_BEHIND_MS = 2_000;
const ENDING_MS = 300;

export class Pacer {
  private text = "";
  /** Of `text`, in code points. */
  private length = 0;
  private arrived_ms = 0;
  /** What usually lies between two arrivals, and what one usually brings; null before the second. */
  private usual: { gap_ms: number; codePoints: number } | null = null;
  /** Shown is a straight line from (`from_ms`, `from`) to (`due_ms`, all). */
  private from = 0;
  private from_ms = 0;
  private due_ms = 0;

  /** All that has arrived by now; shorter than before after a rewind, which cuts at once. */
  arrived(text: string, now_ms: number): void {
    if (text === this.text) return;
    const length = lengthInCodePoints(text);
    const added = length - this.length;
    const isFirst = this.length === 0;
    this.from = Math.min(this.positionAt(now_ms), length);
    this.from_ms = now_ms;
    this.text = text;
    this.length = length;
    if (added <= 0) return;
    this.due_ms = isFirst ? now_ms : now_ms + this.learned_ms(added, now_ms);
    this.arrived_ms = now_ms;
  }

  /** Nothing more will come. */
  ended(now_ms: number): void {
    const due_ms = Math.min(this.due_ms, now_ms + ENDING_MS);
    this.from = this.positionAt(now_ms);
    this.from_ms = now_ms;
    this.due_ms = due_ms;
  }

  /** Nobody looks, or wants it paced: all that has arrived is shown from now on. */
  catchUp(): void {
    this.from = this.length;
  }

  shownAt(now_ms: number): string {
    return firstCodePoints(this.text, Math.floor(this.positionAt(now_ms)));
  }

  isBehindAt(now_ms: number): boolean {
    return this.positionAt(now_ms) < this.length;
  }

  private positionAt(now_ms: number): number {
    if (now_ms >= this.due_ms) return this.length;
    const share = Math.max(0, now_ms - this.from_ms) / (this.due_ms - this.from_ms);
    return this.from + (this.length - this.from) * share;
  }

  /** How long to take for what is to be shown, now that so much was added. */
  private learned_ms(added: number, now_ms: number): number {
    const gap_ms = Math.min(now_ms - this.arrived_ms, FRAME_GAP_MOST_MS);
    const { usual } = this;
    const behind_ms = usual ? ((this.length - this.from) * usual.gap_ms) / usual.codePoints : 0;
    this.usual = {
      gap_ms: usual ? MEMORY * usual.gap_ms + (1 - MEMORY) * gap_ms : gap_ms,
      codePoints: usual ? MEMORY * usual.codePoints + (1 - MEMORY) * added : added,
    };
    return behind_ms > FAR_BEHIND_MS ? 0 : SLACK * Math.max(gap_ms, this.usual.gap_ms);
  }
}
