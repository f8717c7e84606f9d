// The seam to anywidget: a component of a model, drawn into the cell's output and taken away with it.
import { type ComponentType, render } from "preact";
import type { Model } from "./model";

/** What a panel's file exports by default. `initialize` stays empty: anywidget gives up on it after two seconds. */
export function panel(Component: ComponentType<{ model: Model }>) {
  return {
    render({ model, el }: { model: Model; el: HTMLElement }) {
      el.classList.add("my-panel");
      el.setAttribute("data-lm-suppress-shortcuts", "true");
      // A key typed in a panel is the panel's: the notebook would add and delete cells with it.
      const keep = (event: Event) => event.stopPropagation();
      for (const name of ["keydown", "keypress", "keyup"]) el.addEventListener(name, keep);
      render(<Component model={model} />, el);
      return () => {
        render(null, el);
        for (const name of ["keydown", "keypress", "keyup"]) el.removeEventListener(name, keep);
      };
    },
  };
}
