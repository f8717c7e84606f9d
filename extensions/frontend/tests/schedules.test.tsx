import { act, cleanup, render, screen, waitFor, within } from "@testing-library/preact";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, test, vi } from "vitest";
import type { ScheduleRow } from "../src/batch/schedules";
import { RunsPanel } from "../src/panels/unattended";
import { FakeModel } from "./fake_model";

vi.mock("../src/chart", () => ({ Chart: () => null })); // it needs a canvas
afterEach(cleanup);

const DAY = 86400;
const AT = 1_795_743_000; // 2026-11-27 01:30 UTC: 02:30 in Berlin
const ROW: ScheduleRow = {
  key: "ada/nightly",
  what: "train",
  cron: "30 2 * * *",
  zone: "Europe/Berlin",
  words: "At 02:30 every day",
  triggers: [],
  paused: false,
  next: [AT, AT + DAY, AT + 2 * DAY, AT + 3 * DAY, AT + 4 * DAY],
  last: { id: "a1", state: "failed", due: AT - DAY },
  missed: { due: AT - 2 * DAY, count: 3, message: "the run before had not ended" },
  troubles: [],
};

function shown(...rows: ScheduleRow[]) {
  const model = new FakeModel({
    view: { tab: "schedules", more: false, page: 0, only: "", group: "", problem: null, rows },
  });
  render(<RunsPanel model={model} />);
  return model;
}
const row = () => screen.getByRole("row", { name: /nightly/ });
const asked = (model: FakeModel, action: string) => model.sent.filter((message) => message.action === action);
async function reply(model: FakeModel, action: string, content: object, times = 1) {
  await waitFor(() => expect(asked(model, action)).toHaveLength(times));
  await act(async () => model.reply(action, content));
}
const click = (name: string, inside = screen.getByTestId("modelyard-runs-panel")) =>
  userEvent.click(within(inside).getByRole("button", { name }));

test("when it is due, in its own zone and the viewer's, and how its last run ended", async () => {
  shown(ROW);
  expect(row().textContent).toContain("At 02:30 every day");
  expect(row().textContent).toContain("30 2 * * * · Europe/Berlin");
  expect(row().textContent).toMatch(/02:30/);
  expect(row().textContent).toMatch(/01:30.*your time/);
  expect(row().textContent).toContain("✗ failed");
  await click("Open", row());
  const times = screen.getByRole("table", { name: "The next times" });
  expect(within(times).getAllByRole("row")).toHaveLength(6);
  expect(within(times).getByRole("columnheader", { name: /Your time \(UTC\)/ })).toBeTruthy();
  expect(screen.getByText(/3 times until .* had no run: the run before had not ended/)).toBeTruthy();
});

test("what else starts it", () => {
  shown({ ...ROW, triggers: ["for new files below /lake"] });
  expect(row().textContent).toContain("At 02:30 every day, and for new files below /lake");
  cleanup();
  shown({ ...ROW, cron: "", words: "", next: [], triggers: ["on each new version of ada.churn"] });
  expect(row().textContent).toContain("On each new version of ada.churn");
});

test("what keeps its triggers from starting runs, and since when, in the list and in the opened one", async () => {
  const message = "there is no folder /lake/incoming";
  shown({ ...ROW, troubles: [{ trigger: "files", since: AT, message }] });
  expect(row().textContent).toMatch(/New files cannot be seen since .*27.*: there is no folder \/lake\/incoming/);
  await click("Open", row());
  const opened = screen.getByRole("region", { name: "Schedule ada/nightly" });
  expect(within(opened).getByRole("status").textContent).toContain(message);
  cleanup();
  shown(ROW);
  expect(row().textContent).not.toContain("cannot be seen");
});

test("one column where both zones say the same", async () => {
  shown({ ...ROW, zone: "UTC" });
  await click("Open", row());
  expect(within(screen.getByRole("table", { name: "The next times" })).getAllByRole("columnheader")).toHaveLength(1);
});

