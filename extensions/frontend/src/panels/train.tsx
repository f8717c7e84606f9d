// TrainPanel: the form, and the run that it started.
import { useState } from "preact/hooks";
import { Form, type FormState } from "../form";
import { duration } from "../format";
import { useAction, useGone, useTrait } from "../model";
import { Below, type PanelProps, panel } from "../mount";
import { isOver, useRun } from "../run";
import { RunView, stateOf } from "../run_view";
import { Box, Button, ProblemBox } from "../ui";

function Train({ model, host }: PanelProps) {
  const gone = useGone(model);
  const run = useRun(model, gone);
  const form = useTrait<FormState | undefined>(model, "form");
  const publishes = useTrait<boolean>(model, "publishes");
  const [again, setAgain] = useState(false);
  const editing = !!form?.values && (again || !run);
  const state = run ? stateOf(run.view, run.asked) : undefined;
  return (
    <Box
      title={run ? `Training ${run.view.name}` : "Train a model"}
      state={state?.text}
      kind={state?.kind}
      testid="modelyard-train"
    >
      {run && (
        <p class="my-dim my-sub">
          {run.view.model} · <code>{run.view.id}</code>
          {isOver(run.view) && ` · took ${duration(run.view.elapsed)}`}
        </p>
      )}
      {editing ? (
        <Form model={model} gone={gone} onStarted={() => setAgain(false)} onCancel={run && (() => setAgain(false))} />
      ) : (
        run && (
          <RunView
            run={run}
            extra={
              <>
                {publishes && isOver(run.view) && run.view.kept && !gone && <Publish model={model} />}
                {form?.values && !gone && <Button label="Change and train again" onClick={() => setAgain(true)} />}
              </>
            }
          />
        )
      )}
      <Below model={model} host={host} />
    </Box>
  );
}

/** Opens the panel that publishes, below. */
function Publish({ model }: { model: PanelProps["model"] }) {
  const action = useAction(model);
  return (
    <>
      <Button
        label="Publish…"
        kind="primary"
        disabled={!!action.pending}
        hint={action.busy ? "The kernel is busy; it answers when its cell has ended." : undefined}
        onClick={() => action.run("publish")}
      />
      <ProblemBox problem={action.problem} onDismiss={action.dismiss} />
    </>
  );
}

export default panel(Train);
