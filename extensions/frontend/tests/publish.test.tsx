import { act, cleanup, render, screen, waitFor } from "@testing-library/preact";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, test, vi } from "vitest";
import { PublishPanel, type View } from "../src/panels/publish";
import { FakeModel } from "./fake_model";

const VIEW: View = {
  models: [{ value: "model", label: "model: Pipeline" }],
  examples: [{ value: "X", label: "X: data frame, 8 × 3" }],
  owners: ["ada", "team"],
  naming: { ok: true, exists: false, says: "New: ada/churn gets all calls as soon as it answers." },
  away: null,
  code: 'endpoint = yard.publish(model, "churn", example=X[:5])',
  running: false,
  state: "",
  kind: "dim",
  steps: [],
  result: null,
  failure: null,
};
const TABLE = {
  columns: [{ name: "age", kind: "number (int64)", shape: "", required: true, levels: "", values: ["3", "1"] }],
  more: 0,
  problem: "",
};

afterEach(cleanup);

function shown(view: Partial<View> = {}) {
  const values = { model: "model", example: "X", name: "churn", owner: "", traffic: "" };
  const model = new FakeModel({ view: { ...VIEW, ...view }, table: TABLE, form: { by: "", values }, below: "" });
  render(<PublishPanel model={model} />);
  return model;
}

const asked = (model: FakeModel, action: string) => model.sent.filter((message) => message.action === action);

test("what is typed is told once it rests, and what another view types is taken over", async () => {
  vi.useFakeTimers({ shouldAdvanceTime: true });
  const user = userEvent.setup({ advanceTimers: vi.advanceTimersByTime });
  const model = shown();
  await user.type(screen.getByLabelText("Name of the endpoint"), "-eu");
  act(() => void vi.advanceTimersByTime(1000));
  const told = asked(model, "fill");
  const last = told[told.length - 1]?.given as { by: string; values: Record<string, string> };
  expect(last.values.name).toBe("churn-eu");
  const name = screen.getByLabelText<HTMLInputElement>("Name of the endpoint");
  act(() => model.set({ form: { by: last.by, values: { name: "churn-e" } } })); // our own, on its way back
  expect(name.value).toBe("churn-eu");
  act(() => model.set({ form: { by: "another view", values: { name: "whales" } } }));
  expect(name.value).toBe("whales");
  vi.useRealTimers();
});

test("Publish first tells what was typed", async () => {
  const user = userEvent.setup();
  const model = shown();
  await user.type(screen.getByLabelText("Description"), "of 2026");
  await user.click(screen.getByRole("button", { name: "Publish" }));
  expect(model.sent.map((message) => message.action)).toEqual(["fill"]);
  await act(async () => model.answer({ ok: true, value: null }));
  await waitFor(() => expect(asked(model, "publish")).toHaveLength(1));
});

test("a name that cannot be is said at the field, and nothing can be published", () => {
  shown({ naming: { ok: false, exists: false, says: "Use 1 to 63 characters" } });
  expect(screen.getByLabelText("Name of the endpoint").getAttribute("aria-invalid")).toBe("true");
  expect(screen.getByRole<HTMLButtonElement>("button", { name: "Publish" }).disabled).toBe(true);
});

test("a hub that is away is told as such, not as a wrong name; the way on is to look again", () => {
  const away = { title: "Unavailable", detail: "It does not answer.", remedy: "Wait a moment." };
  shown({ naming: { ok: false, exists: false, says: "Unavailable" }, away });
  expect(screen.getByRole("alert").textContent).toContain("It does not answer.");
  expect(screen.getByLabelText("Name of the endpoint").getAttribute("aria-invalid")).not.toBe("true");
  expect(screen.getByRole<HTMLButtonElement>("button", { name: "Publish" }).disabled).toBe(true);
  expect(screen.getByRole<HTMLButtonElement>("button", { name: "Look at the notebook again" }).disabled).toBe(false);
});

test("a further version may get calls", () => {
  shown();
  expect(screen.queryByLabelText("Calls that go to it, percent")).toBeNull();
  shown({ naming: { ok: true, exists: true, says: "A further version" } });
  expect(screen.getByLabelText("Calls that go to it, percent")).toBeTruthy();
});

test("the steps are told as they come, with what failed and why", async () => {
  const user = userEvent.setup();
  const steps: View["steps"] = [
    { title: "Package", state: "done", seconds: 1.2, lines: ["convert: not onnx: no converter"] },
    { title: "Upload", state: "busy", seconds: 0.4, lines: ["to MLflow"] },
    { title: "Register", state: "waiting", seconds: null, lines: [] },
  ];
  const model = shown({ running: true, state: "Publishing", kind: "busy", steps });
  expect(screen.getByText("Upload: under way")).toBeTruthy();
  expect(screen.getByText("convert: not onnx: no converter")).toBeTruthy();
  await user.click(screen.getByRole("button", { name: "Cancel" }));
  expect(asked(model, "cancel")).toHaveLength(1);
  const failure = { title: "Publish failed", detail: "it does not start", remedy: "Read", tail: ["ValueError: boom"] };
  act(() => model.set({ view: { ...VIEW, state: "Failed", kind: "bad", steps, failure } }));
  expect(screen.getByRole("alert").textContent).toContain("it does not start");
  expect(screen.getByText("ValueError: boom")).toBeTruthy();
});

test("the endpoint's panel is opened below, or named where panels cannot be nested", async () => {
  const user = userEvent.setup();
  const result = { owner: "ada", name: "churn", url: "http://yard.test/serve/ada/churn" };
  shown({ state: "Ready", kind: "good", result });
  expect(screen.getByText('yard.EndpointPanel("ada/churn")')).toBeTruthy();
  cleanup();
  const model = new FakeModel({ view: { ...VIEW, result }, table: TABLE, form: { by: "", values: {} }, below: "" });
  const drawn = vi.fn(async ({ el }: { el: HTMLElement }) => {
    el.textContent = "the endpoint's panel";
  });
  const getWidget = vi.fn(async (_ref: string) => ({ render: drawn }));
  render(<PublishPanel model={model} host={{ getWidget }} />);
  await user.click(screen.getByRole("button", { name: "Open ada/churn" }));
  expect(asked(model, "open")).toHaveLength(1);
  await act(async () => model.set({ below: "anywidget:1" }));
  expect(getWidget).toHaveBeenCalledWith("anywidget:1");
  expect(screen.getByText("the endpoint's panel")).toBeTruthy();
});

test("the signature is a table, and the code is the call", async () => {
  const user = userEvent.setup();
  shown();
  await user.click(screen.getByRole("tab", { name: "Signature" }));
  expect(screen.getByRole("table", { name: "Signature" }).textContent).toContain("number (int64)");
  await user.click(screen.getByRole("tab", { name: "Show code" }));
  expect(screen.getByText(VIEW.code)).toBeTruthy();
});
