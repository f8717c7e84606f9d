import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { button, type Form } from "../src/activity/submit";
import { variableFor } from "../src/activity/submit_secrets";
import { scheduleName } from "../src/activity/submit_when";

const FORM: Form = {
  name: "train",
  parameters: [
    { name: "depth", type: "int", value: "3", help: "of the trees" },
    { name: "fast", type: "bool", value: true, help: "" },
    { name: "label", type: "str", value: "churn", help: "" },
  ],
  profiles: [
    { name: "small", title: "Small" },
    { name: "large", title: "Large" },
  ],
  schedules: ["nightly"],
  secrets: [
    { name: "warehouse", description: "" },
    { name: "team/lake-2", description: "the lake of the team" },
  ],
  files: [
    ["train.ipynb", 100],
    ["helpers.py", 10],
  ],
};
let asked: [string, unknown][];
let answers: unknown[];
let saved: number;

beforeEach(() => {
  asked = [];
  saved = 0;
  answers = [FORM];
  HTMLDialogElement.prototype.showModal = vi.fn();
  HTMLDialogElement.prototype.close = function () {
    this.dispatchEvent(new Event("close"));
  };
  const notebook = { path: "a folder/train.ipynb", save: async () => (saved += 1) };
  const ask = async (query: string, body?: unknown) => {
    asked.push([query, body]);
    const answer = answers.shift();
    if ((answer as { detail?: string })?.detail) throw answer;
    return answer;
  };
  document.body.replaceChildren(button(notebook, ask));
});
afterEach(() => document.body.replaceChildren());

const field = (name: string) =>
  [...document.querySelectorAll("label")].find((label) => label.textContent?.startsWith(name))
    ?.control as HTMLInputElement;
const press = (name: string) =>
  ([...document.querySelectorAll("button")].find((one) => one.textContent === name) as HTMLButtonElement).click();
const said = () => document.querySelector(".yard-submit > [role]")?.textContent;
const wrong = (name: string) =>
  document.getElementById(field(name).getAttribute("aria-describedby")?.split(" ")[0] ?? "")?.textContent;
const choose = (name: string, value: string) => {
  field(name).value = value;
  field(name).dispatchEvent(new Event("change"));
};
const type = (name: string, value: string) => {
  field(name).value = value;
  field(name).dispatchEvent(new Event("input"));
};

async function opened() {
  press("Submit…");
  await vi.waitFor(() => expect(document.querySelector("dialog label, dialog [role=alert]")).toBeTruthy());
}

test("the notebook is saved, its parameters are asked for, and it is submitted", async () => {
  await opened();
  expect(saved).toBe(1);
  expect(asked[0]?.[0]).toBe("?path=a%20folder%2Ftrain.ipynb");
  expect([field("depth (int)").value, field("fast").checked, field("label (str)").value]).toEqual(["3", true, "churn"]);
  expect(document.querySelector("dialog")?.textContent).toContain("of the trees");
  expect(document.querySelector("dialog")?.textContent).toContain("These files go with it: helpers.py.");
  field("depth").value = "7";
  field("fast").checked = false;
  field("Size").value = "large";
  field("Timeout").value = "30";
  field("Environment").value = "A=1";
  answers = [{ id: "a1b2", name: "train" }];
  press("Submit");
  await vi.waitFor(() => expect(said()).toContain("Run a1b2 is submitted"));
  expect(asked[1]?.[1]).toEqual({
    path: "a folder/train.ipynb",
    name: "train",
    profile: "large",
    timeout: "30",
    retries: "0",
    priority: "0",
    environment: "A=1",
    parameters: { depth: "7", fast: false, label: "churn" },
    secrets: [],
  });
  press("Close");
  expect(document.querySelector("dialog")).toBeNull();
});

