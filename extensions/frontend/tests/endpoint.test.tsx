import { act, cleanup, render, screen, waitFor, within } from "@testing-library/preact";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { curves, merged, type Point } from "../src/endpoint/live";
import { canary, rebalanced, type View, words } from "../src/endpoint/state";
import { AGAIN, SILENCE } from "../src/look";
import { EndpointPanel } from "../src/panels/endpoint";
import { FakeModel } from "./fake_model";

vi.mock("uplot", () => ({
  default: class {
    setData() {}
    setSize() {}
    destroy() {}
  },
}));

const row = (number: number, percent: number) => ({
  number,
  version: String(number),
  wanted: percent,
  applied: percent,
  replicas: "1/1",
  flavor: "onnx",
  state: "Ready",
  kind: "good" as const,
  tail: [],
});
const VIEW: View = {
  owner: "ada",
  name: "churn",
  url: "http://yard.test/serve/ada/churn",
  state: "Ready",
  kind: "good",
  conditions: [{ what: "Answers calls", holds: true, said: "" }],
  revisions: [row(1, 90), row(2, 10)],
  older: 0,
  traffic: { 1: 90, 2: 10 },
  rollback: 1,
  scaling: [1, 1],
  locked: "",
  problem: null,
  gone: false,
};

class Observer {
  static last: Observer | undefined;
  constructor(private heard: (entries: { isIntersecting: boolean }[]) => void) {
    Observer.last = this;
  }
  observe() {}
  disconnect() {}
  see(isIntersecting: boolean) {
    this.heard([{ isIntersecting }]);
  }
}

afterEach(cleanup);
beforeEach(() => {
  vi.stubGlobal("IntersectionObserver", Observer);
});

function shown(view: Partial<View> = {}) {
  const model = new FakeModel({ view: { ...VIEW, ...view }, live: {} });
  render(<EndpointPanel model={model} />);
  return model;
}

const asked = (model: FakeModel, action: string) => model.sent.filter((message) => message.action === action);
/** The kernel's answer to an action, once it is asked for it `times` times. */
async function reply(model: FakeModel, action: string, value: unknown, times = 1) {
  await waitFor(() => expect(asked(model, action)).toHaveLength(times));
  await act(async () => model.reply(action, { ok: true, value }));
}
const slider = (number: number) =>
  screen.getByRole<HTMLInputElement>("slider", { name: `Calls to revision ${number}, percent` });
const field = (number: number) =>
  screen.getByRole<HTMLInputElement>("spinbutton", { name: `Calls to revision ${number}, percent, as a number` });

test("moving one share keeps the sum at 100 and the proportions of the others", () => {
  expect(rebalanced({ 1: 90, 2: 10 }, "2", 30)).toEqual({ 1: 70, 2: 30 });
  expect(rebalanced({ 1: 60, 2: 30, 3: 10 }, "3", 40)).toEqual({ 1: 40, 2: 20, 3: 40 });
  expect(rebalanced({ 1: 33, 2: 33, 3: 34 }, "3", 33)).toEqual({ 1: 34, 2: 33, 3: 33 });
  expect(rebalanced({ 1: 100, 2: 0, 3: 0 }, "1", 40)).toEqual({ 1: 40, 2: 60, 3: 0 });
  expect(rebalanced({ 1: 100 }, "1", 40)).toEqual({ 1: 100 });
  expect(rebalanced({ 1: 90, 2: 10 }, "2", 900)).toEqual({ 1: 0, 2: 100 });
  expect(canary({ 1: 30, 2: 70 }, "3", 10)).toEqual({ 2: 90, 3: 10 });
  expect(words({ 1: 90, 2: 10 }, { 1: 90, 3: 10 })).toBe(
    "revision 2 gets 0 % of the calls (now 10 %), revision 3 gets 10 % of the calls (now 0 %)",
  );
});

test("a moved slider is a draft until Apply, and Reset forgets it", async () => {
  const user = userEvent.setup();
  const model = shown();
  await user.clear(field(2));
  await user.type(field(2), "30{Tab}");
  expect(slider(1).value).toBe("70");
  expect(screen.getByText(/revision 1 gets 70 % of the calls \(now 90 %\)/)).toBeTruthy();
  expect(asked(model, "split")).toEqual([]);
  await user.click(screen.getByRole("button", { name: "Reset" }));
  expect(slider(1).value).toBe("90");
  await user.clear(field(2));
  await user.type(field(2), "25{Tab}");
  await user.click(screen.getByRole("button", { name: "Apply" }));
  expect(asked(model, "split")[0]?.given).toEqual({ shares: { 1: 75, 2: 25 }, expected: { 1: 90, 2: 10 } });
  act(() => model.answer({ ok: true, value: null }));
  act(() => model.set({ view: { ...VIEW, traffic: { 1: 75, 2: 25 }, revisions: [row(1, 75), row(2, 25)] } }));
  await waitFor(() => expect(screen.queryByRole("button", { name: "Apply" })).toBeNull());
});

