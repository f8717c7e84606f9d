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
  memory: number;
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

/** A gauge: how full, and its words. */
export function gauge(name: string, used: number, limit: number | null): { share: number; words: string } | null {
  if (!limit) return null;
  const unit = limit >= 2 ** 30 ? 2 ** 30 : 2 ** 20;
  const show = (bytes: number) => Number((bytes / unit).toFixed(unit === 2 ** 30 ? 1 : 0));
  const words = `${name} ${show(used)} / ${show(limit)} ${unit === 2 ** 30 ? "GiB" : "MiB"}`;
  return { share: Math.min(1, used / limit), words };
}
