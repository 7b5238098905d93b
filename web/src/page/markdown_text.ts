/**
 * An answer's Markdown on the page, shown while it grows.
 *
 * Owns the elements of its blocks: what has not changed keeps its own. Nothing in a text can run, style the
 * page or fetch anything. The text itself is kept, character for character, as `source`.
 */

import DOMPurify from "dompurify";
import { element } from "./elements";
import { SAFE_LINK, blocksOf, htmlOf } from "./markup";

const TAGS =
  "a blockquote br code del em h1 h2 h3 h4 h5 h6 hr li ol p pre span strong table tbody td th thead tr ul";

interface Block {
  readonly raw: string;
  readonly nodes: readonly ChildNode[];
}

/** `<markdown-text>`: its `source` is what it shows. */
export class MarkdownText extends HTMLElement {
  private text = "";
  private blocks: Block[] = [];

  get source(): string {
    return this.text;
  }

  set source(text: string) {
    if (text === this.text) return;
    this.text = text;
    const tokens = blocksOf(text);
    const same = tokens.findIndex((token, at) => token.raw !== this.blocks[at]?.raw);
    const kept = same < 0 ? tokens.length : same;
    for (const block of this.blocks.splice(kept)) for (const node of block.nodes) node.remove();
    for (const token of tokens.slice(kept)) {
      const nodes = [...fragmentOf(htmlOf(token, tokens)).childNodes];
      for (const node of nodes) if (node instanceof HTMLElement) node.dir ||= "auto";
      this.append(...nodes);
      this.blocks.push({ raw: token.raw, nodes });
    }
  }
}

function fragmentOf(html: string): DocumentFragment {
  const fragment = DOMPurify.sanitize(html, {
    ALLOWED_TAGS: TAGS.split(" "),
    ALLOWED_ATTR: ["href", "class", "start", "data-language"],
    ALLOWED_URI_REGEXP: SAFE_LINK,
    // Whatever is not named here must be such a link.
    ADD_URI_SAFE_ATTR: ["start", "data-language"],
    ALLOW_DATA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const anchor of fragment.querySelectorAll("a")) {
    anchor.target = "_blank";
    anchor.rel = "noopener noreferrer nofollow";
  }
  for (const pre of fragment.querySelectorAll("pre")) pre.replaceWith(framed(pre));
  return fragment;
}

/** A code block under a line with its language and a button that copies it. */
function framed(pre: HTMLPreElement): HTMLElement {
  const code = pre.textContent ?? "";
  const button = element("button", { type: "button", class: "copy", "data-testid": "copy-code" }, "Copy");
  button.addEventListener("click", () => {
    void navigator.clipboard.writeText(code).then(
      () => told(button, "Copied"),
      () => told(button, "Not copied"),
    );
  });
  const language = pre.dataset["language"] ?? "";
  pre.tabIndex = 0;
  return element(
    "div",
    { class: "code-block", dir: "ltr" },
    element("div", { class: "code-head" }, element("span", {}, language), button),
    pre.cloneNode(true),
  );
}

function told(button: HTMLButtonElement, outcome: string): void {
  button.textContent = outcome;
  setTimeout(() => (button.textContent = "Copy"), 2_000);
}

declare global {
  interface HTMLElementTagNameMap {
    "markdown-text": MarkdownText;
  }
}

customElements.define("markdown-text", MarkdownText);
