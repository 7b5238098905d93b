/**
 * The account's window: one's own data to take along, and the account's end. Shows and reports;
 * decides nothing but that whoever deletes has typed the account's address.
 */

import { element, part, setText } from "./elements";
import type { ExportState } from "./export_request";
import { codeOf, exportInWords, sentenceFor, sizeInWords } from "./words";

export interface AccountActions {
  askForExport(): void;
  /** Rejects with a problem that has a code if the account is still there. */
  deleteAccount(email: string): Promise<void>;
}

export class AccountView {
  private readonly dialog = part("account-dialog", HTMLDialogElement);
  private readonly exportButton = part("export", HTMLButtonElement);
  private readonly exportStatus = part("export-status", HTMLElement);
  private readonly files = part("export-files", HTMLUListElement);
  private readonly begin = part("delete-account", HTMLButtonElement);
  private readonly form = part("deletion-form", HTMLFormElement);
  private readonly label = part("deletion-label", HTMLLabelElement);
  private readonly input = part("deletion-email", HTMLInputElement);
  private readonly error = part("deletion-error", HTMLElement);
  private readonly submit = part("deletion", HTMLButtonElement);
  private email: string | null = null;

  constructor(private readonly actions: AccountActions) {
    part("account", HTMLButtonElement).addEventListener("click", () => this.open());
    part("close-account", HTMLButtonElement).addEventListener("click", () => this.dialog.close());
    this.exportButton.addEventListener("click", () => actions.askForExport());
    this.begin.addEventListener("click", () => {
      const isOpening = this.form.hidden !== false;
      this.turnDeletion(isOpening);
      if (isOpening) this.input.focus();
    });
    part("keep-account", HTMLButtonElement).addEventListener("click", () => {
      this.turnDeletion(false);
      this.begin.focus();
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submitted();
    });
  }

  /** The account's address; null where it is not known. */
  showEmail(email: string | null): void {
    this.email = email;
    const address = email === null ? "" : `, ${email},`;
    setText(this.label, `To confirm, type your email address${address} here`);
  }

  showExport(state: ExportState): void {
    setText(this.exportStatus, exportStateInWords(state));
    setText(this.exportButton, state.kind === "failed" ? "Try again" : "Download my data");
    this.exportButton.setAttribute("aria-disabled", String(state.kind === "preparing"));
    const files = state.kind === "ready" ? state.made.files : [];
    this.files.replaceChildren(
      ...files.map(({ name, url, bytes }) =>
        element(
          "li",
          {},
          element("a", { href: url, rel: "noreferrer", "data-testid": "export-file" }, name),
          ` (${sizeInWords(bytes)})`,
        ),
      ),
    );
  }

  private open(): void {
    this.turnDeletion(false);
    this.dialog.showModal();
  }

  private turnDeletion(isOpen: boolean): void {
    this.form.hidden = !isOpen;
    this.begin.setAttribute("aria-expanded", String(isOpen));
    this.input.value = "";
    this.showError(null);
  }

  private async submitted(): Promise<void> {
    const typed = this.input.value.trim();
    if (typed === "" || (this.email !== null && typed.toLowerCase() !== this.email.toLowerCase())) {
      this.refused("confirmation_wrong");
      return;
    }
    this.showError(null);
    this.submit.disabled = true;
    try {
      await this.actions.deleteAccount(typed);
    } catch (problem) {
      this.refused(codeOf(problem));
    } finally {
      this.submit.disabled = false;
    }
  }

  private refused(code: string): void {
    this.showError(sentenceFor(code));
    this.input.focus();
  }

  private showError(sentence: string | null): void {
    setText(this.error, sentence ?? "");
    this.input.setAttribute("aria-invalid", String(sentence !== null));
  }
}

function exportStateInWords(state: ExportState): string {
  switch (state.kind) {
    case "none":
      return "";
    case "preparing":
      return "Your data is being put together. You may close this window meanwhile.";
    case "ready":
      return exportInWords(state.made);
    case "links_ended":
      return "The links have ended. Ask again for new ones.";
    case "failed":
      return sentenceFor(state.code);
  }
}