test("what is wrong stands in the form, at its field", async () => {
  await opened();
  const detail = "parameter 'depth' must be of type int";
  answers = [{ title: "Invalid parameter", detail, remedy: "Its default is 3.", field: "parameters.depth" }];
  field("depth").value = "many";
  press("Submit");
  await vi.waitFor(() => expect(wrong("depth")).toBe("parameter 'depth' must be of type int. Its default is 3."));
  expect(field("depth").getAttribute("aria-invalid")).toBe("true");
  expect(said()).toBe("");
  answers = [{ detail: "'x' is not a whole number from 0 to 20", field: "retries" }];
  field("Retries").value = "x";
  press("Submit");
  await vi.waitFor(() => expect(wrong("Retries")).toBe("'x' is not a whole number from 0 to 20."));
  expect(wrong("depth")).toBe("");
  expect(field("Retries").closest("details")?.hasAttribute("open")).toBe(true);
  answers = [{ detail: "the notebook has no kernel", field: "" }];
  press("Submit");
  await vi.waitFor(() => expect(said()).toBe("the notebook has no kernel."));
  answers = [{ id: "c3", name: "train" }];
  field("depth").value = "4";
  field("depth").dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
  await vi.waitFor(() => expect(said()).toContain("Run c3 is submitted"));
});

test("on a schedule: the line is read out before it is saved", async () => {
  await opened();
  const read = () => document.querySelector(".yard-submit-read")?.textContent;
  const next = [1_795_755_600, 1_795_842_000];
  answers = [{ words: "At 05:00 every day", next }];
  choose("When", "schedule");
  await vi.waitFor(() => expect(read()).toContain("At 05:00 every day"));
  expect(asked[1]?.[0]).toBe("?cron=0%205%20*%20*%20*&time_zone=UTC");
  expect(document.querySelectorAll(".yard-submit-read li")).toHaveLength(2);
  expect(read()).not.toContain("your time");
  answers = [{ detail: "'0 0 30 2 *' is never due", remedy: "Five fields.", field: "cron" }];
  type("Cron line", "0 0 30 2 *");
  await vi.waitFor(() => expect(wrong("Cron line")).toBe("'0 0 30 2 *' is never due. Five fields."));
  expect([read(), field("How often").value]).toEqual(["", ""]);
  answers = [{ words: "At 05:00 on Monday", next }];
  choose("How often", "0 5 * * MON");
  await vi.waitFor(() => expect(read()).toContain("At 05:00 on Monday"));
  expect(wrong("Cron line")).toBe("");
  answers = [{ words: "At 05:00 on Monday", next }];
  type("Time zone", "Asia/Tokyo");
  await vi.waitFor(() => expect(read()).toContain("your time"));
  type("Name", "nightly");
  expect(document.querySelector("dialog")?.textContent).toContain("There is a schedule nightly: this takes its place");
  answers = [{ schedule: "ada/nightly", next }];
  press("Save the schedule");
  await vi.waitFor(() => expect(said()).toContain("Schedule ada/nightly is saved; its next run is on"));
  expect(asked.at(-1)?.[1]).toMatchObject({ cron: "0 5 * * MON", time_zone: "Asia/Tokyo", name: "nightly" });
});

test("when new files arrive: the folder is asked for, and what is wrong with it stands there", async () => {
  await opened();
  const asks = () => (field("Folder or bucket").closest("[hidden]") ? "hidden" : "shown");
  expect(asks()).toBe("hidden");
  choose("When", "files");
  expect(asks()).toBe("shown");
  expect(field("Cron line").closest("[hidden]")).toBeTruthy();
  expect(asked).toHaveLength(1);
  answers = [{ detail: "there is no folder /lake", field: "on_files" }];
  field("Folder or bucket").value = "/lake";
  press("Save the schedule");
  await vi.waitFor(() => expect(wrong("Folder or bucket")).toBe("there is no folder /lake."));
  answers = [{ schedule: "ada/train", next: [] }];
  expect(document.querySelector("dialog")?.textContent).not.toContain("AWS_SECRET_ACCESS_KEY");
  type("Folder or bucket", "s3://lake/incoming");
  expect(document.querySelector("dialog")?.textContent).toContain("AWS_SECRET_ACCESS_KEY");
  press("Save the schedule");
  await vi.waitFor(() => expect(said()).toContain("Schedule ada/train is saved. The tab"));
  expect(asked.at(-1)?.[1]).toMatchObject({ on_files: "s3://lake/incoming", name: "train" });
  expect(asked.at(-1)?.[1]).not.toHaveProperty("cron");
});

