// Bundles each panel into one file, with its style beside it: what a widget sends to the browser is as small as that
// panel alone; and the spawn page, for JupyterHub. `--watch` builds again on each change.
import { mkdir, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, context } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "..", "modelyard", "widgets", "static");
const hub = join(here, "..", "..", "hub", "modelyard_hub", "spawner", "static");
const panels = (await readdir(join(here, "src", "panels"))).filter((name) => name.endsWith(".tsx"));

await mkdir(target, { recursive: true });
await mkdir(hub, { recursive: true });
const common = {
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  logLevel: "warning",
};
const panel = {
  ...common,
  entryPoints: [...panels.map((name) => join(here, "src", "panels", name)), join(here, "src", "panel.css")],
  outdir: target,
  outbase: join(here, "src"),
  entryNames: "[name]",
  jsx: "automatic",
  jsxImportSource: "preact",
};
const spawn = {
  ...common,
  entryPoints: ["spawn.ts", "spawn.css"].map((name) => join(here, "src", "spawn", name)),
  outdir: hub,
};

if (process.argv.includes("--watch")) {
  for (const options of [panel, spawn]) await (await context(options)).watch();
} else {
  await Promise.all([panel, spawn].map((options) => build(options)));
}
