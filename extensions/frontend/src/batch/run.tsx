// One run, opened: why it failed, its output notebook, its log, what was asked for and what it recorded.
import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Action, type Model, useAction } from "../model";
import { Button, Code, type Kind, ProblemBox, quiet, Tabs } from "../ui";
import { usePolled } from "./poll";

export interface Row {
  id: string;
  name: string;
  owner: string;
  state: string;
  live: boolean;
  said: string;
  cell: number;
  cells: number;
  /** Of the rows that are scored, where that is known. */
  share?: number | null;
  output: string;
  elapsed: number | null;
  expected: number | null;
  created: number;
  group: string;
  /** What it is called in its group. */
  member: string;
}

interface Details {
  facts: [string, string][];
  parameters: [string, string][];
  results: [string, string][];
  failure: { cell: number; source: string; error: string; traceback: string } | null;
  tail: string;
}

export const STATES: Record<string, [string, Kind]> = {
  queued: ["⋯", "dim"],
  running: ["▶", "busy"],
  cancelling: ["▶", "busy"],
  succeeded: ["✓", "good"],
  failed: ["✗", "bad"],
  cancelled: ["■", "dim"],
};

export function StateWord({ state }: { state: string }) {
  const [sign, kind] = STATES[state] ?? ["", "dim"];
  return (
    <span class={`my-${kind}`}>
      {sign} {state}
    </span>
  );
}

/** A run that need not be among the rows: the last one of a schedule, a member of a group. */
export function RunById({ model, id, onClose }: { model: Model; id: string; onClose?: () => void }) {
  const { found, problem } = usePolled<Row>(model, "row", { id }, (row) => !row.live);
  if (problem) return <ProblemBox problem={problem} />;
  if (!found) return <p class="my-dim">Fetching…</p>;
  return <Opened model={model} row={found} onClose={onClose} />;
}

/** One run: its output notebook, its log, what was asked for and what it recorded. */
export function Opened(given: {
  model: Model;
  row: Row;
  group?: () => ComponentChildren;
  onClose?: (() => void) | undefined;
}) {
  const { model, row } = given;
  const place = useRef<HTMLElement>(null);
  useEffect(() => place.current?.scrollIntoView?.({ block: "nearest" }), []);
  const failed = row.state === "failed";
  const tabs = [
    ...(failed ? [{ id: "failure", label: "Failure", view: () => <About model={model} row={row} failure /> }] : []),
    { id: "notebook", label: "Output notebook", view: () => <Notebook model={model} row={row} /> },
    { id: "log", label: "Log", view: () => <Log model={model} row={row} /> },
    { id: "about", label: "About", view: () => <About model={model} row={row} /> },
    ...(given.group ? [{ id: "group", label: "Sweep or pipeline", view: given.group }] : []),
  ];
  return (
    <section ref={place} class="my-below" aria-label={`Run ${row.name}`}>
      <header class="my-head">
        <h3 class="my-title">{row.name}</h3>
        <span class="my-row my-tight">
          <StateWord state={row.state} />
          {given.onClose && <Button label="Close" onClick={given.onClose} />}
        </span>
      </header>
      <Tabs label={`Parts of ${row.name}`} tabs={tabs} />
    </section>
  );
}

/** What the kernel answers to an action of this run; asked anew when `far`, how far the run is, changes. */
function useFetched<T>(model: Model, action: string, row: Row, far: string): [T | undefined, Action, () => void] {
  const asking = useAction(model);
  const [found, setFound] = useState<T>();
  const { run } = asking;
  const load = useCallback(async () => {
    const value = await run(action, { id: row.id });
    if (value !== undefined) setFound(value as T);
  }, [run, action, row.id]);
  useEffect(() => {
    void load();
  }, [load, far]);
  return [found, asking, () => void load()];
}

/** Beside the sanitizing and the sandbox: the page runs nothing and asks nobody for anything. */
const POLICY =
  "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">";