test("it is paused, resumed and started", async () => {
  const model = shown(ROW);
  await click("Run now", row());
  await reply(model, "start", { ok: false, problem: { title: "Conflict", detail: "one has not ended", remedy: "" } });
  expect(screen.getByRole("alert").textContent).toContain("one has not ended");
  await click("Pause", row());
  await reply(model, "pause", { ok: true, value: null });
  await act(async () =>
    model.set({ view: { ...(model.get("view") as object), rows: [{ ...ROW, paused: true, next: [] }] } }),
  );
  expect(row().textContent).toContain("paused");
  await click("Resume", row());
  expect(asked(model, "resume")[0]?.given).toEqual({ key: "ada/nightly" });
});

test("it is deleted once that is confirmed", async () => {
  const model = shown(ROW);
  await click("Open", row());
  await click("Delete…");
  expect(screen.getByText(/Its runs stay/)).toBeTruthy();
  await click("Keep it");
  await click("Delete…");
  expect(asked(model, "delete")).toHaveLength(0);
  await click("Delete the schedule");
  expect(asked(model, "delete")[0]?.given).toEqual({ key: "ada/nightly" });
});

test("another time is read out before it is saved; what is wrong stands at its field", async () => {
  const model = shown(ROW);
  await click("Open", row());
  await click("Change when…");
  const save = () => screen.getByRole("button", { name: "Save" }) as HTMLButtonElement;
  expect(save().disabled).toBe(true);
  await reply(model, "due", { ok: true, value: { words: "At 02:30 every day", next: ROW.next } });
  expect(save().disabled).toBe(false);
  const cron = screen.getByLabelText("Cron line");
  await userEvent.clear(cron);
  await userEvent.type(cron, "0 0 30 2 *");
  await reply(model, "due", { ok: true, value: { field: "cron", said: "it is never due" } }, 2);
  expect(cron.getAttribute("aria-invalid")).toBe("true");
  expect(document.getElementById(cron.getAttribute("aria-describedby") ?? "")?.textContent).toBe("it is never due");
  expect(save().disabled).toBe(true);
  await userEvent.clear(cron);
  await userEvent.type(cron, "0 6 * * MON");
  await userEvent.clear(screen.getByLabelText("Time zone"));
  await userEvent.type(screen.getByLabelText("Time zone"), "America/New_York");
  await waitFor(() => expect(asked(model, "due").at(-1)?.given.time_zone).toBe("America/New_York"));
  await act(async () => model.reply("due", { ok: true, value: { words: "At 06:00 on Monday", next: [AT] } }));
  await screen.findByText("At 06:00 on Monday");
  await click("Save");
  expect(asked(model, "edit")[0]?.given).toEqual({
    key: "ada/nightly",
    cron: "0 6 * * MON",
    time_zone: "America/New_York",
  });
  await reply(model, "edit", { ok: true, value: null });
  expect(screen.queryByLabelText("Cron line")).toBeNull();
});

test("its last run is shown, and none yet", async () => {
  const model = shown(ROW);
  await click("Open", row());
  await userEvent.click(screen.getByRole("tab", { name: "Last run" }));
  const run = { id: "a1", name: "train", owner: "ada", state: "failed", live: false, said: "", cell: 2, cells: 3 };
  await reply(model, "row", {
    ok: true,
    value: { ...run, output: "", elapsed: 3, expected: null, created: 0, group: "", member: "" },
  });
  expect(screen.getByRole("tab", { name: "Failure" })).toBeTruthy();
  cleanup();
  shown({ ...ROW, last: null, missed: null });
  expect(row().textContent).toContain("none yet");
  cleanup();
  shown();
  expect(screen.getByText(/No schedules yet/)).toBeTruthy();
});

test("the other tabs are asked for", async () => {
  const model = shown(ROW);
  await userEvent.click(screen.getByRole("tab", { name: "Runs" }));
  expect(asked(model, "tab")[0]?.given).toEqual({ tab: "runs" });
});
