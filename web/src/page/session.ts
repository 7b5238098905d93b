/**
 * Who is signed in on this page: the steps of the way in, and the way out.
 *
 * Owns the order of those steps, and what the page says to whoever was signed out. Tokens are the identity's
 * business; what else of a user has to go with him is the page's.
 */

import { Identity } from "../identity/cognito";
import { part, setText } from "./elements";
import type { Problems } from "./problems";
import { SignInView } from "./sign_in_view";
import type { Config } from "./surroundings";
import { codeOf, sentenceFor } from "./words";

/** Why the page was reloaded, for the page that comes after. */
const ENDING_KEY = "chatcore.notice";

export type Ending = "signed_out" | "unauthorized" | "account_deleted";

export class Session {
  private readonly identity: Identity;
  private readonly view: SignInView;
  private readonly notice = part("notice", HTMLElement);

  /** `entered` is called once somebody is signed in. */
  constructor(
    config: Config,
    private readonly problems: Problems,
    private readonly entered: () => void,
  ) {
    this.identity = new Identity({
      url: config.cognito_url,
      clientId: config.user_pool_client_id,
      storage: localStorage,
    });
    this.view = new SignInView({
      signIn: (email, password) => problems.acting(() => this.signIn(email, password)),
      prove: (code) =>
        problems.acting(async () => {
          await this.identity.prove(code);
          this.enter();
        }),
      signUp: (email, password) =>
        problems.acting(async () => {
          if (await this.identity.signUp(email, password)) await this.signIn(email, password);
          else this.view.askForCode();
        }),
      confirm: (email, code, password) =>
        problems.acting(async () => {
          await this.identity.confirm(email, code);
          await this.signIn(email, password);
        }),
      sendCodeAgain: (email) => problems.acting(() => this.identity.sendCodeAgain(email)),
    });
  }

  get isSignedIn(): boolean {
    return this.identity.isSignedIn;
  }

  /** `renewed` asks for a token made anew, after the server has refused the one at hand. */
  idToken(renewed: boolean): Promise<string> {
    return this.identity.idToken(renewed);
  }

  start(): void {
    if (this.isSignedIn) this.enter();
    else this.view.show();
    const ending = sessionStorage.getItem(ENDING_KEY);
    sessionStorage.removeItem(ENDING_KEY);
    if (ending === "unauthorized") this.problems.say(sentenceFor(ending));
    if (ending === "account_deleted") {
      this.notice.hidden = false;
      setText(this.notice, "Your account was deleted. Everything of it is being removed now.");
    }
  }

  /** Ends it on this browser. `startOver` is due. */
  end(ending: Ending): void {
    sessionStorage.setItem(ENDING_KEY, ending);
    this.identity.signOut();
  }

  /** By a reload, so that nothing of this user stays on the page for the next one. */
  startOver(): void {
    history.replaceState(null, "", location.pathname);
    location.reload();
  }

  private enter(): void {
    this.view.hide();
    this.notice.hidden = true;
    this.entered();
  }

  private async signIn(email: string, password: string): Promise<void> {
    try {
      await this.identity.signIn(email, password);
    } catch (problem) {
      if (codeOf(problem) === "second_factor_needed") {
        this.view.askForSecondFactor();
        return;
      }
      if (codeOf(problem) === "not_confirmed") {
        this.view.askForCode();
        await this.identity.sendCodeAgain(email);
      }
      throw problem;
    }
    this.enter();
  }
}
