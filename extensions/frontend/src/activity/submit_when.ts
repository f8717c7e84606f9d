// When a notebook is to run: now, by a cron line, which is read out before it is saved, or for new files.
import { moment, ownZone, same, zones } from "../batch/times";
import { type Fields, make, type Said, words } from "./submit_fields";

export type Ask = (query: string, body?: unknown) => Promise<unknown>;

/** Milliseconds without a key, after which the line is read out. */
export const TYPING = 300;
const LINES: [string, string][] = [
  ["0 5 * * *", "every day at 05:00"],
  ["0 5 * * MON-FRI", "on weekdays at 05:00"],
  ["0 5 * * MON", "every Monday at 05:00"],
  ["0 5 1 * *", "on the first of each month at 05:00"],
  ["0 * * * *", "every hour"],
  ["", "by a cron line"],
];
const KEYS =
  "A bucket is listed with keys of yours: give the run two secrets, as the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.";

/** A text as the name of a schedule, as the library makes it. */
export function scheduleName(text: string): string {
  const plain = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "");
  return plain.slice(0, 63).replace(/-+$/, "") || "notebook";
}

/** The part of the form that says when; `changed` is called where somebody chose something else. */
export class When {
  private chosen: HTMLSelectElement;
  private often: HTMLSelectElement;
  private inside: HTMLElement;
  private read: HTMLElement;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private round = 0;

  constructor(
    place: HTMLElement,
    private fields: Fields,
    private ask: Ask,
    changed: () => void,
  ) {
    this.chosen = fields.choice(place, "when", "When", [
      ["now", "Now, once"],
      ["schedule", "On a schedule"],
      ["files", "When new files arrive in a folder or bucket"],
    ]);
    const watched = make("div", "", place);
    watched.hidden = true;
    const where = this.fields.text(
      watched,
      "on_files",
      "Folder or bucket",
      "",
      "an absolute path, or s3://bucket/key; the parameter files gets the list of what is new",
    );
    const keys = make("p", "", watched);
    keys.className = "yard-submit-soft";
    where.oninput = () => {
      keys.textContent = where.value.trim().startsWith("s3://") ? KEYS : "";
    };
    this.inside = make("div", "", place);
    this.inside.className = "yard-submit-when";
    this.inside.hidden = true;
    this.often = fields.choice(this.inside, "often", "How often", LINES);
    const row = make("div", "", this.inside);
    row.className = "yard-submit-row";
    const cron = fields.text(
      row,
      "cron",
      "Cron line",
      this.often.value,
      "minute, hour, day of the month, month, day of the week",
    );
    const zone = fields.text(row, "time_zone", "Time zone", ownZone());
    const list = make("datalist", "", this.inside);
    list.id = "yard-submit-zones";
    for (const name of zones()) list.append(new Option(name, name));
    zone.setAttribute("list", list.id);
    this.read = make("div", "", this.inside);
    this.read.className = "yard-submit-read";
    this.read.setAttribute("role", "status");
    this.chosen.onchange = () => {
      this.inside.hidden = !this.timed;
      watched.hidden = this.chosen.value !== "files";
      changed();
      this.again();
    };
    this.often.onchange = () => {
      if (this.often.value) cron.value = this.often.value;
      else cron.focus();
      void this.look();
    };
    for (const input of [cron, zone])
      input.oninput = () => {
        if (input === cron) this.often.value = LINES.some(([line]) => line === cron.value) ? cron.value : "";
        clearTimeout(this.timer);
        this.timer = setTimeout(() => void this.look(), TYPING);
      };
  }

  /** Whether it makes a schedule, of times or of files. */
  get scheduled(): boolean {
    return this.chosen.value !== "now";
  }

  private get timed(): boolean {
    return this.chosen.value === "schedule";
  }

  /** What the form sends of it. */
  get values(): object {
    if (!this.scheduled) return {};
    if (!this.timed) return { on_files: this.fields.value("on_files") };
    return { cron: this.fields.value("cron"), time_zone: this.fields.value("time_zone") };
  }

  /** Read the line out once more. */
  again(): void {
    if (this.timed) void this.look();
  }

  private async look(): Promise<void> {
    clearTimeout(this.timer);
    this.round += 1;
    const round = this.round;
    const cron = String(this.fields.value("cron"));
    const zone = String(this.fields.value("time_zone"));
    try {
      const query = `?cron=${encodeURIComponent(cron)}&time_zone=${encodeURIComponent(zone)}`;
      const found = (await this.ask(query)) as { words: string; next: number[] };
      if (round !== this.round) return;
      for (const name of ["cron", "time_zone"]) this.fields.clear(name);
      this.show(found, zone);
    } catch (error) {
      if (round !== this.round) return;
      this.read.replaceChildren();
      for (const name of ["cron", "time_zone"]) this.fields.clear(name);
      const field = (error as Said).field ?? "";
      if (!this.fields.wrong(field, words(error), true)) make("p", words(error), this.read);
    }
  }

  private show(found: { words: string; next: number[] }, zone: string): void {
    this.read.replaceChildren();
    make("strong", found.words, this.read);
    const list = make("ol", "", this.read);
    const one = same(found.next, zone);
    for (const time of found.next)
      make("li", one ? moment(time, zone) : `${moment(time, zone)} (${moment(time)} your time)`, list);
  }
}
