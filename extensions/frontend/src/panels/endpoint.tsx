// EndpointPanel.
import { useRef } from "preact/hooks";
import { Keys, Snippets } from "../endpoint/calls";
import { Live, usePoints } from "../endpoint/live";
import { Logs } from "../endpoint/logs";
import { Settings } from "../endpoint/settings";
import type { View } from "../endpoint/state";
import { Traffic } from "../endpoint/traffic";
import { TryIt } from "../endpoint/tryit";
import { useLooking, useSilent } from "../look";
import { type Model, useAction, useGone, useTrait } from "../model";
import { panel } from "../mount";
import { Box, Code, Gone, ProblemBox, Tabs } from "../ui";

export function EndpointPanel({ model }: { model: Model }) {
  const view = useTrait<View>(model, "view");
  const place = useRef<HTMLDivElement>(null);
  const looking = useLooking(model, place);
  const points = usePoints(model);
  const silent = useSilent(model, looking && !view.problem && !view.gone);
  const gone = useGone(model) || silent;
  const traffic = useAction(model);
  const title = `${view.owner}/${view.name}`;
  const tabs = [
    { id: "traffic", label: "Traffic", view: () => <Traffic view={view} action={traffic} /> },
    { id: "try", label: "Try it", view: () => <TryIt model={model} view={view} /> },
    { id: "live", label: "Live", view: () => <Live view={view} points={points} /> },
    { id: "logs", label: "Logs", view: () => <Logs model={model} view={view} looking={looking} /> },
    {
      id: "calls",
      label: "Call it",
      view: () => (
        <>
          <Snippets model={model} />
          <Keys model={model} locked={view.locked ?? ""} />
        </>
      ),
    },
    ...(view.locked || view.deleting
      ? []
      : [{ id: "settings", label: "Settings", view: () => <Settings model={model} view={view} /> }]),
  ];
  const [state, kind] = headline(view, gone);
  return (
    <div ref={place}>
      <Box title={title} state={state} kind={kind} testid="modelyard-endpoint-panel">
        <Code label="Address of the endpoint" text={view.url} />
        {!view.gone && (
          <p class="my-sub">
            <a href={`${view.url}/`} target="_blank" rel="noopener">
              Its page, to try it with a key
            </a>{" "}
            <span class="my-dim">with its OpenAPI document; for whoever is to call it</span>
          </p>
        )}
        {view.description && <p>{view.description}</p>}
        {gone && <Gone call={`yard.EndpointPanel("${title}")`} />}
        {view.gone && (
          <p role="alert">
            The endpoint is deleted, by you or by somebody else who may. Its model versions are in MLflow: publish one
            of them again under this name, and this panel shows it.
          </p>
        )}
        {!gone && <ProblemBox problem={view.problem} />}
        {!gone && view.problem && view.revisions && (
          <p class="my-dim" role="status">
            What is below is as it was last seen. It is tried again by itself.
          </p>
        )}
        {!view.gone && view.revisions && (
          <div inert={gone}>
            <Conditions view={view} />
            {view.locked && <p class="my-draft">{view.locked}</p>}
            <Tabs label={`Parts of ${title}`} tabs={tabs} />
          </div>
        )}
      </Box>
    </div>
  );
}

function headline(view: View, gone: boolean): [string, "good" | "busy" | "bad" | "dim"] {
  if (gone) return ["No kernel", "bad"];
  if (view.gone) return ["Deleted", "dim"];
  if (view.problem) return [`${view.problem.title}${view.state ? `; last seen: ${view.state}` : ""}`, "bad"];
  return [view.state ?? "", view.kind ?? "dim"];
}

function Conditions({ view }: { view: View }) {
  return (
    <ul class="my-conditions" aria-label="Conditions">
      {(view.conditions ?? []).map((condition) => (
        <li key={condition.what}>
          <span class={condition.holds ? "my-good" : "my-busy"}>{condition.holds ? "Yes" : "No"}</span>
          {`: ${condition.what.charAt(0).toLowerCase()}${condition.what.slice(1)}`}
          {condition.said && <span class="my-dim"> ({condition.said})</span>}
        </li>
      ))}
    </ul>
  );
}

export default panel(EndpointPanel);
