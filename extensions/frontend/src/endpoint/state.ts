// What the kernel tells of an endpoint, and drafts of its traffic. Pure.
import type { Problem } from "../model";

export interface Row {
  number: number;
  version: string;
  /** Percent of the calls: as the owner wants, and as the router does. */
  wanted: number;
  applied: number;
  replicas: string;
  flavor: string;
  state: string;
  kind: "good" | "busy" | "bad";
  tail: string[];
}

export interface View {
  owner: string;
  name: string;
  url: string;
  description?: string;
  state?: string;
  kind?: "good" | "busy" | "bad";
  deleting?: boolean;
  conditions?: { what: string; holds: boolean; said: string }[];
  revisions?: Row[];
  older?: number;
  traffic?: Shares;
  rollback?: number | null;
  scaling?: [number, number];
  /** Why this person may not change it; empty when they may. */
  locked?: string;
  problem: Problem | null;
  gone: boolean;
}

/** Percent of the calls by revision number. */
export type Shares = Record<string, number>;

const of = (shares: Shares, number: string) => shares[number] ?? 0;

/** `percent` for one revision; the others keep their proportions, and together they stay 100. */
export function rebalanced(shares: Shares, number: string, percent: number): Shares {
  const mine = Math.max(0, Math.min(100, Math.round(percent)));
  const others = Object.keys(shares).filter((other) => other !== number);
  if (!others.length) return { ...shares, [number]: 100 };
  const before = others.reduce((sum, other) => sum + of(shares, other), 0);
  const rest = 100 - mine;
  // Where no other has any, the oldest gets the rest.
  const exact = others.map((other, i) => (before ? (rest * of(shares, other)) / before : i ? 0 : rest));
  const whole = exact.map(Math.floor);
  const left = rest - whole.reduce((sum, n) => sum + n, 0);
  const byRemainder = others.map((_, i) => i).sort((a, b) => remainder(exact[b]) - remainder(exact[a]) || a - b);
  for (const i of byRemainder.slice(0, left)) whole[i] = (whole[i] ?? 0) + 1;
  return Object.fromEntries([[number, mine], ...others.map((other, i) => [other, whole[i] ?? 0])]);
}

const remainder = (n = 0) => n - Math.floor(n);

export function same(a: Shares, b: Shares): boolean {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every((number) => of(a, number) === of(b, number));
}

/** Each change in words: "revision 2 gets 30 % of the calls (now 10 %)". */
export function words(before: Shares, after: Shares): string {
  const numbers = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort((a, b) => Number(a) - Number(b));
  return numbers
    .filter((number) => of(before, number) !== of(after, number))
    .map((number) => `revision ${number} gets ${of(after, number)} % of the calls (now ${of(before, number)} %)`)
    .join(", ");
}

/** What a canary leaves: `percent` to one, the rest to the one that has most of the others. */
export function canary(shares: Shares, number: string, percent: number): Shares {
  const others = Object.keys(shares)
    .filter((other) => other !== number && of(shares, other) > 0)
    .sort((a, b) => of(shares, b) - of(shares, a) || Number(a) - Number(b));
  return others[0] ? { [number]: percent, [others[0]]: 100 - percent } : { [number]: 100 };
}
