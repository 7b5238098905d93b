/**
 * What the pacer makes of recorded frames: `make bench-client` builds and runs it.
 *
 * Reads answers as one JSON array from standard input, each the moments (ms) at which its tokens
 * arrived; writes the moments at which a reader saw them, at sixty pictures a second. A token is
 * seen when all of it is shown.
 */

import { Pacer } from "../src/client/pacer";

const TOKEN = " word";
const PICTURE_MS = 1000 / 60;

function seen(arrived_ms: readonly number[]): number[] {
  const pacer = new Pacer();
  const seen_ms: number[] = [];
  const look = (now_ms: number): void => {
    const whole = Math.floor(pacer.shownAt(now_ms).length / TOKEN.length);
    while (seen_ms.length < whole) seen_ms.push(now_ms);
  };
  let next = 0;
  let picture = 0;
  while (seen_ms.length < arrived_ms.length) {
    const arrives_ms = arrived_ms[next] ?? Infinity;
    const picture_ms = picture * PICTURE_MS;
    if (picture_ms < arrives_ms) {
      look(picture_ms);
      picture += 1;
      continue;
    }
    while (arrived_ms[next] === arrives_ms) next += 1;
    pacer.arrived(TOKEN.repeat(next), arrives_ms);
    if (next === arrived_ms.length) pacer.ended(arrives_ms);
    // The page shows at once what the pace allows, and the rest with the pictures that follow.
    look(arrives_ms);
  }
  return seen_ms;
}

let input = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (text: string) => {
  input += text;
});
process.stdin.on("end", () => {
  const answers = JSON.parse(input) as number[][];
  process.stdout.write(JSON.stringify(answers.map(seen)));
});
