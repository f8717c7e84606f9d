import { act, cleanup, fireEvent, render, screen, waitFor, within } from "@testing-library/preact";
import { options } from "preact";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Form, type FormState } from "../src/form";
import { useGone } from "../src/model";
import { Report } from "../src/reports";
import { grouped, useRun, type View } from "../src/run";
import { RunView } from "../src/run_view";
import { askServer, NoServer } from "../src/server";
import { FakeModel } from "./fake_model";

vi.mock("uplot", () => ({
  default: class {
    setData() {}
    setSize() {}
    destroy() {}
  },
}));

const VIEW: View = {
  id: "churn-1",
  name: "churn",
  model: "Ridge",
  state: "running",
  stopping: false,
  fraction: 0.5,
  kind: "iterations",
  source: "",
  step: "Fitting",
  unit: "epoch",
  done: 5,
  of: 10,
  at: 100,
  told: 100,
  elapsed: 60,
  remaining: 60,
  metrics: {},
  actions: ["stop", "pause", "kill"],
  kept: false,
  curves: { names: [], lengths: [], of: 0 },
};

function Panel({ model, gone = false }: { model: FakeModel; gone?: boolean }) {
  const run = useRun(model, gone);
  return run && <RunView run={run} />;
}

/** A page of Jupyter's; `answer` plays the server. */
function serve(answer: (url: string, init: RequestInit) => { status: number; body?: unknown }) {
  document.body.insertAdjacentHTML(
    "beforeend",
    `<script id="jupyter-config-data" type="application/json">{"baseUrl": "/user/ada/"}</script>`,
  );
  // biome-ignore lint/suspicious/noDocumentCookie: it is what the panel reads
  document.cookie = "_xsrf=a-token";
  const asked: { url: string; init: RequestInit }[] = [];
  vi.stubGlobal("fetch", async (url: URL, init: RequestInit) => {
    asked.push({ url: url.pathname, init });
    const { status, body } = answer(url.pathname, init);
    return new Response(body === undefined ? "<html>" : JSON.stringify(body), { status });
  });
  return asked;
}

beforeEach(() => {
  // Effects at once: a frame may come when the test's page is gone.
  (options as { requestAnimationFrame?: (callback: () => void) => void }).requestAnimationFrame = queueMicrotask;
  vi.stubGlobal("ResizeObserver", class { observe() {} disconnect() {} }); // biome-ignore format: short
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  document.getElementById("jupyter-config-data")?.remove();
});

test("a stop goes to the notebook server, with Jupyter's cross-site token, and shows what it answers", async () => {
  const model = new FakeModel({ view: VIEW, curves: null });
  const asked = serve(() => ({ status: 200, body: { view: { ...VIEW, at: 101, stopping: true, actions: ["kill"] }, curves: "" } })); // biome-ignore format: one line
  render(<Panel model={model} />);
  fireEvent.click(screen.getByRole("button", { name: "Stop" }));
  expect(screen.getByRole("button", { name: "Stop" })).toHaveProperty("disabled", true); // at once
  await waitFor(() => expect(asked.some(({ url }) => url === "/user/ada/modelyard/runs/churn-1/stop")).toBe(true));
  const { init } = asked.find(({ url }) => url.endsWith("/stop")) as (typeof asked)[number];
  expect(init.method).toBe("POST");
  expect((init.headers as Record<string, string>)["X-XSRFToken"]).toBe("a-token");
  expect(model.sent).toEqual([]);
});

test("where there is no such server the kernel is asked, and said to be busy when it does not answer", async () => {
  vi.useFakeTimers();
  const model = new FakeModel({ view: VIEW, curves: null });
  render(<Panel model={model} />);
  fireEvent.click(screen.getByRole("button", { name: "Pause" }));
  await act(async () => void (await vi.advanceTimersByTimeAsync(10)));
  expect(model.sent.map((message) => message.action)).toContain("pause");
  await act(async () => void (await vi.advanceTimersByTimeAsync(3200)));
  expect(screen.getByText(/kernel is busy/)).toBeTruthy();
});

test("a kill is asked twice", () => {
  const model = new FakeModel({ view: VIEW, curves: null });
  render(<Panel model={model} />);
  fireEvent.click(screen.getByRole("button", { name: "Kill…" }));
  expect(model.sent).toEqual([]);
  fireEvent.click(screen.getByRole("button", { name: "Let it run" }));
  expect(screen.getByRole("button", { name: "Stop" })).toBeTruthy();
});

