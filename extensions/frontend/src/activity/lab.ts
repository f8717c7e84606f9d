// As JupyterLab loads extensions: a container of webpack's module federation, which this one needs none of.
import { Corner } from "./activity";
import { button } from "./submit";

/** What JupyterLab shares: modules by name and version. */
type Shared = Record<string, Record<string, { get(): Promise<() => unknown> }>>;

interface Container {
  init(shared: Shared): void;
  get(module: string): Promise<() => unknown>;
}

export const NAME = "modelyard-activity";

/** The parts of JupyterLab's own that are used here. */
interface App {
  docRegistry: {
    addWidgetExtension(factory: string, extension: { createNew(panel: Panel, context: Context): void }): unknown;
  };
}
interface Panel {
  toolbar: { insertItem(at: number, name: string, widget: unknown): boolean };
}
interface Context {
  path: string;
  localPath?: string;
  model: { dirty: boolean };
  save(): Promise<unknown>;
}
type Widget = new (options: { node: HTMLElement }) => { addClass(name: string): void };

/** After save, insert, cut, copy, paste, run, stop, restart, run all, and the kind of cell. */
const PLACE = 10;
let shared: Shared = {};

async function widget(): Promise<Widget> {
  const [version] = Object.values(shared["@lumino/widgets"] ?? {});
  if (!version) throw new Error("JupyterLab shares no @lumino/widgets");
  return ((await version.get())() as { Widget: Widget }).Widget;
}

const submitting = {
  id: `${NAME}:submit`,
  description: "A button in a notebook's toolbar that has it run unattended.",
  autoStart: true,
  async activate(app: App): Promise<void> {
    const Made = await widget();
    app.docRegistry.addWidgetExtension("Notebook", {
      createNew(panel: Panel, context: Context): void {
        const notebook = {
          get path() {
            return context.localPath ?? context.path;
          },
          save: async () => (context.model.dirty ? context.save() : undefined),
        };
        const item = new Made({ node: document.createElement("div") });
        item.addClass("jp-Toolbar-item");
        (item as unknown as { node: HTMLElement }).node.append(button(notebook));
        panel.toolbar.insertItem(PLACE, "modelyard-submit", item);
      },
    });
  },
};

const plugin = {
  id: `${NAME}:corner`,
  description: "Says when this server is about to be stopped, and how full it is.",
  autoStart: true,
  activate(): void {
    new Corner(home());
  },
};

function home(): string {
  try {
    const config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "");
    return `${config.hubHost ?? ""}${config.hubPrefix || "/hub/"}home`;
  } catch {
    return "/hub/home";
  }
}

const page = window as unknown as { _JUPYTERLAB?: Record<string, Container> };
page._JUPYTERLAB ??= {};
page._JUPYTERLAB[NAME] = {
  init: (given) => {
    shared = given;
  },
  get: async () => () => ({ __esModule: true, default: [plugin, submitting] }),
};