function Notebook({ model, row }: { model: Model; row: Row }) {
  // Not with each output: whoever reads in it would be thrown back to its beginning.
  const [page, action, again] = useFetched<string>(model, "notebook", row, `${row.state} ${row.cell}`);
  if (page === undefined) return <Waiting action={action} />;
  return (
    <>
      {row.live && <Button label="Read again" disabled={!!action.pending} onClick={again} />}
      <iframe
        class="my-notebook"
        title={`Output notebook of ${row.name}`}
        sandbox=""
        srcdoc={page.includes("<head>") ? page.replace("<head>", `<head>${POLICY}`) : POLICY + page}
      />
    </>
  );
}

function Log({ model, row }: { model: Model; row: Row }) {
  const [text, action] = useFetched<string>(model, "logs", row, `${row.state} ${row.cell} ${row.output}`);
  const place = useRef<HTMLElement>(null);
  useEffect(() => {
    if (place.current) place.current.scrollTop = place.current.scrollHeight;
  }, [text]);
  if (text === undefined) return <Waiting action={action} />;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard
    <section class="my-tail" ref={place} tabIndex={0} aria-label={`Log of ${row.name}`} {...quiet}>
      {text || "(nothing yet)"}
    </section>
  );
}

function About({ model, row, failure = false }: { model: Model; row: Row; failure?: boolean }) {
  const [found, action] = useFetched<Details>(model, "details", row, `${row.state} ${row.cell}`);
  if (!found) return <Waiting action={action} />;
  if (failure && found.failure)
    return (
      <>
        <p class="my-bad">
          Cell {found.failure.cell} failed: {found.failure.error}
        </p>
        <Code label="Source of the cell" text={found.failure.source} />
        <h4 class="my-small">Traceback</h4>
        <Code label="Traceback" text={found.failure.traceback} />
        <Tail text={found.tail} />
      </>
    );
  if (failure)
    return (
      <>
        <p class="my-bad">{row.said || "It did not tell why."}</p>
        <Tail text={found.tail} />
      </>
    );
  return (
    <>
      <Facts label="About" rows={found.facts} />
      <Facts label="Parameters" rows={found.parameters} />
      <Facts label="Results" rows={found.results} />
      {!row.live && <Remove model={model} row={row} />}
    </>
  );
}

/** Deletes a run that has ended, once that is confirmed. */
function Remove({ model, row }: { model: Model; row: Row }) {
  const action = useAction(model);
  const [sure, setSure] = useState(false);
  const [gone, setGone] = useState(false);
  const remove = async () => {
    setSure(false);
    if ((await action.run("remove", { id: row.id })) !== undefined) setGone(true);
  };
  if (gone) return <p class="my-dim">It is deleted.</p>;
  return (
    <>
      <ProblemBox problem={action.problem} onDismiss={action.dismiss} />
      {sure ? (
        <fieldset class="my-draft" aria-label={`Delete ${row.name}`}>
          <p>Delete this run of {row.name}, with its output notebook, log and results?</p>
          <Button label="Delete the run" kind="danger" onClick={() => void remove()} />
          <Button label="Keep it" onClick={() => setSure(false)} />
        </fieldset>
      ) : (
        <div class="my-row">
          <Button label="Delete…" disabled={!!action.pending} onClick={() => setSure(true)} />
        </div>
      )}
    </>
  );
}

function Tail({ text }: { text: string }) {
  if (!text) return null;
  return (
    <>
      <h4 class="my-small">The end of its log</h4>
      <Code label="The end of its log" text={text} />
    </>
  );
}

function Facts({ label, rows }: { label: string; rows: [string, string][] }) {
  if (rows.length === 0) return null;
  return (
    <table aria-label={label}>
      <caption>{label}</caption>
      <tbody>
        {rows.map(([name, value]) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>{value}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Waiting({ action }: { action: Action }) {
  if (action.problem) return <ProblemBox problem={action.problem} />;
  return <p class="my-dim">{action.busy ? "No answer yet: the kernel may be busy with a cell." : "Fetching…"}</p>;
}
