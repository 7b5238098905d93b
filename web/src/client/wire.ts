/**
 * The WebSocket frames, both ways, and the reading of what comes in.
 *
 * Owns shapes only; their types are those of docs/asyncapi.yaml. A frame that is not of a known shape is
 * read as null and ignored by the client: a newer server may say more than this client understands.
 */

import { lengthInUtf8Bytes } from "./codepoints";
import type { Action, Event, UsageFields } from "./generated/frames";

export const MAX_FRAME_BYTES = 32_768;

export type ClientFrame = Action;
export type Usage = UsageFields;

/** A word of a list that is described; a newer server may have others than this client knows. */
type Opened<Value> = Value extends string ? string : Value;
type Fields<Frame extends Event> = {
  readonly [Name in Exclude<keyof Frame, "type">]: Opened<Frame[Name]>;
};
type AsRead<Frame extends Event> = Frame extends Event
  ? { readonly type: Frame["type"] } & Fields<Frame>
  : never;

export type ServerFrame = AsRead<Event>;
export type ErrorFrame = Extract<ServerFrame, { type: "error" }>;
export type RunFrame = Exclude<ServerFrame, { type: "error" | "pong" }>;

interface FieldKinds {
  text: string;
  optionalText: string | null;
  /** A whole number, not negative. */
  count: number;
  optionalCount: number | null;
  /** A time, not negative. */
  seconds: number;
  optionalSeconds: number | null;
  usage: Usage;
  optionalUsage: Usage | null;
}

/** The one kind that a field of this name and type is of. */
type KindOf<Name, Value> = {
  [Kind in keyof FieldKinds]: [Value, FieldKinds[Kind]] extends [FieldKinds[Kind], Value]
    ? Kind
    : never;
}[Name extends `${string}_s`
  ? "seconds" | "optionalSeconds"
  : Exclude<keyof FieldKinds, "seconds" | "optionalSeconds">];

/** Held by the compiler to what is described: every event, every field, each of its kind. */
type Shapes = {
  [Frame in Event as Frame["type"]]: {
    readonly [Name in keyof Fields<Frame>]: KindOf<Name, Fields<Frame>[Name]>;
  };
};

const SHAPES: Shapes = {
  "run.queued": {
    run_id: "text",
    chat_id: "text",
    message_id: "text",
    epoch: "count",
    reason: "text",
    position: "optionalCount",
    estimate_s: "optionalSeconds",
    look_again_s: "seconds",
  },
  "run.started": {
    run_id: "text",
    chat_id: "text",
    message_id: "text",
    epoch: "count",
    offset: "count",
  },
  "run.delta": { run_id: "text", epoch: "count", offset: "count", text: "text" },
  "run.rewound": { run_id: "text", epoch: "count", offset: "count" },
  "run.completed": {
    run_id: "text",
    chat_id: "text",
    message_id: "text",
    epoch: "count",
    length: "count",
    usage: "usage",
    finish_reason: "text",
  },
  "run.failed": {
    run_id: "text",
    chat_id: "text",
    code: "text",
    message: "text",
    message_id: "optionalText",
    epoch: "count",
    length: "count",
    usage: "optionalUsage",
  },
  "run.cancelled": {
    run_id: "text",
    chat_id: "text",
    message_id: "optionalText",
    epoch: "count",
    length: "count",
    usage: "optionalUsage",
  },
  error: { code: "text", message: "text", ref: "optionalText", retry_at: "optionalText" },
  pong: {},
};

export function encodeFrame(frame: ClientFrame): string {
  return JSON.stringify(frame);
}

export function fitsInFrame(encoded: string): boolean {
  return lengthInUtf8Bytes(encoded) <= MAX_FRAME_BYTES;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isSeconds(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

function isUsage(value: unknown): value is Usage {
  return (
    isRecord(value) &&
    isCount(value["input_tokens"]) &&
    isCount(value["cached_tokens"]) &&
    isCount(value["output_tokens"])
  );
}

/** A field that may be left out or null. */
function orNull<Value>(
  value: unknown,
  fits: (given: unknown) => given is Value,
): Value | null | undefined {
  if (value === undefined || value === null) return null;
  return fits(value) ? value : undefined;
}

const READERS: { [Kind in keyof FieldKinds]: (value: unknown) => FieldKinds[Kind] | undefined } = {
  text: (value) => (typeof value === "string" ? value : undefined),
  optionalText: (value) => orNull(value, (given) => typeof given === "string"),
  count: (value) => (isCount(value) ? value : undefined),
  optionalCount: (value) => orNull(value, isCount),
  seconds: (value) => (isSeconds(value) ? value : undefined),
  optionalSeconds: (value) => orNull(value, isSeconds),
  usage: (value) => (isUsage(value) ? value : undefined),
  optionalUsage: (value) => orNull(value, isUsage),
};

function isFrameType(value: unknown): value is keyof Shapes {
  return typeof value === "string" && Object.hasOwn(SHAPES, value);
}

function parsed(encoded: string): unknown {
  try {
    return JSON.parse(encoded);
  } catch {
    return undefined;
  }
}

/** Whether API Gateway itself says that an action failed: it could not run what takes it. */
export function isOfGateway(encoded: string): boolean {
  const raw = parsed(encoded);
  return isRecord(raw) && raw["type"] === undefined && typeof raw["message"] === "string";
}

export function readFrame(encoded: string): ServerFrame | null {
  const raw = parsed(encoded);
  if (!isRecord(raw) || !isFrameType(raw["type"])) return null;
  const frame: Record<string, unknown> = { type: raw["type"] };
  const shape: Record<string, keyof FieldKinds> = SHAPES[raw["type"]];
  for (const [name, kind] of Object.entries(shape)) {
    const value = READERS[kind](raw[name]);
    if (value === undefined) return null;
    frame[name] = value;
  }
  return frame as ServerFrame;
}
