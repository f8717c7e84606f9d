// The replicas' last log lines; followed while they are in sight.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Model, useAction } from "../model";
import { Check, Choice, ProblemBox, quiet } from "../ui";
import type { View } from "./state";

interface Log {
  revision: number;
  replica: number;
  text: string;
}
const EVERY = 2000;

export function Logs({ model, view, looking }: { model: Model; view: View; looking: boolean }) {
  const action = useAction(model);
  const [revision, setRevision] = useState("");
  const [follow, setFollow] = useState(true);
  const [logs, setLogs] = useState<Log[] | null>(null);
  const run = action.run;
  const load = useCallback(async () => {
    const found = await run("logs", revision ? { revision: Number(revision) } : {});
    if (found) setLogs(found as Log[]);
  }, [run, revision]);

  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = async () => {
      await load();
      if (!over && follow && looking) timer = setTimeout(again, EVERY);
    };
    again();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [load, follow, looking]);

  const options = [
    { value: "", label: "all revisions" },
    ...(view.revisions ?? []).map((row) => ({ value: String(row.number), label: `revision ${row.number}` })),
  ];
  return (
    <div>
      <div class="my-row">
        <Choice label="Of" value={revision} options={options} onChange={setRevision} />
        <Check label="Follow" value={follow} onChange={setFollow} help="Read again every two seconds" />
      </div>
      <ProblemBox problem={action.problem} />
      {logs?.length === 0 && <p>Nothing runs, so there are no lines.</p>}
      {logs?.map((log) => (
        <Tail key={`${log.revision}-${log.replica}`} log={log} follow={follow} />
      ))}
    </div>
  );
}

function Tail({ log, follow }: { log: Log; follow: boolean }) {
  const place = useRef<HTMLElement>(null);
  const title = `Revision ${log.revision}, replica ${log.replica}`;
  useEffect(() => {
    if (follow && place.current) place.current.scrollTop = place.current.scrollHeight;
  }, [log.text, follow]);
  return (
    <div>
      <h3 class="my-small">{title}</h3>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard */}
      <section class="my-tail" ref={place} tabIndex={0} aria-label={`Log of ${title}`} {...quiet}>
        {log.text || "(nothing yet)"}
      </section>
    </div>
  );
}
