import { act, cleanup, render, screen, waitFor, within } from "@testing-library/preact";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { placed } from "../src/batch/graph";
import type { Group, Member } from "../src/batch/groups";
import { bars, curves } from "../src/batch/sweep";
import { RunsPanel } from "../src/panels/unattended";
import { FakeModel } from "./fake_model";

vi.mock("../src/chart", () => ({
  Chart: ({ title, curves }: { title: string; curves: { name: string }[] }) => (
    <figure aria-label={title}>{curves.map((curve) => curve.name).join(", ")}</figure>
  ),
}));
beforeEach(() => vi.useFakeTimers({ shouldAdvanceTime: true }));
afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

const ONE: Member = {
  member: "",
  run: "",
  state: "succeeded",
  said: "",
  needs: [],
  parameters: {},
  results: {},
  seconds: 3,
  cell: 0,
  cells: 0,
  expected: null,
  output: "",
};
const member = (name: string, given: Partial<Member> = {}): Member => ({
  ...ONE,
  member: name,
  run: `run-${name}`,
  ...given,
});
const GROUP: Group = {
  id: "g1",
  name: "depths",
  owner: "ada",
  kind: "sweep",
  state: "failed",
  counts: { succeeded: 2, failed: 1 },
  created: 1_750_000_000,
  parallel: 0,
  parameters: ["depth"],
  results: ["auc", "note"],
  numbers: ["auc"],
  digest: "d1",
  members: [
    member("depth=1", { parameters: { depth: 1 }, results: { auc: 0.5, note: "shallow" } }),
    member("depth=3", { parameters: { depth: 3 }, results: { auc: 0.9 } }),
    member("depth=5", { parameters: { depth: 5 }, state: "failed", said: "Cell 2 failed: ValueError" }),
  ],
};
const PIPELINE: Group = {
  ...GROUP,
  kind: "pipeline",
  parameters: [],
  results: ["rows"],
  numbers: ["rows"],
  members: [
    member("load", { results: { rows: 10 } }),
    member("train", { needs: ["load"], state: "failed", said: "no rows" }),
    member("test", { needs: ["load"] }),
    member("report", { needs: ["train", "test"], state: "failed" }),
  ],
};

function shown(view: object = {}) {
  const { id, name, owner, kind, state, counts, created } = GROUP;
  const rows = [{ id, name, owner, kind, state, counts, created }];
  const model = new FakeModel({
    view: { tab: "groups", more: false, page: 0, only: "", group: "", problem: null, rows, ...view },
  });
  render(<RunsPanel model={model} />);
  return model;
}
const asked = (model: FakeModel, action: string) => model.sent.filter((message) => message.action === action);
async function reply(model: FakeModel, action: string, value: unknown, times = 1) {
  await waitFor(() => expect(asked(model, action)).toHaveLength(times));
  await act(async () => model.reply(action, { ok: true, value }));
}
async function opened(group: Group) {
  const model = shown();
  await userEvent.click(screen.getByRole("button", { name: "Open" }));
  await reply(model, "group", group);
  return model;
}

test("a sweep: its counts, a plot and a table that is sorted by what is clicked", async () => {
  await opened(GROUP);
  expect(screen.getByRole("row", { name: /depths/ }).textContent).toContain("2 succeeded, 1 failed");
  expect(screen.getByRole("figure", { name: "auc over depth" })).toBeTruthy();
  const table = screen.getByRole("table", { name: "Members of depths" });
  const names = () =>
    within(table)
      .getAllByRole("rowheader")
      .map((one) => one.textContent);
  expect(names()).toEqual(["depth=1", "depth=3", "depth=5"]);
  await userEvent.click(within(table).getByRole("button", { name: "auc" }));
  expect(names()).toEqual(["depth=3", "depth=1", "depth=5"]);
  await userEvent.click(within(table).getByRole("button", { name: /auc/ }));
  expect(names()).toEqual(["depth=1", "depth=3", "depth=5"]);
  expect(within(table).getByRole("columnheader", { name: /auc/ }).getAttribute("aria-sort")).toBe("ascending");
  expect(table.textContent).toContain("Cell 2 failed: ValueError");
});