test("another person's change is told while a draft is open, and the draft stays", async () => {
  const user = userEvent.setup();
  const model = shown();
  await user.clear(field(2));
  await user.type(field(2), "30{Tab}");
  act(() => model.set({ view: { ...VIEW, traffic: { 1: 50, 2: 50 }, revisions: [row(1, 50), row(2, 50)] } }));
  expect(screen.getByText(/Somebody changed the traffic meanwhile/)).toBeTruthy();
  expect(slider(2).value).toBe("30");
});

test("promoting and rolling back say what they will do before they do it", async () => {
  const user = userEvent.setup();
  const model = shown();
  await user.click(screen.getByRole("button", { name: "Promote revision 2" }));
  expect(screen.getByText(/All calls go to revision 2/)).toBeTruthy();
  expect(asked(model, "split")).toEqual([]);
  await user.click(screen.getByRole("button", { name: "Cancel" }));
  await user.click(screen.getByRole("button", { name: "Roll back" }));
  await user.click(screen.getByRole("button", { name: "Roll back to revision 1" }));
  expect(asked(model, "rollback")).toHaveLength(1);
  const problem = { title: "Conflict", detail: "there is none", remedy: "Look." };
  await act(async () => model.answer({ ok: false, problem }));
  expect(screen.getByRole("alert").textContent).toContain("there is none");
});

test("who may not change it sees why, and no button that does nothing", () => {
  shown({ locked: "ada/churn belongs to ada, and you are bob." });
  expect(screen.getByText(/you are bob/)).toBeTruthy();
  expect(screen.queryByRole("slider")).toBeNull();
  for (const name of ["Promote revision 2", "Roll back", "Apply"]) {
    expect(screen.queryByRole("button", { name })).toBeNull();
  }
  expect(screen.queryByRole("tab", { name: "Settings" })).toBeNull();
});

test("the kernel is told whether anybody looks, and again while somebody does", () => {
  vi.useFakeTimers();
  const model = shown();
  const looks = () => (model.sent as unknown as { told?: string; given: { looking: boolean } }[]).filter((m) => m.told);
  expect(looks()).toEqual([]);
  act(() => Observer.last?.see(true));
  expect(looks().map((m) => m.given.looking)).toEqual([true]);
  act(() => void vi.advanceTimersByTime(1000 * AGAIN + 100));
  expect(looks()).toHaveLength(2);
  act(() => Observer.last?.see(false));
  act(() => void vi.advanceTimersByTime(3000 * AGAIN));
  expect(looks().map((m) => m.given.looking)).toEqual([true, true, false]);
  vi.useRealTimers();
});

test("the form is filled in by row, asked, and the answer shown with its probabilities", async () => {
  const user = userEvent.setup();
  const model = shown();
  await user.click(screen.getByRole("tab", { name: "Try it" }));
  const fields = [
    { name: "age", kind: "number", whole: true, required: true, levels: [] },
    { name: "island", kind: "string", whole: false, required: false, levels: ["north", "south"] },
  ];
  await reply(model, "form", { layout: "table", fields, rows: [{ age: "3", island: "north" }] });
  await user.selectOptions(screen.getByLabelText("Which revision"), "1");
  await reply(model, "form", { layout: "table", fields, rows: [{ age: "4", island: "north" }] }, 2);
  await user.clear(screen.getByLabelText("age"));
  await user.type(screen.getByLabelText("age"), "7");
  await user.selectOptions(screen.getByLabelText("island"), "");
  await user.click(screen.getByRole("button", { name: "Ask" }));
  const lines = [{ label: "yes", probabilities: { no: 0.25, yes: 0.75 } }];
  await reply(model, "predict", { lines, version: "1", ms: 4.2, rows: 1 });
  expect(asked(model, "predict")[0]?.given).toEqual({ filled: [{ age: "7", island: "" }], revision: 1 });
  const table = within(screen.getByRole("table", { name: "Answer" }));
  expect(table.getByText("yes")).toBeTruthy();
  expect(table.getByText(/yes 75.0 %/)).toBeTruthy();
});

