// The same call as a line for a terminal and as a Python program. Pure.

/** Where a program has the key, which is never in the text. */
export const variable = (name: string): string => `${name.replaceAll(/[^A-Za-z0-9]/g, "_").toUpperCase()}_KEY`;

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

export function curl(url: string, name: string, body: string, keyed: boolean): string {
  const parts = [`curl -sS ${quoted(url)}`, `-H 'Content-Type: application/json'`, `-d ${quoted(body)}`];
  if (keyed) parts.splice(1, 0, `-H "Authorization: Bearer $${variable(name)}"`);
  return parts.join(" \\\n  ");
}

export function python(url: string, name: string, body: string, keyed: boolean): string {
  const header = `    headers={"Authorization": f"Bearer {os.environ['${variable(name)}']}"},\n`;
  return `${keyed ? "import os\n\n" : ""}import httpx

answer = httpx.post(
    ${JSON.stringify(url)},
${keyed ? header : ""}    json=${literal(body).replaceAll("\n", "\n    ")},
)
answer.raise_for_status()
print(answer.json()["outputs"])
`;
}

const WORDS: Record<string, string> = { true: "True", false: "False", null: "None" };

/** JSON as Python writes it. */
const literal = (json: string): string =>
  json.replace(/"(?:\\.|[^"\\])*"|true|false|null/g, (part) => WORDS[part] ?? part);
