// The seam to anywidget: a component of a model, drawn into the cell's output and taken away with it.
import { type ComponentType, render } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { type Model, useTrait } from "./model";

/** anywidget's way to another widget of the same kernel: a panel shows it inside itself. */
export interface Host {
  getWidget(ref: string): Promise<{ render(given: { el: HTMLElement; signal?: AbortSignal }): Promise<unknown> }>;
}

export interface PanelProps {
  model: Model;
  host?: Host;
}

/** What a panel's file exports by default. `initialize` stays empty: anywidget gives up on it after two seconds. */
export function panel(Component: ComponentType<PanelProps>) {
  return {
    render({ model, el, host }: { model: Model; el: HTMLElement; host?: Host }) {
      el.classList.add("my-panel");
      el.setAttribute("data-lm-suppress-shortcuts", "true");
      // A key typed in a panel is the panel's: the notebook would add and delete cells with it.
      const keep = (event: Event) => {
        event.stopPropagation();
        if (saves(event)) handOn(event, el);
      };
      for (const name of ["keydown", "keypress", "keyup"]) el.addEventListener(name, keep);
      render(<Component model={model} host={host} />, el);
      return () => {
        render(null, el);
        for (const name of ["keydown", "keypress", "keyup"]) el.removeEventListener(name, keep);
      };
    },
  };
}

/** Ctrl+S or Cmd+S: the one key of the notebook's that a person wants here too. */
function saves(event: Event): event is KeyboardEvent {
  return (
    event instanceof KeyboardEvent && event.type === "keydown" && (event.ctrlKey || event.metaKey) && event.key === "s"
  );
}

/** Give a key to the page around the panel, where JupyterLab does not take it for a panel's. */
function handOn(event: KeyboardEvent, el: HTMLElement) {
  event.preventDefault();
  const { key, code, keyCode, ctrlKey, metaKey } = event;
  const again = { key, code, keyCode, ctrlKey, metaKey, bubbles: true, cancelable: true };
  (el.closest(".jp-Notebook") ?? document.body).dispatchEvent(new KeyboardEvent("keydown", again));
}

/** The panel that the trait `below` names, shown here; in a box of its own, so that its style and keys are its own. */
export function Below({ model, host }: PanelProps) {
  const ref = useTrait<string | undefined>(model, "below");
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const el = place.current;
    if (!el || !ref || !host) return;
    const gone = new AbortController();
    const inner = el.appendChild(document.createElement("div"));
    host
      .getWidget(ref)
      .then((widget) => (gone.signal.aborted ? undefined : widget.render({ el: inner, signal: gone.signal })))
      .catch((error) => {
        inner.textContent = `The panel cannot be shown: ${error}`;
      });
    return () => {
      gone.abort();
      inner.remove();
    };
  }, [ref, host]);
  return <div ref={place} class="my-below" />;
}
