// The pieces that all panels are made of. Every one that takes the focus keeps JupyterLab's shortcuts away from it.
import type { ComponentChildren, TargetedKeyboardEvent } from "preact";
import { useState } from "preact/hooks";
import type { Problem } from "./model";

/** JupyterLab looks at the focused element itself, so each carries it. */
export const quiet = { "data-lm-suppress-shortcuts": "true" } as const;

const page = Math.random().toString(36).slice(2);
let ids = 0;

/** An id that no other panel of the page has; Preact's own is one of its tree alone, and each panel is a tree. */
function useId(): string {
  const [id] = useState(() => {
    ids += 1;
    return `my-${page}-${ids}`;
  });
  return id;
}

export type Kind = "good" | "busy" | "bad" | "dim";

/** A panel's outline: a title, its state in words, and what is below. */
export function Box(given: {
  title: string;
  state?: string;
  kind?: Kind;
  children: ComponentChildren;
  testid: string;
}) {
  return (
    <section class="my-box" aria-label={given.title} data-testid={given.testid}>
      <header class="my-head">
        <h2 class="my-title">{given.title}</h2>
        {given.state && (
          <span class={`my-state my-${given.kind ?? "dim"}`} role="status">
            {given.state}
          </span>
        )}
      </header>
      {given.children}
    </section>
  );
}

type ButtonProps = {
  label: string;
  onClick: () => void;
  kind?: "primary" | "danger" | "plain";
  disabled?: boolean;
  /** Why it is disabled, or what it does: a tooltip. */
  hint?: string;
  pressed?: boolean;
};

export function Button({ label, onClick, kind = "plain", disabled, hint, pressed }: ButtonProps) {
  return (
    <button
      type="button"
      class={`my-button my-${kind}`}
      disabled={disabled}
      title={hint}
      aria-pressed={pressed}
      onClick={onClick}
      {...quiet}
    >
      {label}
    </button>
  );
}

/** What ties a control to its label, its help and its error. */
export type Tied = {
  id: string;
  "aria-describedby": string | undefined;
  "aria-invalid": "true" | undefined;
  "data-lm-suppress-shortcuts": "true";
};

/** A labelled control; `help` and `error` are read with it. */
export function Field(given: {
  label: string;
  help?: string | undefined;
  error?: string | undefined;
  control: (tied: Tied) => ComponentChildren;
}) {
  const id = useId();
  const said = given.error ?? given.help;
  const tied: Tied = {
    id,
    "aria-describedby": said ? `${id}-said` : undefined,
    "aria-invalid": given.error ? "true" : undefined,
    ...quiet,
  };
  return (
    <div class="my-field">
      <label for={id}>{given.label}</label>
      {given.control(tied)}
      {said && (
        <small id={`${id}-said`} class={given.error ? "my-bad" : "my-dim"}>
          {said}
        </small>
      )}
    </div>
  );
}

export function Choice(given: {
  label: string;
  value: string;
  options: readonly (string | { value: string; label: string })[];
  onChange: (value: string) => void;
  help?: string;
  error?: string;
  disabled?: boolean;
}) {
  return (
    <Field
      label={given.label}
      help={given.help}
      error={given.error}
      control={(tied) => (
        <select
          {...tied}
          value={given.value}
          disabled={given.disabled}
          onChange={(event) => given.onChange(event.currentTarget.value)}
        >
          {given.options.map((option) => {
            const { value, label } = typeof option === "string" ? { value: option, label: option } : option;
            return (
              <option key={value} value={value}>
                {label}
              </option>
            );
          })}
        </select>
      )}
    />
  );
}

export function Text(given: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  kind?: "text" | "number";
  placeholder?: string;
  help?: string;
  error?: string;
  min?: number;
  max?: number;
  step?: number | "any";
  disabled?: boolean;
  /** Values to choose from; others may be typed. */
  options?: readonly string[];
}) {
  const list = useId();
  return (
    <Field
      label={given.label}
      help={given.help}
      error={given.error}
      control={(tied) => (
        <>
          <input
            {...tied}
            type={(given.kind ?? "text") as "text"}
            value={given.value}
            placeholder={given.placeholder}
            min={given.min}
            max={given.max}
            step={given.step}
            disabled={given.disabled}
            list={given.options ? list : undefined}
            onInput={(event) => given.onChange(event.currentTarget.value)}
          />
          {given.options && (
            <datalist id={list}>
              {given.options.map((option) => (
                <option key={option} value={option} />
              ))}
            </datalist>
          )}
        </>
      )}
    />
  );
}

