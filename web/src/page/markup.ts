/**
 * Markdown as HTML, block by block.
 *
 * Owns what may become of an answer's text: HTML in it is shown as it is written, pictures become links,
 * and links lead to the web or to mail, or nowhere. What comes out still goes through a sanitiser (see
 * `markdown_text`).
 */

import { Marked, type Token, type TokensList } from "marked";
import { highlighted } from "./code";

/** Of links: nothing that could run or look into the machine. */
export const SAFE_LINK = /^(?:https?:|mailto:)/i;

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escaped(text),
    image: ({ href, text }) => link(href, escaped(text || href)),
    link({ href, tokens }) {
      return link(href, this.parser.parseInline(tokens));
    },
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    code: ({ text, lang, raw }) => codeBlock(text, lang ?? "", isOpen(raw)),
  },
});

export function blocksOf(text: string): TokensList {
  return marked.lexer(text);
}

/** Of one block; not yet sanitised. */
export function htmlOf(token: Token, list: TokensList): string {
  const alone: TokensList = Object.assign([token], { links: list.links });
  return marked.parser(alone);
}

/** Whether a code block is not closed yet: it is still being written. */
function isOpen(raw: string): boolean {
  return /^ {0,3}[`~]{3}/.test(raw) && !/\n {0,3}[`~]{3,}\s*$/.test(raw);
}

function codeBlock(text: string, info: string, isBeingWritten: boolean): string {
  const language = /^[\w+#.-]*/.exec(info)?.[0] ?? "";
  // Colours come with its end: colouring all of it with each letter would hold the page up.
  const colours = isBeingWritten ? null : highlighted(text, language);
  const shown = colours ?? escaped(text);
  return `<pre data-language="${escaped(language)}"><code>${shown}</code></pre>\n`;
}

function link(href: string, html: string): string {
  return SAFE_LINK.test(href) ? `<a href="${escaped(href)}">${html}</a>` : html;
}

function escaped(text: string): string {
  const signs: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[&<>"]/g, (sign) => signs[sign] ?? sign);
}
