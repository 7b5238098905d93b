import { afterEach, describe, expect, it, vi } from "vitest";
import { Identity } from "../src/identity/cognito";

/** As much of the browser's storage as signing in needs. */
class FakeStorage implements Storage {
  private readonly items = new Map<string, string>();
  get length(): number {
    return this.items.size;
  }
  key(index: number): string | null {
    return [...this.items.keys()][index] ?? null;
  }
  getItem(key: string): string | null {
    return this.items.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.items.set(key, value);
  }
  removeItem(key: string): void {
    this.items.delete(key);
  }
  clear(): void {
    this.items.clear();
  }
}

function cognito(answer: (flow: string) => object) {
  const flows: string[] = [];
  vi.stubGlobal("fetch", async (_url: string, request: { body: string }) => {
    const { AuthFlow } = JSON.parse(request.body) as { AuthFlow: string };
    flows.push(AuthFlow);
    const answered = answer(AuthFlow);
    return { ok: !("__type" in answered), json: async () => answered };
  });
  return flows;
}

function tokens(idToken: string, refreshToken?: string): object {
  return { AuthenticationResult: { IdToken: idToken, ExpiresIn: 3600, RefreshToken: refreshToken } };
}

function identity(storage = new FakeStorage()): Identity {
  return new Identity({ url: "https://cognito.test", clientId: "client", storage });
}

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("a second factor", () => {
  function withChallenge(proof: object) {
    const asked: Record<string, unknown>[] = [];
    vi.stubGlobal("fetch", async (_url: string, request: { body: string }) => {
      const body = JSON.parse(request.body) as Record<string, unknown>;
      asked.push(body);
      const answered =
        "AuthFlow" in body ? { ChallengeName: "SOFTWARE_TOKEN_MFA", Session: "session-1" } : proof;
      return { ok: !("__type" in answered), json: async () => answered };
    });
    return asked;
  }

  it("is asked for, and then all is as without", async () => {
    const asked = withChallenge(tokens("one", "refresh"));
    const user = identity();
    await expect(user.signIn("a@example.com", "secret")).rejects.toMatchObject({
      code: "second_factor_needed",
    });
    expect(user.isSignedIn).toBe(false);
    await user.prove("123456");
    expect(await user.idToken(false)).toBe("one");
    expect(asked[1]).toMatchObject({
      ChallengeName: "SOFTWARE_TOKEN_MFA",
      Session: "session-1",
      ChallengeResponses: { USERNAME: "a@example.com", SOFTWARE_TOKEN_MFA_CODE: "123456" },
    });
  });

  it.each([
    ["CodeMismatchException", "code_wrong"],
    ["NotAuthorizedException", "code_expired"],
  ])("that is refused with %s is %s", async (exception, code) => {
    withChallenge({ __type: exception });
    const user = identity();
    await expect(user.signIn("a@example.com", "secret")).rejects.toThrow();
    await expect(user.prove("000000")).rejects.toMatchObject({ code });
    await expect(identity().prove("000000")).rejects.toMatchObject({ code: "code_expired" });
  });
});

describe("identity", () => {
  it("stays signed in over a reload", async () => {
    cognito((flow) => (flow === "USER_PASSWORD_AUTH" ? tokens("one", "refresh") : tokens("two")));
    const storage = new FakeStorage();
    const before = identity(storage);
    await before.signIn("a@example.com", "secret");
    expect(await before.idToken(false)).toBe("one");
    const after = identity(storage);
    expect(after.isSignedIn).toBe(true);
    expect(await after.idToken(false)).toBe("two");
  });

  it("renews an old or refused token, once for all who ask", async () => {
    vi.useFakeTimers();
    const flows = cognito(() => tokens("token", "refresh"));
    const one = identity();
    await one.signIn("a@example.com", "secret");
    await one.idToken(false);
    expect(flows).toHaveLength(1);
    vi.advanceTimersByTime(3_600_000);
    await Promise.all([one.idToken(false), one.idToken(false)]);
    expect(flows).toEqual(["USER_PASSWORD_AUTH", "REFRESH_TOKEN_AUTH"]);
    await one.idToken(true);
    expect(flows).toHaveLength(3);
  });

  it("tells apart what can be done about a refusal", async () => {
    const refusals: [object, string][] = [
      [{ __type: "NotAuthorizedException" }, "wrong_credentials"],
      [{ __type: "com.amazonaws#UserNotFoundException" }, "wrong_credentials"],
      [{ __type: "TooManyRequestsException" }, "too_many_attempts"],
      [{ ChallengeName: "NEW_PASSWORD_REQUIRED" }, "new_password_required"],
      [{ __type: "InternalErrorException" }, "sign_in_failed"],
    ];
    for (const [answer, code] of refusals) {
      cognito(() => answer);
      await expect(identity().signIn("a@example.com", "no")).rejects.toMatchObject({ code });
    }
  });

  it("asks to sign in again when the refresh token is refused, not when the network fails", async () => {
    const storage = new FakeStorage();
    cognito(() => tokens("one", "refresh"));
    await identity(storage).signIn("a@example.com", "secret");
    cognito(() => ({ __type: "NotAuthorizedException" }));
    await expect(identity(storage).idToken(false)).rejects.toMatchObject({ code: "unauthorized" });
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("failed")));
    await expect(identity(storage).idToken(false)).rejects.toMatchObject({ code: "network" });
  });

  it("makes an account, and confirms its address by a code", async () => {
    const asked: [string, object][] = [];
    vi.stubGlobal(
      "fetch",
      async (_url: string, request: { body: string; headers: Record<string, string> }) => {
        const action = request.headers["x-amz-target"]?.split(".")[1] ?? "";
        asked.push([action, JSON.parse(request.body)]);
        return { ok: true, json: async () => (action === "SignUp" ? { UserConfirmed: false } : {}) };
      },
    );
    const one = identity();
    expect(await one.signUp("a@example.com", "a long password")).toBe(false);
    await one.sendCodeAgain("a@example.com");
    await one.confirm("a@example.com", "123456");
    expect(asked.map(([action]) => action)).toEqual([
      "SignUp",
      "ResendConfirmationCode",
      "ConfirmSignUp",
    ]);
    expect(asked[0]?.[1]).toMatchObject({
      Username: "a@example.com",
      UserAttributes: [{ Name: "email", Value: "a@example.com" }],
    });
    expect(asked[2]?.[1]).toMatchObject({ ConfirmationCode: "123456" });
  });

  it("tells what is wrong with a new account", async () => {
    const refusals: [string, string][] = [
      ["UsernameExistsException", "email_taken"],
      ["InvalidPasswordException", "password_too_short"],
      ["InvalidParameterException", "email_invalid"],
      ["CodeMismatchException", "code_wrong"],
      ["LimitExceededException", "too_many_attempts"],
    ];
    for (const [exception, code] of refusals) {
      cognito(() => ({ __type: exception }));
      await expect(identity().signUp("a@example.com", "no")).rejects.toMatchObject({ code });
    }
  });

  it("keeps nothing after signing out", async () => {
    cognito(() => tokens("one", "refresh"));
    const storage = new FakeStorage();
    const one = identity(storage);
    await one.signIn("a@example.com", "secret");
    one.signOut();
    expect(storage.length).toBe(0);
    await expect(one.idToken(false)).rejects.toMatchObject({ code: "unauthorized" });
  });
});
