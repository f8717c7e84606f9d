// PublishPanel.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { Keys, Snippets } from "../endpoint/calls";
import { duration } from "../format";
import { type Model, type Problem, useAction, useGone, useTrait } from "../model";
import { Below, type Host, type PanelProps, panel } from "../mount";
import { Box, Button, Choice, Code, Field, Gone, ProblemBox, quiet, Stack, Tabs, Text } from "../ui";

type Values = Record<string, string>;
interface Option {
  value: string;
  label: string;
}
export interface View {
  models: Option[];
  examples: Option[];
  owners: string[];
  naming: { ok: boolean; exists: boolean; says: string };
  /** Why the hub service could not say what the name would do. */
  away: Problem | null;
  code: string;
  running: boolean;
  state: string;
  kind: "good" | "busy" | "bad" | "dim";
  steps: Step[];
  result: { owner: string; name: string; url: string } | null;
  failure: (Problem & { tail?: string[] }) | null;
}
interface Step {
  title: string;
  state: "waiting" | "busy" | "done" | "failed";
  seconds: number | null;
  lines: string[];
}
interface Signature {
  columns: { name: string; kind: string; shape: string; required: boolean; levels: string; values: string[] }[];
  more: number;
  problem: string;
}

/** Milliseconds without a key, after which the kernel is told what was typed. */
const TYPED = 300;

