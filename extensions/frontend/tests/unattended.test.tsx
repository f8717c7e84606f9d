import { act, cleanup, render, screen, waitFor, within } from "@testing-library/preact";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, test, vi } from "vitest";
import type { Row } from "../src/batch/run";
import { fraction } from "../src/batch/runs";
import { RunsPanel } from "../src/panels/unattended";
import { FakeModel } from "./fake_model";

vi.mock("../src/chart", () => ({ Chart: () => null })); // it needs a canvas
afterEach(cleanup);

const ROW: Row = {
  id: "a1",
  name: "train",
  owner: "ada",
  state: "running",
  live: true,
  said: "",
  cell: 3,
  cells: 7,
  output: "epoch 2 of 9",
  elapsed: 70,
  expected: 300,
  created: 1_750_000_000,
  group: "",
  member: "",
};
const DONE: Row = { ...ROW, id: "b2", name: "score", state: "succeeded", live: false, cell: 7, output: "done" };
const FAILED: Row = { ...DONE, id: "c3", name: "broken", state: "failed", said: "Cell 2 failed: ValueError" };

const PAGE = { tab: "runs", more: false, page: 0, only: "", group: "", problem: null };

function shown(view: object = {}) {
  const model = new FakeModel({ view: { ...PAGE, rows: [ROW, DONE, FAILED], ...view } });
  render(<RunsPanel model={model} />);
  return model;
}
const row = (name: string) => screen.getByRole("row", { name: new RegExp(name) });
const asked = (model: FakeModel, action: string) => model.sent.filter((message) => message.action === action);
async function reply(model: FakeModel, action: string, content: object, times = 1) {
  await waitFor(() => expect(asked(model, action)).toHaveLength(times));
  await act(async () => model.reply(action, content));
}

test("how far it is, by time where earlier runs tell it", () => {
  shown();
  expect(row("train").textContent).toContain("cell 3 of 7 · 1:10 min of about 5:00 min");
  expect(row("train").textContent).toContain("epoch 2 of 9");
  expect(within(row("train")).getByRole("progressbar").getAttribute("value")).toBe("23");
  expect(within(row("score")).queryByRole("progressbar")).toBeNull();
  expect(row("score").textContent).not.toContain("about");
  expect(fraction({ ...ROW, expected: null })).toBeCloseTo(2 / 7);
  expect(fraction({ ...ROW, elapsed: 900 })).toBe(0.98);
});

test("how far a scoring is, by its rows", () => {
  const output = "25 of 100 rows, 1 of 8 shards done, 5 a second, about 15 s left";
  shown({ rows: [{ ...ROW, cell: 0, cells: 0, share: 0.25, expected: null, output }] });
  expect(row("train").textContent).toContain(output);
  expect(row("train").textContent).not.toContain("cell");
  expect(within(row("train")).getByRole("progressbar").getAttribute("value")).toBe("25");
  cleanup();
  shown({ rows: [{ ...ROW, cell: 0, cells: 0, share: null, output: "5 rows, 2 a second" }] });
  expect(row("train").textContent).toContain("5 rows, 2 a second");
  expect(within(row("train")).queryByRole("progressbar")).toBeNull();
});

test("a run is cancelled once that is confirmed", async () => {
  const model = shown();
  await userEvent.click(within(row("train")).getByRole("button", { name: "Cancel…" }));
  expect(asked(model, "cancel")).toHaveLength(0);
  await userEvent.click(screen.getByRole("button", { name: "Let it run" }));
  await userEvent.click(within(row("train")).getByRole("button", { name: "Cancel…" }));
  await userEvent.click(screen.getByRole("button", { name: "Cancel the run" }));
  expect(asked(model, "cancel")[0]?.given).toEqual({ id: "a1" });
  await reply(model, "cancel", { ok: false, problem: { title: "Forbidden", detail: "it is bob's", remedy: "" } });
  expect(screen.getByRole("alert").textContent).toContain("it is bob's");
  expect(within(row("score")).queryByRole("button", { name: "Cancel…" })).toBeNull();
});

