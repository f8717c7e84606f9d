// The spawn page: the sliders and numbers of the chosen profile, what they come to, and what is wrong beside its field.
// The server checks all of it again.
import { binary, claims, type Kind, type Room, type Sizes, sentence } from "./sums";

interface Data {
  rooms: Room[];
  profiles: Record<string, Kind>;
}

/** One amount: a slider, a number that can be typed, and the exact value that is sent. */
class Field {
  readonly name: string;
  private readonly factor: number;
  private readonly slider: HTMLInputElement | null;
  private readonly number: HTMLInputElement | null;
  private readonly sent: HTMLInputElement | null;
  private readonly error: HTMLElement;
  private readonly most: number;

  constructor(
    private readonly row: HTMLElement,
    changed: (field: Field) => void,
  ) {
    this.name = row.dataset.field ?? "";
    this.factor = Number(row.dataset.factor);
    this.slider = row.querySelector("input[type=range]");
    this.number = row.querySelector("input[type=number]");
    this.sent = row.querySelector("input[type=hidden]");
    this.error = row.querySelector(".yard-error") as HTMLElement;
    this.most = Number(this.number?.max);
    this.slider?.addEventListener("input", () => {
      if (this.number && this.slider) this.number.value = this.slider.value;
      changed(this);
    });
    this.number?.addEventListener("input", () => {
      if (this.number && this.slider) this.slider.value = this.number.value;
      changed(this);
    });
  }

  /** In bytes, CPUs or GPUs; undefined while it is none. */
  get value(): number | undefined {
    if (!this.number) return Number(this.row.dataset.value);
    return this.number.value === "" ? undefined : this.number.valueAsNumber * this.factor;
  }

  get allowed(): boolean {
    return this.number === null || this.number.checkValidity();
  }

  /** Have this amount, in bytes, CPUs or GPUs. */
  set(amount: number): void {
    if (!this.number || !this.slider) return;
    this.number.value = String(Number((amount / this.factor).toFixed(6)));
    this.slider.value = this.number.value;
  }

  /** Allow no more than `amount`, and have no more. */
  limit(amount: number): void {
    if (!this.number || !this.slider) return;
    const low = Number(this.number.min);
    const step = Number(this.number.step);
    const steps = Math.floor((Math.min(this.most, amount / this.factor) - low) / step + 1e-6);
    const most = String(Number((low + steps * step).toFixed(6)));
    const above = this.allowed && this.number.valueAsNumber > Number(most);
    this.number.max = most;
    this.slider.max = most;
    if (above) this.number.value = most;
    this.slider.value = this.number.value;
  }

  /** Have what is sent, and what is said beside the field, as it is now. */
  settle(): void {
    if (!this.number || !this.sent) return;
    this.sent.value = String(this.factor > 1 ? Math.round(this.value ?? 0) : (this.value ?? ""));
    const say = (text: string) => (this.factor > 1 ? binary(Number(text) * this.factor) : text);
    const capped = Number(this.number.max) < this.most ? " (shared memory is part of the memory)" : "";
    const range = capped
      ? `Choose ${say(this.number.min)} to ${say(this.number.max)}${capped}.`
      : `Choose ${this.row.dataset.allowed}.`;
    this.error.textContent = this.allowed ? "" : range;
    this.error.hidden = this.allowed;
    this.number.setAttribute("aria-invalid", String(!this.allowed));
  }

  focus(): void {
    this.number?.focus();
  }
}

/** The sizes of one profile. */
class Card {
  readonly name: string;
  private readonly fields: Field[];

  constructor(
    private readonly box: HTMLFieldSetElement,
    changed: () => void,
  ) {
    this.name = box.dataset.profile ?? "";
    this.fields = [...box.querySelectorAll<HTMLElement>("[data-field]")].map(
      (row) =>
        new Field(row, (field) => {
          this.follow();
          field.settle();
          changed();
        }),
    );
  }

