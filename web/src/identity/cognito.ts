/**
 * Signing up and in with Amazon Cognito, by its public JSON API; no SDK.
 *
 * Owns the tokens: the refresh token lives in the browser's local storage, so that a reload stays
 * signed in; ID tokens live in memory only. Must not know of the page.
 */

export interface CognitoOptions {
  readonly url: string;
  readonly clientId: string;
  readonly storage: Storage;
}

export type SignInCode =
  /** Signing in (again) is the only remedy. */
  | "unauthorized"
  | "wrong_credentials"
  | "new_password_required"
  /** The password is right; `prove` goes on with a code of the user's authenticator app. */
  | "second_factor_needed"
  | "too_many_attempts"
  /** The account is there, and its address has yet to be confirmed by a code. */
  | "not_confirmed"
  | "email_taken"
  | "email_invalid"
  | "password_too_short"
  | "code_wrong"
  | "code_expired"
  | "network"
  | "sign_in_failed";

export class SignInProblem extends Error {
  constructor(readonly code: SignInCode) {
    super(code);
    this.name = "SignInProblem";
  }
}

interface Tokens {
  readonly idToken: string;
  /** By this machine's clock. */
  readonly staleAt_ms: number;
}

interface AuthenticationResult {
  IdToken: string;
  ExpiresIn: number;
  RefreshToken?: string;
}

interface AuthAnswer {
  AuthenticationResult?: AuthenticationResult;
  ChallengeName?: string;
  Session?: string;
}

interface SignUpAnswer {
  UserConfirmed?: boolean;
}

const SECOND_FACTOR = "SOFTWARE_TOKEN_MFA";

const STORAGE_KEY = "chatcore.refresh_token";
/** A token is renewed this long before it ends. */
const MARGIN_MS = 60_000;

export class Identity {
  private tokens: Tokens | null = null;
  private renewal: Promise<Tokens> | null = null;
  /** Of a sign-in that waits for its second factor. */
  private challenge: { email: string; session: string } | null = null;

  constructor(private readonly options: CognitoOptions) {}

  get isSignedIn(): boolean {
    return this.refreshToken !== null;
  }

  async signIn(email: string, password: string): Promise<void> {
    const answer = await this.initiate("USER_PASSWORD_AUTH", {
      USERNAME: email,
      PASSWORD: password,
    });
    if (answer.ChallengeName === SECOND_FACTOR && answer.Session !== undefined) {
      this.challenge = { email, session: answer.Session };
      throw new SignInProblem("second_factor_needed");
    }
    this.tokens = this.keep(resultOf(answer));
  }

  /** Goes on with a sign-in that needed a second factor. */
  async prove(code: string): Promise<void> {
    if (this.challenge === null) throw new SignInProblem("code_expired");
    const { email, session } = this.challenge;
    let answer: AuthAnswer;
    try {
      answer = await this.call<AuthAnswer>("RespondToAuthChallenge", {
        ClientId: this.options.clientId,
        ChallengeName: SECOND_FACTOR,
        Session: session,
        ChallengeResponses: { USERNAME: email, SOFTWARE_TOKEN_MFA_CODE: code },
      });
    } catch (problem) {
      // What is refused here is the session, which lives for some minutes.
      const isOver = problem instanceof SignInProblem && problem.code === "wrong_credentials";
      throw isOver ? new SignInProblem("code_expired") : problem;
    }
    this.tokens = this.keep(resultOf(answer));
    this.challenge = null;
  }

  /** Makes an account; whether it can be used at once, or a code was sent to the address first. */
  async signUp(email: string, password: string): Promise<boolean> {
    const answer = await this.call<SignUpAnswer>("SignUp", {
      ClientId: this.options.clientId,
      Username: email,
      Password: password,
      UserAttributes: [{ Name: "email", Value: email }],
    });
    return answer.UserConfirmed === true;
  }

