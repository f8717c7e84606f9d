// The revisions of an endpoint and how its calls are split: sliders are a draft until Apply writes it.
import { useEffect, useState } from "preact/hooks";
import type { Action } from "../model";
import { Button, ProblemBox, quiet, Stack } from "../ui";
import { canary, type Row, rebalanced, type Shares, same, type View, words } from "./state";

interface Intent {
  title: string;
  says: string;
  run: () => Promise<unknown>;
}

export function Traffic({ view, action }: { view: View; action: Action }) {
  const applied = view.traffic ?? {};
  const rows = view.revisions ?? [];
  const [draft, setDraft] = useState<{ shares: Shares; base: Shares } | null>(null);
  const [intent, setIntent] = useState<Intent | null>(null);
  const all = { ...Object.fromEntries(rows.map((row) => [String(row.number), 0])), ...applied };
  const shown = draft?.shares ?? all;
  const changed = draft !== null && !same(draft.shares, applied);
  const overtaken = changed && !same(draft.base, applied);
  const open = !view.locked && !view.deleting;

  // What was drafted and is there now is no draft any more.
  useEffect(() => {
    if (draft && same(draft.shares, applied)) setDraft(null);
  }, [draft, applied]);

  const move = (number: number, percent: number) =>
    setDraft({ shares: rebalanced(shown, String(number), percent), base: draft?.base ?? applied });
  const write = async (shares: Shares, expected: Shares) => {
    const answer = await action.run("split", { shares, expected });
    setIntent(null);
    if (answer !== undefined) setDraft(null);
  };
  const newest = Math.max(...rows.map((row) => row.number));
  const ask = (title: string, says: string, run: () => Promise<unknown>) => setIntent({ title, says, run });
  const settle = async () => {
    await action.run("rollback");
    setIntent(null);
    setDraft(null);
  };

  return (
    <div>
      <Table rows={rows} shown={shown} open={open && rows.length > 1} onMove={move} />
      {Boolean(view.older) && (
        <p class="my-dim">
          {view.older === 1 ? "One older revision is" : `${view.older} older revisions are`} kept and runs nothing.
        </p>
      )}
      {rows
        .filter((row) => row.tail.length > 0)
        .map((row) => (
          <div class="my-problem" key={row.number}>
            <strong>Revision {row.number}: the last lines of its log</strong>
            <pre class="my-tail">{row.tail.join("\n")}</pre>
          </div>
        ))}
      {changed && (
        <div class="my-draft" role="status">
          <p>
            <strong>A draft.</strong> Apply: {words(applied, draft.shares)}.
            {overtaken && " Somebody changed the traffic meanwhile; what is said here is against the present one."}
          </p>
          <div class="my-row">
            <Button
              kind="primary"
              label="Apply"
              disabled={action.pending !== ""}
              onClick={() => write(draft.shares, applied)}
            />
            <Button label="Reset" onClick={() => setDraft(null)} />
          </div>
        </div>
      )}
      {intent ? (
        <fieldset class="my-draft" aria-label={intent.title}>
          <p>{intent.says}</p>
          <div class="my-row">
            <Button kind="primary" label={intent.title} disabled={action.pending !== ""} onClick={intent.run} />
            <Button label="Cancel" onClick={() => setIntent(null)} />
          </div>
        </fieldset>
      ) : (
        open &&
        !changed && (
          <div class="my-row">
            {rows.length > 1 && (applied[newest] ?? 0) < 100 && (
              <Button
                label={`Promote revision ${newest}`}
                hint={`All calls go to revision ${newest}`}
                onClick={() =>
                  ask(
                    `Promote revision ${newest}`,
                    `All calls go to revision ${newest}. The one before keeps running, so that you can roll back at once.`,
                    () => write({ [newest]: 100 }, applied),
                  )
                }
              />
            )}
            {rows.length > 1 && (applied[newest] ?? 0) === 0 && (
              <Button
                label={`Canary: 10 % to revision ${newest}`}
                hint="Makes a draft, to be applied"
                onClick={() =>
                  setDraft({ shares: { ...zeros(all), ...canary(applied, String(newest), 10) }, base: applied })
                }
              />
            )}
            {view.rollback ? (
              <Button
                label="Roll back"
                hint={`All calls back to revision ${view.rollback}`}
                onClick={() =>
                  ask(
                    `Roll back to revision ${view.rollback}`,
                    `All calls go back to revision ${view.rollback}, the last one that had all of them. The others keep running.`,
                    settle,
                  )
                }
              />
            ) : (
              <small class="my-dim">Nothing to roll back to: no earlier revision had all calls.</small>
            )}
          </div>
        )
      )}
      <ProblemBox problem={action.problem} onDismiss={action.dismiss} />
    </div>
  );
}

const zeros = (shares: Shares): Shares => Object.fromEntries(Object.keys(shares).map((number) => [number, 0]));

function Table(given: {
  rows: Row[];
  shown: Shares;
  open: boolean;
  onMove: (number: number, percent: number) => void;
}) {
  const head = [
    "Revision",
    "Model version",
    "Calls",
    ...(given.open ? ["Wanted"] : []),
    "Replicas",
    "Runs as",
    "State",
  ];
  const rows = given.rows.map((row) => ({
    key: row.number,
    cells: [
      <b key="number">{row.number}</b>,
      row.version,
      <Share key="share" row={row} />,
      ...(given.open
        ? [
            <Slider
              key="slider"
              number={row.number}
              percent={given.shown[row.number] ?? 0}
              onMove={(percent) => given.onMove(row.number, percent)}
            />,
          ]
        : []),
      row.replicas,
      row.flavor || "–",
      <span key="state" class={`my-${row.kind}`}>
        {row.state}
      </span>,
    ],
  }));
  return <Stack label="Revisions" head={head} rows={rows} />;
}

function Share({ row }: { row: Row }) {
  return (
    <>
      <span class="my-share" aria-hidden="true">
        <span style={{ width: `${row.applied}%` }} />
      </span>
      {row.applied} %{row.applied !== row.wanted && ` → ${row.wanted} %`}
    </>
  );
}

function Slider({ number, percent, onMove }: { number: number; percent: number; onMove: (percent: number) => void }) {
  return (
    <span class="my-slider">
      <input
        type="range"
        min={0}
        max={100}
        value={percent}
        aria-label={`Calls to revision ${number}, percent`}
        aria-valuetext={`${percent} %`}
        onInput={(event) => onMove(Number(event.currentTarget.value))}
        {...quiet}
      />
      <input
        type="number"
        min={0}
        max={100}
        value={percent}
        aria-label={`Calls to revision ${number}, percent, as a number`}
        onChange={(event) => onMove(Number(event.currentTarget.value))}
        {...quiet}
      />
    </span>
  );
}
