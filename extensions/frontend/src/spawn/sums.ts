// What a choice of sizes comes to, in words, and what it takes of the room that there is.

export interface Sizes {
  cpu?: number;
  memory?: number;
  shm?: number;
  gpus?: number;
  volume?: number;
}

export interface Kind {
  /** Part of the CPUs that is sure. */
  share: number;
  /** What the cluster calls this profile's GPUs. */
  resource: string;
}

export interface Room {
  need: string;
  free: number;
  total: number;
  of: string;
  resource: string;
  /** For servers of this profile alone; empty: for all. */
  profile: string;
}

export interface Claim {
  text: string;
  /** Whether it is more than is free. */
  over: boolean;
  /** Percent of the whole that others have, and that this takes. */
  others: number;
  takes: number;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Such as 512 MiB, 1.5 GiB: as the server says it. */
export function binary(count: number): string {
  let scaled = count;
  let unit = 0;
  while (scaled >= 1024 && unit < UNITS.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  return `${Number(scaled.toPrecision(4))} ${UNITS[unit]}`;
}

function some(count: number, unit: string): string {
  return `${Number(count.toPrecision(4))} ${unit}${count === 1 ? "" : "s"}`;
}

/** Such as: 2 CPUs (0.5 sure), 4 GiB of memory, of which 512 MiB can be shared memory. */
export function sentence(sizes: Sizes, kind: Kind): string {
  const parts: string[] = [];
  if (sizes.cpu !== undefined) {
    const sure = kind.share < 1 ? ` (${Number((sizes.cpu * kind.share).toPrecision(3))} sure)` : "";
    parts.push(`${some(sizes.cpu, "CPU")}${sure}`);
  }
  if (sizes.memory !== undefined) {
    const shared = sizes.shm ? `, of which ${binary(sizes.shm)} can be shared memory` : "";
    parts.push(`${binary(sizes.memory)} of memory${shared}`);
  }
  if (sizes.gpus) parts.push(some(sizes.gpus, "GPU"));
  if (sizes.volume) parts.push(`a home volume of ${binary(sizes.volume)}`);
  return parts.length ? `${parts.join("; ")}.` : "";
}

function need(room: Room, sizes: Sizes, kind: Kind): number | undefined {
  if (room.need === "cpu") return sizes.cpu;
  if (room.need === "cpu_sure") return sizes.cpu === undefined ? undefined : sizes.cpu * kind.share;
  if (room.need === "memory") return sizes.memory;
  if (room.need === "servers") return 1;
  if (room.need === "gpus") return room.resource === "" || room.resource === kind.resource ? sizes.gpus : undefined;
  return undefined;
}

/** What the sizes take of each room that they need; of those for single profiles, of this one's. */
export function claims(profile: string, sizes: Sizes, kind: Kind, rooms: Room[]): Claim[] {
  const mine = rooms.filter((room) => room.profile === "" || room.profile === profile);
  return mine.flatMap((room) => {
    const takes = need(room, sizes, kind);
    if (!takes) return [];
    const unit = { gpus: "GPU", servers: "server" }[room.need] ?? "CPU";
    const say = room.need === "memory" ? binary : (n: number) => some(n, unit);
    const sure = room.need === "cpu_sure" ? "sure " : "";
    const over = takes > room.free + 1e-9;
    const left = room.free > 0 ? `${over ? "only " : ""}${say(room.free)} free now` : "none free now";
    const text = `${say(takes)} of the ${sure}${say(room.total)} of ${room.of}; ${left}`;
    const percent = (n: number) => (room.total > 0 ? Math.min(100, (100 * n) / room.total) : 0);
    return [{ text, over, others: percent(room.total - room.free), takes: percent(takes) }];
  });
}
