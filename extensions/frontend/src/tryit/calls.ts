// Calls of the endpoint that this page belongs to, as any caller makes them.
import { type Described, described, filled, type Problem, problem, type Typed } from "./ask";

export interface Found {
  about: Described;
  typed: Typed;
}
export interface Answered {
  json: unknown;
  raw: string;
  ms: number;
  version: string;
  revision: string;
}
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.title);
  }
}

/** The page is at the root of its endpoint, with or without a slash at the end. */
export const base = (): string => location.origin + location.pathname.replace(/\/+$/, "");

/** `owner/name` of the endpoint, where the router has it. */
export const place = (): string => /^\/serve\/([a-z0-9-]+\/[a-z0-9-]+)\/*$/.exec(location.pathname)?.[1] ?? "";

async function call(path: string, key: string, body?: string): Promise<Response> {
  // Neither cookies nor a page that was kept: what an endpoint answers depends on the key alone.
  const init: RequestInit = { credentials: "omit", cache: "no-store", headers: {} };
  if (key) init.headers = { Authorization: `Bearer ${key}` };
  if (body !== undefined) {
    Object.assign(init, { method: "POST", body, headers: { ...init.headers, "Content-Type": "application/json" } });
  }
  let answer: Response;
  try {
    answer = await fetch(base() + path, init);
  } catch {
    throw new Refused(0, { title: "No answer", detail: "The endpoint could not be reached.", remedy: "Try again." });
  }
  if (!answer.ok) throw new Refused(answer.status, problem(answer.status, await answer.text()));
  return answer;
}

/** What the endpoint takes, and its example. */
export async function look(key: string): Promise<Found> {
  const openapi = await (await call("/openapi.json", key)).json();
  const about = described(await (await call(`/v2/models/${encodeURIComponent(openapi.info.title)}`, key)).json());
  return { about, typed: filled(about, openapi) };
}

export async function ask(about: Described, key: string, body: string): Promise<Answered> {
  const began = performance.now();
  const answer = await call(`/v2/models/${encodeURIComponent(about.name)}/infer`, key, body);
  const raw = await answer.text();
  const ms = performance.now() - began;
  const json = JSON.parse(raw);
  return {
    json,
    raw,
    ms,
    version: json.model_version ?? "",
    revision: answer.headers.get("x-modelyard-revision") ?? "",
  };
}
