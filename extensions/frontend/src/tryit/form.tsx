// The fields: one for each column and row of a table, one for each tensor.
import { type Described, here, type Input, type Problem, ROWS } from "./ask";

const KINDS = { number: "number", string: "text", boolean: "true or false", datetime: "date and time, ISO 8601" };

function kind(input: Input): string {
  const what = input.kind === "number" && !input.datatype.startsWith("FP") ? "whole number" : KINDS[input.kind];
  return input.required ? what : `${what}, may be empty`;
}

/** A column of the table is a line here: as many inputs as there are have room, on a phone too. */
export function Rows(given: {
  about: Described;
  rows: string[][];
  wrong: Problem | null;
  onChange: (rows: string[][]) => void;
}) {
  const { about, rows, wrong, onChange } = given;
  const set = (at: number, input: number, value: string) =>
    onChange(rows.map((row, i) => (i === at ? row.map((cell, j) => (j === input ? value : cell)) : row)));
  const add = () => onChange([...rows, [...(rows.at(-1) ?? [])]]);
  return (
    <div class="scroll">
      <table class="form">
        <thead>
          <tr>
            <th scope="col">Input</th>
            {rows.map((_, at) => (
              <th scope="col" key={at}>
                Row {at + 1}{" "}
                {rows.length > 1 && (
                  <button
                    type="button"
                    class="plain"
                    aria-label={`Remove row ${at + 1}`}
                    onClick={() => onChange(rows.filter((_, i) => i !== at))}
                  >
                    ×
                  </button>
                )}
              </th>
            ))}
            <th scope="col">
              <button type="button" onClick={add} disabled={rows.length >= ROWS}>
                Add a row
              </button>
            </th>
          </tr>
        </thead>
        <tbody>
          {about.inputs.map((input, i) => (
            <tr key={input.name}>
              <th scope="row">
                {input.name}
                <small>{kind(input)}</small>
              </th>
              {rows.map((row, at) => (
                <td key={at}>
                  <Cell
                    input={input}
                    row={at}
                    value={row[i] ?? ""}
                    wrong={wrong?.input === input.name && (wrong.row ?? 0) === at ? wrong : null}
                    onChange={(value) => set(at, i, value)}
                  />
                </td>
              ))}
              <td />
            </tr>
          ))}
        </tbody>
      </table>
      {about.inputs.map(
        (input) =>
          input.categories.length > 0 && (
            <datalist key={input.name} id={`levels-${input.name}`}>
              {input.categories.map((level) => (
                <option key={level} value={level} />
              ))}
            </datalist>
          ),
      )}
    </div>
  );
}

function Cell(given: {
  input: Input;
  row: number;
  value: string;
  wrong: Problem | null;
  onChange: (value: string) => void;
}) {
  const { input, row, value, wrong, onChange } = given;
  const label = `${input.name}, row ${row + 1}`;
  const said = `wrong-${input.name}-${row}`;
  const common = {
    "aria-label": label,
    value,
    ...(wrong && { "aria-invalid": true as const, "aria-describedby": said }),
  };
  return (
    <>
      {input.kind === "boolean" ? (
        <select {...common} onChange={(event) => onChange(event.currentTarget.value)}>
          {["", "true", "false"].map((choice) => (
            <option key={choice} value={choice}>
              {choice}
            </option>
          ))}
        </select>
      ) : (
        <input
          {...common}
          inputMode={input.kind === "number" ? "decimal" : "text"}
          list={input.categories.length ? `levels-${input.name}` : undefined}
          spellcheck={false}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
      )}
      {wrong && <Wrong id={said} wrong={wrong} />}
    </>
  );
}

export function Tensors(given: {
  about: Described;
  texts: string[];
  wrong: Problem | null;
  onChange: (texts: string[]) => void;
}) {
  const { about, texts, wrong, onChange } = given;
  return (
    <>
      {about.inputs.map((input, i) => {
        const mine = wrong?.input === input.name ? wrong : null;
        return (
          <div key={input.name}>
            <label for={`tensor-${i}`}>{input.name}</label>
            <p class="soft" id={`about-${i}`}>
              {input.datatype}, shape [{input.shape.map((size) => (size < 0 ? "any" : size)).join(", ")}], as JSON
            </p>
            <textarea
              id={`tensor-${i}`}
              rows={8}
              spellcheck={false}
              value={texts[i]}
              aria-describedby={mine ? `wrong-tensor-${i}` : `about-${i}`}
              aria-invalid={mine ? true : undefined}
              onInput={(event) => onChange(texts.map((text, j) => (j === i ? event.currentTarget.value : text)))}
            />
            {mine && <Wrong id={`wrong-tensor-${i}`} wrong={mine} />}
          </div>
        );
      })}
    </>
  );
}

function Wrong({ id, wrong }: { id: string; wrong: Problem }) {
  return (
    <p class="wrong" id={id} role="alert">
      {here(wrong)}
    </p>
  );
}
