// The rows of runs: how far each is, and what may be done to it.
import { useState } from "preact/hooks";
import { duration } from "../format";
import type { Action, Model } from "../model";
import { Bar, Button, Stack } from "../ui";
import { GroupView } from "./groups";
import { Opened, type Row, StateWord } from "./run";

export interface Given<R> {
  model: Model;
  action: Action;
  disabled: boolean;
  rows: R[];
  /** Whether there being none is known. */
  empty: boolean;
}

export function RunRows({ model, action, disabled, rows, empty, only }: Given<Row> & { only: string }) {
  const [open, setOpen] = useState("");
  const [asked, setAsked] = useState("");
  const shown = rows.find((row) => row.id === open);
  const cells = rows.map((row) => ({
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
        disabled={disabled}
        onOpen={() => setOpen(row.id === open ? "" : row.id)}
        onAsk={(yes) => setAsked(yes ? row.id : "")}
        onCancel={() => {
          setAsked("");
          void action.run("cancel", { id: row.id });
        }}
      />,
    ],
  }));
  const group = (id: string) =>
    id && only !== "group" ? { group: () => <GroupView model={model} id={id} disabled={disabled} inside /> } : {};
  return (
    <>
      {rows.length === 0 && empty && (
        <p class="my-dim">No runs yet: yard.submit("train.ipynb", parameters=…) makes one.</p>
      )}
      {rows.length > 0 && <Stack label="Runs" head={["Run", "State", "Progress", "Actions"]} rows={cells} />}
      {shown && <Opened key={shown.id} model={model} row={shown} {...group(shown.group)} />}
    </>
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
        {row.member && row.member !== row.name && ` · ${row.member}`}
      </small>
    </>
  );
}

function State({ row }: { row: Row }) {
  return (
    <>
      <StateWord state={row.state} />
      {row.said && (
        <>
          <br />
          <small class="my-dim">{row.said}</small>
        </>
      )}
    </>
  );
}

/** Cell x of n or the share of the rows, how long so far, how long earlier runs took, and what it said last. */
function Progress({ row }: { row: Row }) {
  const took = row.elapsed === null ? "" : duration(row.elapsed);
  const usual = row.live && row.expected ? ` of about ${duration(row.expected)}` : "";
  const cells = row.cells ? `cell ${row.cell} of ${row.cells}` : "";
  const known = row.cells > 0 || typeof row.share === "number";
  const running = row.live && row.state !== "queued";
  return (
    <>
      {[cells, took + usual].filter(Boolean).join(" · ")}
      {running && known && <Bar label={`Progress of ${row.name}`} fraction={fraction(row)} />}
      {running && row.output && (
        <div>{row.cells ? <code class="my-last">{row.output}</code> : <small class="my-dim">{row.output}</small>}</div>
      )}
    </>
  );
}

/** By rows; else by time where earlier runs tell it, else by cells; never full before its end. */
export function fraction(row: Row): number {
  if (typeof row.share === "number") return Math.min(0.98, row.share);
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
