// RunsTable: the runs of this machine, a page at a time; compared, opened, stopped, published from.
import { useEffect, useRef, useState } from "preact/hooks";
import { Chart } from "../chart";
import { type Curve, decode } from "../curves";
import { duration, number } from "../format";
import { type Problem, useAction, useGone, useTrait } from "../model";
import { Below, type PanelProps, panel } from "../mount";
import { binary } from "../run";
import { askServer, NoServer } from "../server";
import { Box, Button, Choice, ProblemBox, quiet, Text } from "../ui";

interface Row {
  id: string;
  name: string;
  state: string;
  started: number;
  seconds: number;
  metric: number | null;
  rows: number | null;
  estimator: string;
  live?: boolean;
  kept?: boolean;
}

interface Query {
  filter: string;
  sort: string;
  descending: boolean;
  page: number;
  metric: string;
}

interface RunsView {
  rows: Row[];
  found: number;
  of: number;
  pages: number;
  metric: string;
  metrics: string[];
  best: string;
  complete: boolean;
  query: Query;
}

interface Comparison {
  runs: string[];
  params: [string, ...(string | null)[]][];
  hidden: number;
  metrics: { name: string; values: (number | null)[]; best: number[] }[];
  curves: { names: string[]; lengths: number[]; data: string };
}

const MOST = 6;
const TYPING = 250;

