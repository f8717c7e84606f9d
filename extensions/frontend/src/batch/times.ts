// Points in time as people read them, in a zone or in the viewer's own.

/** Such as "Mon, Nov 30, 02:30", by the browser's language; `zone` left out: the viewer's. */
export function moment(seconds: number, zone?: string): string {
  const options: Intl.DateTimeFormatOptions = {
    weekday: "short",
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
  };
  try {
    return new Date(seconds * 1000).toLocaleString(undefined, zone ? { ...options, timeZone: zone } : options);
  } catch {
    return `${new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`; // a zone that it does not know
  }
}

/** The viewer's own zone. */
export function ownZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

/** Whether those times are called the same in both zones. */
export function same(times: readonly number[], zone: string): boolean {
  return times.every((time) => moment(time, zone) === moment(time));
}

/** Names of zones to choose from. */
export function zones(): string[] {
  return ["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])];
}
