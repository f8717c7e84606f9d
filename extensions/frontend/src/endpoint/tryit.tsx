// Ask the endpoint from here: a form made from what the model takes.
import { useEffect, useState } from "preact/hooks";
import { number } from "../format";
import { type Model, useAction } from "../model";
import { Button, Choice, ProblemBox, quiet, Text } from "../ui";
import type { View } from "./state";

interface Field {
  name: string;
  kind: "number" | "string" | "boolean" | "datetime";
  whole: boolean;
  required: boolean;
  levels: string[];
}
type Filled = Record<string, string>;
type Form =
  | { layout: "table"; fields: Field[]; rows: Filled[] }
  | { layout: "tensor"; shape: number[]; datatype: string; text: string };
interface Answer {
  lines: Record<string, unknown>[];
  text?: string;
  version: string;
  ms: number;
  rows: number;
}

export function TryIt({ model, view }: { model: Model; view: View }) {
  const asking = useAction(model);
  const loading = useAction(model);
  const [revision, setRevision] = useState("");
  const [form, setForm] = useState<Form | null>(null);
  const [answer, setAnswer] = useState<Answer | null>(null);
  const load = loading.run;
  const given = revision ? { revision: Number(revision) } : {};

  useEffect(() => {
    let wanted = true;
    load("form", revision ? { revision: Number(revision) } : {}).then((found) => {
      if (found && wanted) setForm(found as Form);
    });
    return () => {
      wanted = false;
    };
  }, [load, revision]);

  // At once: what is typed into the form of another revision would be lost when this one's comes.
  const choose = (chosen: string) => {
    setForm(null);
    setAnswer(null);
    setRevision(chosen);
  };

  const send = async (event: Event) => {
    event.preventDefault();
    if (!form) return;
    setAnswer(null);
    const found = await asking.run("predict", { filled: form.layout === "table" ? form.rows : form.text, ...given });
    if (found) setAnswer(found as Answer);
  };
  const options = [
    { value: "", label: "as the traffic says" },
    ...(view.revisions ?? []).map((row) => ({
      value: String(row.number),
      label: `revision ${row.number} (version ${row.version})`,
    })),
  ];
  return (
    <form onSubmit={send}>
      <div class="my-row">
        <Choice label="Which revision" value={revision} options={options} onChange={choose} />
        {/* A submit button, so that Enter in a field asks. */}
        <button type="submit" class="my-button my-primary" disabled={!form || asking.pending !== ""} {...quiet}>
          {asking.pending ? "Asking…" : "Ask"}
        </button>
      </div>
      {!form && !loading.problem && <p role="status">Reading what the model takes…</p>}
      <ProblemBox problem={loading.problem} />
      {form?.layout === "table" && <Rows form={form} onChange={(rows) => setForm({ ...form, rows })} />}
      {form?.layout === "tensor" && (
        <label class="my-field">
          An array of shape [{form.shape.map((n) => (n < 0 ? "any" : n)).join(", ")}] of {form.datatype}, as JSON
          <textarea
            rows={6}
            value={form.text}
            onInput={(event) => setForm({ ...form, text: event.currentTarget.value })}
            {...quiet}
          />
        </label>
      )}
      <ProblemBox problem={asking.problem} onDismiss={asking.dismiss} />
      <div role="status">
        {asking.busy && <p>Still waiting for the answer.</p>}
        {answer && <Answered answer={answer} />}
      </div>
    </form>
  );
}

function Rows({ form, onChange }: { form: Form & { layout: "table" }; onChange: (rows: Filled[]) => void }) {
  const [shown, setShown] = useState(0);
  const at = Math.min(shown, form.rows.length - 1);
  const set = (name: string, value: string) =>
    onChange(form.rows.map((row, i) => (i === at ? { ...row, [name]: value } : row)));
  const copy = () => {
    onChange([...form.rows, { ...(form.rows[at] ?? {}) }]);
    setShown(form.rows.length);
  };
  const remove = () => {
    onChange(form.rows.filter((_, i) => i !== at));
    setShown(Math.max(0, at - 1));
  };
  return (
    <fieldset class="my-plain">
      <legend class="my-row">
        <span>
          Row {at + 1} of {form.rows.length}
        </span>
        <Button label="Previous" disabled={at === 0} onClick={() => setShown(at - 1)} />
        <Button label="Next" disabled={at >= form.rows.length - 1} onClick={() => setShown(at + 1)} />
        <Button label="Add a copy" disabled={form.rows.length >= 5} onClick={copy} />
        <Button label="Remove" disabled={form.rows.length === 1} onClick={remove} />
      </legend>
      <div class="my-grid">
        {form.fields.map((field) => (
          <Input
            key={field.name}
            field={field}
            value={form.rows[at]?.[field.name] ?? ""}
            onChange={(value) => set(field.name, value)}
          />
        ))}
      </div>
    </fieldset>
  );
}

const WHAT = { number: "number", string: "text", boolean: "true or false", datetime: "date and time, ISO 8601" };

function Input({ field, value, onChange }: { field: Field; value: string; onChange: (value: string) => void }) {
  const what = field.whole ? "whole number" : WHAT[field.kind];
  const help = `${what}${field.required ? "" : ", may be empty"}`;
  const levels = field.kind === "boolean" ? ["true", "false"] : field.levels;
  if (levels.length > 0) {
    const own = levels.includes(value) && field.required ? [] : [levels.includes(value) ? "" : value];
    return <Choice label={field.name} help={help} value={value} options={[...own, ...levels]} onChange={onChange} />;
  }
  return (
    <Text
      label={field.name}
      help={help}
      kind={field.kind === "number" ? "number" : "text"}
      step={field.whole ? 1 : "any"}
      value={value}
      onChange={onChange}
    />
  );
}

function Answered({ answer }: { answer: Answer }) {
  const names = Object.keys(answer.lines[0] ?? {}).filter((name) => name !== "probabilities");
  const probable = answer.lines.some((line) => line.probabilities && typeof line.probabilities === "object");
  return (
    <div>
      <p>
        Answered by version <b>{answer.version || "?"}</b> in <b>{answer.ms} ms</b>, from this kernel and back.
      </p>
      {answer.text ? (
        <pre class="my-tail">{answer.text}…</pre>
      ) : (
        <div class="my-scroll">
          <table aria-label="Answer">
            <thead>
              <tr>
                <th scope="col">Row</th>
                {names.map((name) => (
                  <th scope="col" key={name}>
                    {name}
                  </th>
                ))}
                {probable && <th scope="col">Probabilities</th>}
              </tr>
            </thead>
            <tbody>
              {answer.lines.map((line, i) => (
                <tr key={i}>
                  <td>{i + 1}</td>
                  {names.map((name) => (
                    <td key={name}>
                      <b>{show(line[name])}</b>
                    </td>
                  ))}
                  {probable && <td>{likely(line.probabilities)}</td>}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}

const show = (value: unknown): string =>
  typeof value === "number" ? number(value) : typeof value === "object" ? JSON.stringify(value) : String(value);

function likely(value: unknown) {
  if (!value || typeof value !== "object") return "";
  if (Array.isArray(value)) return show(value);
  return (
    <ul class="my-likely">
      {Object.entries(value as Record<string, number>)
        .sort(([, a], [, b]) => b - a)
        .slice(0, 6)
        .map(([name, p]) => (
          <li key={name}>
            <span class="my-share" aria-hidden="true">
              <span style={{ width: `${100 * p}%` }} />
            </span>
            {name} {(100 * p).toFixed(1)} %
          </li>
        ))}
    </ul>
  );
}
