import { expect, it } from "vitest";
import { HttpApi } from "../src/client/http";
import type { HttpReply } from "../src/client/ports";

function reply(status: number, body: string): HttpReply {
  return { ok: status < 300, status, text: async () => body };
}

function api(...replies: (HttpReply | Error)[]) {
  const requests: { url: string; authorization: string | undefined; method: string; body?: string }[] =
    [];
  const http = new HttpApi({
    baseUrl: "https://api.test",
    idToken: async (renewed) => (renewed ? "new" : "old"),
    fetch: async (url, { headers, ...rest }) => {
      requests.push({ url, authorization: headers["authorization"], ...rest });
      const next = replies.shift();
      if (next === undefined) throw new Error("one request too many");
      if (next instanceof Error) throw next;
      return next;
    },
  });
  return { http, requests };
}

it("asks with the ID token and escapes what goes into the address", async () => {
  const { http, requests } = api(reply(200, '{"messages":[],"next_cursor":null}'));
  await http.messages("a/b", "c&d");
  expect(requests).toMatchObject([
    { url: "https://api.test/chats/a%2Fb/messages?cursor=c%26d", authorization: "Bearer old" },
  ]);
});

it("tries once more with a new token when the one at hand is refused", async () => {
  const { http, requests } = api(
    reply(401, '{"message":"Unauthorized"}'),
    reply(201, '{"ticket":"t","expires_at":"2030-01-01T00:00:00.000Z"}'),
  );
  expect(await http.takeTicket()).toBe("t");
  expect(requests.map(({ authorization }) => authorization)).toEqual(["Bearer old", "Bearer new"]);
});

it("names every failure by a code", async () => {
  const refused = reply(401, '{"message":"Unauthorized"}');
  await expect(api(refused, refused).http.me()).rejects.toMatchObject({ code: "unauthorized" });
  await expect(api(new TypeError("failed")).http.me()).rejects.toMatchObject({ code: "network" });
  await expect(
    api(reply(404, '{"code":"chat_not_found","detail":"None."}')).http.chat("x"),
  ).rejects.toMatchObject({ code: "chat_not_found", status: 404, message: "None." });
  await expect(api(reply(503, "<html>")).http.me()).rejects.toMatchObject({
    code: "unexpected_reply",
  });
  await expect(api(reply(200, "<html>")).http.me()).rejects.toMatchObject({
    code: "unexpected_reply",
  });
});

it("takes an empty answer to a deletion", async () => {
  await expect(api(reply(204, "")).http.deleteChat("x")).resolves.toBeUndefined();
});

it("deletes the account by its address", async () => {
  const { http, requests } = api(reply(202, '{"closed_at":"2030-01-01T00:00:00.000Z"}'));
  await http.deleteAccount("a@b.test");
  expect(requests).toMatchObject([
    { url: "https://api.test/me", method: "DELETE", body: '{"email":"a@b.test"}' },
  ]);
});
