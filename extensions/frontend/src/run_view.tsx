// One training run: what it does, what may be done to it, and what came out.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Chart } from "./chart";
import { bytes, duration, number, percent } from "./format";
import type { Problem } from "./model";
import { Report, reportTitle } from "./reports";
import { type ActionName, type Following, grouped, isOver, type View } from "./run";
import { Table } from "./table";
import { Bar, Button, Code, type Kind, ProblemBox, Tabs } from "./ui";

const SIGNS: Record<View["state"], string> = { running: "▶", paused: "❚❚", succeeded: "✓", failed: "✗", stopped: "■" };
const KINDS: Record<View["state"], Kind> = {
  running: "busy",
  paused: "busy",
  succeeded: "good",
  failed: "bad",
  stopped: "dim",
};
const ASKED = { stop: "stopping…", pause: "pausing…", resume: "going on…", kill: "ending…" } as const;
const KNOWN = {
  callbacks: "The estimator reports its progress",
  iterations: "Counted by iterations",
  trials: "Counted by trials",
  elapsed: "How far it is, is not known; only the time that passed",
} as const;

/** The state in words, and how it is to be seen. */
export function stateOf(view: View, asked: ActionName | "" = ""): { text: string; kind: Kind } {
  const text = asked ? ASKED[asked] : view.stopping ? "stopping…" : view.state;
  return { text: `${SIGNS[view.state]} ${text}`, kind: KINDS[view.state] };
}

export function RunView({ run, extra }: { run: Following; extra?: ComponentChildren }) {
  const { view } = run;
  return (
    <>
      <Notes run={run} />
      {!isOver(view) && <Live run={run} />}
      {isOver(view) && view.error && (
        <ProblemBox problem={{ title: "The training failed", detail: view.error, remedy: view.remedy ?? "" }} />
      )}
      <div class="my-row">
        <Controls run={run} />
        {extra}
        {view.mlflow && /^https?:\/\//.test(view.mlflow) && (
          <a href={view.mlflow} target="_blank" rel="noopener noreferrer" data-lm-suppress-shortcuts="true">
            See it in MLflow
          </a>
        )}
      </div>
      <ProblemBox problem={run.problem} onDismiss={run.dismiss} />
      <Details run={run} />
    </>
  );
}

function Notes({ run }: { run: Following }) {
  const over = isOver(run.view);
  return (
    <>
      {run.gone && !over && (
        <p class="my-note" role="status">
          The kernel restarted or ended; the run goes on, and is shown and controlled from here.
        </p>
      )}
      {run.mute && !over && (
        <p class="my-note" role="status">
          The kernel says nothing: it is busy or gone. The run goes on, and is shown and controlled from here.
        </p>
      )}
      {run.busy && <p class="my-note">The kernel is busy; it is asked as soon as it answers.</p>}
      {run.lost && <ProblemBox problem={run.lost} />}
    </>
  );
}

function Live({ run }: { run: Following }) {
  const { view } = run;
  const since = useSeconds(view.state === "running") - run.heard;
  const passed = view.state === "running" ? Math.max(0, since) : 0;
  const left = view.remaining === null ? null : Math.max(0, view.remaining - passed);
  const known = view.kind ? KNOWN[view.kind] : "";
  const facts: [string, string][] = [["time", duration(view.elapsed + passed)]];
  if (left !== null) facts.push(["left, about", duration(left)]);
  if (view.unit && view.of) facts.push([view.unit, `${number(view.done)} of ${number(view.of)}`]);
  else if (view.unit && view.done) facts.push([view.unit, number(view.done)]);
  facts.push(...measured(view));
  return (
    <>
      <Bar fraction={view.fraction} label={`Progress. ${known}`} />
      <div class="my-under">
        <span>
          {view.fraction !== null && <b>{percent(view.fraction)} </b>}
          {view.step}
        </span>
        <span class="my-dim" title={view.source}>
          {known}
        </span>
      </div>
      <Facts facts={facts} />
    </>
  );
}

