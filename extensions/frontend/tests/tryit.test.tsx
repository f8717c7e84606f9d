import { cleanup, render, screen } from "@testing-library/preact";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, test, vi } from "vitest";
import { body, type Described, described, filled, here, lines, NotJson, problem } from "../src/tryit/ask";
import { Page } from "../src/tryit/page";
import { curl, python } from "../src/tryit/snippets";

const input = (name: string, kind: string, datatype: string, required = true) => ({
  name,
  datatype,
  shape: [-1, 1],
  parameters: { kind, dtype: "", required },
});
const METADATA = {
  name: "churn",
  versions: ["3"],
  inputs: [
    input("age", "number", "INT64"),
    input("weight", "number", "FP64", false),
    input("island", "string", "BYTES"),
    input("tagged", "boolean", "BOOL", false),
  ],
  outputs: [],
  parameters: { layout: "table", task: "classification", classes: ["no", "yes"] },
};
const OPENAPI = {
  info: { title: "churn", version: "3" },
  paths: {
    "/v2/models/churn/infer": {
      post: {
        requestBody: {
          content: {
            "application/json": {
              example: {
                inputs: [
                  { name: "age", shape: [2], datatype: "INT64", data: [3, 4] },
                  { name: "weight", shape: [2], datatype: "FP64", data: [1.5, null] },
                  { name: "island", shape: [2], datatype: "BYTES", data: ["north", 'so"uth'] },
                  { name: "tagged", shape: [2], datatype: "BOOL", data: [true, false] },
                ],
              },
            },
          },
        },
      },
    },
  },
};
const ABOUT: Described = described(METADATA);
const TENSOR: Described = { ...ABOUT, layout: "tensor", inputs: ABOUT.inputs.slice(1, 2), classes: [] };

const first = (rows: string[][]) => JSON.parse(body(ABOUT, { layout: "table", rows })).inputs;

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

test("the form holds the example, and sends it as it was", () => {
  const typed = filled(ABOUT, OPENAPI);
  expect(typed).toEqual({
    layout: "table",
    rows: [
      ["3", "1.5", "north", "true"],
      ["4", "", 'so"uth', "false"],
    ],
  });
  expect(JSON.parse(body(ABOUT, typed))).toEqual(
    OPENAPI.paths["/v2/models/churn/infer"].post.requestBody.content["application/json"].example,
  );
});

test("a model without an example has one empty row", () => {
  expect(filled(ABOUT, {})).toEqual({ layout: "table", rows: [["", "", "", ""]] });
  expect(filled(TENSOR, {})).toEqual({ layout: "tensor", texts: ["[]"] });
});

test("numbers go digit for digit, and what is none goes as text", () => {
  const raw = body(ABOUT, { layout: "table", rows: [["12345678901234567890", "1.10", "7", ""]] });
  expect(raw).toContain("12345678901234567890");
  expect(raw).toContain("1.10");
  const [age, weight, island, tagged] = first([["young", " .5 ", "7", "maybe"]]);
  expect([age.data, weight.data, island.data, tagged.data]).toEqual([["young"], [0.5], ["7"], ["maybe"]]);
  expect(first([["", "", "", ""]]).map((tensor: { data: unknown[] }) => tensor.data[0])).toEqual([
    null,
    null,
    "",
    null,
  ]);
});

test("a tensor keeps its digits and tells its shape; what is no JSON names its input", () => {
  const raw = body(TENSOR, { layout: "tensor", texts: ["[[1.10, 2],\n [3, 12345678901234567890]]"] });
  expect(raw).toContain('"shape": [2, 2]');
  expect(raw).toContain("[[1.10, 2], [3, 12345678901234567890]]");
  for (const text of ["[[1,", "7", ""]) {
    expect(() => body(TENSOR, { layout: "tensor", texts: [text] })).toThrow(NotJson);
  }
});

test("an answer is a line for each row, probabilities highest first", () => {
  const answer = {
    outputs: [
      { name: "label", shape: [2], datatype: "BYTES", data: ["no", "yes"] },
      { name: "probabilities", shape: [2, 2], datatype: "FP64", data: [0.75, 0.25, 0.1, 0.9] },
      { name: "score", shape: [2, 3], datatype: "FP64", data: [1, 2, 3, 4, 5, 6] },
    ],
  };
  const [one, two] = lines(answer, ABOUT);
  expect(one?.values).toEqual([
    { name: "label", text: "no" },
    { name: "score", text: "[1,2,3]" },
  ]);
  expect(two?.probabilities).toEqual([
    { label: "yes", share: 0.9 },
    { label: "no", share: 0.1 },
  ]);
});

