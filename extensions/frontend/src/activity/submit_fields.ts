// Fields of a form in JupyterLab's page: each with its label, its help and what is wrong with it.

export type Control = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

export function make<K extends keyof HTMLElementTagNameMap>(tag: K, text: string, place: HTMLElement) {
  const made = place.appendChild(document.createElement(tag));
  if (text) made.textContent = text;
  return made;
}

let ids = 0;

/** The fields of one form, by the names that the server has for them. */
export class Fields {
  private controls = new Map<string, HTMLElement>();

  text(place: HTMLElement, name: string, label: string, value = "", help = ""): HTMLInputElement {
    const made = this.add(place, name, label, document.createElement("input"), help);
    made.value = value;
    return made;
  }

  lines(place: HTMLElement, name: string, label: string, help = ""): HTMLTextAreaElement {
    const made = this.add(place, name, label, document.createElement("textarea"), help);
    made.rows = 2;
    return made;
  }

  check(place: HTMLElement, name: string, label: string, value: boolean, help = ""): HTMLInputElement {
    const made = this.add(place, name, label, document.createElement("input"), help);
    made.type = "checkbox";
    made.checked = value;
    return made;
  }

  choice(place: HTMLElement, name: string, label: string, options: [string, string][], help = ""): HTMLSelectElement {
    const made = this.add(place, name, label, document.createElement("select"), help);
    for (const [value, title] of options) made.add(new Option(title, value));
    return made;
  }

  /** Fields that belong together, for what is wrong with none of them alone. */
  group(place: HTMLElement, name: string, label: string): HTMLFieldSetElement {
    const made = make("fieldset", "", place);
    made.className = "yard-submit-field";
    made.tabIndex = -1;
    make("legend", label, made);
    this.told(name, made, made);
    return made;
  }

  value(name: string): string | boolean {
    const control = this.controls.get(name) as Control | undefined;
    if (!control) return "";
    return control instanceof HTMLInputElement && control.type === "checkbox" ? control.checked : control.value;
  }

  /** Values of those whose names begin so, without that. */
  under(prefix: string): Record<string, string | boolean> {
    const names = [...this.controls.keys()].filter((name) => name.startsWith(prefix));
    return Object.fromEntries(names.map((name) => [name.slice(prefix.length), this.value(name)]));
  }

  /** Nothing is wrong with the field, or with any. */
  clear(name?: string): void {
    for (const [known, control] of this.controls)
      if (name === undefined || name === known) {
        control.removeAttribute("aria-invalid");
        said(control).textContent = "";
      }
  }

  /** What is wrong, at the field of that name; whether there is one. `quiet`: somebody is typing there. */
  wrong(name: string, text: string, quiet = false): boolean {
    const control = this.controls.get(name);
    if (!control) return false;
    control.setAttribute("aria-invalid", "true");
    said(control).textContent = text;
    if (!quiet) {
      control.closest("details")?.setAttribute("open", "");
      control.focus();
    }
    return true;
  }

  private add<C extends Control>(place: HTMLElement, name: string, label: string, control: C, help: string): C {
    ids += 1;
    const id = `yard-submit-${ids}`;
    const around = make("div", "", place);
    around.className = "yard-submit-field";
    make("label", label, around).htmlFor = id;
    control.id = id;
    control.dataset.lmSuppressShortcuts = "true";
    around.append(control);
    if (help) make("small", help, around).id = `${id}-help`;
    const wrong = this.told(name, control, around);
    if (help) control.setAttribute("aria-describedby", `${wrong.id} ${id}-help`);
    return control;
  }

  /** The place for what is wrong with it. */
  private told(name: string, control: HTMLElement, around: HTMLElement): HTMLElement {
    const wrong = make("small", "", around);
    wrong.className = "yard-submit-wrong";
    ids += 1;
    wrong.id = `yard-submit-${ids}-wrong`;
    control.setAttribute("aria-describedby", wrong.id);
    this.controls.set(name, control);
    return wrong;
  }
}

function said(control: HTMLElement): HTMLElement {
  return control.closest(".yard-submit-field")?.querySelector(".yard-submit-wrong") as HTMLElement;
}

export interface Said {
  title?: string;
  detail?: string;
  remedy?: string;
  field?: string;
}

/** An error in words. */
export function words(error: unknown): string {
  const told = error as Said;
  const sentence = (text: string) => (/[.!?]$/.test(text) ? text : `${text}.`);
  return [told.detail ?? String(error), told.remedy ?? ""].filter(Boolean).map(sentence).join(" ");
}
