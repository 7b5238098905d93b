/**
 * The HTTP side of the protocol: chats, messages, the account, and tickets for the WebSocket.
 *
 * Answers are wire-shaped, by the types of docs/openapi.json. Every failure is an `HttpProblem` with a stable code; the server's own
 * codes are passed on, `network` and `unexpected_reply` are this module's.
 */

import type {
  AccountBody,
  AccountDeletion,
  ActiveRunBody,
  ChatBody,
  ChatChanges,
  ChatList,
  ExportBody,
  MessageBody,
  MessageList,
  TicketBody,
} from "./generated/bodies";
import type { Fetch } from "./ports";

export type ActiveRun = ActiveRunBody;
export type Chat = ChatBody;
export type ChatPage = ChatList;
export type Message = MessageBody;
export type MessagePage = MessageList;
export type Me = AccountBody;
export type Export = ExportBody;

export class HttpProblem extends Error {
  constructor(
    readonly code: string,
    /** 0 if no answer came. */
    readonly status: number,
    detail: string,
  ) {
    super(detail);
    this.name = "HttpProblem";
  }
}

export interface HttpOptions {
  readonly baseUrl: string;
  readonly fetch: Fetch;
  /** `renewed` asks for a token made anew, after the server has refused the one at hand. */
  idToken(renewed: boolean): Promise<string>;
}

export class HttpApi {
  constructor(private readonly options: HttpOptions) {}

  async takeTicket(): Promise<string> {
    const { ticket } = await this.call<TicketBody>("POST", "/tickets");
    return ticket;
  }

  me(): Promise<Me> {
    return this.call("GET", "/me");
  }

  chats(cursor: string | null): Promise<ChatPage> {
    return this.call("GET", `/chats${query(cursor)}`);
  }

  chat(chatId: string): Promise<Chat> {
    return this.call("GET", chatPath(chatId));
  }

  rename(chatId: string, title: string): Promise<Chat> {
    return this.call("PATCH", chatPath(chatId), { title } satisfies ChatChanges);
  }

  async deleteChat(chatId: string): Promise<void> {
    await this.call("DELETE", chatPath(chatId));
  }

  messages(chatId: string, cursor: string | null): Promise<MessagePage> {
    return this.call("GET", `${chatPath(chatId)}/messages${query(cursor)}`);
  }

  /** Within an hour it is always the same one. */
  startExport(): Promise<Export> {
    return this.call("POST", "/me/export");
  }

  readExport(exportId: string): Promise<Export> {
    return this.call("GET", `/me/export/${encodeURIComponent(exportId)}`);
  }

  /** Closes the account for good; asked again, it answers the same. */
  async deleteAccount(email: string): Promise<void> {
    await this.call("DELETE", "/me", { email } satisfies AccountDeletion);
  }

  /** The caller names the answer's shape; it is the server's promise and is not checked here. */
  private async call<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    let reply = await this.request(method, path, body, false);
    if (reply.status === 401) reply = await this.request(method, path, body, true);
    if (!reply.ok) throw problemOf(reply.status, reply.text);
    if (reply.text === "") return undefined as Answer;
    const answer = parsed(reply.text);
    if (answer === undefined) {
      throw new HttpProblem("unexpected_reply", reply.status, "The answer is not JSON.");
    }
    return answer as Answer;
  }

  private async request(
    method: string,
    path: string,
    body: object | undefined,
    renewed: boolean,
  ): Promise<{ ok: boolean; status: number; text: string }> {
    const headers: Record<string, string> = {
      authorization: `Bearer ${await this.options.idToken(renewed)}`,
    };
    if (body !== undefined) headers["content-type"] = "application/json";
    try {
      const reply = await this.options.fetch(this.options.baseUrl + path, {
        method,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { ok: reply.ok, status: reply.status, text: await reply.text() };
    } catch {
      throw new HttpProblem("network", 0, "The server cannot be reached.");
    }
  }
}

function chatPath(chatId: string): string {
  return `/chats/${encodeURIComponent(chatId)}`;
}

function query(cursor: string | null): string {
  return cursor === null ? "" : `?cursor=${encodeURIComponent(cursor)}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The gateway's own refusals (expired token, throttling) come without a code of ours. */
const GATEWAY_CODES: Readonly<Record<number, string>> = { 401: "unauthorized", 429: "busy" };

function problemOf(status: number, text: string): HttpProblem {
  const body = (parsed(text) ?? {}) as { code?: unknown; detail?: unknown };
  return new HttpProblem(
    typeof body.code === "string" ? body.code : (GATEWAY_CODES[status] ?? "unexpected_reply"),
    status,
    typeof body.detail === "string" ? body.detail : `The server answered with status ${status}.`,
  );
}
