// What an endpoint takes, what is typed in, and what it answers. Pure.

export interface Input {
  name: string;
  datatype: string;
  shape: number[];
  kind: "number" | "string" | "boolean" | "datetime";
  required: boolean;
  categories: string[];
}
export interface Described {
  name: string;
  version: string;
  layout: "table" | "tensor";
  inputs: Input[];
  classes: string[];
}
/** What is typed: for a table a text by row and input, for tensors one JSON text by input. */
export type Typed = { layout: "table"; rows: string[][] } | { layout: "tensor"; texts: string[] };
export interface Line {
  values: { name: string; text: string }[];
  probabilities: { label: string; share: number }[];
}
export interface Problem {
  title: string;
  detail: string;
  remedy: string;
  input?: string;
  row?: number;
  rule?: string;
  id?: string;
}
interface Tensor {
  name: string;
  shape: number[];
  datatype: string;
  data: unknown[];
}
// biome-ignore lint/suspicious/noExplicitAny: JSON of the server, read where it is used
type Json = any;

export const ROWS = 10;
const CELL = 400;
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const PARTS = /"(?:\\.|[^"\\])*"|\s+|true|false|null/g;

/** From the body of `GET /v2/models/<name>`. */
export function described(metadata: Json): Described {
  return {
    name: metadata.name,
    version: String(metadata.versions?.[0] ?? ""),
    layout: metadata.parameters?.layout === "table" ? "table" : "tensor",
    classes: (metadata.parameters?.classes ?? []).map(String),
    inputs: metadata.inputs.map((input: Json) => ({
      name: input.name,
      datatype: input.datatype,
      shape: input.shape,
      kind: input.parameters?.kind ?? "number",
      required: input.parameters?.required ?? true,
      categories: (input.parameters?.categories ?? []).map(String),
    })),
  };
}

/** The form as it is at first: the example that the model was published with, which the OpenAPI document holds. */
export function filled(about: Described, openapi: Json): Typed {
  const asks = openapi.paths?.[`/v2/models/${about.name}/infer`]?.post?.requestBody?.content?.["application/json"];
  const given: Tensor[] = asks?.example?.inputs ?? [];
  const found = (input: Input) => given.find((tensor) => tensor.name === input.name);
  if (about.layout === "tensor") {
    return { layout: "tensor", texts: about.inputs.map((input) => pretty(nested(found(input)))) };
  }
  const count = Math.max(1, Math.min(ROWS, given[0]?.data.length ?? 0));
  const rows = Array.from({ length: count }, (_, row) => about.inputs.map((input) => text(found(input)?.data[row])));
  return { layout: "table", rows };
}

const text = (value: unknown): string => (value === null || value === undefined ? "" : String(value));

/** The values of a tensor as lists in lists. */
function nested(tensor: Pick<Tensor, "shape" | "data"> | undefined): unknown[] {
  if (!tensor) return [];
  let values = tensor.data;
  for (const size of tensor.shape.slice(1).reverse()) {
    const parts = size ? Math.floor(values.length / size) : 0;
    values = Array.from({ length: parts }, (_, i) => values.slice(i * size, (i + 1) * size));
  }
  return values;
}

const pretty = (rows: unknown[]): string => `[${rows.map((row) => JSON.stringify(row)).join(",\n ")}]`;

/** The body to send, a line for each input, digit for digit as it was typed. A text that is no JSON throws the name of its input. */
export function body(about: Described, typed: Typed): string {
  const tensors = about.inputs.map((input, at) => {
    const [shape, data] =
      typed.layout === "table"
        ? [[typed.rows.length], `[${typed.rows.map((row) => token(input, row[at] ?? "")).join(", ")}]`]
        : tensor(input, typed.texts[at] ?? "");
    const head = `"name": ${JSON.stringify(input.name)}, "shape": [${shape.join(", ")}], "datatype": "${input.datatype}"`;
    return `\n  {${head}, "data": ${data}}`;
  });
  return `{"inputs": [${tensors.join(",")}\n]}`;
}

/** One value as JSON. What is none of its kind goes as text: the server says what is wrong with it. */
function token(input: Input, typed: string): string {
  const said = typed.trim();
  if (!said && (!input.required || input.kind !== "string")) return "null";
  if (input.kind === "boolean" && ["true", "false"].includes(said)) return said;
  if (input.kind === "number" && NUMBER.test(said)) return said;
  if (input.kind === "number" && Number.isFinite(Number(said))) return String(Number(said));
  return JSON.stringify(typed);
}

function tensor(input: Input, typed: string): [number[], string] {
  let value: unknown;
  try {
    value = JSON.parse(typed);
  } catch (error) {
    throw new NotJson(input.name, (error as Error).message);
  }
  if (!Array.isArray(value)) throw new NotJson(input.name, "it is no list");
  const shape: number[] = [];
  for (let at: unknown = value; Array.isArray(at); at = at[0]) shape.push(at.length);
  return [shape, compact(typed)];
}

export class NotJson extends Error {
  constructor(
    readonly input: string,
    why: string,
  ) {
    super(why);
  }
}

const compact = (json: string): string =>
  json
    .replace(PARTS, (part) => (part[0] === '"' ? JSON.stringify(JSON.parse(part)) : part.trim()))
    .replaceAll(",", ", ");

/** An answer of the server, a line for each row. */
export function lines(answer: Json, about: Described): Line[] {
  const outputs: Tensor[] = answer.outputs ?? [];
  const count = Math.max(0, ...outputs.map((output) => output.shape[0] ?? 1));
  const rows = outputs.map((output) => ({ ...output, values: nested(output) }));
  return Array.from({ length: count }, (_, at) => {
    const line: Line = { values: [], probabilities: [] };
    for (const { name, values } of rows) {
      const value = values[at];
      if (shares(value, about.classes)) {
        const found = value.map((share, i) => ({ label: about.classes[i] ?? "", share }));
        line.probabilities = found.sort((a, b) => b.share - a.share).slice(0, 8);
      } else {
        line.values.push({ name, text: short(value) });
      }
    }
    return line;
  });
}

const shares = (value: unknown, classes: string[]): value is number[] =>
  Array.isArray(value) &&
  classes.length > 1 &&
  value.length === classes.length &&
  value.every((share) => typeof share === "number" && share >= 0 && share <= 1);

function short(value: unknown): string {
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(6)));
  const said = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return said.length > CELL ? `${said.slice(0, CELL)}…` : said;
}

/** The problem document of an answer that is none, or what can be said where there is no such document. */
export function problem(status: number, raw: string): Problem {
  let found: Json = {};
  try {
    found = JSON.parse(raw);
  } catch {}
  return {
    title: found?.title ?? `The answer is ${status}`,
    detail: found?.detail || (found?.title ? "" : raw.slice(0, CELL)),
    remedy: found?.remedy ?? "",
    ...(typeof found?.input === "string" && { input: found.input }),
    ...(typeof found?.row === "number" && { row: found.row }),
    ...(typeof found?.rule === "string" && { rule: found.rule }),
    ...(typeof found?.id === "string" && { id: found.id }),
  };
}

/** What is wrong with a field, said at the field: where it is needs no words. */
export const here = (wrong: Problem): string =>
  `${wrong.detail.replace(/ \(row \d+\)| in row \d+/, "")}. ${wrong.remedy}`.trim();
