// RunsPanel: unattended runs, how far each is, and its output notebook.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { duration } from "../format";
import { useLooking, useSilent } from "../look";
import { type Action, type Model, type Problem, useAction, useGone, useTrait } from "../model";
import { panel } from "../mount";
import { Bar, Box, Button, Code, Gone, type Kind, ProblemBox, quiet, Stack, Tabs } from "../ui";

export interface Row {
  id: string;
  name: string;
  owner: string;
  state: string;
  live: boolean;
  said: string;
  cell: number;
  cells: number;
  output: string;
  elapsed: number | null;
  expected: number | null;
  created: number;
}

export interface View {
  rows: Row[];
  more: boolean;
  page: number;
  problem: Problem | null;
}

interface Details {
  facts: [string, string][];
  parameters: [string, string][];
  results: [string, string][];
  failure: { cell: number; source: string; error: string; traceback: string } | null;
}

const STATES: Record<string, [string, Kind]> = {
  queued: ["⋯", "dim"],
  running: ["▶", "busy"],
  cancelling: ["▶", "busy"],
  succeeded: ["✓", "good"],
  failed: ["✗", "bad"],
  cancelled: ["■", "dim"],
};

export function RunsPanel({ model }: { model: Model }) {
  const view = useTrait<View>(model, "view");
  const place = useRef<HTMLDivElement>(null);
  const looking = useLooking(model, place);
  const silent = useSilent(model, looking && !view.problem);
  const gone = useGone(model) || silent;
  const action = useAction(model);
  const [open, setOpen] = useState("");
  const [asked, setAsked] = useState("");
  const shown = view.rows.find((row) => row.id === open);
  const live = view.rows.filter((row) => row.live).length;
  const rows = view.rows.map((row) => ({
    key: row.id,
    cells: [
      <RunName key="name" row={row} />,
      <State key="state" row={row} />,
      <Progress key="progress" row={row} />,
      <Acts
        key="acts"
        row={row}
        open={row.id === open}
        asked={row.id === asked}
        disabled={gone || !!action.pending}
        onOpen={() => setOpen(row.id === open ? "" : row.id)}
        onAsk={(yes) => setAsked(yes ? row.id : "")}
        onCancel={() => {
          setAsked("");
          void action.run("cancel", { id: row.id });
        }}
      />,
    ],
  }));
  return (
    <div ref={place}>
      <Box
        title="Runs"
        state={view.problem ? view.problem.title : live ? `${live} going on` : ""}
        kind={view.problem ? "bad" : "busy"}
        testid="modelyard-runs-panel"
      >
        {gone && <Gone call="yard.RunsPanel()" />}
        {!gone && <ProblemBox problem={view.problem} />}
        <ProblemBox problem={action.problem} onDismiss={action.dismiss} />
        {view.rows.length === 0 && !view.problem && (
          <p class="my-dim">No runs yet: yard.submit("train.ipynb", parameters=…) makes one.</p>
        )}
        {view.rows.length > 0 && <Stack label="Runs" head={["Run", "State", "Progress", "Actions"]} rows={rows} />}
        <Pages view={view} action={action} disabled={gone || !!action.pending} />
        {shown && <Opened key={shown.id} model={model} row={shown} />}
      </Box>
    </div>
  );
}

function RunName({ row }: { row: Row }) {
  const when = new Date(row.created * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" });
  return (
    <>
      <b title={row.id}>{row.name}</b>
      <br />
      <small class="my-dim">
        {row.owner} · {when}
      </small>
    </>
  );
}

function State({ row }: { row: Row }) {
  const [sign, kind] = STATES[row.state] ?? ["", "dim"];
  return (
    <>
      <span class={`my-${kind}`}>
        {sign} {row.state}
      </span>
      {row.said && (
        <>
          <br />
          <small class="my-dim">{row.said}</small>
        </>
      )}
    </>
  );
}

/** Cell x of n, how long so far, how long earlier runs took, and what it said last. */
function Progress({ row }: { row: Row }) {
  const took = row.elapsed === null ? "" : duration(row.elapsed);
  const usual = row.live && row.expected ? ` of about ${duration(row.expected)}` : "";
  const cells = row.cells ? `cell ${row.cell} of ${row.cells}` : "";
  const running = row.live && row.cells > 0;
  return (
    <>
      {[cells, took + usual].filter(Boolean).join(" · ")}
      {running && <Bar label={`Progress of ${row.name}`} fraction={fraction(row)} />}
      {running && row.output && (
        <div>
          <code class="my-last">{row.output}</code>
        </div>
      )}
    </>
  );
}

/** By time where earlier runs tell it, else by cells; never full before its end. */
export function fraction(row: Row): number {
  const byTime = row.expected && row.elapsed !== null ? row.elapsed / row.expected : null;
  return Math.min(0.98, byTime ?? Math.max(0, row.cell - 1) / row.cells);
}

function Acts(given: {
  row: Row;
  open: boolean;
  asked: boolean;
  disabled: boolean;
  onOpen: () => void;
  onAsk: (yes: boolean) => void;
  onCancel: () => void;
}) {
  const { row } = given;
  if (given.asked)
    return (
      <fieldset class="my-draft" aria-label={`Cancel ${row.name}`}>
        <p>Cancel {row.name}? What it made so far is kept.</p>
        <Button label="Cancel the run" kind="danger" disabled={given.disabled} onClick={given.onCancel} />
        <Button label="Let it run" onClick={() => given.onAsk(false)} />
      </fieldset>
    );
  return (
    <div class="my-row">
      <Button label={given.open ? "Close" : "Open"} pressed={given.open} onClick={given.onOpen} />
      {row.live && (
        <Button
          label="Cancel…"
          disabled={given.disabled || row.state === "cancelling"}
          onClick={() => given.onAsk(true)}
        />
      )}
    </div>
  );
}

function Pages({ view, action, disabled }: { view: View; action: Action; disabled: boolean }) {
  if (!view.more && view.page === 0) return null;
  return (
    <nav class="my-row" aria-label="Pages">
      <Button label="Newer" disabled={disabled || view.page === 0} onClick={() => action.run("newer")} />
      <span class="my-middle">page {view.page + 1}</span>
      <Button label="Older" disabled={disabled || !view.more} onClick={() => action.run("older")} />
    </nav>
  );
}

/** One run: its output notebook, its log, what was asked for and what it recorded. */
function Opened({ model, row }: { model: Model; row: Row }) {
  const failed = row.state === "failed";
  const tabs = [
    ...(failed ? [{ id: "failure", label: "Failure", view: () => <About model={model} row={row} failure /> }] : []),
    { id: "notebook", label: "Output notebook", view: () => <Notebook model={model} row={row} /> },
    { id: "log", label: "Log", view: () => <Log model={model} row={row} /> },
    { id: "about", label: "About", view: () => <About model={model} row={row} /> },
  ];
  return (
    <section class="my-below" aria-label={`Run ${row.name}`}>
      <h3 class="my-title">{row.name}</h3>
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
        <Code label="Traceback" text={found.failure.traceback} />
      </>
    );
  if (failure) return <p class="my-bad">{row.said || "It did not tell why."}</p>;
  return (
    <>
      <Facts label="About" rows={found.facts} />
      <Facts label="Parameters" rows={found.parameters} />
      <Facts label="Results" rows={found.results} />
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
  return <p class="my-dim">{action.busy ? "The kernel is busy; it answers when its cell has ended." : "…"}</p>;
}

export default panel(RunsPanel);
