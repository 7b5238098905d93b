/**
 * What went wrong, in one sentence at the top of the page.
 *
 * Owns that sentence, and that there is one problem which no sentence helps against: whoever is not signed in
 * any more has to sign in.
 */

import { part, setText } from "./elements";
import { codeOf, sentenceFor } from "./words";

export class Problems {
  private readonly line = part("error", HTMLElement);

  constructor(private readonly unauthorized: () => void) {}

  /** Runs one action of the user's; what goes wrong is told in words. */
  acting(action: () => Promise<void>): Promise<void> {
    this.clear();
    return this.trying(action);
  }

  /** Runs what nobody has asked for: what was told before stays. */
  async trying(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (problem) {
      this.tell(codeOf(problem));
    }
  }

  tell(code: string, retryAt: string | null = null): void {
    if (code === "unauthorized") this.unauthorized();
    else this.say(sentenceFor(code, retryAt));
  }

  say(sentence: string): void {
    setText(this.line, sentence);
    this.line.hidden = false;
  }

  clear(): void {
    setText(this.line, "");
    this.line.hidden = true;
  }
}
