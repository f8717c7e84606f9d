// What the notebook's corner says, from what the server says of the work in it.

/** What `GET modelyard/activity` answers; times in seconds of the server's clock. */
export interface Activity {
  now: number;
  started: number;
  last: number;
  busy: string[];
  keep_until: number;
  ends_at: number;
  keep: number;
  gpus: number;
  gpu_last: number;
  use: Use;
}

export interface Use {
  cpu_peak: number;
  cpu_limit: number | null;
  memory: number;
  memory_peak: number;
  shm_peak: number;
  memory_limit: number | null;
  shm: number;
  shm_limit: number | null;
}

/** Seconds without a use of the GPU after which a smaller server is offered. */
export const GPU_IDLE = 30 * 60;

/** `9:05`, or with hours `1:09:05`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const pad = (n: number) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

/** `2 h`, `30 min`. */
export function span(seconds: number): string {
  if (seconds >= 3600) return `${Number((seconds / 3600).toFixed(1))} h`;
  return seconds >= 60 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds)} s`;
}

/** The countdown; nothing where it is not ended. */
export function countdown(seen: Activity, now: number): string {
  if (!seen.ends_at) return "";
  return `Nothing is at work here. This server is stopped in ${clock(seen.ends_at - now)}. Files are kept, variables are not.`;
}

/** That a GPU lies idle; nothing where there is none, or it is used. */
export function unused(seen: Activity): string {
  const idle = seen.now - Math.max(seen.gpu_last, seen.started);
  if (!seen.gpus || idle < GPU_IDLE) return "";
  const what = seen.gpus > 1 ? `The ${seen.gpus} GPUs have` : "The GPU has";
  return `${what} not been used for ${span(idle)}. A size without one starts at once and leaves it to others.`;
}

/** Seconds of use after which a smaller size may be suggested. */
export const LONG = 2 * 3600;

/** What another size would be better for; nothing where this one fits. Only of sizes that are a server's own. */
export function advice(seen: Activity): string {
  const { use } = seen;
  if (!use.shm_limit || !use.memory_limit) return "";
  if (use.shm_peak > 0.9 * use.shm_limit)
    return `Shared memory was nearly full: ${amount(use.shm_peak, use.shm_limit)}. Choose more of it.`;
  if (use.memory_peak > 0.9 * use.memory_limit)
    return `Memory was nearly full: ${amount(use.memory_peak, use.memory_limit)}. A larger size is safer.`;
  const much = use.memory_peak > 0.4 * use.memory_limit || use.cpu_peak > 0.5 * (use.cpu_limit ?? 0);
  if (much || seen.now - seen.started < LONG) return "";
  return `At most ${amount(use.memory_peak, use.memory_limit)} of memory were used since the start. A smaller size would do.`;
}

function amount(used: number, limit: number): string {
  const unit = limit >= 2 ** 30 ? 2 ** 30 : 2 ** 20;
  const show = (bytes: number) => Number((bytes / unit).toFixed(unit === 2 ** 30 ? 1 : 0));
  return `${show(used)} of ${show(limit)} ${unit === 2 ** 30 ? "GiB" : "MiB"}`;
}

/** A gauge: how full, and its words. */
export function gauge(name: string, used: number, limit: number | null): { share: number; words: string } | null {
  if (!limit) return null;
  return { share: Math.min(1, used / limit), words: `${name} ${amount(used, limit).replace(" of ", " / ")}` };
}