test("without its kernel the panel goes on from the server, and only forwards", async () => {
  vi.useFakeTimers();
  const model = new FakeModel({ view: VIEW, curves: null });
  let at = 100;
  serve((url) => {
    if (url.endsWith("log")) return { status: 200, body: "" };
    at += 1;
    return { status: 200, body: { view: { ...VIEW, at, done: at - 95 }, curves: "" } };
  });
  render(<Panel model={model} gone />);
  await act(async () => void (await vi.advanceTimersByTimeAsync(1500)));
  expect(screen.getByText(/kernel restarted or ended; the run goes on/)).toBeTruthy();
  expect(screen.getByText("7 of 10")).toBeTruthy();
  act(() => model.set({ view: { ...VIEW, at: 99, done: 1 } })); // late news
  expect(screen.queryByText("1 of 10")).toBeNull();
});

test("a kernel that has fallen silent while the run tells more is said to have", async () => {
  vi.useFakeTimers();
  const model = new FakeModel({ view: VIEW, curves: null });
  serve(() => ({ status: 200, body: { view: { ...VIEW, at: 120, told: 120, done: 8 }, curves: "" } }));
  render(<Panel model={model} />);
  await act(async () => void (await vi.advanceTimersByTimeAsync(3000)));
  expect(screen.queryByText("8 of 10")).toBeNull(); // not asked yet
  await act(async () => void (await vi.advanceTimersByTimeAsync(3000)));
  expect(screen.getByText("8 of 10")).toBeTruthy();
  expect(screen.getByText(/kernel says nothing/)).toBeTruthy();
  act(() => model.set({ view: { ...VIEW, at: 121, told: 121, done: 9 } }));
  expect(screen.queryByText(/kernel says nothing/)).toBeNull();
});

test.each([
  [403, undefined, "Sign-in expired"],
  [502, undefined, "Notebook server away"],
  [404, { title: "Not found", detail: "no run", remedy: "r" }, "Not found"],
])("an answer of %i is a problem in words", async (status, body, title) => {
  serve(() => ({ status, body }));
  await expect(askServer("churn-1")).rejects.toMatchObject({ title });
});

test("a server without the extension is none", async () => {
  serve(() => ({ status: 404 }));
  await expect(askServer("churn-1")).rejects.toBeInstanceOf(NoServer);
});

test("results come in tabs; a report is fetched when its tab is opened", async () => {
  const done: View = { ...VIEW, state: "succeeded", metrics: { accuracy: 0.9 }, reports: ["confusion"], actions: [] };
  const asked = serve((url) => ({ status: 200, body: url.endsWith("confusion") ? { labels: ["no", "yes"], counts: [[3, 1], [0, 4]] } : "" })); // biome-ignore format: one line
  render(<Panel model={new FakeModel({ view: done, curves: null })} />);
  expect(screen.getByText("0.9")).toBeTruthy();
  expect(asked.some(({ url }) => url.includes("report-"))).toBe(false);
  fireEvent.click(screen.getByRole("tab", { name: "Confusion" }));
  const table = await screen.findByRole("table");
  expect(within(table).getByTitle("no taken for yes: 1 (25 %)").textContent).toBe("1");
  expect(screen.queryByRole("button", { name: "Stop" })).toBeNull();
});

test("a run that ended before its time goes on from its checkpoint, by the kernel", async () => {
  const model = new FakeModel({ view: { ...VIEW, state: "stopped", resumable: true, checkpoint: 4, actions: [] } });
  const asked = serve(() => ({ status: 200, body: "" }));
  render(<Panel model={model} />);
  fireEvent.click(screen.getByRole("button", { name: "Go on from the checkpoint" }));
  await waitFor(() => expect(model.sent.map((message) => message.action)).toContain("resume"));
  expect(asked.every(({ init }) => init.method === "GET")).toBe(true);
  act(() => model.set({ view: { ...VIEW, at: 101 } }));
  expect(screen.getByRole("progressbar")).toBeTruthy();
});

test("a link to anywhere but the web is not drawn", () => {
  const done: View = { ...VIEW, state: "succeeded", mlflow: "javascript:alert(1)" };
  render(<Panel model={new FakeModel({ view: done, curves: null })} />);
  expect(screen.queryByRole("link")).toBeNull();
});

