// Bundles each panel into one file, with its style beside it: what a widget sends to the browser is as small as that
// panel alone. `--watch` builds again on each change.
import { mkdir, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, context } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "..", "modelyard", "widgets", "static");
const panels = (await readdir(join(here, "src", "panels"))).filter((name) => name.endsWith(".tsx"));

await mkdir(target, { recursive: true });
const options = {
  entryPoints: [...panels.map((name) => join(here, "src", "panels", name)), join(here, "src", "panel.css")],
  outdir: target,
  outbase: join(here, "src"),
  entryNames: "[name]",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  jsx: "automatic",
  jsxImportSource: "preact",
  logLevel: "warning",
};

if (process.argv.includes("--watch")) {
  const watching = await context(options);
  await watching.watch();
} else {
  await build(options);
}
