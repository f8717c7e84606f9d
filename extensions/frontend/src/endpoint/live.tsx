// Rates and latencies of the last minutes, by revision.
import { useEffect, useMemo, useState } from "preact/hooks";
import { Chart } from "../chart";
import type { Curve } from "../curves";
import { bytes, number } from "../format";
import { ask, type Model, useTrait } from "../model";
import type { View } from "./state";

/** Requests and errors a second, p50 and p99 in ms, calls under way, memory in bytes; null: not known. */
export type Rate = (number | null)[];
export type Point = [at: number, revisions: Record<string, Rate>];

const WINDOW = 300;
const [REQUESTS, ERRORS, P50, P99, FLYING, MEMORY] = [0, 1, 2, 3, 4, 5];

/** The points of this page, and those that the kernel had before. */
export function usePoints(model: Model): Point[] {
  const live = useTrait<{ at?: number; revisions?: Record<string, Rate> }>(model, "live");
  const [points, setPoints] = useState<Point[]>([]);
  useEffect(() => {
    ask(model, "history").then(
      (found) => setPoints((now) => merged(found as Point[], now)),
      () => {}, // without it the charts begin now
    );
  }, [model]);
  useEffect(() => {
    const { at, revisions } = live ?? {};
    if (at !== undefined && revisions) setPoints((now) => merged(now, [[at, revisions]]));
  }, [live]);
  return points;
}

/** All points once, in order, of the last minutes. */
export function merged(a: Point[], b: Point[]): Point[] {
  const all = [...new Map([...a, ...b].map((point) => [point[0], point])).values()].sort((x, y) => x[0] - y[0]);
  const newest = all[all.length - 1]?.[0] ?? 0;
  return all.filter((point) => point[0] > newest - WINDOW);
}

/** One of the values of each revision that has any, over seconds before the newest point. */
export function curves(points: Point[], value: number, name: (revision: string) => string): Curve[] {
  const newest = points[points.length - 1]?.[0] ?? 0;
  const revisions = [...new Set(points.flatMap(([, found]) => Object.keys(found)))].sort(
    (a, b) => Number(a) - Number(b),
  );
  return revisions.map((revision) => {
    const own = points.filter(([, found]) => revision in found);
    return {
      name: name(revision),
      x: Float32Array.from(own, ([at]) => at - newest),
      y: Float32Array.from(own, ([, found]) => found[revision]?.[value] ?? Number.NaN),
    };
  });
}

export function Live({ view, points }: { view: View; points: Point[] }) {
  const named = (revision: string) => `revision ${revision}`;
  const drawn = useMemo(
    () => ({
      requests: curves(points, REQUESTS, named),
      errors: curves(points, ERRORS, named),
      latency: [
        ...curves(points, P50, (revision) => `${named(revision)} p50`),
        ...curves(points, P99, (revision) => `${named(revision)} p99`),
      ],
    }),
    [points],
  );
  const last = points[points.length - 1]?.[1] ?? {};
  if (!points.length) return <p role="status">Measuring: the first figures come in a few seconds.</p>;
  return (
    <div>
      <div class="my-scroll">
        <table aria-label="Now">
          <thead>
            <tr>
              {["Revision", "Calls a second", "Errors a second", "p50, ms", "p99, ms", "Under way", "Memory"].map(
                (title) => (
                  <th key={title} scope="col" class={title === "Revision" ? "" : "my-number"}>
                    {title}
                  </th>
                ),
              )}
            </tr>
          </thead>
          <tbody>
            {(view.revisions ?? []).map((row) => {
              const rate = last[row.number] ?? [];
              const memory = rate[MEMORY];
              return (
                <tr key={row.number}>
                  <td>{row.number}</td>
                  {[REQUESTS, ERRORS, P50, P99, FLYING].map((value) => (
                    <td key={value} class="my-number">
                      {number(rate[value])}
                    </td>
                  ))}
                  <td class="my-number">{memory ? bytes(memory) : "–"}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      <div class="my-columns">
        <Chart title="Calls a second" curves={drawn.requests} xLabel="seconds ago" height={150} />
        <Chart title="Latency, ms" curves={drawn.latency} xLabel="seconds ago" height={150} />
        <Chart title="Errors a second" curves={drawn.errors} xLabel="seconds ago" height={150} />
      </div>
      <p class="my-dim">
        Measured every two seconds while the panel is in sight. Latencies are those of the model server; a dash means
        that no call came.
      </p>
    </div>
  );
}
