// A pipeline as a graph: each notebook right of those that it needs, in the colour of its state.
import { duration } from "../format";
import { quiet } from "../ui";
import type { Group, Member } from "./groups";
import { STATES } from "./run";

const [WIDTH, HEIGHT, GAP, ROW] = [168, 46, 44, 62];

export interface Placed {
  one: Member;
  x: number;
  y: number;
}

/** Where each goes: its column is one after the last of those that it needs. */
export function placed(members: readonly Member[]): Placed[] {
  const known = new Map(members.map((one) => [one.member, one]));
  const columns = new Map<string, number>();
  const column = (name: string): number => {
    const found = columns.get(name);
    if (found !== undefined) return found;
    columns.set(name, 0); // the hub service refuses circles; one would end here
    const needs = (known.get(name)?.needs ?? []).filter((need) => known.has(need));
    const at = needs.length ? 1 + Math.max(...needs.map(column)) : 0;
    columns.set(name, at);
    return at;
  };
  const rows: number[] = [];
  return members.map((one) => {
    const at = column(one.member);
    const row = rows[at] ?? 0;
    rows[at] = row + 1;
    return { one, x: at * (WIDTH + GAP), y: row * ROW };
  });
}

export function Graph({ group, open, onOpen }: { group: Group; open: string; onOpen: (run: string) => void }) {
  const places = placed(group.members);
  const by = new Map(places.map((place) => [place.one.member, place]));
  const width = Math.max(...places.map((place) => place.x)) + WIDTH;
  const height = Math.max(...places.map((place) => place.y)) + HEIGHT;
  const edges = places.flatMap((to) => to.one.needs.flatMap((need) => (by.get(need) ? [[by.get(need) as Placed, to] as const] : []))); // biome-ignore format: one thing
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard
    <section class="my-graph" tabIndex={0} aria-label={`The steps of ${group.name}`} {...quiet}>
      <div style={{ position: "relative", width: `${width}px`, height: `${height}px` }}>
        <svg width={width} height={height} aria-hidden="true">
          {edges.map(([from, to]) => {
            const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
            const bend = GAP / 2;
            return (
              <path
                key={`${from.one.member} ${to.one.member}`}
                d={`M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2 - 5},${y2} m-5,-4 l5,4 l-5,4`}
              />
            );
          })}
        </svg>
        {places.map(({ one, x, y }) => (
          <Step key={one.member} one={one} x={x} y={y} open={one.run === open} onOpen={() => onOpen(one.run)} />
        ))}
      </div>
    </section>
  );
}

function Step(given: Placed & { open: boolean; onOpen: () => void }) {
  const { one } = given;
  const [sign, kind] = STATES[one.state] ?? ["", "dim"];
  const cells = one.state === "running" && one.cells ? ` ${one.cell}/${one.cells}` : "";
  const needs = one.needs.length ? `, needs ${one.needs.join(", ")}` : "";
  return (
    <button
      type="button"
      class={`my-step my-step-${kind}`}
      style={{ left: `${given.x}px`, top: `${given.y}px`, width: `${WIDTH}px`, height: `${HEIGHT}px` }}
      title={one.said || undefined}
      aria-label={`${one.member}: ${one.state}${needs}`}
      aria-expanded={given.open}
      onClick={given.onOpen}
      {...quiet}
    >
      <b>{one.member}</b>
      <span class={`my-${kind}`}>
        {sign} {one.state}
        {cells}
        {one.seconds === null ? "" : ` · ${duration(one.seconds)}`}
      </span>
    </button>
  );
}
