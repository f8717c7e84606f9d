// The form of TrainPanel. What is typed stays here and is told to the kernel, which answers with what is wrong, the
// fields of the chosen estimator and the code.
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Model, useAction, useTrait } from "./model";
import { Button, Check, Choice, Code, ProblemBox, quiet, Text } from "./ui";

type Value = string | number | boolean;

export interface Values {
  data: string;
  target: string;
  task: string;
  left_out: string[];
  estimator: string;
  parameters: Record<string, Value>;
  name: string;
  test_size: Value;
  seed: Value;
  cv: Value;
  balanced: boolean;
  learning_curve: boolean;
}

export interface FormState {
  values: Values;
  task: string;
  problems: Record<string, string>;
  code: string;
  /** Which tab changed it last, and a number that grows when there is something else to choose from. */
  by: string;
  version: number;
}

interface FieldGiven {
  name: string;
  kind: "number" | "integer" | "choice" | "bool" | "text";
  default?: Value;
  options?: string[];
  low?: number;
  high?: number;
  optional?: boolean;
  help?: string;
  main?: boolean;
}

export interface Catalog {
  frames: { name: string; rows: number; columns: number }[];
  columns: { name: string; kind: string; missing: boolean; note?: string }[];
  estimators: { key: string; label: string }[];
  fields: FieldGiven[];
}

/** Milliseconds without a key after which the kernel is told. */
const TYPING = 300;

export function Form(given: { model: Model; gone: boolean; onStarted: () => void; onCancel?: (() => void) | null }) {
  const { model, gone } = given;
  const form = useTrait<FormState>(model, "form");
  const catalog = useTrait<Catalog>(model, "catalog");
  const tab = useMemo(() => Math.random().toString(36).slice(2), []);
  const [values, setValues] = useState(form.values);
  const version = useRef(form.version);
  const action = useAction(model);
  const start = useAction(model);
  const waiting = useRef(0);

  // Another tab's choices are taken over; of one's own only what became something else to choose from.
  useEffect(() => {
    if (form.by !== tab) setValues(form.values);
    else if (form.version !== version.current) {
      version.current = form.version;
      setValues((now) => ({ ...now, left_out: form.values.left_out, parameters: form.values.parameters }));
    }
  }, [form, tab]);

  const tell = (next: Values, wait: number) => {
    setValues(next);
    clearTimeout(waiting.current);
    waiting.current = setTimeout(() => action.run("edit", { values: next, by: tab }), wait) as unknown as number;
  };
  const set = (changed: Partial<Values>, wait = 0) => tell({ ...values, ...changed }, wait);
  const setParameter = (name: string, value: Value, wait = 0) =>
    tell({ ...values, parameters: { ...values.parameters, [name]: value } }, wait);
  const chooseEstimator = (estimator: string) => {
    clearTimeout(waiting.current);
    const { parameters: _, ...rest } = values;
    setValues({ ...values, estimator });
    action.run("edit", { values: { ...rest, estimator }, by: tab });
  };
  const train = async () => {
    clearTimeout(waiting.current);
    await action.run("edit", { values, by: tab });
    if ((await start.run("start")) !== undefined) given.onStarted();
  };

  const wrong = form.problems;
  const columns = catalog.columns ?? [];
  const estimator = (field: FieldGiven) => (
    <FieldInput
      key={field.name}
      field={field}
      value={values.parameters[field.name] ?? field.default ?? ""}
      error={wrong[`parameters.${field.name}`]}
      onChange={(value, wait) => setParameter(field.name, value, wait)}
    />
  );
  const others = catalog.fields.filter((field) => !field.main);
  return (
    <form
      class="my-form"
      onSubmit={(event) => {
        event.preventDefault();
        if (!start.pending && !gone) train();
      }}
    >
      {gone && (
        <p class="my-note" role="status">
          The kernel restarted or ended, and the data with it. Run the cells again.
        </p>
      )}
      <Group title="Data">
        <div class="my-grid">
          <Choice
            label="Data frame"
            value={values.data}
            options={
              catalog.frames.length
                ? catalog.frames.map((f) => ({ value: f.name, label: `${f.name} (${f.rows} × ${f.columns})` }))
                : [{ value: "", label: "none" }]
            }
            onChange={(data) => set({ data })}
            error={wrong.data}
          />
          <Choice
            label="Predict"
            value={values.target}
            options={[{ value: "", label: "choose a column" }, ...columns.map((c) => c.name)]}
            onChange={(target) => set({ target, left_out: values.left_out.filter((name) => name !== target) })}
            error={wrong.target}
          />
          <Choice
            label="Task"
            value={values.task}
            options={[
              { value: "", label: form.task ? `${form.task} (by the column)` : "by the column" },
              "classification",
              "regression",
            ]}
            onChange={(task) => set({ task })}
            error={wrong.task}
          />
          <div class="my-field my-end">
            <Button label="Look for frames again" onClick={() => action.run("refresh", { by: tab })} disabled={gone} />
          </div>
        </div>
        {values.target && <Columns columns={columns} values={values} error={wrong.left_out} set={set} />}
      </Group>
      <Group title="Estimator">
        <div class="my-grid">
          <Choice
            label="Estimator"
            value={values.estimator}
            options={catalog.estimators.map((e) => ({ value: e.key, label: e.label }))}
            onChange={chooseEstimator}
            error={wrong.estimator}
          />
          {catalog.fields.filter((field) => field.main).map(estimator)}
        </div>
        {others.length > 0 && (
          <details>
            <summary {...quiet}>More parameters ({others.length})</summary>
            <div class="my-grid">{others.map(estimator)}</div>
          </details>
        )}
      </Group>
      <Group title="Training">
        <div class="my-grid">
          <Text
            label="Name"
            value={values.name}
            placeholder="by the estimator"
            onChange={(name) => set({ name }, TYPING)}
            error={wrong.name}
          />
          <Text
            label="Held-out share"
            kind="number"
            min={0}
            max={0.9}
            step="any"
            value={String(values.test_size)}
            onChange={(v) => set({ test_size: v }, TYPING)}
            error={wrong.test_size}
          />
          <Text
            label="Folds of a cross-validation"
            kind="number"
            min={0}
            max={100}
            value={String(values.cv)}
            help="0: none"
            onChange={(v) => set({ cv: v }, TYPING)}
            error={wrong.cv}
          />
          <Text
            label="Seed"
            kind="number"
            min={0}
            value={String(values.seed)}
            onChange={(v) => set({ seed: v }, TYPING)}
            error={wrong.seed}
          />
          {form.task !== "regression" && (
            <Check label="Balance the classes" value={values.balanced} onChange={(balanced) => set({ balanced })} />
          )}
          <Check
            label="Learning curve"
            value={values.learning_curve}
            onChange={(learning_curve) => set({ learning_curve })}
            help="Scores over growing shares of the rows; costs several fits."
          />
        </div>
      </Group>
      <ProblemBox
        problem={start.problem ?? action.problem}
        onDismiss={start.problem ? start.dismiss : action.dismiss}
      />
      {(start.busy || action.busy) && (
        <p class="my-note" role="status">
          The kernel is busy; it answers when its cell has ended.
        </p>
      )}
      <div class="my-row">
        <Button
          label={start.pending ? "Starting…" : "Train"}
          kind="primary"
          onClick={train}
          disabled={gone || !!start.pending || Object.keys(wrong).length > 0}
        />
        {given.onCancel && <Button label="Back to the run" onClick={given.onCancel} />}
      </div>
      {form.code && (
        <details>
          <summary {...quiet}>Show code</summary>
          <Code text={form.code} label="The cell that does the same" />
        </details>
      )}
    </form>
  );
}