test("every report is drawn, an unknown one as a table", () => {
  const reports: Record<string, unknown> = {
    roc: { classes: [{ label: "yes", auc: 0.9, fpr: [0, 1], tpr: [0, 1] }] },
    pr: { classes: [{ label: "yes", average_precision: 0.9, recall: [0, 1], precision: [1, 0] }] },
    calibration: { label: "yes", brier: 0.1, predicted: [0.1], observed: [0.2], rows: [5] },
    residuals: { true: [1, 2], predicted: [1, null], edges: [0, 1], counts: [2] },
    importance: { score: "r2", columns: ["a"], mean: [0.1], std: [0.01], rows: 10 },
    learning_curve: { score: "r2", rows: [1, 2], train: [1, 1], validation: [0, 1] },
    history: { metric: "r2", number: [1, 2], value: [0.1, null], best: [0.1, 0.1] },
    parallel: { metric: "r2", maximize: true, axes: [{ name: "c", choices: ["x", "y"] }], number: [1, 2], value: [0, 1], lines: [[0], [1]] }, // biome-ignore format: one line
    search_importance: { names: ["c"], values: [1] },
    something_new: { a: [1, 2], b: ["x", "y"] },
  };
  for (const [name, value] of Object.entries(reports)) {
    const { container } = render(<Report name={name} value={value} />);
    expect(container.textContent?.length, name).toBeGreaterThan(3);
    cleanup();
  }
});

test("curves of one measure share a chart", () => {
  const curve = (name: string) => ({ name, x: new Float32Array(), y: new Float32Array() });
  const groups = grouped(["train_loss", "val_loss", "val_accuracy", "lr"].map(curve));
  expect(groups.map((g) => [g.title, g.curves.length])).toEqual([
    ["loss", 2],
    ["accuracy", 1],
    ["lr", 1],
  ]);
});

const FORM: FormState = {
  values: { data: "df", target: "y", task: "", left_out: [], estimator: "ridge", parameters: { alpha: 1 }, name: "", test_size: 0.2, seed: 0, cv: 0, balanced: false, learning_curve: false }, // biome-ignore format: one line
  task: "regression",
  problems: {},
  code: "run = yard.train()",
  by: "",
  version: 0,
};
const CATALOG = {
  frames: [{ name: "df", rows: 10, columns: 2 }],
  columns: [{ name: "x", kind: "number", missing: false }, { name: "y", kind: "number", missing: false }],
  estimators: [{ key: "ridge", label: "Ridge" }],
  fields: [{ name: "alpha", kind: "number" as const, default: 1, low: 0, main: true }],
}; // biome-ignore format: short

test("what is typed stays while the kernel answers; another tab's choices are taken over", async () => {
  const model = new FakeModel({ form: FORM, catalog: CATALOG });
  render(<Form model={model} gone={false} onStarted={() => {}} />);
  const alpha = screen.getByLabelText("alpha") as HTMLInputElement;
  fireEvent.input(alpha, { target: { value: "-5" } });
  await waitFor(() => expect(model.sent[0]?.action).toBe("edit"));
  const { by, values } = (model.sent[0] as FakeModel["sent"][number]).given as {
    by: string;
    values: FormState["values"];
  };
  expect(values.parameters.alpha).toBe("-5");
  act(() => model.set({ form: { ...FORM, by, problems: { "parameters.alpha": "from 0 on" } } }));
  expect(alpha.value).toBe("-5");
  expect(alpha.getAttribute("aria-invalid")).toBe("true");
  expect(screen.getByText("from 0 on")).toBeTruthy();
  expect(screen.getByRole("button", { name: "Train" })).toHaveProperty("disabled", true);
  act(() => model.set({ form: { ...FORM, by: "another tab", values: { ...FORM.values, parameters: { alpha: 3 } } } }));
  expect(alpha.value).toBe("3");
});

test("a comm that is not live any more says that the kernel is gone, until it speaks again", () => {
  const model = new FakeModel({});
  function Look() {
    return <p>{useGone(model) ? "gone" : "there"}</p>;
  }
  render(<Look />);
  expect(screen.getByText("there")).toBeTruthy();
  act(() => model.emit("comm_live_update"));
  expect(screen.getByText("gone")).toBeTruthy();
  act(() => model.set({ view: {} }));
  expect(screen.getByText("there")).toBeTruthy();
});