  show(chosen: boolean): void {
    this.box.disabled = !chosen;
    this.box.hidden = !chosen;
    if (chosen) this.follow();
  }

  get sizes(): Sizes {
    return Object.fromEntries(this.fields.map((field) => [field.name, field.value]));
  }

  /** The first field with something that is not allowed. */
  get wrong(): Field | undefined {
    return this.fields.find((field) => !field.allowed);
  }

  /** Have these amounts. Shared memory is bounded by the memory, which comes first. */
  set(choice: Record<string, number>): void {
    for (const field of this.fields) {
      const amount = choice[field.name];
      if (amount === undefined) continue;
      field.set(amount);
      if (field.name === "memory") this.follow();
    }
    this.settle();
  }

  settle(): void {
    for (const field of this.fields) field.settle();
  }

  private follow(): void {
    const memory = this.fields.find((field) => field.name === "memory");
    const shm = this.fields.find((field) => field.name === "shm");
    if (!shm || !memory?.allowed || memory.value === undefined) return;
    shm.limit(memory.value);
    shm.settle();
  }
}

/** Bring a form to life. */
export function start(form: HTMLFormElement): void {
  const data: Data = JSON.parse(form.querySelector("#yard-data")?.textContent ?? "{}");
  const says = form.querySelector("#yard-sentence") as HTMLElement;
  const rooms = form.querySelector("#yard-rooms") as HTMLElement;
  const button = form.querySelector("button[type=submit]") as HTMLButtonElement;
  const radios = [...form.querySelectorAll<HTMLInputElement>("input[name=profile]")];
  const cards = [...form.querySelectorAll<HTMLFieldSetElement>(".yard-sizes")].map((box) => new Card(box, update));
  const chosen = () => cards.find((card) => card.name === radios.find((radio) => radio.checked)?.value);

  function update(): void {
    const card = chosen();
    const kind = data.profiles[card?.name ?? ""];
    if (!card || !kind) return;
    says.textContent = card.wrong ? "" : sentence(card.sizes, kind);
    rooms.replaceChildren(...claims(card.name, card.sizes, kind, data.rooms).map(line));
  }

  function select(): void {
    const card = chosen();
    for (const one of cards) one.show(one === card);
    update();
  }

  for (const radio of radios) radio.addEventListener("change", select);
  const fits = form.querySelector<HTMLButtonElement>(".yard-fits button");
  fits?.addEventListener("click", () => {
    const radio = radios.find((one) => one.value === fits.dataset.profile);
    if (!radio) return;
    radio.checked = true;
    cards.find((card) => card.name === radio.value)?.set(JSON.parse(fits.dataset.choice ?? "{}"));
    select();
    radio.focus();
  });
  form.addEventListener("submit", (event) => {
    const card = chosen();
    card?.settle();
    const wrong = card?.wrong;
    if (wrong) {
      event.preventDefault();
      wrong.focus();
      return;
    }
    button.disabled = true;
    button.textContent = "Starting…";
  });
  // A page that is come back to is as it was.
  addEventListener("pageshow", () => {
    button.disabled = false;
    button.textContent = "Start";
    select();
  });
  select();
}

function line(claim: { text: string; over: boolean; others: number; takes: number }): HTMLElement {
  const item = document.createElement("li");
  item.className = claim.over ? "yard-over" : "";
  const bar = document.createElement("span");
  bar.className = "yard-bar";
  bar.setAttribute("aria-hidden", "true");
  for (const [name, width] of [
    ["yard-others", claim.others],
    ["yard-takes", Math.min(claim.takes, 100 - claim.others)],
  ] as const) {
    const part = document.createElement("span");
    part.className = name;
    part.style.width = `${width}%`;
    bar.append(part);
  }
  item.append(claim.text, bar);
  return item;
}

const form = document.querySelector<HTMLFormElement>("#spawn_form");
if (form) start(form);