test("the output notebook is shown in a frame that may do nothing, and again when the run got further", async () => {
  const model = shown();
  await userEvent.click(within(row("train")).getByRole("button", { name: "Open" }));
  await reply(model, "notebook", { ok: true, value: "<html><head></head><body>one</body></html>" });
  const frame = screen.getByTitle("Output notebook of train") as HTMLIFrameElement;
  expect(frame.getAttribute("sandbox")).toBe("");
  expect(frame.getAttribute("srcdoc")).toContain("<head><meta http-equiv");
  await act(async () => model.set({ view: { ...PAGE, rows: [{ ...ROW, cell: 4 }] } }));
  await reply(model, "notebook", { ok: true, value: "two" }, 2);
  expect(frame.getAttribute("srcdoc")).toContain("two");
  await act(async () => model.set({ view: { ...PAGE, rows: [{ ...ROW, cell: 4, elapsed: 80 }] } }));
  await act(async () => model.set({ view: { ...PAGE, rows: [{ ...ROW, cell: 4, output: "more" }] } }));
  expect(asked(model, "notebook")).toHaveLength(2);
  await userEvent.click(screen.getByRole("button", { name: "Read again" }));
  await reply(model, "notebook", { ok: true, value: "three" }, 3);
  expect(frame.getAttribute("srcdoc")).toContain("three");
});

test("a failure comes first, with the cell and the traceback", async () => {
  const model = shown();
  await userEvent.click(within(row("broken")).getByRole("button", { name: "Open" }));
  const failure = { cell: 2, source: "fit(X)", error: "ValueError: no rows", traceback: "Traceback …" };
  await reply(model, "details", {
    ok: true,
    value: { facts: [], parameters: [], results: [], failure, tail: "killed" },
  });
  expect(screen.getByLabelText("The end of its log").textContent).toContain("killed");
  expect(screen.getByText("Cell 2 failed: ValueError: no rows")).toBeTruthy();
  expect(screen.getByLabelText("Traceback").textContent).toContain("Traceback …");
});

test("log, parameters and results", async () => {
  const model = shown();
  await userEvent.click(within(row("score")).getByRole("button", { name: "Open" }));
  await userEvent.click(screen.getByRole("tab", { name: "Log" }));
  await reply(model, "logs", { ok: true, value: "line 1\nline 2" });
  expect(screen.getByLabelText("Log of score").textContent).toContain("line 2");
  await userEvent.click(screen.getByRole("tab", { name: "About" }));
  const value = {
    facts: [["Run", "b2"]],
    parameters: [["depth", "3"]],
    results: [["auc", "0.93"]],
    failure: null,
    tail: "",
  };
  await reply(model, "details", { ok: true, value });
  expect(screen.getByRole("table", { name: "Results" }).textContent).toContain("0.93");
  await userEvent.click(screen.getByRole("button", { name: "Delete…" }));
  expect(asked(model, "remove")).toHaveLength(0);
  await userEvent.click(screen.getByRole("button", { name: "Delete the run" }));
  expect(asked(model, "remove")[0]?.given).toEqual({ id: "b2" });
  await reply(model, "remove", { ok: true, value: null });
  expect(screen.getByText("It is deleted.")).toBeTruthy();
});

test("a kernel in which nothing changes is not taken for gone, one that says nothing is", async () => {
  vi.useFakeTimers();
  const model = shown();
  for (let i = 0; i < 9; i += 1)
    await act(async () => {
      vi.advanceTimersByTime(10_000);
      model.emit("msg:custom", { beat: true });
    });
  expect(screen.queryByText("The kernel of this panel is gone")).toBeNull();
  await act(async () => {
    vi.advanceTimersByTime(31_000);
  });
  expect(screen.getByText("The kernel of this panel is gone")).toBeTruthy();
  vi.useRealTimers();
});

test("pages, and nothing yet", async () => {
  const model = shown({ more: true });
  await userEvent.click(screen.getByRole("button", { name: "Older" }));
  expect(asked(model, "older")).toHaveLength(1);
  cleanup();
  shown({ rows: [] });
  expect(screen.getByText(/No runs yet/)).toBeTruthy();
});