  async confirm(email: string, code: string): Promise<void> {
    await this.call("ConfirmSignUp", {
      ClientId: this.options.clientId,
      Username: email,
      ConfirmationCode: code,
    });
  }

  async sendCodeAgain(email: string): Promise<void> {
    await this.call("ResendConfirmationCode", {
      ClientId: this.options.clientId,
      Username: email,
    });
  }

  signOut(): void {
    this.tokens = null;
    this.renewal = null;
    this.options.storage.removeItem(STORAGE_KEY);
  }

  /** An ID token that is good for a while; `renewed` if the one at hand was refused. */
  async idToken(renewed: boolean): Promise<string> {
    if (this.tokens !== null && !renewed && Date.now() < this.tokens.staleAt_ms) {
      return this.tokens.idToken;
    }
    this.renewal ??= this.renew().finally(() => {
      this.renewal = null;
    });
    return (await this.renewal).idToken;
  }

  private get refreshToken(): string | null {
    return this.options.storage.getItem(STORAGE_KEY);
  }

  private async renew(): Promise<Tokens> {
    const refreshToken = this.refreshToken;
    if (refreshToken === null) throw new SignInProblem("unauthorized");
    let result: AuthenticationResult;
    try {
      result = resultOf(
        await this.initiate("REFRESH_TOKEN_AUTH", { REFRESH_TOKEN: refreshToken }),
      );
    } catch (problem) {
      const isRefused = problem instanceof SignInProblem && problem.code === "wrong_credentials";
      throw isRefused ? new SignInProblem("unauthorized") : problem;
    }
    // Signed out, or in as somebody else, while the answer was on its way.
    if (this.refreshToken !== refreshToken) throw new SignInProblem("unauthorized");
    this.tokens = this.keep(result);
    return this.tokens;
  }

  private keep(result: AuthenticationResult): Tokens {
    if (result.RefreshToken !== undefined) {
      this.options.storage.setItem(STORAGE_KEY, result.RefreshToken);
    }
    return {
      idToken: result.IdToken,
      staleAt_ms: Date.now() + result.ExpiresIn * 1000 - MARGIN_MS,
    };
  }

  private initiate(flow: string, parameters: Record<string, string>): Promise<AuthAnswer> {
    return this.call("InitiateAuth", {
      AuthFlow: flow,
      ClientId: this.options.clientId,
      AuthParameters: parameters,
    });
  }

  private async call<Answer>(action: string, body: object): Promise<Answer> {
    let answer: Answer & { __type?: string };
    let isOk: boolean;
    try {
      const reply = await fetch(this.options.url, {
        method: "POST",
        headers: {
          "content-type": "application/x-amz-json-1.1",
          "x-amz-target": `AWSCognitoIdentityProviderService.${action}`,
        },
        body: JSON.stringify(body),
      });
      isOk = reply.ok;
      answer = await reply.json();
    } catch {
      throw new SignInProblem("network");
    }
    if (isOk) return answer;
    // Cognito may put a namespace before the name of an exception.
    const exception = answer.__type?.split("#").at(-1) ?? "";
    throw new SignInProblem(CODES[exception] ?? "sign_in_failed");
  }
}

function resultOf(answer: AuthAnswer): AuthenticationResult {
  if (answer.AuthenticationResult) return answer.AuthenticationResult;
  const isChallenge = answer.ChallengeName === "NEW_PASSWORD_REQUIRED";
  throw new SignInProblem(isChallenge ? "new_password_required" : "sign_in_failed");
}

const CODES: Readonly<Record<string, SignInCode>> = {
  NotAuthorizedException: "wrong_credentials",
  UserNotFoundException: "wrong_credentials",
  TooManyRequestsException: "too_many_attempts",
  LimitExceededException: "too_many_attempts",
  UserNotConfirmedException: "not_confirmed",
  UsernameExistsException: "email_taken",
  InvalidParameterException: "email_invalid",
  InvalidPasswordException: "password_too_short",
  CodeMismatchException: "code_wrong",
  ExpiredCodeException: "code_expired",
};