function measured(view: View): [string, string][] {
  const facts: [string, string][] = [];
  const { usage, best } = view;
  if (best) facts.push([`best ${best.name}`, `${number(best.value)} (${view.unit || "step"} ${number(best.step)})`]);
  if (view.folds) facts.push(["folds", `${view.folds[0]} of ${view.folds[1]}`]);
  if (view.trials) {
    facts.push(["trials", Object.entries(view.trials).map(([state, n]) => `${n} ${state}`).join(", ")]); // biome-ignore format: one thing
  }
  if (view.checkpoint) facts.push(["checkpoint", `${view.unit || "step"} ${number(view.checkpoint)}`]);
  const written: Record<string, [string, (value: number) => string]> = {
    rows: ["rows per second", (v) => number(Math.round(v))],
    cpu: ["CPU", (v) => `${v.toFixed(1)} cores`],
    memory: ["memory", bytes],
    shm: ["shared memory", bytes],
    gpu: ["GPU", (v) => `${Math.round(v)} %`],
    gpu_memory: ["GPU memory", bytes],
  };
  for (const [name, [label, write]] of Object.entries(written)) {
    const value = usage?.[name];
    if (value !== undefined && value !== null) facts.push([label, write(value)]);
  }
  return facts;
}

export function Facts({ facts }: { facts: [string, string][] }) {
  return (
    <dl class="my-facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Controls({ run }: { run: Following }) {
  const [sure, setSure] = useState(false);
  const { view, asked } = run;
  const may = (action: ActionName) => view.actions.includes(action) && !asked;
  if (isOver(view))
    return view.resumable && !run.gone ? (
      <Button
        label={asked ? "Going on…" : "Go on from the checkpoint"}
        disabled={!!asked}
        onClick={() => run.control("resume")}
        hint={`It goes on after ${view.unit || "step"} ${number(view.checkpoint)}.`}
      />
    ) : null;
  if (sure)
    return (
      <div class="my-sure" role="alertdialog" aria-label="End it now?">
        <span>End it now? What is not in a checkpoint is lost.</span>
        <Button
          label="End it"
          kind="danger"
          onClick={() => {
            setSure(false);
            run.control("kill");
          }}
        />
        <Button label="Let it run" onClick={() => setSure(false)} />
      </div>
    );
  return (
    <>
      <Button
        label="Stop"
        kind="primary"
        disabled={!may("stop")}
        onClick={() => run.control("stop")}
        hint="Ends after the iteration that it is in; the best state is kept."
      />
      {view.state === "paused" ? (
        <Button label="Resume" disabled={!may("resume")} onClick={() => run.control("resume")} />
      ) : (
        <Button
          label="Pause"
          disabled={!may("pause")}
          onClick={() => run.control("pause")}
          hint="Keeps its memory, uses no processor."
        />
      )}
      <Button label="Kill…" disabled={!may("kill")} onClick={() => setSure(true)} />
    </>
  );
}

function Details({ run }: { run: Following }) {
  const { view } = run;
  const over = isOver(view);
  const tabs: { id: string; label: string; view: () => ComponentChildren }[] = [];
  const metrics = Object.entries(view.metrics);
  if (metrics.length)
    tabs.push({
      id: "metrics",
      label: "Metrics",
      view: () => (
        <>
          <p class="my-dim">On the held-out rows.</p>
          <Facts facts={metrics.map(([name, value]) => [name, number(value)])} />
        </>
      ),
    });
  for (const name of over ? (view.reports ?? []) : [])
    tabs.push({
      id: `report-${name}`,
      label: reportTitle(name),
      view: () => <Part run={run} name={`report-${name}`} show={(value) => <Report name={name} value={value} />} />,
    });
  if (run.curves.length) tabs.push({ id: "curves", label: "Curves", view: () => <Curves run={run} /> });
  if (view.folds)
    tabs.push({
      id: "folds",
      label: "Folds",
      view: () => <Part run={run} name="folds" changes={view.folds?.[0]} show={(v) => <Table rows={v as never} />} />,
    });
  if (view.trials) {
    const count = Object.values(view.trials).reduce((sum, n) => sum + n, 0);
    tabs.push({
      id: "trials",
      label: "Trials",
      view: () => <Part run={run} name="trials" changes={count} show={(v) => <Table rows={v as never} />} />,
    });
  }
  if (view.warnings) {
    const [count] = view.warnings;
    tabs.push({
      id: "warnings",
      label: `Warnings (${count})`,
      view: () => <Part run={run} name="warnings" changes={count} show={(v) => <Warnings texts={v as string[]} />} />,
    });
  }
  if (view.traceback)
    tabs.push({
      id: "traceback",
      label: "Traceback",
      view: () => <Part run={run} name="traceback" show={(v) => <Code text={String(v)} label="Traceback" />} />,
    });
  tabs.push({ id: "log", label: "Log", view: () => <Log run={run} /> });
  tabs.push({
    id: "code",
    label: "Code",
    view: () => (
      <Part run={run} name="code" show={(v) => <Code text={String(v)} label="The cell that does the same" />} />
    ),
  });
  // The first tab is the one that says most: it changes once, when the run is over.
  return <Tabs key={over ? "over" : "live"} label="Details of the run" tabs={order(tabs, over)} />;
}

function order<T extends { id: string }>(tabs: T[], over: boolean): T[] {
  const first = over ? "metrics" : "curves";
  return [...tabs].sort((a, b) => Number(b.id === first) - Number(a.id === first));
}

function Curves({ run }: { run: Following }) {
  const hidden = run.view.curves.of - run.curves.length;
  return (
    <>
      <div class="my-columns">
        {grouped(run.curves).map((group) => (
          <Chart key={group.title} title={group.title} curves={group.curves} xLabel={run.view.unit || "step"} />
        ))}
      </div>
      {hidden > 0 && <p class="my-dim">{hidden} more curves are shown when the run has ended.</p>}
    </>
  );
}

function Warnings({ texts }: { texts: string[] }) {
  return (
    <ul class="my-list">
      {texts.map((text) => (
        <li key={text}>{text}</li>
      ))}
    </ul>
  );
}

const LOG_EVERY = 2000;

function Log({ run }: { run: Following }) {
  const [round, setRound] = useState(0);
  const live = !isOver(run.view);
  useEffect(() => {
    if (!live) return;
    const timer = setInterval(() => setRound((n) => n + 1), LOG_EVERY);
    return () => clearInterval(timer);
  }, [live]);
  return (
    <Part
      run={run}
      name="log"
      changes={live ? round : -1}
      show={(v) => (v ? <Code text={String(v)} label="The end of the log" /> : <p class="my-dim">Nothing printed.</p>)}
    />
  );
}

/** Something that is fetched when it is looked at, and again when `changes` does. */
export function Part(given: {
  run: Following;
  name: string;
  changes?: number;
  show: (value: unknown) => ComponentChildren;
}) {
  const { run, name, changes } = given;
  const [value, setValue] = useState<unknown>(undefined);
  const [problem, setProblem] = useState<Problem | null>(null);
  const { part } = run;
  useEffect(() => {
    let stopped = false;
    part(name)
      .then((found) => {
        if (stopped) return;
        setValue(found);
        setProblem(null);
      })
      .catch((error) => !stopped && setProblem(error as Problem));
    return () => {
      stopped = true;
    };
  }, [part, name, changes]);
  if (problem) return <ProblemBox problem={problem} />;
  if (value === undefined) return <p class="my-dim">Fetching…</p>;
  return <>{given.show(value)}</>;
}

/** The time in seconds, each second while `on`. */
function useSeconds(on: boolean): number {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    if (!on) return;
    const timer = setInterval(() => setNow(Date.now() / 1000), 1000);
    return () => clearInterval(timer);
  }, [on]);
  return Math.max(now, Date.now() / 1000);
}
