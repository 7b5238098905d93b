/** The open chat's title, and its renaming in its own place: Enter keeps, Escape gives up. */

import { part, setText } from "./elements";

export class TitleView {
  private readonly title = part("chat-title", HTMLElement);
  private readonly button = part("rename-chat", HTMLButtonElement);
  private readonly form = part("rename-form", HTMLFormElement);
  private readonly input = part("rename-title", HTMLInputElement);

  constructor(rename: (title: string) => void) {
    this.button.addEventListener("click", () => this.begin());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const title = this.input.value.trim();
      if (title !== "" && title !== this.title.textContent) rename(title);
      this.end();
      this.button.focus();
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.end();
      this.button.focus();
    });
    this.input.addEventListener("blur", () => this.end());
  }

  show(title: string, canRename: boolean): void {
    setText(this.title, title);
    this.button.hidden = !canRename || !this.form.hidden;
    if (!canRename) this.end();
  }

  private begin(): void {
    this.input.value = this.title.textContent ?? "";
    this.turn(true);
    this.input.select();
    this.input.focus();
  }

  private end(): void {
    if (!this.form.hidden) this.turn(false);
  }

  private turn(isRenaming: boolean): void {
    this.form.hidden = !isRenaming;
    this.title.hidden = isRenaming;
    this.button.hidden = isRenaming;
  }
}
