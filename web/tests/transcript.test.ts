import { describe, expect, it } from "vitest";
import { type Step, type Transcript, applyFrame, newTranscript } from "../src/client/transcript";
import type { RunFrame } from "../src/client/wire";
import { frames } from "./fakes";

function after(...given: RunFrame[]): Step {
  let step: Step = { transcript: newTranscript("run-1"), attachFrom: null };
  for (const frame of given) step = applyFrame(step.transcript, frame);
  return step;
}

function transcriptAfter(...given: RunFrame[]): Transcript {
  return after(...given).transcript;
}

describe("text", () => {
  it("grows by deltas", () => {
    const { transcript, attachFrom } = after(
      frames.queued(),
      frames.started(1, 0),
      frames.delta(1, 0, "Hello"),
      frames.delta(1, 5, ", world"),
    );
    expect(transcript.text).toBe("Hello, world");
    expect(transcript.status).toBe("running");
    expect(transcript.chatId).toBe("chat-1");
    expect(attachFrom).toBeNull();
  });

  it("counts a surrogate pair as one", () => {
    const transcript = transcriptAfter(
      frames.delta(1, 0, "a🙂"),
      frames.delta(1, 2, "👩‍💻"),
      frames.delta(1, 5, "!"),
    );
    expect(transcript.text).toBe("a🙂👩‍💻!");
    expect(transcript.length).toBe(6);
  });

  it("cuts an overlap between whole characters", () => {
    expect(transcriptAfter(frames.delta(1, 0, "x🙂y"), frames.delta(1, 1, "🙂y🙃z")).text).toBe(
      "x🙂y🙃z",
    );
  });

  it("drops what it has", () => {
    const before = transcriptAfter(frames.started(1, 0), frames.delta(1, 0, "abc"));
    expect(applyFrame(before, frames.delta(1, 1, "bc")).transcript).toBe(before);
    expect(applyFrame(before, frames.delta(1, 3, "")).transcript).toBe(before);
  });

  it("asks for what a gap hides and takes nothing beyond it", () => {
    const { transcript, attachFrom } = after(frames.delta(1, 0, "🙂"), frames.delta(1, 3, "d"));
    expect(transcript.text).toBe("🙂");
    expect(attachFrom).toBe(1);
  });

  it("is not touched by frames of another run", () => {
    const before = newTranscript("run-2");
    expect(applyFrame(before, frames.delta(1, 0, "a")).transcript).toBe(before);
  });
});

describe("attempts", () => {
  const first = [frames.started(1, 0), frames.delta(1, 0, "abcdef")];

  it("are rewound to where the next one begins", () => {
    for (const beginning of [frames.started(2, 3), frames.rewound(2, 3)]) {
      const transcript = transcriptAfter(...first, beginning, frames.delta(2, 3, "XYZ"));
      expect(transcript.text).toBe("abcXYZ");
    }
  });

  it("are told of twice without harm", () => {
    const transcript = transcriptAfter(
      ...first,
      frames.rewound(2, 3),
      frames.started(2, 3),
      frames.delta(2, 3, "XYZ"),
      frames.started(2, 3),
    );
    expect(transcript.text).toBe("abcXYZ");
  });

  it("that are over are not listened to", () => {
    const before = transcriptAfter(...first, frames.started(2, 3));
    for (const late of [
      frames.delta(1, 3, "def"),
      frames.rewound(1, 0),
      frames.started(1, 0),
      frames.completed(1, 3),
      frames.cancelled(1, 3),
      frames.failed(1, 3),
    ]) {
      expect(applyFrame(before, late).transcript).toBe(before);
    }
  });

  it("whose beginning was missed are asked for from what is surely kept", () => {
    const { transcript, attachFrom } = after(...first, frames.delta(2, 6, "g"));
    expect(transcript.text).toBe("");
    expect(attachFrom).toBe(0);
  });

  it("that skip one do not trust the text before their beginning", () => {
    // Epoch 2 may have replaced "c"; only what was kept at epoch 1's own beginning is sure.
    const { transcript, attachFrom } = after(
      ...first,
      frames.started(3, 4),
      frames.delta(3, 4, "Z"),
    );
    expect(transcript.text).toBe("");
    expect(attachFrom).toBe(0);
  });

  it("keep what an earlier one had made durable", () => {
    const { transcript, attachFrom } = after(
      ...first,
      frames.started(2, 3),
      frames.delta(2, 3, "XYZ"),
      frames.delta(4, 9, "!"),
    );
    expect(transcript.text).toBe("abc");
    expect(attachFrom).toBe(3);
  });
});