/** What is typed, here at once and in the kernel soon; what another view types comes back from there. */
function useForm(model: Model, run: (action: string, given?: object) => Promise<unknown>) {
  const trait = useTrait<{ by: string; values: Values }>(model, "form");
  const [own] = useState(() => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`);
  const [values, setValues] = useState(trait.values);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const telling = useRef<Promise<unknown>>(Promise.resolve());
  useEffect(() => {
    if (trait.by !== own) setValues(trait.values);
  }, [trait, own]);
  const say = useCallback(
    (next: Values) => {
      clearTimeout(timer.current);
      timer.current = undefined;
      telling.current = run("fill", { by: own, values: next });
      return telling.current;
    },
    [run, own],
  );
  const set = (name: string, value: string) => {
    const next = { ...values, [name]: value };
    setValues(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => say(next), TYPED);
  };
  /** Before something that depends on it: what is not told yet is, and what is on its way has arrived. */
  const settle = () => (timer.current === undefined ? telling.current : say(values));
  return { values, set, settle };
}

export function PublishPanel({ model, host }: PanelProps) {
  const view = useTrait<View>(model, "view");
  const table = useTrait<Signature>(model, "table");
  const below = useTrait<string>(model, "below");
  const filling = useAction(model);
  const action = useAction(model);
  const gone = useGone(model);
  const form = useForm(model, filling.run);
  const { values } = form;
  const publish = async () => {
    await form.settle();
    await action.run("publish");
  };
  const field = (name: string) => ({ value: values[name] ?? "", onChange: (value: string) => form.set(name, value) });
  const ready = view.naming.ok && !view.running && action.pending === "";
  const tabs = [
    { id: "model", label: "Model", view: () => <ModelFields view={view} field={field} /> },
    { id: "signature", label: "Signature", view: () => <SignatureTable table={table} /> },
    { id: "size", label: "Size and requirements", view: () => <SizeFields view={view} field={field} /> },
    { id: "code", label: "Show code", view: () => <Code label="The call that does the same" text={view.code} /> },
  ];
  const title = values.name ? `Publish ${values.name}` : "Publish a model";
  return (
    <Box
      title={title}
      state={gone ? "No kernel" : view.state}
      kind={gone ? "bad" : view.kind}
      testid="modelyard-publish-panel"
    >
      {gone && <Gone call="yard.PublishPanel()" />}
      <div inert={gone}>
        <fieldset class="my-plain" disabled={view.running} aria-label="What to publish">
          <Tabs label="Parts of the form" tabs={tabs} />
        </fieldset>
        <ProblemBox problem={view.away} />
        <div class="my-row">
          <Button
            kind="primary"
            label={view.running ? "Publishing…" : "Publish"}
            disabled={!ready}
            hint={view.naming.says}
            onClick={publish}
          />
          {view.running ? (
            <Button label="Cancel" onClick={() => action.run("cancel")} />
          ) : (
            <Button label="Look at the notebook again" onClick={() => filling.run("look")} />
          )}
        </div>
        <ProblemBox problem={filling.problem ?? action.problem} onDismiss={action.dismiss} />
        {(filling.busy || action.busy) && <p role="status">The kernel is busy; it answers when it can.</p>}
        {view.steps.length > 0 && <Steps steps={view.steps} />}
        <ProblemBox problem={view.failure} />
        {Boolean(view.failure?.tail?.length) && <pre class="my-tail">{view.failure?.tail?.join("\n")}</pre>}
        {view.result && <Result model={model} host={host} result={view.result} below={below} />}
      </div>
    </Box>
  );
}

type Fields = (name: string) => { value: string; onChange: (value: string) => void };

function ModelFields({ view, field }: { view: View; field: Fields }) {
  const name = field("name");
  const wrong = name.value !== "" && !view.naming.ok && !view.away ? view.naming.says : undefined;
  const owners = view.owners.map((owner, i) => ({
    value: i ? owner : "",
    label: i ? `the group ${owner}` : `you, ${owner}`,
  }));
  const example = field("example");
  const models = view.models.length ? view.models : [{ value: "", label: "none yet: train one, then look again" }];
  return (
    <>
      <div class="my-grid">
        <Choice label="Model" {...field("model")} options={models} />
        <Choice label="Example rows" {...example} options={view.examples} />
        <Text label="Name of the endpoint" {...name} placeholder="churn" error={wrong} />
        {owners.length > 1 && <Choice label="It belongs to" {...field("owner")} options={owners} />}
        {view.naming.exists && (
          <Text
            label="Calls that go to it, percent"
            kind="number"
            min={0}
            max={100}
            {...field("traffic")}
            placeholder="0"
            help="0: a candidate that gets none yet"
          />
        )}
        <Text label="Description" {...field("description")} />
      </div>
      <p class="my-dim" role="status">
        {wrong || view.away ? "" : view.naming.says}
      </p>
    </>
  );
}

function SizeFields({ view, field }: { view: View; field: Fields }) {
  const before = view.naming.exists ? "as the revision before" : "";
  const lines = (name: string, label: string, help: string) => {
    const { value, onChange } = field(name);
    return (
      <Field
        label={label}
        help={help}
        control={(attributes) => (
          <textarea
            rows={3}
            {...(attributes as object)}
            value={value}
            onInput={(event) => onChange(event.currentTarget.value)}
          />
        )}
      />
    );
  };
  return (
    <div class="my-grid">
      <Text
        label="CPU cores of a replica"
        kind="number"
        min={0.1}
        step="any"
        placeholder={before || "1"}
        {...field("cpu")}
      />
      <Text
        label="Memory of a replica, MiB"
        kind="number"
        min={64}
        placeholder={before || "1024"}
        {...field("memory")}
      />
      {!view.naming.exists && (
        <Text label="Replicas" kind="number" min={1} max={64} placeholder="1" {...field("replicas")} />
      )}
      {lines("requirements", "Requirements", "One pip line each; empty: what the model is found to need")}
      {lines("environment", "Environment variables", `A NAME=value each; empty: ${before || "none"}`)}
    </div>
  );
}

function SignatureTable({ table }: { table: Signature }) {
  if (table.problem) return <p role="status">{table.problem}</p>;
  const rows = table.columns.map((column) => ({
    key: column.name,
    cells: [
      <b key="name">{column.name}</b>,
      column.shape ? `${column.kind}, ${column.shape}` : column.kind,
      column.required ? "no" : "yes",
      column.levels || column.values.join(", "),
    ],
  }));
  return (
    <div class="my-scroll">
      <Stack label="Signature" head={["Column", "Holds", "May be missing", "Such as"]} rows={rows} />
      {table.more > 0 && <p class="my-dim">And {table.more} more columns.</p>}
    </div>
  );
}

const SAID = { waiting: "waiting", busy: "under way", done: "done", failed: "failed" };
const MARK = { waiting: "○", busy: "◔", done: "✓", failed: "✕" };
const KIND = { waiting: "dim", busy: "busy", done: "good", failed: "bad" };

function Steps({ steps }: { steps: Step[] }) {
  const now = steps.find((step) => step.state === "busy" || step.state === "failed");
  return (
    <>
      <p class="my-hidden" role="status">
        {now ? `${now.title}: ${SAID[now.state]}` : "All steps are done."}
      </p>
      <ol class="my-steps" aria-label="Steps">
        {steps.map((step) => (
          <li key={step.title}>
            <span class={`my-mark my-${KIND[step.state]}`} aria-hidden="true">
              {MARK[step.state]}
            </span>
            <div>
              <b>{step.title}</b>{" "}
              <span class={`my-${KIND[step.state]}`}>
                {SAID[step.state]}
                {step.seconds !== null && `, ${duration(step.seconds)}`}
              </span>
              {step.lines.map((line) => (
                <div key={line} class="my-dim my-line">
                  {line}
                </div>
              ))}
            </div>
          </li>
        ))}
      </ol>
    </>
  );
}

function Result(given: { model: Model; host?: Host; result: NonNullable<View["result"]>; below: string }) {
  const { model, host, result, below } = given;
  const action = useAction(model);
  const name = `${result.owner}/${result.name}`;
  return (
    <section aria-label={`${name} is ready`}>
      <h3 class="my-small">{name} answers at</h3>
      <Code label="Address of the endpoint" text={result.url} />
      {host ? (
        !below && (
          <div class="my-row">
            <Button
              label={`Open ${name}`}
              hint="Traffic, rates, logs and more, below"
              onClick={() => action.run("open")}
            />
          </div>
        )
      ) : (
        <Code label="The call that shows its panel" text={`yard.EndpointPanel("${name}")`} />
      )}
      <ProblemBox problem={action.problem} onDismiss={action.dismiss} />
      <details class="my-details">
        <summary {...quiet}>Call it from elsewhere: lines to copy, and keys</summary>
        <Snippets model={model} />
        <Keys model={model} locked="" />
      </details>
      <Below model={model} host={host} />
    </section>
  );
}

export default panel(PublishPanel);
