// RunsTable: what its buttons ask of whom.
import { cleanup, fireEvent, screen, waitFor } from "@testing-library/preact";
import { afterEach, expect, test, vi } from "vitest";
import table from "../src/panels/runs";
import { FakeModel } from "./fake_model";

vi.mock("uplot", () => ({
  default: class {
    setData() {}
    setSize() {}
    destroy() {}
  },
}));

const ROW = { state: "succeeded", started: 1e9, seconds: 3, metric: 0.9, rows: 10, estimator: "Ridge", kept: true };
const VIEW = {
  rows: [
    { ...ROW, id: "churn-20260101-000001-aaaaaa", name: "churn", state: "running", live: true, kept: false },
    { ...ROW, id: "churn-20260101-000000-bbbbbb", name: "churn" },
  ],
  found: 2,
  of: 2,
  pages: 1,
  metric: "accuracy",
  metrics: ["accuracy"],
  best: "churn-20260101-000000-bbbbbb",
  complete: true,
  query: { filter: "", sort: "started", descending: true, page: 0, metric: "" },
};

let asked: string[] = [];

function shown(status: number) {
  document.body.innerHTML = `<script id="jupyter-config-data" type="application/json">{"baseUrl":"/user/ada/"}</script>`;
  asked = [];
  vi.stubGlobal("fetch", async (url: URL) => {
    asked.push(url.pathname);
    return new Response(JSON.stringify({}), { status });
  });
  const model = new FakeModel({ view: VIEW, publishes: true, below: "" });
  const el = document.body.appendChild(document.createElement("div"));
  table.render({ model, el });
  return { model, el };
}

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  document.body.innerHTML = "";
});

const sent = (model: FakeModel) => model.sent.map(({ action, given }) => [action, given]);

test("Stop asks the notebook server, which answers while the kernel is busy", async () => {
  const { model } = shown(200);
  fireEvent.click(screen.getByRole("button", { name: "Stop" }));
  await waitFor(() => expect(asked).toEqual(["/user/ada/modelyard/runs/churn-20260101-000001-aaaaaa/stop"]));
  expect(model.sent).toEqual([]);
});

test("Stop asks the kernel where the notebook server has no such page", async () => {
  const { model } = shown(404);
  fireEvent.click(screen.getByRole("button", { name: "Stop" }));
  await waitFor(() => expect(sent(model)).toEqual([["stop", { id: "churn-20260101-000001-aaaaaa" }]]));
});

test("two chosen runs are compared, a kept model is published, a run is opened", async () => {
  const { model } = shown(200);
  const compare = screen.getByRole<HTMLButtonElement>("button", { name: "Compare (0)" });
  expect(compare.disabled).toBe(true);
  for (const box of screen.getAllByRole("checkbox")) fireEvent.click(box);
  fireEvent.click(screen.getByRole("button", { name: "Compare (2)" }));
  const ids = VIEW.rows.map((row) => row.id);
  await waitFor(() => expect(sent(model)).toEqual([["compare", { ids }]]));
  fireEvent.click(screen.getByRole("button", { name: "Publish…" }));
  fireEvent.click(screen.getAllByRole("button", { name: "Open" })[0] as HTMLElement);
  await waitFor(() =>
    expect(sent(model).slice(1)).toEqual([
      ["publish", { id: ids[1] }],
      ["open", { id: ids[0] }],
    ]),
  );
});

test("a key in a panel stays there, but Ctrl+S saves the notebook", () => {
  const { el } = shown(200);
  const heard: string[] = [];
  document.body.addEventListener("keydown", (event) => heard.push(event.key));
  const filter = screen.getByLabelText("Filter");
  fireEvent.keyDown(filter, { key: "d" });
  expect(heard).toEqual([]);
  fireEvent.keyDown(filter, { key: "s", ctrlKey: true });
  expect(heard).toEqual(["s"]);
  expect(el.getAttribute("data-lm-suppress-shortcuts")).toBe("true");
});
