/**
 * The way in: signing in with one factor or two, making an account, and the code that confirms its address.
 * Says who wants in; whether they may is not its business.
 */

import { part, setText } from "./elements";

type Step = "sign_in" | "prove" | "sign_up" | "confirm";

export interface SignInActions {
  signIn(email: string, password: string): Promise<void>;
  prove(code: string): Promise<void>;
  signUp(email: string, password: string): Promise<void>;
  confirm(email: string, code: string, password: string): Promise<void>;
  sendCodeAgain(email: string): Promise<void>;
}

interface Words {
  readonly title: string;
  readonly submit: string;
  readonly other: string;
  /** Which code is asked for, if one is. */
  readonly code: string | null;
}

const WORDS: Readonly<Record<Step, Words>> = {
  sign_in: { title: "chatcore", submit: "Sign in", other: "Create an account", code: null },
  prove: {
    title: "Is it you?",
    submit: "Sign in",
    other: "Sign in as somebody else",
    code: "The code that your authenticator app shows",
  },
  sign_up: {
    title: "Create an account",
    submit: "Create account",
    other: "Sign in instead",
    code: null,
  },
  confirm: {
    title: "Check your mail",
    submit: "Confirm",
    other: "Send the code again",
    code: "The code that was sent to your address",
  },
};

export class SignInView {
  private readonly view = part("sign-in-view", HTMLElement);
  private readonly form = part("sign-in-form", HTMLFormElement);
  private readonly title = part("sign-in-title", HTMLElement);
  private readonly email = part("email", HTMLInputElement);
  private readonly password = part("password", HTMLInputElement);
  private readonly hint = part("password-hint", HTMLElement);
  private readonly codeField = part("code-field", HTMLElement);
  private readonly codeLabel = part("code-label", HTMLElement);
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

  /** The password was right; now the second factor is to be shown. */
  askForSecondFactor(): void {
    this.turnTo("prove");
    this.code.focus();
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
    if (this.step === "prove") return this.actions.prove(this.code.value.trim());
    if (this.step === "sign_in") return this.actions.signIn(this.address, password);
    if (this.step === "sign_up") return this.actions.signUp(this.address, password);
    return this.actions.confirm(this.address, this.code.value.trim(), password);
  }

  private turnTo(step: Step): void {
    this.step = step;
    this.code.value = "";
    const words = WORDS[step];
    setText(this.title, words.title);
    setText(this.submit, words.submit);
    setText(this.other, words.other);
    this.hint.hidden = step !== "sign_up";
    this.password.autocomplete = step === "sign_up" ? "new-password" : "current-password";
    this.password.minLength = step === "sign_up" ? 12 : 0;
    setText(this.codeLabel, words.code ?? "");
    this.codeField.hidden = words.code === null;
    this.code.required = words.code !== null;
  }

  private async busy(work: Promise<void>): Promise<void> {
    this.submit.disabled = this.other.disabled = true;
    await work;
    this.submit.disabled = this.other.disabled = false;
  }
}
