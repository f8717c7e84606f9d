// The rows of schedules: when each is due, how its last run ended; paused, started, edited, deleted.
import { useEffect, useState } from "preact/hooks";
import { type Model, useAction } from "../model";
import { Button, ProblemBox, Stack, Tabs, Text } from "../ui";
import { RunById, StateWord } from "./run";
import type { Given } from "./runs";
import { moment, ownZone, same, zones } from "./times";

export interface ScheduleRow {
  key: string;
  what: string;
  cron: string;
  zone: string;
  words: string;
  /** What starts its runs besides the clock, in words. */
  triggers: string[];
  paused: boolean;
  next: number[];
  last: { id: string; state: string; due: number | null } | null;
  missed: { due: number; count: number; message: string } | null;
  /** What keeps triggers from starting runs now. */
  troubles: { trigger: "files" | "drift" | "version"; since: number; message: string }[];
}

const LOOKED_AT = {
  files: "New files cannot be seen",
  drift: "Drift cannot be seen",
  version: "New versions cannot be seen",
};

/** What the kernel says of a cron line: when it is due, or which of the two fields is wrong. */
type Read = { words: string; next: number[] } | { field: string; said: string };

export function ScheduleRows({ model, action, disabled, rows, empty }: Given<ScheduleRow>) {
  const [open, setOpen] = useState("");
  const shown = rows.find((row) => row.key === open);
  const cells = rows.map((row) => ({
    key: row.key,
    cells: [
      <Name key="name" row={row} />,
      <When key="when" row={row} />,
      <Next key="next" row={row} />,
      <Last key="last" row={row} />,
      <div key="acts" class="my-row my-tight">
        <Button
          label={row.key === open ? "Close" : "Open"}
          pressed={row.key === open}
          onClick={() => setOpen(row.key === open ? "" : row.key)}
        />
        <Button
          label="Run now"
          hint="A run besides its times, with the same parameters"
          disabled={disabled}
          onClick={() => action.run("start", { key: row.key })}
        />
        <Button
          label={row.paused ? "Resume" : "Pause"}
          hint={row.paused ? "Go on with what is due from now on" : "Start nothing until it is resumed"}
          disabled={disabled}
          onClick={() => action.run(row.paused ? "resume" : "pause", { key: row.key })}
        />
      </div>,
    ],
  }));
  if (rows.length === 0)
    return empty ? (
      <p class="my-dim">
        No schedules yet: “Submit…” above a notebook makes one, or yard.schedule("train.ipynb", "30 2 * * *").
      </p>
    ) : null;
  return (
    <>
      <Stack label="Schedules" head={["Schedule", "When", "Next", "Last run", "Actions"]} rows={cells} />
      {shown && (
        <OpenedSchedule
          key={shown.key}
          model={model}
          row={shown}
          disabled={disabled}
          onDelete={() => action.run("delete", { key: shown.key })}
        />
      )}
    </>
  );
}

function Name({ row }: { row: ScheduleRow }) {
  const [owner, name] = row.key.split("/");
  return (
    <>
      <b>{name}</b>
      <br />
      <small class="my-dim">
        {owner} · {row.what}
      </small>
    </>
  );
}

function When({ row }: { row: ScheduleRow }) {
  const words = [...(row.words ? [row.words] : []), ...row.triggers].join(", and ") || "when it is started";
  return (
    <>
      {words.charAt(0).toUpperCase() + words.slice(1)}
      {row.cron && (
        <>
          <br />
          <small class="my-dim">
            <code>{row.cron}</code> · {row.zone}
          </small>
        </>
      )}
      <Troubles row={row} />
    </>
  );
}

function Troubles({ row }: { row: ScheduleRow }) {
  return (
    <>
      {row.troubles.map((one) => (
        <p key={one.trigger} class="my-note my-bad" role="status">
          ⚠ {LOOKED_AT[one.trigger]} since {moment(one.since)}: {one.message}
        </p>
      ))}
    </>
  );
}

function Next({ row }: { row: ScheduleRow }) {
  const [first] = row.next;
  if (row.paused) return <span class="my-busy">❚❚ paused</span>;
  if (first === undefined) return <>–</>;
  return (
    <>
      {moment(first, row.zone)}
      {!same([first], row.zone) && (
        <>
          <br />
          <small class="my-dim">{moment(first)} your time</small>
        </>
      )}
    </>
  );
}

function Last({ row }: { row: ScheduleRow }) {
  if (!row.last) return <>none yet</>;
  return (
    <>
      <StateWord state={row.last.state} />
      <br />
      <small class="my-dim">
        {row.last.due === null ? "besides its times" : `of ${moment(row.last.due, row.zone)}`}
      </small>
    </>
  );
}

