import { beforeEach, describe, expect, it } from "vitest";
import { type Export, HttpProblem } from "../src/client/http";
import { type ExportState, ExportRequest, type Exports, LINKS_MS } from "../src/page/export_request";
import { FakeClock } from "./fakes";

function told(status: Export["status"]): Export {
  const isReady = status === "ready";
  return {
    export_id: "e_1",
    status,
    made_at: isReady ? "2030-01-01T10:00:00.000Z" : null,
    counts: isReady ? { chat: 2, message: 4 } : null,
    files: isReady ? [{ name: "part-1", lines: 6, bytes: 900, url: "https://files.test/1" }] : [],
    links_end_at: isReady ? "2030-01-01T10:15:00.000Z" : null,
  };
}

const trouble = new HttpProblem("network", 0, "");

describe("an export", () => {
  let clock: FakeClock;
  let states: ExportState["kind"][];
  let asked: string[];

  /** The answers in turn; the last one is given again and again. */
  function request(...answers: (Export | HttpProblem)[]): ExportRequest {
    const answer = async (what: string): Promise<Export> => {
      asked.push(what);
      const next = answers.length > 1 ? answers.shift() : answers[0];
      if (next === undefined || next instanceof Error) throw next;
      return next;
    };
    const exports: Exports = {
      startExport: () => answer("start"),
      readExport: (exportId) => answer(exportId),
    };
    return new ExportRequest(exports, clock, () => 0.5, ({ kind }) => states.push(kind));
  }

  beforeEach(() => {
    clock = new FakeClock();
    states = [];
    asked = [];
  });

  it("is looked after until its links are there", async () => {
    const exporting = request(told("preparing"), told("preparing"), told("ready"));
    await exporting.ask();
    expect(states).toEqual(["preparing"]);
    await clock.pass(1_000);
    expect(asked).toEqual(["start", "e_1"]);
    await clock.pass(2_000);
    expect(asked).toEqual(["start", "e_1", "e_1"]);
    expect(exporting.state).toEqual({ kind: "ready", made: told("ready") });
  });

  it("is looked after less and less often, and never given up while it is made", async () => {
    await request(told("preparing")).ask();
    await clock.pass(60_000);
    const first = asked.length;
    await clock.pass(540_000);
    expect(first).toBeLessThanOrEqual(9);
    expect(asked.length - first).toBeGreaterThanOrEqual(30);
    expect(asked.length - first).toBeLessThanOrEqual(40);
    expect(states).toEqual(["preparing"]);
  });

  it("has links at once where it was made within the hour", async () => {
    const exporting = request(told("ready"));
    await exporting.ask();
    expect(asked).toEqual(["start", "e_1"]);
    expect(exporting.state.kind).toBe("ready");
  });

  it("says when its links have ended, and gives new ones when asked again", async () => {
    const exporting = request(told("ready"));
    await exporting.ask();
    await clock.pass(LINKS_MS);
    expect(exporting.state.kind).toBe("links_ended");
    await exporting.ask();
    expect(states).toEqual(["preparing", "ready", "links_ended", "preparing", "ready"]);
  });

  it("has its links for their whole time where they were asked for anew before they ended", async () => {
    const exporting = request(told("ready"));
    await exporting.ask();
    await clock.pass(LINKS_MS - 1);
    await exporting.ask();
    await clock.pass(LINKS_MS - 1);
    expect(exporting.state.kind).toBe("ready");
    await clock.pass(1);
    expect(exporting.state.kind).toBe("links_ended");
  });

  it("is asked for once, however often one presses", async () => {
    const exporting = request(told("preparing"));
    await Promise.all([exporting.ask(), exporting.ask()]);
    expect(asked).toEqual(["start"]);
  });

  it("gets over a network that is gone for a while", async () => {
    const exporting = request(told("preparing"), trouble, trouble, told("ready"));
    await exporting.ask();
    await clock.pass(15_000);
    expect(exporting.state.kind).toBe("ready");
  });

  it("fails in the end, with a way to try again", async () => {
    for (const answers of [[trouble], [told("preparing"), trouble]]) {
      const exporting = request(...answers);
      await exporting.ask();
      await clock.pass(120_000);
      expect(exporting.state).toEqual({ kind: "failed", code: "network" });
      const before = asked.length;
      await exporting.ask();
      expect(asked.length).toBeGreaterThan(before);
      await clock.pass(120_000);
    }
  });

  it("fails at once where the server says so", async () => {
    for (const answers of [[told("failed")], [told("preparing"), told("failed")]]) {
      const exporting = request(...answers);
      await exporting.ask();
      await clock.pass(1_000);
      expect(exporting.state).toEqual({ kind: "failed", code: "export_failed" });
    }
    const gone = request(told("preparing"), new HttpProblem("export_not_found", 404, ""));
    await gone.ask();
    await clock.pass(1_000);
    expect(gone.state).toEqual({ kind: "failed", code: "export_not_found" });
  });
});
