// RunsPanel: unattended runs, how far each is, and its output notebook; schedules; sweeps and pipelines.
import { useRef, useState } from "preact/hooks";
import type { GroupRow } from "../batch/groups";
import { GroupList, GroupView } from "../batch/groups";
import type { Row } from "../batch/run";
import { RunRows } from "../batch/runs";
import type { ScheduleRow } from "../batch/schedules";
import { ScheduleRows } from "../batch/schedules";
import { useLooking, useSilent } from "../look";
import { type Action, type Model, type Problem, useAction, useGone, useTrait } from "../model";
import { panel } from "../mount";
import { Box, Button, Gone, ProblemBox, Tabs } from "../ui";

interface Page {
  more: boolean;
  page: number;
  /** Runs of one schedule, or of one group: there is nothing else to choose. */
  only: string;
  group: string;
  problem: Problem | null;
}

export type View = Page &
  ({ tab: "runs"; rows: Row[] } | { tab: "schedules"; rows: ScheduleRow[] } | { tab: "groups"; rows: GroupRow[] });

const TABS = [
  { id: "runs", label: "Runs" },
  { id: "schedules", label: "Schedules" },
  { id: "groups", label: "Sweeps and pipelines" },
];

export function RunsPanel({ model }: { model: Model }) {
  const view = useTrait<View>(model, "view");
  const place = useRef<HTMLDivElement>(null);
  const looking = useLooking(model, place);
  const silent = useSilent(model, looking && !view.problem);
  const gone = useGone(model) || silent;
  const action = useAction(model);
  const [wanted, setWanted] = useState("");
  const live = view.tab === "runs" ? view.rows.filter((row) => row.live).length : 0;
  const given = { model, action, disabled: gone || !!action.pending };
  const rows = () => (
    <>
      {view.tab === "runs" && <RunRows {...given} rows={view.rows} empty={!view.problem} only={view.only} />}
      {view.tab === "schedules" && <ScheduleRows {...given} rows={view.rows} empty={!view.problem} />}
      {view.tab === "groups" && <GroupList {...given} rows={view.rows} empty={!view.problem} />}
      <Pages view={view} action={action} disabled={given.disabled} />
    </>
  );
  const choose = async (tab: string) => {
    if (given.disabled) return;
    setWanted(tab);
    await action.run("tab", { tab });
    setWanted("");
  };
  const tabs = TABS.map((tab) => ({
    ...tab,
    view: () => (!wanted || wanted === view.tab ? rows() : <p class="my-dim">Fetching…</p>),
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
        {action.busy && <p class="my-note">No answer yet: the kernel may be busy with a cell.</p>}
        {view.only === "group" && <GroupView model={model} id={view.group} disabled={given.disabled} />}
        {view.only ? rows() : <Tabs label="What is shown" tabs={tabs} chosen={wanted || view.tab} onChoose={choose} />}
      </Box>
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

export default panel(RunsPanel);
