// A sweep as a plot: lines over a parameter that is a number, else bars. Pure.
import type { Curve } from "../curves";
import type { Group, Member } from "./groups";

/** Lines that can be told apart. */
const MOST = 7;
/** Between the largest and the smallest, above which the axis is logarithmic. */
const WIDE = 100;

function recorded(group: Group, y: string): [Member, number][] {
  return group.members.flatMap((one) => {
    const value = one.results[y];
    return typeof value === "number" ? [[one, value] as [Member, number]] : [];
  });
}

/** A line for each value of the next parameter that varies; null where `x` is no number. */
export function curves(group: Group, x: string, y: string): { curves: Curve[]; log: boolean } | null {
  const points = recorded(group, y);
  const at = points.map(([one]) => one.parameters[x]);
  if (!points.length || !at.every((value) => typeof value === "number")) return null;
  const by = group.parameters.find((name) => name !== x);
  const lines = new Map<string, [number, number][]>();
  points.forEach(([one, value], i) => {
    const name = by ? `${by} ${one.parameters[by]}` : y;
    lines.set(name, [...(lines.get(name) ?? []), [at[i] as number, value]]);
  });
  if (lines.size > MOST) return null;
  const low = Math.min(...(at as number[]));
  return {
    curves: [...lines].map(([name, line]) => {
      line.sort((a, b) => a[0] - b[0]);
      return { name, x: Float32Array.from(line.map(([v]) => v)), y: Float32Array.from(line.map(([, v]) => v)) };
    }),
    log: low > 0 && Math.max(...(at as number[])) / low >= WIDE,
  };
}

/** The best first as far as that is known: the largest. */
export function bars(group: Group, x: string, y: string): { name: string; value: number; share: number }[] {
  const points = recorded(group, y).sort((a, b) => b[1] - a[1]);
  const most = Math.max(...points.map(([, value]) => Math.abs(value))) || 1;
  const names = group.parameters.length > 1 ? ([one]: [Member, number]) => one.member : ([one]: [Member, number]) => `${one.parameters[x]}`; // biome-ignore format: one thing
  return points
    .slice(0, 30)
    .map((point) => ({ name: names(point), value: point[1], share: Math.abs(point[1]) / most }));
}