function Group({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <fieldset class="my-group">
      <legend>{title}</legend>
      {children}
    </fieldset>
  );
}

function Columns(given: {
  columns: Catalog["columns"];
  values: Values;
  error?: string;
  set: (changed: Partial<Values>) => void;
}) {
  const { values } = given;
  const usable = given.columns.filter((c) => !c.note && c.name !== values.target);
  const noted = given.columns.filter((c) => c.note && c.name !== values.target);
  const used = usable.filter((c) => !values.left_out.includes(c.name)).length;
  return (
    <details>
      <summary {...quiet}>
        Learns from {used} of {given.columns.length - 1} columns
        {given.error && <span class="my-bad"> {given.error}</span>}
      </summary>
      <div class="my-grid">
        {usable.map((c) => (
          <Check
            key={c.name}
            label={`${c.name} (${c.kind}${c.missing ? ", some missing" : ""})`}
            value={!values.left_out.includes(c.name)}
            onChange={(on) =>
              given.set({ left_out: on ? values.left_out.filter((n) => n !== c.name) : [...values.left_out, c.name] })
            }
          />
        ))}
      </div>
      {noted.length > 0 && <p class="my-dim">Left out: {noted.map((c) => `${c.name} (${c.note})`).join("; ")}</p>}
    </details>
  );
}

function FieldInput(given: {
  field: FieldGiven;
  value: Value;
  error?: string;
  onChange: (value: Value, wait: number) => void;
}) {
  const { field, value, error, onChange } = given;
  if (field.kind === "bool")
    return <Check label={field.name} value={!!value} help={field.help} onChange={(on) => onChange(on, 0)} />;
  if (field.kind === "choice") {
    const none = field.optional ? [{ value: "", label: "none" }] : [];
    return (
      <Choice
        label={field.name}
        value={String(value)}
        options={[...none, ...(field.options ?? [])]}
        help={field.help}
        error={error}
        onChange={(v) => onChange(v, 0)}
      />
    );
  }
  const number = field.kind === "number" || field.kind === "integer";
  return (
    <Text
      label={field.name}
      kind={number ? "number" : "text"}
      value={String(value)}
      placeholder={field.optional ? "none" : (field.options?.join(", ") ?? "")}
      help={field.help}
      error={error}
      min={field.low}
      max={field.high}
      step={field.kind === "integer" ? 1 : "any"}
      onChange={(v) => onChange(v, TYPING)}
    />
  );
}
