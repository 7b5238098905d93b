/**
 * The WebSocket frames, both ways, and the reading of what comes in.
 *
 * Owns shapes only. A frame that is not of a known shape is read as null and ignored by the
 * client: a newer server may say more than this client understands.
 */

import { lengthInUtf8Bytes } from "./codepoints";

export const MAX_FRAME_BYTES = 32_768;

export interface Usage {
  readonly input_tokens: number;
  readonly cached_tokens: number;
  readonly output_tokens: number;
}

interface FieldKinds {
  text: string;
  optionalText: string | null;
  /** A whole number, not negative. */
  count: number;
  optionalCount: number | null;
  /** A time, not negative. */
  seconds: number;
  optionalSeconds: number | null;
  optionalUsage: Usage | null;
}

const SHAPES = {
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
    usage: "optionalUsage",
    finish_reason: "optionalText",
  },
  "run.failed": {
    run_id: "text",
    chat_id: "text",
    code: "text",
    message: "text",
    message_id: "optionalText",
    epoch: "count",
    length: "count",
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
} as const satisfies Record<string, Record<string, keyof FieldKinds>>;

type Shapes = typeof SHAPES;
type FrameType = keyof Shapes;
type Fields<Shape> = {
  readonly [Name in keyof Shape]: Shape[Name] extends keyof FieldKinds
    ? FieldKinds[Shape[Name]]
    : never;
};
type FrameOf<Type extends FrameType> = { readonly type: Type } & Fields<Shapes[Type]>;

export type ServerFrame = { [Type in FrameType]: FrameOf<Type> }[FrameType];
export type ErrorFrame = FrameOf<"error">;
export type RunFrame = Exclude<ServerFrame, ErrorFrame | FrameOf<"pong">>;

export type ClientFrame =
  | { action: "send"; chat_id: string | null; message_id: string; text: string }
  | { action: "cancel"; run_id: string }
  /** The epoch says which attempt told the text up to the offset. */
  | { action: "attach"; run_id: string; offset: number; epoch: number }
  | { action: "ping" };

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
  optionalUsage: (value) => orNull(value, isUsage),
};

function isFrameType(value: unknown): value is FrameType {
  return typeof value === "string" && Object.hasOwn(SHAPES, value);
}

export function readFrame(encoded: string): ServerFrame | null {
  let raw: unknown;
  try {
    raw = JSON.parse(encoded);
  } catch {
    return null;
  }
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
