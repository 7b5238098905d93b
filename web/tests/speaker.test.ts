import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Speaker } from "../src/page/speaker";

describe("speaker", () => {
  it("says sentences when they are whole, each once", () => {
    const speaker = new Speaker();
    expect(speaker.next("run-1", "The first sentence", false)).toBe("");
    expect(speaker.next("run-1", "The first sentence.", false)).toBe("");
    expect(speaker.next("run-1", "The first sentence. And", false)).toBe("The first sentence.");
    expect(speaker.next("run-1", "The first sentence. And another", false)).toBe("");
    expect(speaker.next("run-1", "The first sentence. And another", true)).toBe("And another");
    expect(speaker.next("run-1", "The first sentence. And another", true)).toBe("");
  });

  it("begins anew with another answer, and where the text was cut back", () => {
    const speaker = new Speaker();
    speaker.next("run-1", "Something was said here. ", false);
    expect(speaker.next("run-2", "Something else was said. ", false)).toBe(
      "Something else was said.",
    );
    expect(speaker.next("run-2", "Now otherwise. ", false)).toBe("Now otherwise.");
  });

  it("waits for more than a number", () => {
    const speaker = new Speaker();
    expect(speaker.next("run-1", "1. ", false)).toBe("");
    expect(speaker.next("run-1", "1. The first step. ", false)).toBe("1. The first step.");
  });

  it("does not say the signs of Markdown", () => {
    const speaker = new Speaker();
    const text = "## A **bold** heading\n- a [link](https://example.com) and `code`\n";
    expect(speaker.next("run-1", text, true)).toBe("A bold heading\na link and code");
  });

  it("says all of it, however it comes", () => {
    const pieces = fc.array(fc.constantFrom("Some words ", "end. ", "What? ", "\n", "3.5 "), {
      maxLength: 20,
    });
    fc.assert(
      fc.property(pieces, (given) => {
        const speaker = new Speaker();
        let text = "";
        let said = "";
        for (const piece of given) {
          text += piece;
          said += speaker.next("run-1", text, false);
        }
        said += speaker.next("run-1", text, true);
        expect(said.replaceAll(/\s/g, "")).toBe(text.replaceAll(/\s/g, ""));
      }),
    );
  });
});
