/// <reference types="vite/client" />
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import document from "../../docs/asyncapi.yaml?raw";
import { encodeFrame, fitsInFrame, readFrame } from "../src/client/wire";

type Frame = Record<string, unknown>;
interface Described {
  components: {
    messages: Record<string, { examples: { payload: Frame }[] }>;
    schemas: Record<string, { required: string[]; properties: Record<string, unknown> }>;
  };
}

const { messages, schemas } = (parse(document) as Described).components;
const events = Object.entries(messages)
  .map(([name, message]) => ({ schema: schemas[name], frame: message.examples[0]?.payload ?? {} }))
  .filter(({ frame }) => "type" in frame)
  .map(({ schema, frame }) => ({ name: String(frame["type"]), schema, frame }));

const read = (frame: Frame): Frame | null => readFrame(JSON.stringify(frame)) as Frame | null;

describe.each(events)("a described frame: $name", ({ schema, frame }) => {
  it("is read as it is", () => {
    expect(read(frame)).toEqual(frame);
  });

  it("is read without what is not known", () => {
    expect(read({ ...frame, news: 1 })).toEqual(frame);
  });

  it("is not read without what must be there, unless that may be null", () => {
    for (const name of schema?.required ?? []) {
      const { [name]: _, ...rest } = frame;
      const mayBeNull = JSON.stringify(schema?.properties[name]).includes('"null"');
      expect(read(rest) !== null).toBe(mayBeNull);
      expect(read({ ...frame, [name]: null }) !== null).toBe(mayBeNull);
    }
  });

  it("is not read with a field of another kind", () => {
    for (const name of Object.keys(schema?.properties ?? {})) {
      expect(read({ ...frame, [name]: ["other"] })).toBeNull();
    }
  });
});

describe("the wire", () => {
  it("passes over what it does not know", () => {
    expect(read({ type: "run.unheard", run_id: "run-1" })).toBeNull();
    expect(read({ type: "toString" })).toBeNull();
    for (const text of ["", "{", "null", "[]", '"pong"', "1"]) expect(readFrame(text)).toBeNull();
  });

  it("reads words that are not on the list", () => {
    const queued = events.find(({ name }) => name === "run.queued")?.frame ?? {};
    expect(read({ ...queued, reason: "unheard" })).toMatchObject({ reason: "unheard" });
  });

  it("refuses counts that are none", () => {
    const delta = events.find(({ name }) => name === "run.delta")?.frame ?? {};
    for (const offset of [-1, 0.5, "0", 2 ** 60]) expect(read({ ...delta, offset })).toBeNull();
  });

  it("measures what it says in bytes", () => {
    const send = (text: string): string =>
      encodeFrame({ action: "send", chat_id: null, message_id: "message-1", text });
    expect(fitsInFrame(send("é".repeat(16_000)))).toBe(true);
    expect(fitsInFrame(send("é".repeat(16_400)))).toBe(false);
  });
});
