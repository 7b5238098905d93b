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
    return { json: async () => answer(AuthFlow) };
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
