// TrainPanel: the form, and the run that it started.
import { useRef, useState } from "preact/hooks";
import { Form, type FormState } from "../form";
import { duration } from "../format";
import { useGone, useTrait } from "../model";
import { Below, type PanelProps, panel } from "../mount";
import { isOver, useRun } from "../run";
import { RunView, stateOf } from "../run_view";
import { Box, Button } from "../ui";

function Train({ model, host }: PanelProps) {
  const place = useRef<HTMLDivElement>(null);
  const gone = useGone(model, place);
  const run = useRun(model, gone);
  const form = useTrait<FormState | undefined>(model, "form");
  const [again, setAgain] = useState(false);
  const editing = !!form?.values && (again || !run);
  const state = run ? stateOf(run.view, run.asked) : undefined;
  return (
    <div ref={place}>
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
                  {isOver(run.view) && <PublishButton model={model} gone={gone} kept={run.view.kept} />}
                  {form?.values && !gone && <Button label="Change and train again" onClick={() => setAgain(true)} />}
                </>
              }
            />
          )
        )}
        <Below model={model} host={host} />
      </Box>
    </div>
  );
}

function PublishButton({ model, gone, kept }: { model: PanelProps["model"]; gone: boolean; kept: boolean }) {
  const can = useTrait<boolean>(model, "publishes");
  if (!can || !kept || gone) return null;
  return (
    <Button
      label="Publish…"
      kind="primary"
      onClick={() => model.send({ action: "publish", id: "publish", given: {} })}
    />
  );
}

export default panel(Train);
