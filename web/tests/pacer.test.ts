/** What is shown while text comes in lumps: the clock is a number that the tests count up. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lengthInCodePoints } from "../src/client/codepoints";
import { Pacer } from "../src/client/pacer";

const PICTURE_MS = 16;

/** Frames of `size` characters, `gap_ms` apart, from 0 on; returns the pacer and all that arrived. */
function framesUpTo(last_ms: number, gap_ms: number, size: number): [Pacer, string] {
  const pacer = new Pacer();
  let text = "";
  for (let now_ms = 0; now_ms <= last_ms; now_ms += gap_ms) {
    text += "x".repeat(size);
    pacer.arrived(text, now_ms);
  }
  return [pacer, text];
}

describe("the pace", () => {
  it("does not delay the first text", () => {
    const pacer = new Pacer();
    pacer.arrived("", 0);
    pacer.arrived("All of this", 5_000);
    expect(pacer.shownAt(5_000)).toBe("All of this");
    expect(pacer.isBehindAt(5_000)).toBe(false);
  });

  it("spreads a frame evenly over the time until the next", () => {
    const [pacer, text] = framesUpTo(6_000, 600, 60);
    const lengths = [0, 100, 200, 300, 400, 500].map((ms) => pacer.shownAt(6_000 + ms).length);
    const steps = lengths.slice(1).map((length, index) => length - (lengths[index] ?? 0));
    for (const step of steps) expect(Math.abs(step - 10)).toBeLessThanOrEqual(1);
    expect(pacer.shownAt(6_720)).toBe(text);
  });

  it("never stands still for long while the gaps between frames grow and vary", () => {
    const pacer = new Pacer();
    const gaps_ms = Array.from({ length: 40 }, (_, index) => {
      const late_ms = index % 3 === 0 ? 40 : 0;
      return Math.min(600, 30 + index * 50) + late_ms;
    });
    let text = "";
    let now_ms = 0;
    let changed_ms = 0;
    let shown = 0;
    for (const gap_ms of gaps_ms) {
      text += "x".repeat(Math.ceil(gap_ms / 10));
      pacer.arrived(text, now_ms);
      for (const end_ms = now_ms + gap_ms; now_ms < end_ms; now_ms += PICTURE_MS) {
        const { length } = pacer.shownAt(now_ms);
        if (length !== shown) changed_ms = now_ms;
        shown = length;
        expect(now_ms - changed_ms).toBeLessThanOrEqual(120);
      }
    }
  });

  it("shows a lone late frame within its greatest time", () => {
    const [pacer, text] = framesUpTo(1_200, 600, 60);
    pacer.arrived(`${text}late`, 60_000);
    expect(pacer.shownAt(60_000)).toBe(text);
    expect(pacer.shownAt(60_720)).toBe(`${text}late`);
  });

  it("jumps over what a replay brings", () => {
    const [pacer, text] = framesUpTo(3_000, 300, 30);
    const replayed = text + "y".repeat(201);
    pacer.arrived(replayed, 9_000);
    expect(pacer.shownAt(9_000)).toBe(replayed);
    pacer.arrived(`${replayed}${"z".repeat(30)}`, 9_300);
    expect(pacer.shownAt(9_300)).toBe(replayed);
  });

  it("shows a replay at once that comes in many frames", () => {
    const [pacer, text] = framesUpTo(10, 1, 1_000);
    expect(pacer.shownAt(12)).toBe(text);
  });
});

describe("what interrupts it", () => {
  it("cuts at once after a rewind, and goes on from there", () => {
    const [pacer, text] = framesUpTo(600, 300, 30);
    expect(pacer.shownAt(750).length).toBeGreaterThan(30);
    pacer.arrived(text.slice(0, 20), 750);
    expect(pacer.shownAt(750)).toBe(text.slice(0, 20));
    pacer.arrived(`${text.slice(0, 20)}again`, 900);
    expect(pacer.shownAt(900)).toBe(text.slice(0, 20));
    expect(pacer.shownAt(1_500)).toBe(`${text.slice(0, 20)}again`);
  });

  it("shows the first text after a rewind to nothing at once", () => {
    const [pacer] = framesUpTo(600, 300, 30);
    pacer.arrived("", 700);
    pacer.arrived("From the start", 900);
    expect(pacer.shownAt(900)).toBe("From the start");
  });

  it("shows what is left when the run ends, however often that is told", () => {
    const [pacer, text] = framesUpTo(6_000, 600, 60);
    pacer.ended(6_010);
    expect(pacer.isBehindAt(6_100)).toBe(true);
    for (let now_ms = 6_020; now_ms < 6_310; now_ms += 10) pacer.ended(now_ms);
    expect(pacer.shownAt(6_310)).toBe(text);
    expect(pacer.isBehindAt(6_310)).toBe(false);
  });

  it("catches up when nobody looks", () => {
    const [pacer, text] = framesUpTo(6_000, 600, 60);
    pacer.catchUp();
    expect(pacer.shownAt(6_000)).toBe(text);
    expect(pacer.isBehindAt(6_000)).toBe(false);
  });
});

const text = fc.string({ unit: fc.constantFrom("a", " ", "é", "漢", "🙂", "👩‍💻"), maxLength: 40 });
const event = fc.record({
  after_ms: fc.nat({ max: 3_000 }),
  what: fc.oneof(
    { weight: 5, arbitrary: fc.record({ adds: text }) },
    { weight: 1, arbitrary: fc.record({ keeps: fc.double({ min: 0, max: 1, noNaN: true }), adds: text }) },
    { weight: 1, arbitrary: fc.constant("nobody looks" as const) },
  ),
});

it("shows a prefix of what has arrived, takes back only what a rewind does, and all in the end", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 30 }), (events) => {
      const pacer = new Pacer();
      let arrived = "";
      let now_ms = 0;
      let shown = 0;
      const look = (): void => {
        const seen = pacer.shownAt(now_ms);
        const length = lengthInCodePoints(seen);
        expect(length).toBeGreaterThanOrEqual(shown);
        expect(seen).toBe([...arrived].slice(0, length).join(""));
        expect(pacer.isBehindAt(now_ms)).toBe(seen !== arrived);
        shown = length;
      };
      for (const { after_ms, what } of events) {
        for (const end_ms = now_ms + after_ms; now_ms < end_ms; now_ms += 97) look();
        if (what === "nobody looks") {
          pacer.catchUp();
        } else {
          const points = [...arrived];
          const kept = "keeps" in what ? Math.floor(points.length * what.keeps) : points.length;
          arrived = points.slice(0, kept).join("") + what.adds;
          shown = Math.min(shown, kept);
          pacer.arrived(arrived, now_ms);
        }
        look();
      }
      pacer.ended(now_ms);
      look();
      expect(pacer.shownAt(now_ms + 300)).toBe(arrived);
    }),
    { numRuns: 300 },
  );
});
