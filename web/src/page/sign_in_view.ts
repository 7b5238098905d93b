/** The sign-in form. Says who wants in; whether they may is not its business. */

import { part } from "./elements";

export class SignInView {
  private readonly view = part("sign-in-view", HTMLElement);
  private readonly form = part("sign-in-form", HTMLFormElement);
  private readonly email = part("email", HTMLInputElement);
  private readonly password = part("password", HTMLInputElement);
  private readonly button = this.form.querySelector("button");

  constructor(onSignIn: (email: string, password: string) => Promise<void>) {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.setBusy(true);
      void onSignIn(this.email.value.trim(), this.password.value).finally(() => {
        this.setBusy(false);
      });
    });
  }

  show(): void {
    this.view.hidden = false;
    this.email.focus();
  }

  hide(): void {
    this.view.hidden = true;
    this.password.value = "";
  }

  private setBusy(isBusy: boolean): void {
    if (this.button) this.button.disabled = isBusy;
  }
}
