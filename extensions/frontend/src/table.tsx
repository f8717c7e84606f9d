// Rows as a table: one column per key, numbers to the right.
import { number } from "./format";
import { quiet } from "./ui";

export type Row = Record<string, unknown>;

export function Table({ rows, label = "Table" }: { rows: readonly Row[]; label?: string }) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const right = (name: string) => rows.some((row) => typeof row[name] === "number");
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard
    <section class="my-scroll" tabIndex={0} aria-label={label} {...quiet}>
      <table>
        <thead>
          <tr>
            {names.map((name) => (
              <th key={name} scope="col" class={right(name) ? "my-number" : ""}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, i) => (
            <tr key={i}>
              {names.map((name) => (
                <td key={name} class={right(name) ? "my-number" : ""}>
                  {cell(row[name])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" ? number(value) : String(value);
}
