// What a run's charts are drawn from, drawn: the documents that trainers write (`training/evaluate.py`, `search_reports.py`).
import type { ComponentChildren } from "preact";
import { Chart } from "./chart";
import type { Curve } from "./curves";
import { number, percent } from "./format";
import { type Row, Table } from "./table";

type Numbers = readonly (number | null)[];

const TITLES: Record<string, string> = {
  roc: "ROC",
  pr: "Precision and recall",
  confusion: "Confusion",
  calibration: "Calibration",
  residuals: "Residuals",
  importance: "Importance",
  learning_curve: "Learning curve",
  history: "Search",
  parallel: "Best trials",
  search_importance: "Parameters that matter",
};

export function reportTitle(name: string): string {
  const words = name.replaceAll("_", " ");
  return TITLES[name] ?? words.charAt(0).toUpperCase() + words.slice(1);
}

/** A report that this version does not know is shown as it is. */
export function Report({ name, value }: { name: string; value: unknown }) {
  const draw = DRAWN[name];
  const sampled = (value as { sampled?: number })?.sampled;
  return (
    <>
      {draw ? draw(value as never) : <Plain value={value} />}
      {sampled && <p class="my-dim">On {number(sampled)} of the held-out rows.</p>}
    </>
  );
}

const DRAWN: Record<string, (value: never) => ComponentChildren> = {
  roc: (value: { classes: { label: string; auc: number; fpr: Numbers; tpr: Numbers }[] }) => (
    <Chart
      title="True positives over false positives"
      xLabel="false positive rate"
      unit
      curves={[...value.classes.map((c) => curve(`${c.label} (area ${number(c.auc)})`, c.fpr, c.tpr)), DIAGONAL]}
      plain
    />
  ),
  pr: (value: { classes: { label: string; average_precision: number; recall: Numbers; precision: Numbers }[] }) => (
    <Chart
      title="Precision over recall"
      xLabel="recall"
      unit
      curves={value.classes.map((c) =>
        curve(`${c.label} (average precision ${number(c.average_precision)})`, c.recall, c.precision),
      )}
      plain
    />
  ),
  confusion: (value: { labels: string[]; counts: number[][] }) => <Confusion {...value} />,
  calibration: (value: { label: string; brier: number; predicted: Numbers; observed: Numbers }) => (
    <Chart
      title={`How often ${value.label} came true (Brier score ${number(value.brier)})`}
      xLabel="predicted probability"
      unit
      curves={[curve("observed", value.predicted, value.observed), DIAGONAL]}
      plain
    />
  ),
  residuals: (value: { true: Numbers; predicted: Numbers; edges: Numbers; counts: number[] }) => (
    <div class="my-columns">
      <Scatter title="Predicted over true" x={value.true} y={value.predicted} diagonal />
      <Bars
        title="Predicted less true"
        names={value.counts.map((_, i) => `${number(value.edges[i])} to ${number(value.edges[i + 1])}`)}
        values={value.counts}
      />
    </div>
  ),
  importance: (value: { score: string; columns: string[]; mean: Numbers; std: Numbers; rows: number }) => (
    <Bars
      title={`What ${value.score} loses when a column is shuffled`}
      names={value.columns}
      values={value.mean}
      spread={value.std}
    />
  ),
  learning_curve: (value: { score: string; rows: Numbers; train: Numbers; validation: Numbers }) => (
    <Chart
      title={`${value.score} over the rows that it was fitted on`}
      xLabel="rows"
      curves={[curve("train", value.rows, value.train), curve("validation", value.rows, value.validation)]}
    />
  ),
  history: (value: { metric: string; number: Numbers; value: Numbers; best: Numbers }) => (
    <Chart
      title={value.metric}
      xLabel="trial"
      curves={[curve("trial", value.number, value.value), curve("best so far", value.number, value.best)]}
    />
  ),
  parallel: (value: ParallelGiven) => <BestTrials {...value} />,
  search_importance: (value: { names: string[]; values: Numbers }) => (
    <Bars title="How much of the better trials each parameter explains" names={value.names} values={value.values} />
  ),
};

const DIAGONAL = curve("chance", [0, 1], [0, 1]);

function curve(name: string, x: Numbers, y: Numbers): Curve {
  return { name, x: Float32Array.from(x, (v) => v ?? Number.NaN), y: Float32Array.from(y, (v) => v ?? Number.NaN) };
}

