/**
 * What a screen reader says of an answer in the making: whole sentences, each once.
 *
 * Owns where a sentence ends and what has been said. Letter by letter nobody can listen; all of it at the
 * end comes late.
 */

/** An end of a sentence or a line, with what may close a quotation, and something behind it. */
const END = /[.!?。！？…]["'”’)\]]*(?=\s)|\n+/g;

/** Less is not worth a breath of its own, as in "1." or "Dr.". */
const LEAST_CHARS = 12;

export class Speaker {
  private runId: string | null = null;
  private said = 0;

  /** What is to be said now; empty where nothing new is whole yet. Another run begins anew. */
  next(runId: string, text: string, isOver: boolean): string {
    if (runId !== this.runId || text.length < this.said) {
      this.runId = runId;
      this.said = 0;
    }
    const end = isOver ? text.length : this.lastEnd(text);
    const sentences = text.slice(this.said, end).trim();
    if (sentences === "" || (!isOver && sentences.length < LEAST_CHARS)) return "";
    this.said = end;
    return plain(sentences);
  }

  private lastEnd(text: string): number {
    let end = this.said;
    for (const found of text.slice(this.said).matchAll(END)) {
      end = this.said + found.index + found[0].length;
    }
    return end;
  }
}

/** Without the signs of Markdown, which are seen and not said. */
function plain(text: string): string {
  return text
    .replaceAll(/^\s{0,3}(?:#{1,6}|>|[-*+])\s+/gm, "")
    .replaceAll(/[*_`~]{1,3}/g, "")
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1");
}