test("one that goes on is looked at again and again, and its members say how far they are", async () => {
  const going = member("depth=1", { state: "running", cell: 2, cells: 5, expected: 60, output: "epoch 3" });
  const model = await opened({ ...GROUP, state: "running", counts: { running: 1 }, members: [going] });
  expect(screen.getByRole("table", { name: "Members of depths" }).textContent).toContain(
    "cell 2 of 5 · usually 1:00 min · epoch 3",
  );
  await act(async () => {
    vi.advanceTimersByTime(2000);
  });
  expect(asked(model, "group")[1]?.given).toEqual({ id: "g1", known: "d1" });
  await reply(model, "group", null, 2);
  expect(screen.getByRole("table", { name: "Members of depths" })).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: "Cancel…" }));
  expect(asked(model, "cancel_group")).toHaveLength(0);
  await userEvent.click(screen.getByRole("button", { name: "Cancel them" }));
  await reply(model, "cancel_group", null);
  await reply(model, "group", { ...GROUP, digest: "d2" }, 3);
  await act(async () => {
    vi.advanceTimersByTime(10_000);
  });
  expect(asked(model, "group")).toHaveLength(3);
});

test("a pipeline is a graph, and goes on from the failed one", async () => {
  const model = await opened(PIPELINE);
  const graph = screen.getByRole("region", { name: "The steps of depths" });
  expect(within(graph).getByRole("button", { name: "report: failed, needs train, test" })).toBeTruthy();
  expect(graph.querySelectorAll("path")).toHaveLength(4);
  await userEvent.click(within(graph).getByRole("button", { name: /^train/ }));
  expect(asked(model, "row")[0]?.given).toEqual({ id: "run-train" });
  await userEvent.click(screen.getByRole("button", { name: "Rerun from the failed one" }));
  await reply(model, "rerun", null);
  await reply(model, "group", { ...PIPELINE, state: "running", digest: "d2" }, 2);
  expect(screen.queryByRole("button", { name: "Rerun from the failed one" })).toBeNull();
});

test("each step is right of those that it needs", () => {
  const at = Object.fromEntries(placed(PIPELINE.members).map(({ one, x, y }) => [one.member, [x, y]]));
  expect(at.load).toEqual([0, 0]);
  expect(at.train?.[0]).toBe(at.test?.[0]);
  expect(at.train?.[1]).not.toBe(at.test?.[1]);
  expect(at.report?.[0]).toBe(2 * (at.train?.[0] ?? 0));
});

test("lines over numbers, one for each value of the next parameter; bars over texts", () => {
  const two = { ...GROUP, parameters: ["rate", "kind"] };
  const members = [
    member("a", { parameters: { rate: 0.1, kind: "x" }, results: { auc: 0.7 } }),
    member("b", { parameters: { rate: 0.001, kind: "x" }, results: { auc: 0.6 } }),
    member("c", { parameters: { rate: 0.1, kind: "y" }, results: { auc: 0.8 } }),
    member("d", { parameters: { rate: 0.2, kind: "y" } }),
  ];
  const found = curves({ ...two, members }, "rate", "auc");
  expect(found?.log).toBe(true);
  expect(found?.curves.map((curve) => [curve.name, curve.y.length])).toEqual([
    ["kind x", 2],
    ["kind y", 1],
  ]);
  expect(found?.curves[0]?.y[0]).toBeCloseTo(0.6);
  expect(curves({ ...two, members }, "kind", "auc")).toBeNull();
  expect(bars({ ...GROUP, members, parameters: ["kind"] }, "kind", "auc").map((bar) => bar.name)).toEqual([
    "y",
    "x",
    "x",
  ]);
});

test("a run that is a member has its group in a tab, and none yet", async () => {
  const run = { id: "a1", name: "train", owner: "ada", state: "succeeded", live: false, said: "", cell: 2, cells: 2 };
  const rows = [{ ...run, output: "", elapsed: 3, expected: null, created: 0, group: "g1", member: "depth=1" }];
  const model = shown({ tab: "runs", rows });
  await userEvent.click(screen.getByRole("button", { name: "Open" }));
  await userEvent.click(screen.getByRole("tab", { name: "Sweep or pipeline" }));
  await reply(model, "group", GROUP);
  expect(screen.getByText("The sweep depths")).toBeTruthy();
  cleanup();
  shown({ rows: [] });
  expect(screen.getByText(/No sweeps and pipelines yet/)).toBeTruthy();
});

test("the panel of one group shows it, and its runs", async () => {
  const model = shown({ tab: "runs", rows: [], only: "group", group: "g1" });
  await reply(model, "group", GROUP);
  expect(screen.getByRole("figure", { name: "auc over depth" })).toBeTruthy();
  expect(screen.queryByRole("tab")).toBeNull();
});