/** How often each class was taken for each: numbers first, the shade says the share of the row. */
function Confusion({ labels, counts }: { labels: string[]; counts: number[][] }) {
  return (
    <div class="my-scroll">
      <p class="my-dim">Rows: the true class. Columns: what the model said.</p>
      <table class="my-heat">
        <thead>
          <tr>
            <td />
            {labels.map((label) => (
              <th key={label} scope="col" class="my-number">
                {label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {labels.map((label, i) => {
            const row = counts[i] ?? [];
            const total = row.reduce((sum, n) => sum + n, 0) || 1;
            return (
              <tr key={label}>
                <th scope="row">{label}</th>
                {row.map((count, j) => (
                  <td
                    key={labels[j]}
                    class="my-number"
                    style={{ "--share": count / total }}
                    title={`${label} taken for ${labels[j]}: ${count} (${percent(count / total)})`}
                  >
                    {i === j ? <b>{count}</b> : count}
                  </td>
                ))}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

/** Values as bars with their numbers; below zero to the left. */
function Bars(given: { title: string; names: readonly string[]; values: Numbers; spread?: Numbers }) {
  const values = given.values.map((v) => v ?? 0);
  const low = Math.min(0, ...values);
  const width = Math.max(...values, 0) - low || 1;
  return (
    <div class="my-scroll">
      <table class="my-bars">
        <caption>{given.title}</caption>
        <tbody>
          {given.names.map((name, i) => {
            const value = values[i] ?? 0;
            const left = (Math.min(0, value) - low) / width;
            const spread = given.spread?.[i];
            return (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td class="my-bar-cell" aria-hidden="true">
                  <span style={{ marginLeft: `${100 * left}%`, width: `${(100 * Math.abs(value)) / width}%` }} />
                </td>
                <td class="my-number">
                  {number(given.values[i])}
                  {spread ? ` ± ${number(spread)}` : ""}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

const SIZE = 240;
const EDGE = 34;

/** Points in a square; `diagonal`: where both are equal. */
function Scatter(given: { title: string; x: Numbers; y: Numbers; diagonal?: boolean }) {
  const points = given.x.flatMap((x, i) => {
    const y = given.y[i];
    return x === null || y === null || y === undefined ? [] : [[x, y] as const];
  });
  const all = points.flat();
  const low = Math.min(...all);
  const high = Math.max(...all);
  const place = (v: number) => EDGE + ((v - low) / (high - low || 1)) * (SIZE - EDGE - 6);
  return (
    <figure class="my-chart">
      <figcaption>{given.title}</figcaption>
      <svg
        viewBox={`0 0 ${SIZE} ${SIZE}`}
        class="my-scatter"
        role="img"
        aria-label={`${given.title}, ${points.length} rows`}
      >
        <line class="my-axis" x1={EDGE} y1={SIZE - EDGE} x2={SIZE} y2={SIZE - EDGE} />
        <line class="my-axis" x1={EDGE} y1="0" x2={EDGE} y2={SIZE - EDGE} />
        {given.diagonal && (
          <line class="my-diagonal" x1={place(low)} y1={SIZE - place(low)} x2={place(high)} y2={SIZE - place(high)} />
        )}
        {points.map(([x, y], i) => (
          <circle key={i} cx={place(x)} cy={SIZE - place(y)} r="2.5" />
        ))}
        <text x={EDGE} y={SIZE - EDGE + 14}>
          {number(low)}
        </text>
        <text x={SIZE} y={SIZE - EDGE + 14} text-anchor="end">
          {number(high)}
        </text>
        <text x={EDGE - 4} y={SIZE - EDGE} text-anchor="end">
          {number(low)}
        </text>
        <text x={EDGE - 4} y="10" text-anchor="end">
          {number(high)}
        </text>
      </svg>
    </figure>
  );
}

interface ParallelGiven {
  metric: string;
  maximize: boolean;
  axes: { name: string; choices?: string[] }[];
  number: number[];
  value: Numbers;
  lines: (number | null)[][];
}

/** The trials with the best values, a row each, a column per parameter. */
function BestTrials({ metric, maximize, axes, number: numbers, value, lines }: ParallelGiven) {
  const rows: Row[] = numbers.map((n, i) => {
    const params = axes.map((axis, j) => {
      const at = lines[i]?.[j];
      return [axis.name, axis.choices && typeof at === "number" ? axis.choices[at] : at];
    });
    return { trial: n, [metric]: value[i], ...Object.fromEntries(params) };
  });
  const sign = maximize ? -1 : 1;
  rows.sort((a, b) => sign * (Number(a[metric]) - Number(b[metric])));
  return <Table rows={rows.slice(0, 10)} label="The best trials" />;
}

/** Columns of equal length as a table, anything else as JSON. */
function Plain({ value }: { value: unknown }) {
  const columns = Object.entries((value ?? {}) as Record<string, unknown>).filter(([, v]) => Array.isArray(v));
  const length = (columns[0]?.[1] as unknown[] | undefined)?.length;
  if (length && columns.every(([, v]) => (v as unknown[]).length === length)) {
    const rows = Array.from({ length }, (_, i) =>
      Object.fromEntries(columns.map(([k, v]) => [k, (v as unknown[])[i]])),
    );
    return <Table rows={rows} />;
  }
  return <pre class="my-pre">{JSON.stringify(value, null, 2)}</pre>;
}
