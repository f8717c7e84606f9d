// The notebook server's handlers of training runs: they answer while the kernel is busy, restarting or gone.
import type { Problem } from "./model";

/** Thrown where there is no such server (Colab, VS Code, a server without the extension): the kernel is asked instead. */
export class NoServer extends Error {}

const PATIENCE = 5000;

interface Page {
  base: string;
  token: string;
}

function page(): Page {
  try {
    const config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "");
    if (typeof config.baseUrl === "string") return { base: config.baseUrl, token: String(config.token ?? "") };
  } catch {
    // no page of Jupyter's
  }
  throw new NoServer();
}

/** Ask the notebook server that this page is of. Rejects with NoServer where it is of none. */
export function call(path: string, method: "GET" | "POST", body?: unknown, patience = PATIENCE): Promise<Response> {
  const { base, token } = page();
  const headers: Record<string, string> = { "X-XSRFToken": /\b_xsrf=([^;]*)/.exec(document.cookie)?.[1] ?? "" };
  if (token) headers.Authorization = `token ${token}`;
  return fetch(new URL(`${base.replace(/\/?$/, "/")}${path}`, location.origin), {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin",
    redirect: "error",
    signal: AbortSignal.timeout(patience),
  });
}

/** `path` below `modelyard/runs/`. Rejects with NoServer, or with a Problem. */
export async function askServer(path: string, method: "GET" | "POST" = "GET"): Promise<unknown> {
  let answer: Response;
  try {
    answer = await call(`modelyard/runs/${path}`, method);
  } catch (error) {
    if (error instanceof NoServer) throw error;
    throw problem("Notebook server away", "It does not answer. The run goes on.", "This panel keeps trying.");
  }
  let content: unknown = null;
  try {
    content = await answer.json();
  } catch {
    // told by its status
  }
  if (answer.ok) return content;
  const said = content as Partial<Problem> | null;
  if (said?.title) throw problem(said.title, said.detail ?? "", said.remedy ?? "");
  if (answer.status === 404) throw new NoServer();
  if (answer.status === 401 || answer.status === 403)
    throw problem(
      "Sign-in expired",
      "The notebook server does not know you any more.",
      "Sign in again: reload the page.",
    );
  throw problem("Notebook server away", `It answered ${answer.status}. The run goes on.`, "This panel keeps trying.");
}

function problem(title: string, detail: string, remedy: string): Problem {
  return { title, detail, remedy };
}
