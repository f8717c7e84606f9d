// A line chart over uPlot, in the notebook's colours, with its last values as text for those who do not see it.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { aligned, type Curve } from "./curves";
import { number } from "./format";

/** Told apart in both themes, and by people who see few colours (Okabe and Ito, 2008); dashes tell them apart as well. */
export const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a"];
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3]];

type Given = {
  title: string;
  curves: readonly Curve[];
  xLabel?: string;
  height?: number;
  /** y from 0 to 1, such as for rates. */
  unit?: boolean;
  /** No last value in the legend: what counts is the shape. */
  plain?: boolean;
  /** Each point is marked: they are few, and between them nothing was measured. */
  dots?: boolean;
  /** x by its magnitude. */
  log?: boolean;
};

export function Chart(given: Given) {
  const { title, curves, xLabel = "", height = 190, unit = false, plain = false, dots = false, log = false } = given;
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const names = curves.map((curve) => curve.name).join("\n");

  useEffect(() => {
    const el = place.current;
    if (!el) return;
    const draw = () => {
      chart.current?.destroy();
      chart.current = new uPlot(options(el, names.split("\n"), { xLabel, height, unit, dots, log }), [[]], el);
      chart.current.setData(aligned(curves) as uPlot.AlignedData);
    };
    draw();
    const sized = new ResizeObserver(() => {
      if (el.clientWidth) chart.current?.setSize({ width: el.clientWidth, height });
    });
    sized.observe(el);
    const themed = new MutationObserver(draw);
    themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
    return () => {
      sized.disconnect();
      themed.disconnect();
      chart.current?.destroy();
      chart.current = null;
    };
  }, [names, xLabel, height, unit, dots, log]);

  useEffect(() => {
    chart.current?.setData(aligned(curves) as uPlot.AlignedData);
  }, [curves]);

  const last = curves
    .map((curve) => (plain ? curve.name : `${curve.name} ${number(curve.y[curve.y.length - 1])}`))
    .join(", ");
  return (
    <figure class={`my-chart${unit ? " my-square" : ""}`} aria-label={`${title}: ${last}`}>
      <figcaption>
        {title}
        <ul class="my-legend">
          {curves.map((curve, i) => (
            <li key={curve.name}>
              <svg width="22" height="8" aria-hidden="true">
                <line
                  x1="0"
                  y1="4"
                  x2="22"
                  y2="4"
                  stroke={COLOURS[i % COLOURS.length]}
                  stroke-width="2"
                  stroke-dasharray={(DASHES[i % DASHES.length] ?? []).join(" ")}
                />
              </svg>
              {curve.name} {!plain && <b>{number(curve.y[curve.y.length - 1])}</b>}
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={place} class="my-plot" aria-hidden="true" />
    </figure>
  );
}

const DECADES = Array.from({ length: 19 }, (_, i) => 10 ** (i - 9));
const STEPS = DECADES.flatMap((decade) => [decade, 2 * decade, 5 * decade]);
const WHOLE = STEPS.filter((step) => step >= 1);

/** Between two marks of the x axis: there is no epoch one and a half. */
export function steps(chart: { data: ArrayLike<unknown>[] }): number[] {
  return Array.from(chart.data[0] ?? []).every(Number.isInteger) ? WHOLE : STEPS;
}

/** A line needs two points; one alone is drawn as a dot. */
export function alone(chart: { data: ArrayLike<unknown>[] }, series: number): boolean {
  return Array.from(chart.data[series] ?? []).filter((value) => value != null).length < 2;
}

/** Of the y axis: what is always 0 lies at the bottom of a small scale, not of one up to 100. */
export function room(_: unknown, low: number | null, high: number | null): uPlot.Range.MinMax {
  return low === null || high === null || (low === 0 && high === 0) ? [0, 1] : uPlot.rangeNum(low, high, 0.1, true);
}

type Look = { xLabel: string; height: number; unit: boolean; dots: boolean; log: boolean };

function options(el: HTMLElement, names: string[], look: Look): uPlot.Options {
  const { xLabel, height, unit, dots, log } = look;
  const style = getComputedStyle(el);
  const ink = style.getPropertyValue("--jp-ui-font-color1").trim() || style.color;
  const grid = { stroke: style.getPropertyValue("--jp-border-color2").trim() || "#ccc", width: 1 };
  const axis = { stroke: ink, grid, ticks: grid, font: "11px sans-serif", labelFont: "11px sans-serif" };
  return {
    width: Math.max(el.clientWidth, 200),
    height,
    legend: { show: false },
    cursor: { drag: { x: true, y: false } },
    scales: { x: { time: false, distr: log ? 3 : 1 }, y: { range: unit ? [0, 1] : room } },
    axes: [
      { ...axis, label: xLabel || undefined, labelSize: 16, size: 30, ...(log ? {} : { incrs: steps }) },
      { ...axis, size: 56, values: (_, splits) => splits.map((value) => number(value)) },
    ],
    series: [
      {},
      ...names.map((label, i) => ({
        label,
        stroke: COLOURS[i % COLOURS.length] ?? "#000",
        dash: DASHES[i % DASHES.length] ?? [],
        width: 2,
        spanGaps: true,
        points: { show: dots || alone, size: 7, fill: COLOURS[i % COLOURS.length] ?? "#000" },
      })),
    ],
  };
}