function OpenedSchedule(given: { model: Model; row: ScheduleRow; disabled: boolean; onDelete: () => void }) {
  const { model, row, disabled } = given;
  const [sure, setSure] = useState(false);
  const last = row.last?.id;
  const tabs = [
    { id: "times", label: "Times", view: () => <Times model={model} row={row} disabled={disabled} /> },
    ...(last ? [{ id: "last", label: "Last run", view: () => <RunById key={last} model={model} id={last} /> }] : []),
  ];
  return (
    <section class="my-below" aria-label={`Schedule ${row.key}`}>
      <header class="my-head">
        <h3 class="my-title">{row.key}</h3>
        {!sure && <Button label="Delete…" disabled={disabled} onClick={() => setSure(true)} />}
      </header>
      {sure && (
        <fieldset class="my-draft" aria-label={`Delete ${row.key}`}>
          <p>Delete the schedule {row.key}? Its runs stay; a run that goes on is not ended.</p>
          <Button label="Delete the schedule" kind="danger" disabled={disabled} onClick={given.onDelete} />
          <Button label="Keep it" onClick={() => setSure(false)} />
        </fieldset>
      )}
      <Troubles row={row} />
      <Tabs label={`Parts of ${row.key}`} tabs={tabs} />
    </section>
  );
}

function Times({ model, row, disabled }: { model: Model; row: ScheduleRow; disabled: boolean }) {
  const [editing, setEditing] = useState(false);
  if (editing) return <Edit model={model} row={row} disabled={disabled} onClose={() => setEditing(false)} />;
  return (
    <>
      <NextTimes
        times={row.next}
        zone={row.zone}
        none={row.paused ? "None while it is paused." : "None by the clock."}
      />
      {row.missed && (
        <p class="my-note">
          {row.missed.count > 1 ? `${row.missed.count} times until ` : ""}
          {moment(row.missed.due, row.zone)} had no run: {row.missed.message}
        </p>
      )}
      <div class="my-row">
        <Button
          label={row.cron ? "Change when…" : "Have it run by the clock…"}
          disabled={disabled}
          onClick={() => setEditing(true)}
        />
      </div>
    </>
  );
}

/** Times in the schedule's zone, and in the viewer's where that is another. */
export function NextTimes({ times, zone, none = "" }: { times: readonly number[]; zone: string; none?: string }) {
  if (times.length === 0) return <p class="my-dim">{none}</p>;
  const one = same(times, zone);
  return (
    <table aria-label="The next times" class="my-narrow">
      <thead>
        <tr>
          <th scope="col">{zone}</th>
          {!one && <th scope="col">Your time ({ownZone()})</th>}
        </tr>
      </thead>
      <tbody>
        {times.map((time) => (
          <tr key={time}>
            <td>{moment(time, zone)}</td>
            {!one && <td>{moment(time)}</td>}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Milliseconds without a key, after which the kernel is asked what the line says. */
const TYPING = 300;

function Edit(given: { model: Model; row: ScheduleRow; disabled: boolean; onClose: () => void }) {
  const { model, row } = given;
  const [cron, setCron] = useState(row.cron);
  const [zone, setZone] = useState(row.zone);
  const [read, setRead] = useState<Read | null>(null);
  const asking = useAction(model);
  const saving = useAction(model);
  const { run } = asking;
  useEffect(() => {
    let stale = false;
    if (!cron.trim()) {
      setRead(null);
      return;
    }
    const timer = setTimeout(async () => {
      const found = await run("due", { cron, time_zone: zone });
      if (!stale && found !== undefined) setRead(found as Read);
    }, TYPING);
    return () => {
      stale = true;
      clearTimeout(timer);
    };
  }, [run, cron, zone]);
  const wrong = (field: string) => (read && "field" in read && read.field === field ? { error: read.said } : {});
  const fine = read !== null && "words" in read;
  const save = async () => {
    if ((await saving.run("edit", { key: row.key, cron, time_zone: zone })) !== undefined) given.onClose();
  };
  return (
    <form
      class="my-plain"
      aria-label={`When ${row.key} is due`}
      onSubmit={(event) => {
        event.preventDefault();
        if (fine && !given.disabled && !saving.pending) void save();
      }}
    >
      <div class="my-row my-top">
        <Text
          label="Cron line"
          value={cron}
          help="minute, hour, day of the month, month, day of the week"
          onChange={setCron}
          {...wrong("cron")}
        />
        <Text label="Time zone" value={zone} onChange={setZone} options={zones()} {...wrong("time_zone")} />
      </div>
      {fine && (
        <>
          <p>
            <b>{read.words}</b>
          </p>
          <NextTimes times={read.next} zone={zone} />
        </>
      )}
      <ProblemBox problem={saving.problem ?? asking.problem} />
      <div class="my-row">
        <Button
          label={saving.pending ? "Saving…" : "Save"}
          kind="primary"
          disabled={!fine || given.disabled || !!saving.pending}
          onClick={() => void save()}
        />
        <Button label="Leave it as it is" onClick={given.onClose} />
      </div>
    </form>
  );
}
