// Bundles each panel into one file, with its style beside it: what a widget sends to the browser is as small as that
// panel alone; the spawn page, for JupyterHub; the page of an endpoint, for the model server; and what stands in
// JupyterLab's corner. `--watch` builds again on each change.
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, context } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "..", "modelyard", "widgets", "static");
const hub = join(here, "..", "..", "hub", "modelyard_hub", "spawner", "static");
const server = join(here, "..", "modelyard_server", "static");
const lab = join(here, "..", "modelyard", "activity", "labextension");
const panels = (await readdir(join(here, "src", "panels"))).filter((name) => name.endsWith(".tsx"));

await mkdir(target, { recursive: true });
await mkdir(hub, { recursive: true });
await mkdir(server, { recursive: true });
await mkdir(join(lab, "static"), { recursive: true });
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
// Classic scripts: the server puts them into its document, whose policy names their hashes.
const tryit = {
  ...common,
  format: "iife",
  entryPoints: ["tryit.ts", "tryit.css"].map((name) => join(here, "src", "tryit", name)),
  outdir: server,
  jsx: "automatic",
  jsxImportSource: "preact",
};
// A file like those of JupyterLab's own builder, without what that bundles: it needs nothing of JupyterLab's modules.
const corner = {
  ...common,
  format: "iife",
  loader: { ".css": "text" },
  entryPoints: [join(here, "src", "activity", "lab.ts")],
  outdir: join(lab, "static"),
};
await writeFile(
  join(lab, "package.json"),
  JSON.stringify({
    name: "modelyard-activity",
    version: "0.1.0",
    description: "Says when a notebook server is about to be stopped, and how full it is.",
    license: "Apache-2.0",
    jupyterlab: { extension: true, _build: { load: "static/lab.js", extension: "./extension" } },
  }),
);

if (process.argv.includes("--watch")) {
  for (const options of [panel, spawn, tryit, corner]) await (await context(options)).watch();
} else {
  await Promise.all([panel, spawn, tryit, corner].map((options) => build(options)));
}
