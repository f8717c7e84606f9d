// How many replicas, and the end of it.
import { useState } from "preact/hooks";
import { type Model, useAction } from "../model";
import { Button, ProblemBox, Text } from "../ui";
import type { View } from "./state";

export function Settings({ model, view }: { model: Model; view: View }) {
  const action = useAction(model);
  const [low, high] = view.scaling ?? [1, 1];
  const [min, setMin] = useState<string | null>(null);
  const [max, setMax] = useState<string | null>(null);
  const [name, setName] = useState("");
  const [deleting, setDeleting] = useState(false);
  const from = Number(min ?? low);
  const to = Number(max ?? Math.max(high, from));
  const whole = (n: number) => Number.isInteger(n) && n >= 1 && n <= 64;
  const wrong = !whole(from) || !whole(to) || from > to;
  const changed = from !== low || to !== high;
  const forget = () => {
    setMin(null);
    setMax(null);
  };
  const scale = async () => {
    if ((await action.run("scale", { min: from, max: to })) !== undefined) forget();
  };
  return (
    <div>
      <h3 class="my-small">Replicas of each revision that runs</h3>
      <div class="my-row">
        <Text label="At least" kind="number" min={1} max={64} value={min ?? String(low)} onChange={setMin} />
        <Text
          label="At most"
          kind="number"
          min={1}
          max={64}
          value={max ?? String(to)}
          onChange={setMax}
          error={wrong ? "1 to 64, and not less than at least" : undefined}
        />
        <Button label="Scale" kind="primary" disabled={!changed || wrong || action.pending !== ""} onClick={scale} />
        <Button label="Reset" disabled={min === null && max === null} onClick={forget} />
      </div>
      <p class="my-dim">
        {changed && !wrong
          ? `Each revision that runs gets ${from === to ? from : `${from} to ${to}`} replicas (now ${low === high ? low : `${low} to ${high}`}).`
          : "A replica is a process of its own with the whole model in memory."}
      </p>
      <h3 class="my-small">Delete</h3>
      {deleting ? (
        <div class="my-draft">
          <p>
            Its callers are refused at once, its replicas stop, its keys are forgotten. The model versions stay in
            MLflow.
          </p>
          <div class="my-row">
            <Text label={`Type ${view.name} to delete it`} value={name} onChange={setName} />
            <Button
              kind="danger"
              label="Delete the endpoint"
              disabled={name !== view.name || action.pending !== ""}
              onClick={() => action.run("delete", { name })}
            />
            <Button label="Keep it" onClick={() => setDeleting(false)} />
          </div>
        </div>
      ) : (
        <Button label="Delete…" onClick={() => setDeleting(true)} />
      )}
      <ProblemBox problem={action.problem} onDismiss={action.dismiss} />
    </div>
  );
}