function Runs({ model, host }: PanelProps) {
  const gone = useGone(model);
  const view = useTrait<RunsView>(model, "view");
  const publishes = useTrait<boolean>(model, "publishes");
  const action = useAction(model);
  const [chosen, setChosen] = useState<string[]>([]);
  const [filter, setFilter] = useState(view.query.filter);
  const [compared, setCompared] = useState<Comparison | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const typing = useRef(0);

  const query = (changed: Partial<Query>) => action.run("query", changed);
  const type = (text: string) => {
    setFilter(text);
    clearTimeout(typing.current);
    typing.current = setTimeout(() => query({ filter: text }), TYPING) as unknown as number;
  };
  const toggle = (id: string) =>
    setChosen((now) => (now.includes(id) ? now.filter((other) => other !== id) : [...now, id].slice(-MOST)));
  const stop = async (id: string) => {
    try {
      await askServer(`${id}/stop`, "POST");
    } catch (error) {
      if (gone && !(error instanceof NoServer)) setProblem(error as Problem);
      else await action.run("stop", { id });
    }
  };
  const heads: [string, string][] = [
    ["name", "Run"],
    ["state", "State"],
    ["started", "Started"],
    ["seconds", "Took"],
    ["metric", view.metric || "Metric"],
    ["rows", "Rows"],
    ["estimator", "Estimator"],
  ];
  const { query: now } = view;
  return (
    <Box
      title="Training runs"
      state={view.complete ? `${view.found} of ${view.of}` : `${view.of} read so far…`}
      testid="modelyard-runs"
    >
      {gone && (
        <p class="my-note" role="status">
          The kernel restarted or ended: this is how the runs stood. Run the cell again.
        </p>
      )}
      <div class="my-grid">
        <Text label="Filter" value={filter} placeholder="name, estimator, state" onChange={type} />
        <Choice
          label="Metric"
          value={view.metric}
          options={view.metrics.length ? view.metrics : [""]}
          onChange={(metric) => query({ metric })}
        />
        <div class="my-field my-end">
          <Button
            label={`Compare (${chosen.length})`}
            kind="primary"
            disabled={chosen.length < 2 || gone || !!action.pending}
            hint={`Choose 2 to ${MOST} runs.`}
            onClick={async () => setCompared(((await action.run("compare", { ids: chosen })) as Comparison) ?? null)}
          />
        </div>
      </div>
      <ProblemBox
        problem={problem ?? action.problem}
        onDismiss={() => (problem ? setProblem(null) : action.dismiss())}
      />
      {action.busy && (
        <p class="my-note" role="status">
          The kernel is busy; it answers when its cell has ended.
        </p>
      )}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard */}
      <section class="my-scroll" tabIndex={0} aria-label="Runs" {...quiet}>
        <table>
          <thead>
            <tr>
              <td />
              {heads.map(([key, label]) => (
                <th
                  key={key}
                  scope="col"
                  class={key === "metric" || key === "rows" || key === "seconds" ? "my-number" : ""}
                  aria-sort={now.sort === key ? (now.descending ? "descending" : "ascending") : undefined}
                >
                  <button
                    type="button"
                    class="my-sort"
                    onClick={() =>
                      query({ sort: key, descending: now.sort === key ? !now.descending : key !== "name" })
                    }
                    {...quiet}
                  >
                    {label} {now.sort === key ? (now.descending ? "▾" : "▴") : ""}
                  </button>
                </th>
              ))}
              <td />
            </tr>
          </thead>
          <tbody>
            {view.rows.map((row) => (
              <tr key={row.id}>
                <td>
                  <input
                    type="checkbox"
                    aria-label={`Compare ${row.id}`}
                    checked={chosen.includes(row.id)}
                    onChange={() => toggle(row.id)}
                    {...quiet}
                  />
                </td>
                <td title={row.id}>{row.name}</td>
                <td class={STATES[row.state]?.[1]}>
                  {STATES[row.state]?.[0]} {row.state}
                </td>
                <td>{when(row.started)}</td>
                <td class="my-number">{duration(row.seconds)}</td>
                <td class="my-number">
                  {number(row.metric)}
                  {row.id === view.best && <b title={`best ${view.metric}`}> ★ best</b>}
                </td>
                <td class="my-number">{number(row.rows)}</td>
                <td>{row.estimator}</td>
                <td class="my-acts">
                  <Button label="Open" disabled={gone} onClick={() => action.run("open", { id: row.id })} />
                  {row.live && <Button label="Stop" disabled={row.state === "stopping"} onClick={() => stop(row.id)} />}
                  {publishes && row.kept && (
                    <Button label="Publish…" disabled={gone} onClick={() => action.run("publish", { id: row.id })} />
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {view.of === 0 && <p class="my-dim">No runs yet: yard.train(…) makes one.</p>}
      {view.pages > 1 && (
        <nav class="my-row" aria-label="Pages">
          <Button label="Newer" disabled={now.page === 0} onClick={() => query({ page: now.page - 1 })} />
          <span class="my-middle">
            page {now.page + 1} of {view.pages}
          </span>
          <Button label="Further" disabled={now.page + 1 >= view.pages} onClick={() => query({ page: now.page + 1 })} />
        </nav>
      )}
      {compared && <Compared found={compared} onClose={() => setCompared(null)} />}
      <Below model={model} host={host} />
    </Box>
  );
}

const STATES: Record<string, [string, string]> = {
  running: ["▶", "my-busy"],
  stopping: ["▶", "my-busy"],
  paused: ["❚❚", "my-busy"],
  succeeded: ["✓", "my-good"],
  failed: ["✗", "my-bad"],
  stopped: ["■", "my-dim"],
};

function when(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" });
}

/** Runs side by side: parameters that differ, metrics with the best one marked, each curve of all runs in one chart. */
function Compared({ found, onClose }: { found: Comparison; onClose: () => void }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [found]);
  const decoded = decode(found.curves.names, found.curves.lengths, binary(found.curves.data));
  const charts = new Map<string, Curve[]>();
  for (const curve of decoded) {
    const [id = "", name = ""] = curve.name.split("\n");
    charts.set(name, [...(charts.get(name) ?? []), { ...curve, name: short(id) }]);
  }
  const head = (
    <thead>
      <tr>
        <td />
        {found.runs.map((id) => (
          <th key={id} scope="col" title={id}>
            {short(id)}
          </th>
        ))}
      </tr>
    </thead>
  );
  return (
    <section class="my-compared" aria-label="Comparison">
      <div class="my-head">
        <h3 class="my-title" tabIndex={-1} ref={heading}>
          Comparison
        </h3>
        <Button label="Close" onClick={onClose} />
      </div>
      <div class="my-scroll">
        <table>
          {head}
          <tbody>
            {found.metrics.map((metric) => (
              <tr key={metric.name}>
                <th scope="row">{metric.name}</th>
                {metric.values.map((value, i) => (
                  <td key={found.runs[i]}>{metric.best.includes(i) ? <b>{number(value)} ★ best</b> : number(value)}</td>
                ))}
              </tr>
            ))}
            {found.params.map(([name, ...values]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                {values.map((value, i) => (
                  <td key={found.runs[i]}>
                    <code>{value ?? "–"}</code>
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {found.params.length === 0 && <p class="my-dim">The parameters are the same.</p>}
      {found.hidden > 0 && <p class="my-dim">{found.hidden} more parameters differ.</p>}
      <div class="my-columns">
        {[...charts].map(([name, curves]) => (
          <Chart key={name} title={name} curves={curves} />
        ))}
      </div>
    </section>
  );
}

/** Name and the last part of the id: what tells runs apart. */
function short(id: string): string {
  const parts = id.split("-");
  return `${parts.slice(0, -3).join("-")} ${parts[parts.length - 1]}`;
}

export default panel(Runs);
