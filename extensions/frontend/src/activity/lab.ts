// As JupyterLab loads extensions: a container of webpack's module federation, which this one needs none of.
import { Corner } from "./activity";

interface Container {
  init(): void;
  get(module: string): Promise<() => unknown>;
}

export const NAME = "modelyard-activity";

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
page._JUPYTERLAB[NAME] = { init: () => {}, get: async () => () => ({ __esModule: true, default: plugin }) };