test("what is no problem document is told as it is", () => {
  expect(problem(503, "no available server\n").detail).toContain("no available server");
  const wrong = problem(422, JSON.stringify({ title: "T", detail: "'a' holds 1 (row 3)", remedy: "Send b.", row: 3 }));
  expect(wrong.row).toBe(3);
  expect(here(wrong)).toBe("'a' holds 1. Send b.");
});

test("lines to copy quote what they hold, and never the key", () => {
  const asked = `{"inputs": [\n  {"name": "it's", "data": [null, true, "null true"]}\n]}`;
  const line = curl("http://x/infer", "my-churn", asked, true);
  expect(line).toContain(`it'\\''s`);
  expect(line).toContain('"Authorization: Bearer $MY_CHURN_KEY"');
  const program = python("http://x/infer", "my-churn", asked, true);
  expect(program).toContain(`[None, True, "null true"]`);
  expect(program).toContain("os.environ['MY_CHURN_KEY']");
  expect(curl("http://x", "churn", "{}", false) + python("http://x", "churn", "{}", false)).not.toContain("KEY");
});

test("an endpoint that cannot be reached is tried again", async () => {
  const answers = [
    () => Promise.reject(new TypeError("network")),
    () => Promise.resolve(new Response("no available server", { status: 503 })),
    () => Promise.resolve(Response.json(OPENAPI)),
    () => Promise.resolve(Response.json(METADATA)),
  ];
  const asked: RequestInit[] = [];
  vi.stubGlobal("fetch", (_: string, init: RequestInit) => {
    asked.push(init);
    return answers.shift()?.();
  });
  const user = userEvent.setup();
  render(<Page />);
  expect((await screen.findByRole("alert")).textContent).toContain("could not be reached");
  await user.click(screen.getByRole("button", { name: "Try again" }));
  expect((await screen.findByText("no available server")).isConnected).toBe(true);
  await user.click(screen.getByRole("button", { name: "Try again" }));
  expect((await screen.findByLabelText("age, row 2")).isConnected).toBe(true);
  expect(screen.queryByRole("alert")).toBeNull();
  expect(asked.every((init) => init.credentials === "omit")).toBe(true);
});

test("what a model says is text, wherever it stands", async () => {
  const bad = "<img src=x onerror=alert(1)><script>alert(2)</script>";
  const name = (key: string) => `${bad}${key}`;
  const inputs = [{ ...input(name("input"), "string", "BYTES"), parameters: { kind: "string", categories: [bad] } }];
  const about = {
    ...METADATA,
    name: name("model"),
    versions: [name("version")],
    inputs,
    parameters: { layout: "table", classes: [name("no"), name("yes")] },
  };
  const answers = [
    () => Response.json({ info: { title: name("model") }, paths: {} }),
    () => Response.json(about),
    () => Response.json({ title: bad, detail: name("detail"), remedy: bad, id: bad }, { status: 500 }),
    () =>
      Response.json({
        model_version: bad,
        outputs: [
          { name: name("output"), shape: [1], datatype: "BYTES", data: [name("value")] },
          { name: "shares", shape: [1, 2], datatype: "FP64", data: [0.9, 0.1] },
        ],
      }),
  ];
  vi.stubGlobal("fetch", () => Promise.resolve(answers.shift()?.()));
  const user = userEvent.setup();
  const { container } = render(<Page />);
  const ask = await screen.findByRole("button", { name: "Ask" });
  await user.click(ask);
  expect((await screen.findByRole("alert")).textContent).toContain(name("detail"));
  await user.click(ask);
  expect((await screen.findByRole("table", { name: "Answer" })).textContent).toContain(name("value"));
  expect(container.textContent).toContain(name("yes"));
  expect(container.querySelector("img, script")).toBeNull();
});

test("who has no key is told how one is made, in words that work", async () => {
  vi.stubGlobal("location", new URL("http://hub.example/serve/ada/churn/"));
  vi.stubGlobal("fetch", () => Promise.resolve(Response.json({ title: "No" }, { status: 401 })));
  render(<Page />);
  const lines = await screen.findByLabelText("Lines for a notebook");
  expect(lines.textContent).toMatch(
    /^import modelyard as yard\nprint\(yard.endpoint\("ada\/churn"\).create_key\("try-it-\d{8}", expires_in=86400\).secret\)$/,
  );
  expect(screen.getByRole("link").getAttribute("href")).toBe("/services/modelyard/#ada--churn");
});