test("the form of another revision cannot be typed into, nor come late over the one that is wanted", async () => {
  const user = userEvent.setup();
  const model = shown();
  await user.click(screen.getByRole("tab", { name: "Try it" }));
  const fields = [{ name: "age", kind: "number", whole: true, required: true, levels: [] }];
  const first = asked(model, "form")[0]?.id;
  await user.selectOptions(screen.getByLabelText("Which revision"), "1");
  await reply(model, "form", { layout: "table", fields, rows: [{ age: "4" }] }, 2);
  await user.clear(screen.getByLabelText("age"));
  await act(async () =>
    model.emit("msg:custom", { reply: first, ok: true, value: { layout: "table", fields, rows: [{ age: "3" }] } }),
  );
  expect(screen.getByLabelText<HTMLInputElement>("age").value).toBe("");
  await user.selectOptions(screen.getByLabelText("Which revision"), "");
  expect(screen.queryByLabelText("age")).toBeNull();
});

test("a secret is shown once, and gone when it was taken", async () => {
  const user = userEvent.setup();
  const model = shown();
  await user.click(screen.getByRole("tab", { name: "Call it" }));
  await reply(model, "keys", []);
  expect(screen.getByRole<HTMLButtonElement>("button", { name: "Create key" }).disabled).toBe(true);
  await user.type(screen.getByLabelText("Name of a new key"), "billing{Enter}");
  await reply(model, "create_key", { id: "1", name: "billing", secret: "my_1_s3cret" });
  expect(asked(model, "create_key")[0]?.given).toEqual({ name: "billing" });
  expect(screen.getByText("my_1_s3cret")).toBeTruthy();
  await user.click(screen.getByRole("button", { name: "I have it" }));
  expect(screen.queryByText("my_1_s3cret")).toBeNull();
});

test("deleting needs the name", async () => {
  const user = userEvent.setup();
  const model = shown();
  await user.click(screen.getByRole("tab", { name: "Settings" }));
  await user.click(screen.getByRole("button", { name: "Delete…" }));
  const button = screen.getByRole<HTMLButtonElement>("button", { name: "Delete the endpoint" });
  expect(button.disabled).toBe(true);
  await user.type(screen.getByLabelText("Type churn to delete it"), "churn");
  await user.click(button);
  expect(asked(model, "delete")[0]?.given).toEqual({ name: "churn" });
});

test("a hub that is away leaves the last state, and a kernel that is gone says how to get it back", () => {
  const problem = { title: "Unavailable", detail: "nothing answers", remedy: "" };
  const model = shown({ problem });
  expect(screen.getByText(/as it was last seen/)).toBeTruthy();
  expect(screen.getByRole("table", { name: "Revisions" })).toBeTruthy();
  act(() => model.emit("comm:close"));
  expect(screen.getByText('yard.EndpointPanel("ada/churn")')).toBeTruthy();
});

test("a kernel that looks and says nothing for long is taken for gone, until it speaks again", () => {
  vi.useFakeTimers();
  const model = shown();
  act(() => Observer.last?.see(true));
  act(() => void vi.advanceTimersByTime(1000 * (SILENCE - 1)));
  act(() => model.set({ live: { at: 1, revisions: {} } }));
  act(() => void vi.advanceTimersByTime(1000 * (SILENCE - 1)));
  expect(screen.queryByText(/kernel of this panel is gone/)).toBeNull();
  act(() => void vi.advanceTimersByTime(2000));
  expect(screen.getByText(/kernel of this panel is gone/)).toBeTruthy();
  act(() => model.set({ live: { at: 2, revisions: {} } }));
  expect(screen.queryByText(/kernel of this panel is gone/)).toBeNull();
  vi.useRealTimers();
});

test("an endpoint that was deleted says so", () => {
  shown({ gone: true });
  expect(screen.getByRole("alert").textContent).toContain("is deleted");
  expect(screen.queryByRole("tab")).toBeNull();
});

test("points are kept once and in order, and become curves before now", () => {
  const points: Point[] = merged(
    [
      [700, { 1: [5, 0, 1, 2, 0, 9] }],
      [100, { 1: [9, 0, 1, 2, 0, 9] }],
    ],
    [
      [702, { 1: [6, 0, null, 2, 0, 9], 2: [1, 0, 3, 4, 0, 9] }],
      [700, { 1: [5, 0, 1, 2, 0, 9] }],
    ],
  );
  expect(points.map(([at]) => at)).toEqual([700, 702]);
  const [first, second] = curves(points, 0, (revision) => `revision ${revision}`);
  expect([first?.name, [...(first?.x ?? [])], [...(first?.y ?? [])]]).toEqual(["revision 1", [-2, 0], [5, 6]]);
  expect([...(second?.x ?? [])]).toEqual([0]);
  expect([...(curves(points, 2, String)[0]?.y ?? [])]).toEqual([1, Number.NaN]);
});
