// The button in a notebook's toolbar that has it run unattended, and the form that it opens.
import { call, NoServer } from "../server";
import style from "./submit.css";

/** What `GET modelyard/submit` answers. */
export interface Form {
  name: string;
  parameters: { name: string; type: string; value: string | boolean; help: string }[];
  profiles: { name: string; title: string }[];
  files: [string, number][];
}

/** The notebook that is open. */
export interface Open {
  path: string;
  save(): Promise<unknown>;
}

interface Said {
  title?: string;
  detail?: string;
  remedy?: string;
  field?: string;
}

export type Ask = (query: string, body?: unknown) => Promise<unknown>;

/** Seconds: the notebook and its files are uploaded meanwhile. */
const PATIENCE = 60_000;

/** The button's element. */
export function button(notebook: Open, ask: Ask = server): HTMLElement {
  const made = document.createElement("button");
  made.className = "yard-submit-button";
  made.textContent = "Submit…";
  made.title = "Run this notebook unattended: it goes on without this page and this server";
  made.onclick = async () => {
    made.disabled = true;
    try {
      await open(notebook, ask);
    } finally {
      made.disabled = false;
    }
  };
  return made;
}

/** Open the form, once the notebook is saved: what is submitted is what is in the file. */
export async function open(notebook: Open, ask: Ask = server): Promise<void> {
  const dialog = make("dialog", "", document.body) as HTMLDialogElement;
  dialog.className = "yard-submit";
  dialog.setAttribute("aria-label", "Submit a run");
  dialog.dataset.lmSuppressShortcuts = "true";
  make("style", style, dialog);
  make("h2", "Run this notebook unattended", dialog);
  const inside = make("div", "", dialog);
  const said = make("p", "", dialog);
  said.className = "yard-submit-said";
  said.setAttribute("role", "status");
  const foot = make("p", "", dialog);
  foot.className = "yard-submit-foot";
  const close = make("button", "Cancel", foot) as HTMLButtonElement;
  close.onclick = () => dialog.close();
  dialog.onclose = () => dialog.remove();
  for (const name of ["keydown", "keypress", "keyup"])
    dialog.addEventListener(name, (event) => event.stopPropagation());
  dialog.showModal();
  try {
    said.textContent = "Looking at the notebook…";
    await notebook.save();
    const form = (await ask(`?path=${encodeURIComponent(notebook.path)}`)) as Form;
    said.textContent = "";
    fill(inside, foot, said, form, (filled) => ask("", { path: notebook.path, ...filled }), close);
  } catch (error) {
    say(said, error);
  }
}

function fill(
  inside: HTMLElement,
  foot: HTMLElement,
  said: HTMLElement,
  form: Form,
  submit: (filled: object) => Promise<unknown>,
  close: HTMLButtonElement,
): void {
  const name = field(inside, "Name", "input") as HTMLInputElement;
  name.value = form.name;
  const profile = field(inside, "Size", "select") as HTMLSelectElement;
  for (const one of form.profiles) profile.add(new Option(one.title, one.name));
  const inputs = new Map<string, HTMLInputElement>();
  if (form.parameters.length) make("h3", "Parameters", inside);
  else make("p", "It takes no parameters: a cell with the tag “parameters” would have them.", inside);
  for (const one of form.parameters) {
    const label = one.type && one.type !== "bool" ? `${one.name} (${one.type})` : one.name;
    const input = field(inside, label, "input", one.help) as HTMLInputElement;
    if (typeof one.value === "boolean") {
      input.type = "checkbox";
      input.checked = one.value;
    } else input.value = one.value;
    inputs.set(one.name, input);
  }
  const others = form.files.filter(([path]) => path !== `${form.name}.ipynb`).map(([path]) => path);
  if (others.length) make("p", `These files go with it: ${others.join(", ")}.`, inside).className = "yard-submit-soft";
  const go = make("button", "Submit", foot) as HTMLButtonElement;
  go.className = "yard-submit-go";
  const send = async () => {
    if (go.disabled) return;
    go.disabled = true;
    said.textContent = "Submitting…";
    for (const input of inputs.values()) input.removeAttribute("aria-invalid");
    const parameters = Object.fromEntries(
      [...inputs].map(([key, input]) => [key, input.type === "checkbox" ? input.checked : input.value]),
    );
    try {
      const made = (await submit({ name: name.value, profile: profile.value, parameters })) as { id: string };
      inside.replaceChildren();
      said.className = "yard-submit-good";
      said.textContent = `Run ${made.id} is submitted. yard.RunsPanel() in a cell shows how far it is; this page may be closed.`;
      go.remove();
      close.textContent = "Close";
      close.focus();
    } catch (error) {
      go.disabled = false;
      const wrong = inputs.get((error as Said).field ?? "");
      wrong?.setAttribute("aria-invalid", "true");
      wrong?.focus();
      say(said, error);
    }
  };
  go.onclick = () => void send();
  inside.onkeydown = (event) => {
    if (event.key === "Enter" && (event.target as HTMLElement).tagName === "INPUT") void send();
  };
  name.focus();
}

function say(place: HTMLElement, error: unknown): void {
  const told = error as Said;
  const sentence = (text: string) => (/[.!?]$/.test(text) ? text : `${text}.`);
  place.textContent = [told.detail ?? String(error), told.remedy ?? ""].filter(Boolean).map(sentence).join(" ");
  place.setAttribute("role", "alert");
}

function make(tag: string, text: string, place: HTMLElement): HTMLElement {
  const made = place.appendChild(document.createElement(tag));
  if (text) made.textContent = text;
  return made;
}

function field(place: HTMLElement, label: string, tag: string, help = ""): HTMLElement {
  const around = make("label", label, place);
  const made = make(tag, "", around);
  made.dataset.lmSuppressShortcuts = "true";
  if (help) make("small", help, around);
  return made;
}

async function server(query: string, body?: unknown): Promise<unknown> {
  let answer: Response;
  try {
    answer = await call(`modelyard/submit${query}`, body === undefined ? "GET" : "POST", body, PATIENCE);
  } catch (error) {
    if (error instanceof NoServer) throw error;
    throw { detail: "The notebook server does not answer.", remedy: "Try again in a moment." };
  }
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  throw content.detail
    ? content
    : { detail: `The notebook server answered ${answer.status}.`, remedy: content.message ?? "" };
}
