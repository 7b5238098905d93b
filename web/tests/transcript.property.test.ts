/** Rendered text equals committed text, whatever order, repeats and losses the frames come with. */

import fc from "fast-check";
import { expect, it } from "vitest";
import { lengthInCodePoints } from "../src/client/codepoints";
import { applyFrame, isOver, newTranscript } from "../src/client/transcript";
import type { RunFrame } from "../src/client/wire";
import { frames } from "./fakes";

/** A run as its server knows it: every attempt's whole text, of which the last one is committed. */
interface History {
  readonly committed: string;
  readonly epochs: number;
  readonly frames: readonly RunFrame[];
}

const text = fc.string({ unit: fc.constantFrom("a", "b", " ", "é", "漢", "🙂", "👩‍💻", "\n"), maxLength: 8 });
const attempt = fc.record({
  /** How much of what the attempt before streamed had been made durable. */
  durableShare: fc.double({ min: 0, max: 1, noNaN: true }),
  pieces: fc.array(text, { maxLength: 6 }),
  isRewindTold: fc.boolean(),
  isPauseTold: fc.boolean(),
});

const history: fc.Arbitrary<History> = fc
  .array(attempt, { minLength: 1, maxLength: 4 })
  .map((attempts) => {
    let whole: string[] = [];
    let durable = 0;
    const told: RunFrame[] = [frames.queued()];
    attempts.forEach(({ durableShare, pieces, isRewindTold, isPauseTold }, index) => {
      const epoch = index + 1;
      if (isPauseTold && index > 0) told.push(frames.queued(index, { reason: "resuming" }));
      durable += Math.floor((whole.length - durable) * durableShare);
      whole = whole.slice(0, durable);
      told.push(frames.started(epoch, durable));
      if (isRewindTold) told.push(frames.rewound(epoch, durable));
      for (const piece of pieces) {
        told.push(frames.delta(epoch, whole.length, piece));
        whole.push(...piece);
      }
    });
    const epochs = attempts.length;
    told.push(frames.completed(epochs, whole.length));
    return { committed: whole.join(""), epochs, frames: told };
  });

function attachAnswer({ committed, epochs }: History, offset: number): RunFrame[] {
  const rest = [...committed].slice(offset);
  const half = Math.ceil(rest.length / 2);
  const deltas = [
    frames.delta(epochs, offset, rest.slice(0, half).join("")),
    frames.delta(epochs, offset + half, rest.slice(half).join("")),
  ];
  return [
    ...(rest.length === 0 ? [] : deltas),
    frames.completed(epochs, lengthInCodePoints(committed)),
  ];
}

const delivery = history.chain((made) =>
  fc.record({
    history: fc.constant(made),
    /** What a client hears that is offline for whole attempts; then anything in any order. */
    stray: fc
      .tuple(
        fc.subarray(Array.from({ length: made.epochs }, (_, index) => index + 1)),
        fc.shuffledSubarray([...made.frames]),
      )
      .map(([missed, shuffled]) => [
        ...made.frames.filter((frame) => !("epoch" in frame) || !missed.includes(frame.epoch)),
        ...shuffled,
      ]),
    /** What is said of waits, before any frame and however late. */
    waits: fc.array(
      fc.record({ epoch: fc.nat({ max: made.epochs }), position: fc.nat({ max: 3 }), at: fc.nat() }),
      { maxLength: 6 },
    ),
    /** How many stray frames come before each frame of a replay. */
    interleaving: fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 8 }),
  }),
);

const STATUS_ORDER = ["queued", "running", "completed"];

it("renders what is committed", () => {
  fc.assert(
    fc.property(delivery, ({ history: made, stray, waits, interleaving }) => {
      let transcript = newTranscript("run-1");
      const replay: RunFrame[] = [];
      const hear = (frame: RunFrame): void => {
        const step = applyFrame(transcript, frame);
        const { transcript: next } = step;
        expect(next.length).toBe(lengthInCodePoints(next.text));
        expect(next.durable).toBeLessThanOrEqual(next.length);
        expect(next.epoch).toBeGreaterThanOrEqual(transcript.epoch);
        expect(STATUS_ORDER.indexOf(next.status)).toBeGreaterThanOrEqual(
          STATUS_ORDER.indexOf(transcript.status),
        );
        // Of an attempt that is over no wait is shown any more, nor of a run that is.
        const { wait } = next;
        expect(wait !== null && (wait.epoch < next.epoch || isOver(next.status))).toBe(false);
        transcript = next;
        if (step.attachFrom !== null) {
          expect(step.attachFrom).toBe(transcript.length);
          replay.push(...attachAnswer(made, step.attachFrom));
        }
      };
      const strays = [...stray];
      for (const { epoch, position, at } of waits) {
        strays.splice(at % (strays.length + 1), 0, frames.queued(epoch, { position }));
      }
      for (let turn = 0; !isOver(transcript.status); turn += 1) {
        expect(turn).toBeLessThan(1_000);
        const many = interleaving[turn % interleaving.length];
        for (const frame of strays.splice(0, many)) hear(frame);
        const next = replay.shift() ?? strays.shift();
        if (next !== undefined) hear(next);
        // Silence: the client attaches once more.
        else replay.push(...attachAnswer(made, transcript.length));
      }
      expect(transcript.text).toBe(made.committed);
    }),
    { numRuns: 2_000 },
  );
}, 30_000);
