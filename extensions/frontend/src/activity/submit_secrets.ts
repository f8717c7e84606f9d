// Which of the user's secrets a run is given, and how it reads each.
import { type Fields, make } from "./submit_fields";

/** A secret without its value; `name` has its owner where that is a group. */
export interface Secret {
  name: string;
  description: string;
}

/** The name of a variable for it, which is offered. */
export function variableFor(name: string): string {
  const plain = (name.split("/").pop() ?? "").toUpperCase().replace(/-/g, "_");
  return /^\d/.test(plain) ? `_${plain}` : plain;
}

/** The part of the form that gives secrets to a run. */
export class Secrets {
  constructor(
    place: HTMLElement,
    private fields: Fields,
    private known: Secret[],
  ) {
    const group = fields.group(place, "secrets", "Secrets");
    if (known.length === 0) {
      const none = make("small", "You have none. In a cell, ", group);
      make("code", 'yard.set_secret("warehouse")', none);
      none.append(" asks for a value and keeps it under that name.");
      return;
    }
    const list = make("div", "", group);
    list.className = "yard-submit-secrets";
    for (const one of known) this.offer(list, one);
  }

  /** What the form sends of it: those that are chosen. */
  get values(): object[] {
    const chosen = this.known.filter((one) => this.fields.value(`secret.${one.name}`));
    return chosen.map(({ name }) => ({
      secret: name,
      how: this.fields.value(`secret_how.${name}`),
      variable: this.fields.value(`secrets.${name}`),
    }));
  }

  private offer(place: HTMLElement, { name, description }: Secret): void {
    const chosen = this.fields.check(place, `secret.${name}`, name, false, description);
    const row = make("div", "", place);
    row.className = "yard-submit-row";
    const how = this.fields.choice(row, `secret_how.${name}`, `The run reads ${name}`, [
      ["name", `by yard.secret("${name}")`],
      ["variable", "from a variable"],
      ["path", "from a file"],
    ]);
    // The server says what is wrong with a secret by this name, and it is the variable.
    const [label, offered] = [`Variable for ${name}`, variableFor(name)];
    const variable = this.fields.text(row, `secrets.${name}`, label, offered, "gets the path of the file");
    const around = variable.parentElement as HTMLElement;
    const help = around.querySelector("small") as HTMLElement;
    const show = () => {
      row.hidden = !chosen.checked;
      around.hidden = how.value === "name";
      help.hidden = how.value !== "path";
    };
    chosen.onchange = show;
    how.onchange = show;
    show();
  }
}
