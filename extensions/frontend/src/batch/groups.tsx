// Sweeps and pipelines: the list of them, and one with its members: a plot and a table, or the notebooks as a graph.
import { useMemo, useState } from "preact/hooks";
import { Chart } from "../chart";
import { duration, number } from "../format";
import { type Model, useAction } from "../model";
import { Bar, Button, Choice, ProblemBox, quiet, Stack } from "../ui";
import { Graph } from "./graph";
import { usePolled } from "./poll";
import { RunById, StateWord } from "./run";
import type { Given } from "./runs";
import { bars, curves } from "./sweep";

export interface GroupRow {
  id: string;
  name: string;
  owner: string;
  kind: "sweep" | "pipeline";
  state: string;
  counts: Record<string, number>;
  created: number;
}

type Value = string | number | boolean | null;

export interface Member {
  member: string;
  run: string;
  state: string;
  said: string;
  needs: string[];
  parameters: Record<string, Value>;
  results: Record<string, Value>;
  seconds: number | null;
  cell: number;
  cells: number;
  expected: number | null;
  output: string;
}

export interface Group extends GroupRow {
  parallel: number;
  /** Names of those that vary, of what was recorded, and of what is a number of that. */
  parameters: string[];
  results: string[];
  numbers: string[];
  members: Member[];
  digest: string;
}

const ORDER = ["succeeded", "running", "queued", "failed", "cancelled"];

