/** What the page says: stable codes and numbers in words. The codes' meaning is the server's. */

import type { Export } from "../client/http";
import type { Wait } from "../client/transcript";
import type { Usage } from "../client/wire";

const SENTENCES: Readonly<Record<string, string>> = {
  account_closed: "This account has been closed.",
  attempts_exhausted: "The answer broke off several times. Please try again.",
  body_too_large: "The message is too long.",
  budget_exhausted: "Your token budget is used up.",
  busy: "The service is busy. Please try again in a moment.",
  confirmation_wrong: "That is not the address of this account. Nothing was deleted.",
  chat_not_found: "There is no such chat any more.",
  cursor_invalid: "This list has changed. Please reload the page.",
  engine_error: "The model failed while answering. Please try again.",
  engine_unavailable: "No model could answer in time. Please try again.",
  export_failed: "Your data could not be put together. Please try again in an hour.",
  export_not_found: "These files are gone. Please ask for them again.",
  frame_too_large: "The message is too long.",
  internal_error: "Something went wrong on our side. Please try again.",
  message_conflict: "This message was already sent with another text. Please send it again.",
  network: "The service cannot be reached. Please check your connection.",
  new_password_required: "This account needs a new password first, which this page cannot set.",
  queue_too_old: "Too many people are waiting on your plan just now.",
  run_active: "This chat is still being answered. Please wait, or stop the answer.",
  run_not_found: "This answer is no longer known.",
  sign_in_failed: "Signing in did not work. Please try again.",
  text_empty: "Please write something first.",
  text_invalid: "The message holds characters that cannot be sent.",
  text_too_long: "The message is too long.",
  tier_paused: "No new messages are taken on your plan for now.",
  too_many_active_runs: "Too many of your chats are being answered. Please wait for one to end.",
  too_many_attempts: "Too many attempts. Please wait a little.",
  unexpected_reply: "The service gave an answer that this page cannot read. Please try again.",
  unauthorized: "Please sign in again.",
  code_expired: "That code has expired. Please begin again, or have another one sent.",
  code_wrong: "That code is not the right one.",
  email_invalid: "That is not an email address that can be used.",
  email_taken: "There is an account with this address already. Sign in instead.",
  not_confirmed: "Your address is not confirmed yet. A new code was sent to it.",
  password_too_short: "The password has to have at least 12 characters.",
  wrong_credentials: "The email address or the password is not right.",
};

/** They pass by themselves: the sentence goes on with when to try again. */
const PASSING: ReadonlySet<string> = new Set(["queue_too_old", "tier_paused"]);

export function sentenceFor(code: string, retryAt: string | null = null): string {
  const sentence =
    SENTENCES[code] ?? `Something went wrong (${code.replaceAll("_", " ")}). Please try again.`;
  if (PASSING.has(code)) {
    return `${sentence} Please try again ${retryAt === null ? "later" : momentInWords(retryAt)}.`;
  }
  return retryAt === null ? sentence : `${sentence} It frees up ${momentInWords(retryAt)}.`;
}

export function momentInWords(rfc3339: string): string {
  const moment = new Date(rfc3339);
  if (Number.isNaN(moment.getTime())) return "later";
  const isToday = moment.toDateString() === new Date().toDateString();
  return isToday
    ? `at ${moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`
    : `on ${moment.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}`;
}

export function waitInWords({ reason, position, estimate_s }: Wait): string {
  switch (reason) {
    case "starting":
      return "Starting";
    case "own_runs":
      return "Waiting for your other answer";
    case "resuming":
      return "Paused: a moment, it goes on";
    default: {
      if (position === null || position === 0) return "Waiting for a free GPU";
      const before = `${position} before you`;
      return estimate_s === null ? before : `${before}, about ${timeInWords(estimate_s)}`;
    }
  }
}

/** As coarse as an estimate is, so that the words do not change with each look. */
function timeInWords(time_s: number): string {
  if (time_s <= 10) return `${Math.max(1, Math.round(time_s))} s`;
  if (time_s < 57.5) return `${Math.round(time_s / 5) * 5} s`;
  return `${Math.round(time_s / 60)} min`;
}

/** In the engine's tokens; what a cache held of the prompt cost nothing. */
export function usageInWords(usage: Usage): string {
  const [read, cached, written] = [usage.input_tokens, usage.cached_tokens, usage.output_tokens].map(
    (tokens) => tokens.toLocaleString("en"),
  );
  const known = usage.cached_tokens === 0 ? "" : ` (${cached} of them cached)`;
  return `${read} tokens read${known}, ${written} written`;
}

/** Of an export: what it holds, and for how long its links are good. */
export function exportInWords({ counts, files, made_at, links_end_at }: Export): string {
  const parts = [
    counted(counts?.["chat"] ?? 0, "chat"),
    counted(counts?.["message"] ?? 0, "message"),
  ].join(" and ");
  const made = made_at === null ? "" : `, as of ${clockTime(made_at)}`;
  const until = links_end_at === null ? "" : ` The links work until ${clockTime(links_end_at)}.`;
  return `Ready: ${parts} in ${counted(files.length, "file")}${made}.${until}`;
}

function counted(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

function clockTime(rfc3339: string): string {
  return new Date(rfc3339).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** Of a file, as coarse as one wants to know it. */
export function sizeInWords(bytes: number): string {
  return bytes < 1_000_000
    ? `${Math.max(1, Math.round(bytes / 1_000)).toLocaleString("en")} kB`
    : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

export function codeOf(problem: unknown): string {
  const { code } = problem as { code?: unknown };
  return typeof code === "string" ? code : "internal_error";
}

const TITLE_CHARACTERS = 60;

/** The first words of a text, on one line, cut between words where that is possible. */
export function firstWords(text: string): string {
  const line = text.trim().replaceAll(/\s+/g, " ");
  const characters = [...line];
  if (characters.length <= TITLE_CHARACTERS) return line;
  const start = characters.slice(0, TITLE_CHARACTERS - 1).join("");
  const lastSpace = start.lastIndexOf(" ");
  return `${lastSpace > start.length / 2 ? start.slice(0, lastSpace) : start}…`;
}