export function Check(given: { label: string; value: boolean; onChange: (value: boolean) => void; help?: string }) {
  const id = useId();
  return (
    <div class="my-check">
      <input
        id={id}
        type="checkbox"
        checked={given.value}
        onChange={(event) => given.onChange(event.currentTarget.checked)}
        {...quiet}
      />
      <label for={id} title={given.help}>
        {given.label}
      </label>
    </div>
  );
}

/** What went wrong, in the panel itself: what it was, and what would be right. */
export function ProblemBox({ problem, onDismiss }: { problem: Problem | null; onDismiss?: () => void }) {
  if (!problem) return null;
  return (
    <div class="my-problem" role="alert">
      <strong>{problem.title}</strong>
      <p>{problem.detail}</p>
      {problem.remedy && <p class="my-dim">{problem.remedy}</p>}
      {onDismiss && <Button label="Dismiss" onClick={onDismiss} />}
    </div>
  );
}

/** What to do where the kernel that made the panel is gone. */
export function Gone({ call }: { call: string }) {
  return (
    <div class="my-problem" role="alert">
      <strong>The kernel of this panel is gone</strong>
      <p>It was restarted or shut down; what is below is as it was then. Run this in a cell to get the panel back:</p>
      <Code label="The call that shows this panel again" text={call} />
    </div>
  );
}

/** Narrow panels lay a table out as blocks; some browsers then forget its roles, unless they are said. */
const role = (name: string) => ({ role: name }) as object;

/** A table that becomes a list of cards where there is no room for it. */
export function Stack(given: {
  label: string;
  head: readonly string[];
  rows: readonly { key: string | number; cells: readonly ComponentChildren[] }[];
}) {
  return (
    <table class="my-stack" aria-label={given.label} {...role("table")}>
      <thead {...role("rowgroup")}>
        <tr {...role("row")}>
          {given.head.map((title) => (
            <th key={title} scope="col" {...role("columnheader")}>
              {title}
            </th>
          ))}
        </tr>
      </thead>
      <tbody {...role("rowgroup")}>
        {given.rows.map((row) => (
          <tr key={row.key} {...role("row")}>
            {row.cells.map((cell, i) => (
              <td key={given.head[i]} data-label={given.head[i]} {...role("cell")}>
                <div>{cell}</div>
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** A progress bar; null: how far it is, is not known. */
export function Bar({ fraction, label }: { fraction: number | null; label: string }) {
  const known = fraction === null ? {} : { value: Math.round(100 * Math.max(0, Math.min(1, fraction))) };
  return <progress class="my-progress" max={100} aria-label={label} {...known} />;
}

/** One of several views; arrow keys move between them, as in any tab list. */
export function Tabs(given: {
  label: string;
  tabs: readonly { id: string; label: string; view: () => ComponentChildren }[];
  chosen?: string;
  onChoose?: (id: string) => void;
}) {
  const base = useId();
  const [own, setOwn] = useState(""); // nobody chose yet: the first one, whichever that is by now
  const wanted = given.chosen ?? own;
  const chosen = given.tabs.find((tab) => tab.id === wanted) ?? given.tabs[0];
  const choose = (id: string) => {
    setOwn(id);
    given.onChoose?.(id);
  };
  const move = (event: TargetedKeyboardEvent<HTMLElement>) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step || !chosen) return;
    event.preventDefault();
    const at = given.tabs.indexOf(chosen) + step + given.tabs.length;
    const next = given.tabs[at % given.tabs.length];
    if (!next) return;
    choose(next.id);
    document.getElementById(`${base}-${next.id}`)?.focus();
  };
  if (!chosen) return null;
  return (
    <div class="my-tabs">
      <div role="tablist" aria-label={given.label} onKeyDown={move}>
        {given.tabs.map((tab) => (
          <button
            key={tab.id}
            id={`${base}-${tab.id}`}
            type="button"
            role="tab"
            class="my-tab"
            aria-selected={tab === chosen}
            tabIndex={tab === chosen ? 0 : -1}
            onClick={() => choose(tab.id)}
            {...quiet}
          >
            {tab.label}
          </button>
        ))}
      </div>
      <div key={chosen.id} role="tabpanel" aria-labelledby={`${base}-${chosen.id}`} class="my-tabpanel">
        {chosen.view()}
      </div>
    </div>
  );
}

/** Characters of a line, above which it is no code to be read: an address, a call with its rows. */
const WIDE = 120;

/** Text to take along: code, a curl line, a log; with a button that copies it. */
export function Code({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard?.writeText(text);
    setCopied(true);
  };
  return (
    <div class="my-code">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard */}
      <section tabIndex={0} aria-label={label} {...quiet}>
        <pre class={text.split("\n").some((line) => line.length > WIDE) ? "my-wraps" : ""}>{text}</pre>
      </section>
      {"clipboard" in navigator && <Button label={copied ? "Copied" : "Copy"} onClick={copy} />}
    </div>
  );
}