describe("the end", () => {
  it("is believed when all text is there", () => {
    const transcript = transcriptAfter(frames.delta(1, 0, "a🙂"), frames.completed(1, 2));
    expect(transcript).toMatchObject({
      status: "completed",
      answerMessageId: "answer-1",
      finishReason: "stop",
      text: "a🙂",
    });
  });

  it("is not believed before", () => {
    const { transcript, attachFrom } = after(frames.delta(1, 0, "a"), frames.completed(1, 2));
    expect(transcript.status).toBe("running");
    expect(attachFrom).toBe(1);
  });

  it("cuts what was streamed but not committed", () => {
    const cancelled = transcriptAfter(frames.delta(1, 0, "abc"), frames.cancelled(1, 2));
    expect(cancelled).toMatchObject({ status: "cancelled", text: "ab", length: 2 });
    const failed = transcriptAfter(frames.delta(1, 0, "abc"), frames.failed(1, 0));
    expect(failed).toMatchObject({ status: "failed", text: "", failure: { code: "engine_error" } });
  });

  it("of an unseen attempt does not vouch for an older one's text", () => {
    const { transcript, attachFrom } = after(frames.delta(1, 0, "abc"), frames.completed(2, 3));
    expect(transcript.text).toBe("");
    expect(attachFrom).toBe(0);
  });

  it("is final", () => {
    const over = transcriptAfter(frames.delta(1, 0, "a"), frames.completed(1, 1));
    for (const late of [frames.delta(1, 1, "b"), frames.rewound(2, 0), frames.completed(2, 0)]) {
      expect(applyFrame(over, late).transcript).toBe(over);
    }
    for (const late of [frames.queued(), frames.started(2, 0)]) {
      expect(applyFrame(over, late).transcript).toEqual({ ...over, messageId: "message-1" });
    }
  });

  it("may come without any text", () => {
    expect(transcriptAfter(frames.queued(), frames.cancelled(0, 0)).status).toBe("cancelled");
  });
});

describe("a wait", () => {
  it("is told while the run is queued, and renewed", () => {
    expect(newTranscript("run-1").wait).toBeNull();
    const transcript = transcriptAfter(frames.queued());
    expect(transcript).toMatchObject({
      status: "queued",
      wait: { epoch: 0, reason: "busy", position: 12, estimate_s: 8.5 },
    });
    expect(applyFrame(transcript, frames.queued()).transcript).toBe(transcript);
    const renewed = applyFrame(transcript, frames.queued(0, { position: 3 })).transcript;
    expect(renewed.wait?.position).toBe(3);
  });

  it("is over when the run begins, or ends", () => {
    for (const frame of [
      frames.started(1, 0),
      frames.delta(1, 0, "a"),
      frames.delta(1, 1, "b"),
      frames.rewound(1, 0),
      frames.cancelled(0, 0),
      frames.completed(1, 4),
    ]) {
      expect(transcriptAfter(frames.queued(), frame).wait).toBeNull();
    }
  });

  it("comes back with a pause, which keeps the text", () => {
    const paused = transcriptAfter(
      frames.queued(),
      frames.started(1, 0),
      frames.delta(1, 0, "abc"),
      frames.queued(1, { reason: "resuming" }),
    );
    expect(paused).toMatchObject({ status: "running", text: "abc", epoch: 1 });
    expect(paused.wait?.reason).toBe("resuming");
    const resumed = applyFrame(paused, frames.started(2, 3)).transcript;
    expect(resumed).toMatchObject({ status: "running", text: "abc", wait: null });
  });

  it("is not ended by late text of the attempt before it", () => {
    const { transcript, attachFrom } = after(
      frames.started(1, 0),
      frames.queued(1, { reason: "resuming" }),
      frames.delta(1, 0, "abc"),
      frames.started(1, 3),
    );
    expect(transcript).toMatchObject({ text: "abc", wait: { reason: "resuming" } });
    expect(attachFrom).toBeNull();
  });

  it("of an older attempt than is known is void", () => {
    const running = transcriptAfter(frames.started(2, 0));
    expect(applyFrame(running, frames.queued(1)).transcript).toBe(running);
    const paused = transcriptAfter(frames.started(1, 0), frames.queued(2, { reason: "resuming" }));
    expect(applyFrame(paused, frames.queued(1)).transcript).toBe(paused);
  });

  it("of a newer attempt than is known keeps the text until that is told of", () => {
    const paused = transcriptAfter(frames.delta(1, 0, "abc"), frames.queued(2));
    expect(paused).toMatchObject({ text: "abc", epoch: 1, wait: { epoch: 2 } });
    const { transcript, attachFrom } = applyFrame(paused, frames.delta(3, 3, "d"));
    expect(transcript).toMatchObject({ text: "", wait: null });
    expect(attachFrom).toBe(0);
  });

  it("does not come back after the end", () => {
    const over = transcriptAfter(frames.delta(1, 0, "a"), frames.completed(1, 1));
    expect(applyFrame(over, frames.queued(1)).transcript.wait).toBeNull();
  });
});

it("statuses only go forward: a late run.queued tells nothing but the ids", () => {
  const transcript = transcriptAfter(frames.delta(1, 0, "a"), frames.queued());
  expect(transcript.status).toBe("running");
  expect(transcript.messageId).toBe("message-1");
});