test("secrets: those that are chosen, each read as is said; what is wrong stands there", async () => {
  await opened();
  const asks = (name: string) => (field(name).closest("[hidden]") ? "hidden" : "shown");
  expect(field("warehouse").closest("details")?.hasAttribute("open")).toBe(false);
  expect(document.querySelector("dialog")?.textContent).toContain("the lake of the team");
  expect([asks("The run reads warehouse"), asks("Variable for warehouse")]).toEqual(["hidden", "hidden"]);
  field("warehouse").click();
  expect([asks("The run reads warehouse"), asks("Variable for warehouse")]).toEqual(["shown", "hidden"]);
  expect(field("The run reads warehouse").textContent).toContain('by yard.secret("warehouse")');
  field("team/lake-2").click();
  const help = () => field("Variable for team/lake-2").parentElement?.querySelector("small:not([hidden])")?.textContent;
  choose("The run reads team/lake-2", "variable");
  expect(help()).toBe("");
  choose("The run reads team/lake-2", "path");
  expect(help()).toBe("gets the path of the file");
  expect([asks("Variable for team/lake-2"), field("Variable for team/lake-2").value]).toEqual(["shown", "LAKE_2"]);
  answers = [{ detail: "'2 LAKE' is no variable", field: "secrets.team/lake-2" }];
  type("Variable for team/lake-2", "2 LAKE");
  press("Submit");
  await vi.waitFor(() => expect(wrong("Variable for team/lake-2")).toBe("'2 LAKE' is no variable."));
  answers = [{ detail: "there is no secret team/lake-2", remedy: "", field: "secrets" }];
  type("Variable for team/lake-2", "LAKE");
  press("Submit");
  const group = [...document.querySelectorAll("fieldset")].find((one) => one.textContent?.startsWith("Secrets"));
  const told = () => document.getElementById(group?.getAttribute("aria-describedby") ?? "")?.textContent;
  await vi.waitFor(() => expect(told()).toBe("there is no secret team/lake-2."));
  expect([wrong("Variable for team/lake-2"), said()]).toEqual(["", ""]);
  expect(group?.closest("details")?.hasAttribute("open")).toBe(true);
  choose("When", "files");
  answers = [{ schedule: "ada/train", next: [] }];
  press("Save the schedule");
  await vi.waitFor(() => expect(said()).toContain("Schedule ada/train is saved"));
  expect(asked.at(-1)?.[1]).toMatchObject({
    secrets: [
      { secret: "warehouse", how: "name" },
      { secret: "team/lake-2", how: "path", variable: "LAKE" },
    ],
  });
});

test("without secrets it says how to make one", async () => {
  answers = [{ ...FORM, secrets: [] }];
  await opened();
  expect(document.querySelector("fieldset")?.textContent).toContain('You have none. In a cell, yard.set_secret("');
});

test("a secret that was chosen and then not is not given", async () => {
  await opened();
  field("warehouse").click();
  field("warehouse").click();
  expect(field("The run reads warehouse").closest("[hidden]")).toBeTruthy();
  answers = [{ id: "a1b2", name: "train" }];
  press("Submit");
  await vi.waitFor(() => expect(said()).toContain("Run a1b2 is submitted"));
  expect(asked[1]?.[1]).toMatchObject({ secrets: [] });
});

test("the variable that is offered is one", () => {
  const cases = { warehouse: "WAREHOUSE", "team/lake-key": "LAKE_KEY", "2nd": "_2ND" };
  for (const [name, variable] of Object.entries(cases)) expect(variableFor(name)).toBe(variable);
});

test("a schedule's name is made as the library makes it", () => {
  const cases = {
    "Train_Model ": "train-model",
    "a  b": "a-b",
    "—": "notebook",
    [`${"x".repeat(62)}-y`]: "x".repeat(62),
  };
  for (const [typed, saved] of Object.entries(cases)) expect(scheduleName(typed)).toBe(saved);
});

test("a notebook that cannot run says why", async () => {
  answers = [
    { title: "Invalid input", detail: "train.ipynb does not say which kernel it needs", remedy: "Choose one." },
  ];
  await opened();
  expect(said()).toContain("which kernel it needs. Choose one.");
  press("Cancel");
  expect(document.querySelector("dialog")).toBeNull();
});
