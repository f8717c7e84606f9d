import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { button, type Form } from "../src/activity/submit";

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
  [...document.querySelectorAll("label")]
    .find((label) => label.textContent?.startsWith(name))
    ?.querySelector("input") as HTMLInputElement;
const press = (name: string) =>
  ([...document.querySelectorAll("button")].find((one) => one.textContent === name) as HTMLButtonElement).click();
const said = () => document.querySelector(".yard-submit [role]")?.textContent;

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
  (document.querySelector("dialog select") as HTMLSelectElement).value = "large";
  answers = [{ id: "a1b2", name: "train" }];
  press("Submit");
  await vi.waitFor(() => expect(said()).toContain("Run a1b2 is submitted"));
  expect(asked[1]?.[1]).toEqual({
    path: "a folder/train.ipynb",
    name: "train",
    profile: "large",
    parameters: { depth: "7", fast: false, label: "churn" },
  });
  press("Close");
  expect(document.querySelector("dialog")).toBeNull();
});

test("what is wrong stands in the form, at its field", async () => {
  await opened();
  answers = [
    {
      title: "Invalid parameter",
      detail: "parameter 'depth' must be of type int",
      remedy: "Its default is 3.",
      field: "depth",
    },
  ];
  field("depth").value = "many";
  press("Submit");
  await vi.waitFor(() => expect(said()).toBe("parameter 'depth' must be of type int. Its default is 3."));
  expect(field("depth").getAttribute("aria-invalid")).toBe("true");
  answers = [{ id: "c3", name: "train" }];
  field("depth").value = "4";
  field("depth").dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
  await vi.waitFor(() => expect(said()).toContain("Run c3 is submitted"));
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
