import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blocksOf, htmlOf } from "../src/page/markup";

/** Of a whole text. */
function markupOf(text: string): string {
  const tokens = blocksOf(text);
  return tokens.map((token) => htmlOf(token, tokens)).join("");
}

describe("markup", () => {
  it("knows what answers are written with", () => {
    const html = markupOf(
      "# Title\n\nSome **bold** and `code`.\n\n- one\n- two\n\n> said\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
    );
    for (const tag of ["<h1>", "<strong>", "<code>", "<ul>", "<li>", "<blockquote>", "<td>"]) {
      expect(html).toContain(tag);
    }
  });

  it("keeps a line's end as one", () => {
    expect(markupOf("one\ntwo")).toContain("one<br>two");
  });

  it("shows HTML as it is written", () => {
    const html = markupOf('<img src=x onerror="alert(1)">\n\nand <b>this</b>');
    expect(html).not.toContain("<img");
    expect(html).not.toContain("<b>");
    expect(html).toContain("&lt;img");
  });

  it("fetches no picture", () => {
    const html = markupOf("![a cat](https://example.com/cat.png)");
    expect(html).not.toContain("<img");
    expect(html).toContain('<a href="https://example.com/cat.png">a cat</a>');
  });

  it.each(["javascript:alert(1)", "data:text/html,x", "vbscript:x", " javascript:x", "//host/x"])(
    "leads nowhere by %s",
    (href) => {
      expect(markupOf(`[here](<${href}>)`)).not.toContain("<a");
    },
  );

  it("colours code once it is closed", () => {
    const code = "```python\ndef f(x):\n    return x\n";
    expect(markupOf(code)).not.toContain("hljs-");
    expect(markupOf(`${code}\`\`\``)).toContain("hljs-keyword");
    expect(markupOf("```nothing\nx < 1\n```")).toContain("x &lt; 1");
  });

  it("is the same block by block as at once", () => {
    const piece = fc.constantFrom("# a\n", "* b\n", "\n", "```js\n", "x\n", "> q\n", "|a|\n|-|\n", "<i>");
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const tokens = blocksOf(pieces.join(""));
        expect(tokens.map((token) => htmlOf(token, tokens)).join("")).toBe(markupOf(pieces.join("")));
      }),
    );
  });

  it("never has a tag or an attribute that a text brought along", () => {
    const nasty = fc.constantFrom("<script>", "<img src=x onerror=y>", '"', "'", ">", "](", "[", "`", "\n", "javascript:", "a");
    fc.assert(
      fc.property(fc.array(nasty, { maxLength: 14 }), (pieces) => {
        const html = markupOf(pieces.join(""));
        expect(html).not.toMatch(/<script|<img|<[a-z]+[^>]*\son\w+=/i);
      }),
    );
  });
});