export function GroupList({ model, rows, disabled, empty }: Given<GroupRow>) {
  const [open, setOpen] = useState("");
  const shown = rows.find((row) => row.id === open);
  if (rows.length === 0)
    return empty ? (
      <p class="my-dim">
        No sweeps and pipelines yet: yard.sweep("train.ipynb", grid={"{"}"depth": [2, 4, 8]{"}"}) makes one.
      </p>
    ) : null;
  const cells = rows.map((row) => ({
    key: row.id,
    cells: [
      <>
        <b title={row.id}>{row.name}</b>
        <br />
        <small class="my-dim">
          {row.owner} ·{" "}
          {new Date(row.created * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" })}
        </small>
      </>,
      row.kind,
      <StateWord key="state" state={row.state} />,
      <Counts key="counts" row={row} />,
      <Button
        key="open"
        label={row.id === open ? "Close" : "Open"}
        pressed={row.id === open}
        onClick={() => setOpen(row.id === open ? "" : row.id)}
      />,
    ],
  }));
  return (
    <>
      <Stack label="Sweeps and pipelines" head={["Name", "Kind", "State", "Members", "Actions"]} rows={cells} />
      {shown && <GroupView key={shown.id} model={model} id={shown.id} disabled={disabled} />}
    </>
  );
}

function Counts({ row }: { row: Pick<GroupRow, "counts" | "name"> }) {
  const all = Object.values(row.counts).reduce((sum, n) => sum + n, 0);
  const open = (row.counts.running ?? 0) + (row.counts.queued ?? 0);
  const said = ORDER.filter((state) => row.counts[state]).map((state) => `${row.counts[state]} ${state}`);
  return (
    <>
      {said.join(", ")}
      {open > 0 && <Bar label={`Members of ${row.name} that have ended`} fraction={(all - open) / (all || 1)} />}
    </>
  );
}

/** `inside`: of a run's own view, which has the title already. */
export function GroupView(given: { model: Model; id: string; disabled: boolean; inside?: boolean }) {
  const { model, id } = given;
  const { found, problem, again } = usePolled<Group>(model, "group", { id }, (group) => group.state !== "running");
  const action = useAction(model);
  const [sure, setSure] = useState(false);
  const [open, setOpen] = useState("");
  if (!found) return problem ? <ProblemBox problem={problem} /> : <p class="my-dim">Fetching…</p>;
  const act = async (name: string) => {
    setSure(false);
    await action.run(name, { id });
    again();
  };
  const disabled = given.disabled || !!action.pending;
  const running = found.state === "running";
  const choose = (run: string) => setOpen(run === open ? "" : run);
  return (
    <section class="my-below" aria-label={`${found.kind} ${found.name}`}>
      <header class="my-head">
        <h3 class="my-title">
          {given.inside ? `The ${found.kind} ` : ""}
          {found.name}
        </h3>
        <span class="my-row my-tight">
          <StateWord state={found.state} />
          {running && !sure && <Button label="Cancel…" disabled={disabled} onClick={() => setSure(true)} />}
          {found.state === "failed" && (
            <Button
              label={found.kind === "pipeline" ? "Rerun from the failed one" : "Rerun the failed ones"}
              kind="primary"
              hint="Those that have not succeeded run again; the others do not."
              disabled={disabled}
              onClick={() => void act("rerun")}
            />
          )}
        </span>
      </header>
      {sure && (
        <fieldset class="my-draft" aria-label={`Cancel ${found.name}`}>
          <p>Cancel all runs of {found.name} that have not ended? What they made so far is kept.</p>
          <Button label="Cancel them" kind="danger" disabled={disabled} onClick={() => void act("cancel_group")} />
          <Button label="Let them run" onClick={() => setSure(false)} />
        </fieldset>
      )}
      <ProblemBox problem={action.problem ?? problem} onDismiss={action.dismiss} />
      <Counts row={found} />
      {found.kind === "pipeline" ? <Graph group={found} open={open} onOpen={choose} /> : <Plot group={found} />}
      <Members group={found} open={open} onOpen={choose} />
      {open && <RunById key={open} model={model} id={open} onClose={() => setOpen("")} />}
    </section>
  );
}

/** A number that members recorded, over one of the parameters. */
function Plot({ group }: { group: Group }) {
  const [chosenY, setY] = useState("");
  const [chosenX, setX] = useState("");
  const y = group.numbers.includes(chosenY) ? chosenY : group.numbers[0];
  const x = group.parameters.includes(chosenX) ? chosenX : group.parameters[0];
  const lines = useMemo(() => (x && y ? curves(group, x, y) : null), [group, x, y]);
  if (!x || !y)
    return <p class="my-dim">A plot comes when a member has recorded a number: yard.record("auc", 0.93).</p>;
  return (
    <>
      {(group.numbers.length > 1 || group.parameters.length > 1) && (
        <div class="my-row">
          <Choice label="Plot" value={y} options={group.numbers} onChange={setY} />
          <Choice label="over" value={x} options={group.parameters} onChange={setX} />
        </div>
      )}
      {lines ? (
        <Chart title={`${y} over ${x}`} curves={lines.curves} xLabel={x} plain dots log={lines.log} />
      ) : (
        <Bars title={`${y} by ${x}`} rows={bars(group, x, y)} />
      )}
    </>
  );
}

function Bars({ title, rows }: { title: string; rows: { name: string; value: number; share: number }[] }) {
  return (
    <table class="my-bars" aria-label={title}>
      <caption>{title}</caption>
      <tbody>
        {rows.map((row) => (
          <tr key={row.name}>
            <th scope="row" title={row.name}>
              {row.name}
            </th>
            <td class="my-bar-cell" aria-hidden="true">
              <span style={{ width: `${100 * row.share}%` }} />
            </td>
            <td class="my-number">{number(row.value)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Rows that are shown before somebody asks for all. */
const FEW = 30;

function Members(given: { group: Group; open: string; onOpen: (run: string) => void }) {
  const { group, open, onOpen } = given;
  const [by, setBy] = useState<[string, boolean]>(["", true]);
  const [all, setAll] = useState(false);
  const columns = group.kind === "sweep" ? [...group.parameters, ...group.results] : group.results;
  const value = (one: Member, name: string): Value => {
    if (name === "time") return one.seconds;
    return one.results[name] ?? one.parameters[name] ?? null;
  };
  const rows = useMemo(() => {
    const [name, descending] = by;
    if (!name) return group.members;
    const there = group.members.filter((one) => value(one, name) !== null);
    const gone = group.members.filter((one) => value(one, name) === null);
    there.sort((a, b) => compare(value(a, name), value(b, name)) * (descending ? -1 : 1));
    return [...there, ...gone];
  }, [group, by]);
  const shown = all ? rows : rows.slice(0, FEW);
  const right = (name: string) => group.members.some((one) => typeof value(one, name) === "number");
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard */}
      <section class="my-scroll" tabIndex={0} aria-label={`Members of ${group.name}`} {...quiet}>
        <table class="my-members" aria-label={`Members of ${group.name}`}>
          <thead>
            <tr>
              <th scope="col">{group.kind === "sweep" ? "run" : "step"}</th>
              <th scope="col">state</th>
              {[...columns, "time"].map((name) => (
                <th
                  key={name}
                  scope="col"
                  class={right(name) ? "my-number" : ""}
                  aria-sort={by[0] === name ? (by[1] ? "descending" : "ascending") : undefined}
                >
                  <button
                    type="button"
                    class="my-sort"
                    onClick={() => setBy(by[0] === name ? [name, !by[1]] : [name, true])}
                    {...quiet}
                  >
                    {name} {by[0] === name ? (by[1] ? "↓" : "↑") : ""}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((one) => (
              <tr key={one.member}>
                <th scope="row">
                  <button
                    type="button"
                    class="my-link"
                    aria-expanded={one.run === open}
                    onClick={() => onOpen(one.run)}
                    {...quiet}
                  >
                    {one.member}
                  </button>
                </th>
                <td>
                  <StateWord state={one.state} /> <How member={one} />
                </td>
                {columns.map((name) => (
                  <td key={name} class={right(name) ? "my-number" : ""}>
                    {cell(value(one, name))}
                  </td>
                ))}
                <td class="my-number">{one.seconds === null ? "" : duration(one.seconds)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {rows.length > shown.length && (
        <div class="my-row">
          <Button label={`Show all ${rows.length}`} onClick={() => setAll(true)} />
        </div>
      )}
    </>
  );
}

/** How far a member is, or why it is as it is. */
function How({ member }: { member: Member }) {
  const cells = member.state === "running" && member.cells ? `cell ${member.cell} of ${member.cells}` : "";
  const usual = cells && member.expected ? `usually ${duration(member.expected)}` : "";
  const said = [cells, usual, member.state === "running" ? member.output : member.said].filter(Boolean).join(" · ");
  return <small class="my-dim my-how">{said}</small>;
}

function compare(a: Value, b: Value): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function cell(value: Value): string {
  if (value === null) return "";
  return typeof value === "number" ? number(value) : String(value);
}
