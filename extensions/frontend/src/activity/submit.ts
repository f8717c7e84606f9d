// The button in a notebook's toolbar that has it run unattended, and the form that it opens.
import { moment } from "../batch/times";
import { call, NoServer } from "../server";
import style from "./submit.css";
import { Fields, make, type Said, words } from "./submit_fields";
import { type Secret, Secrets } from "./submit_secrets";
import { type Ask, scheduleName, When } from "./submit_when";

/** What `GET modelyard/submit` answers. */
export interface Form {
  name: string;
  parameters: { name: string; type: string; value: string | boolean; help: string }[];
  profiles: { name: string; title: string }[];
  /** Names of schedules that there are. */
  schedules: string[];
  files: [string, number][];
  /** Those that a run may be given. */
  secrets: Secret[];
}

/** The notebook that is open. */
export interface Open {
  path: string;
  save(): Promise<unknown>;
}

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
  const dialog = make("dialog", "", document.body);
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
  const close = make("button", "Cancel", foot);
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
    new Filling(form, { inside, foot, said, close }, ask, notebook.path);
  } catch (error) {
    say(said, error);
  }
}

interface Places {
  inside: HTMLElement;
  foot: HTMLElement;
  said: HTMLElement;
  close: HTMLButtonElement;
}

/** What `POST modelyard/submit` answers. */
interface Made {
  id?: string;
  schedule?: string;
  next?: number[];
}

/** The form while it is filled in. */
class Filling {
  private fields = new Fields();
  private when: When;
  private secrets: Secrets;
  private go: HTMLButtonElement;
  private replaced: HTMLElement;

  constructor(
    private form: Form,
    private places: Places,
    private ask: Ask,
    private path: string,
  ) {
    const { inside, foot } = places;
    const name = this.fields.text(inside, "name", "Name", form.name);
    this.replaced = make("p", "", inside);
    this.replaced.className = "yard-submit-soft";
    name.oninput = () => this.changed();
    this.parameters(inside);
    make("h3", "Run", inside);
    const sizes = form.profiles.map((one): [string, string] => [one.name, one.title]);
    this.fields.choice(inside, "profile", "Size", sizes);
    this.when = new When(inside, this.fields, ask, () => this.changed());
    this.secrets = this.more(inside);
    const others = form.files.filter(([path]) => path !== `${form.name}.ipynb`).map(([path]) => path);
    if (others.length)
      make("p", `These files go with it: ${others.join(", ")}.`, inside).className = "yard-submit-soft";
    this.go = make("button", "Submit", foot);
    this.go.className = "yard-submit-go";
    this.go.onclick = () => void this.send();
    inside.onkeydown = (event) => {
      if (event.key === "Enter" && (event.target as HTMLElement).tagName === "INPUT") void this.send();
    };
    name.focus();
  }

  private parameters(place: HTMLElement): void {
    const { parameters } = this.form;
    if (parameters.length) make("h3", "Parameters", place);
    else
      make("p", "It takes no parameters: a cell with the tag “parameters” would have them.", place).className =
        "yard-submit-soft";
    for (const one of parameters) {
      const label = one.type && one.type !== "bool" ? `${one.name} (${one.type})` : one.name;
      const key = `parameters.${one.name}`;
      if (typeof one.value === "boolean") this.fields.check(place, key, label, one.value, one.help);
      else this.fields.text(place, key, label, one.value, one.help);
    }
  }

  private more(place: HTMLElement): Secrets {
    const more = make("details", "", place);
    make("summary", "Timeout, retries, priority, environment, secrets", more).dataset.lmSuppressShortcuts = "true";
    const row = make("div", "", more);
    row.className = "yard-submit-row";
    this.fields.text(row, "timeout", "Timeout (minutes)", "", "of each attempt; empty: none").inputMode = "decimal";
    this.fields.text(row, "retries", "Retries", "0", "attempts after one that failed").inputMode = "numeric";
    this.fields.text(row, "priority", "Priority", "0", "−100 to 100; the higher starts first");
    this.fields.lines(more, "environment", "Environment", "NAME=value, a line each; what is secret belongs below");
    return new Secrets(more, this.fields, this.form.secrets);
  }

  private changed(): void {
    const { scheduled } = this.when;
    this.go.textContent = scheduled ? "Save the schedule" : "Submit";
    const name = scheduleName(String(this.fields.value("name")));
    this.replaced.textContent =
      scheduled && this.form.schedules.includes(name)
        ? `There is a schedule ${name}: this takes its place, with the notebook as it is now.`
        : "";
  }

  private async send(): Promise<void> {
    if (this.go.disabled) return;
    const { said } = this.places;
    this.go.disabled = true;
    said.removeAttribute("role");
    said.setAttribute("role", "status");
    said.textContent = this.when.scheduled ? "Saving…" : "Submitting…";
    this.fields.clear();
    const plain = ["name", "profile", "timeout", "retries", "priority", "environment"];
    const filled = {
      path: this.path,
      ...Object.fromEntries(plain.map((name) => [name, this.fields.value(name)])),
      parameters: this.fields.under("parameters."),
      secrets: this.secrets.values,
      ...this.when.values,
    };
    try {
      this.done((await this.ask("", filled)) as Made);
    } catch (error) {
      this.go.disabled = false;
      said.textContent = "";
      this.when.again();
      if (!this.fields.wrong((error as Said).field ?? "", words(error))) say(said, error);
    }
  }

  private done(made: Made): void {
    const { inside, said, close } = this.places;
    inside.replaceChildren();
    said.className = "yard-submit-good";
    const first = made.next?.[0];
    said.textContent = made.schedule
      ? `Schedule ${made.schedule} is saved${first ? `; its next run is on ${moment(first)}, your time` : ""}. The tab Schedules of yard.RunsPanel() shows and changes it.`
      : `Run ${made.id} is submitted. yard.RunsPanel() in a cell shows how far it is; this page may be closed.`;
    this.go.remove();
    close.textContent = "Close";
    close.focus();
  }
}

function say(place: HTMLElement, error: unknown): void {
  place.textContent = words(error);
  place.setAttribute("role", "alert");
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
