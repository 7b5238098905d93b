/**
 * The way in: signing in, making an account, and the code that confirms its address. Says who wants in;
 * whether they may is not its business.
 */

import { part, setText } from "./elements";

type Step = "sign_in" | "sign_up" | "confirm";

export interface SignInActions {
  signIn(email: string, password: string): Promise<void>;
  signUp(email: string, password: string): Promise<void>;
  confirm(email: string, code: string, password: string): Promise<void>;
  sendCodeAgain(email: string): Promise<void>;
}

const WORDS: Readonly<Record<Step, { title: string; submit: string; other: string }>> = {
  sign_in: { title: "chatcore", submit: "Sign in", other: "Create an account" },
  sign_up: { title: "Create an account", submit: "Create account", other: "Sign in instead" },
  confirm: { title: "Check your mail", submit: "Confirm", other: "Send the code again" },
};

export class SignInView {
  private readonly view = part("sign-in-view", HTMLElement);
  private readonly form = part("sign-in-form", HTMLFormElement);
  private readonly title = part("sign-in-title", HTMLElement);
  private readonly email = part("email", HTMLInputElement);
  private readonly password = part("password", HTMLInputElement);
  private readonly hint = part("password-hint", HTMLElement);
  private readonly codeField = part("code-field", HTMLElement);
  private readonly code = part("code", HTMLInputElement);
  private readonly submit = part("sign-in", HTMLButtonElement);
  private readonly other = part("sign-in-other", HTMLButtonElement);
  private step: Step = "sign_in";

  constructor(private readonly actions: SignInActions) {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.busy(this.submitted());
    });
    this.other.addEventListener("click", () => {
      if (this.step === "confirm") void this.busy(actions.sendCodeAgain(this.address));
      else this.turnTo(this.step === "sign_in" ? "sign_up" : "sign_in");
    });
  }

  show(): void {
    this.view.hidden = false;
    this.turnTo("sign_in");
    this.email.focus();
  }

  hide(): void {
    this.view.hidden = true;
    this.password.value = "";
    this.code.value = "";
  }

  /** The account is there; now its address is to be confirmed. */
  askForCode(): void {
    this.turnTo("confirm");
    this.code.focus();
  }

  private get address(): string {
    return this.email.value.trim();
  }

  private submitted(): Promise<void> {
    const password = this.password.value;
    if (this.step === "sign_in") return this.actions.signIn(this.address, password);
    if (this.step === "sign_up") return this.actions.signUp(this.address, password);
    return this.actions.confirm(this.address, this.code.value.trim(), password);
  }

  private turnTo(step: Step): void {
    this.step = step;
    const words = WORDS[step];
    setText(this.title, words.title);
    setText(this.submit, words.submit);
    setText(this.other, words.other);
    this.hint.hidden = step !== "sign_up";
    this.password.autocomplete = step === "sign_in" ? "current-password" : "new-password";
    this.password.minLength = step === "sign_up" ? 12 : 0;
    this.codeField.hidden = step !== "confirm";
    this.code.required = step === "confirm";
  }

  private async busy(work: Promise<void>): Promise<void> {
    this.submit.disabled = this.other.disabled = true;
    await work;
    this.submit.disabled = this.other.disabled = false;
  }
}
