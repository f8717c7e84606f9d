// The corner of JupyterLab and Notebook: that this server is about to be stopped, with a button that keeps it; that a GPU
// lies idle; how full memory and shared memory are. It also tells the server that somebody is there.
import { call, NoServer } from "../server";
import style from "./activity.css";
import { type Activity, advice, countdown, gauge, span, unused } from "./words";

const CALM = 20_000;
const SOON = 5_000;
const HERE = 60_000;
const OFFERED = 60_000;
const SIGNS = ["pointermove", "pointerdown", "keydown", "wheel"];

/** Words on a button, and what it does. */
type Action = [string, () => void];

const GOES_ON = "You are here: this server goes on. Keep it, if you leave it to itself now.";

export class Corner {
  private seen: Activity | null = null;
  private ahead = 0;
  private toldAt = Number.NEGATIVE_INFINITY;
  private quiet = false;
  private offered = 0;
  private timer = 0;
  private readonly card = document.createElement("div");
  private readonly gauges = document.createElement("div");
  private readonly ticking: number;
  private readonly sign = () => this.present();

  /** `home`: where another size is chosen. */
  constructor(
    private readonly home: string,
    private readonly ask: (path: string, body?: unknown) => Promise<unknown> = activity,
  ) {
    const sheet = document.createElement("style");
    sheet.textContent = style;
    this.card.className = "yard-corner";
    this.card.setAttribute("role", "status");
    this.gauges.className = "yard-gauges";
    document.body.append(sheet, this.gauges, this.card);
    for (const name of SIGNS) document.addEventListener(name, this.sign, { capture: true, passive: true });
    this.ticking = window.setInterval(() => this.draw(), 1000);
    void this.look();
  }

  /** Stop looking. */
  close(): void {
    window.clearTimeout(this.timer);
    window.clearInterval(this.ticking);
    for (const name of SIGNS) document.removeEventListener(name, this.sign, { capture: true });
    this.card.remove();
    this.gauges.remove();
  }

  private async look(path = "", body?: unknown): Promise<void> {
    window.clearTimeout(this.timer);
    try {
      this.seen = (await this.ask(path, body)) as Activity;
      this.ahead = this.seen.now - Date.now() / 1000;
      this.draw();
    } catch (error) {
      if (error instanceof NoServer) return this.close();
      // it is away for a moment, or for good: JupyterLab says so
    }
    this.timer = window.setTimeout(() => void this.look(), this.seen?.ends_at ? SOON : CALM);
  }

  /** Somebody moves: told once a minute, and at once where that saves the server. */
  private present(): void {
    const now = Date.now();
    if (now - this.toldAt < (this.seen?.ends_at ? 1000 : HERE)) return;
    this.toldAt = now;
    void this.look("/here", {});
  }

  private draw(): void {
    const seen = this.seen;
    if (!seen) return;
    const ends = countdown(seen, Date.now() / 1000 + this.ahead);
    const lies = ends || this.quiet ? "" : unused(seen) || advice(seen);
    const keep = (seconds: number): Action => [`Keep for ${span(seconds)}`, () => this.keep(seconds)];
    if (ends) {
      this.offered = Date.now() + OFFERED;
      this.show(ends, seen.keep ? keep(seen.keep) : null);
    } else if (Date.now() < this.offered && seen.keep) {
      // Whoever moves towards the button has saved it already.
      this.show(GOES_ON, keep(seen.keep), () => this.withdraw());
    } else if (lies) {
      this.show(lies, ["Choose another size", () => window.open(this.home, "_blank")], () => {
        this.quiet = true;
        this.draw();
      });
    } else this.card.replaceChildren();
    this.drawGauges(seen);
  }

  private keep(seconds: number): void {
    if (this.seen) this.seen = { ...this.seen, ends_at: 0 };
    this.withdraw();
    void this.look("/keep", { seconds });
  }

  private withdraw(): void {
    this.offered = 0;
    this.draw();
  }

  private show(words: string, action: Action | null, close?: () => void): void {
    let text = this.card.querySelector("p");
    if (!text) {
      text = document.createElement("p");
      this.card.replaceChildren(text);
    }
    text.textContent = words;
    this.place("yard-do", action, text);
    this.place("yard-close", close ? ["Not now", close] : null, this.card.lastElementChild ?? text);
  }

  /** The button of that class, after `before`. One that is being pressed stays the same: else its click would be lost. */
  private place(name: string, action: Action | null, before: Element): void {
    let made = this.card.querySelector<HTMLButtonElement>(`.${name}`);
    if (!action) {
      made?.remove();
      return;
    }
    if (!made) {
      made = document.createElement("button");
      made.className = name;
      before.after(made);
    }
    if (made.textContent !== action[0]) made.textContent = action[0];
    made.onclick = action[1];
  }

  private drawGauges(seen: Activity): void {
    const found = [
      gauge("memory", seen.use.memory, seen.use.memory_limit),
      gauge("shm", seen.use.shm, seen.use.shm_limit),
    ].filter((one) => one !== null);
    this.gauges.replaceChildren(
      ...found.map(({ share, words }) => {
        const shown = document.createElement("span");
        shown.className = share > 0.9 ? "yard-gauge yard-full" : "yard-gauge";
        shown.textContent = words;
        shown.style.setProperty("--yard-share", `${Math.round(share * 100)}%`);
        return shown;
      }),
    );
  }
}

async function activity(path: string, body?: unknown): Promise<unknown> {
  const answer = await call(`modelyard/activity${path}`, body === undefined ? "GET" : "POST", body);
  if (answer.status === 404) throw new NoServer();
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}
