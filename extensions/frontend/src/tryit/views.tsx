// What is shown and not typed: an answer, a problem, text to copy.
import { useEffect, useState } from "preact/hooks";
import { type Described, type Line, lines, type Problem } from "./ask";
import type { Answered } from "./calls";

export function Answer({ answer, about }: { answer: Answered; about: Described }) {
  const rows = lines(answer.json, about);
  const names = rows[0]?.values.map((value) => value.name) ?? [];
  const probable = rows.some((row) => row.probabilities.length > 0);
  return (
    <section class="card">
      <h2>
        Answer{" "}
        <small>
          {time(answer.ms)}, there and back{answer.revision && `, by revision ${answer.revision}`}
        </small>
      </h2>
      <div class="scroll">
        <table aria-label="Answer">
          <thead>
            <tr>
              <th scope="col">Row</th>
              {names.map((name) => (
                <th scope="col" key={name}>
                  {name}
                </th>
              ))}
              {probable && <th scope="col">probabilities</th>}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, at) => (
              <tr key={at}>
                <td>{at + 1}</td>
                {row.values.map((value) => (
                  <td key={value.name}>
                    <b>{value.text}</b>
                  </td>
                ))}
                {probable && (
                  <td>
                    <Shares line={row} />
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <details>
        <summary>As it came</summary>
        <pre>{answer.raw.length > 20_000 ? `${answer.raw.slice(0, 20_000)}…` : answer.raw}</pre>
      </details>
    </section>
  );
}

const time = (ms: number): string => (ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${(ms / 1000).toFixed(1)} s`);

function Shares({ line }: { line: Line }) {
  return (
    <ul class="shares">
      {line.probabilities.map(({ label, share }) => (
        <li key={label}>
          <span>{label}</span>
          <span class="bar" aria-hidden="true">
            <span style={{ width: `${100 * share}%` }} />
          </span>
          <span class="number">{(100 * share).toFixed(1)} %</span>
        </li>
      ))}
    </ul>
  );
}

export function Said({ problem }: { problem: Problem | null }) {
  if (!problem) return null;
  return (
    <div class="problem" role="alert">
      <b>{problem.title}</b>
      {problem.detail && <p>{problem.detail}</p>}
      {problem.remedy && <p>{problem.remedy}</p>}
      {problem.id && (
        <p class="soft">
          In the endpoint's log: <code>{problem.id}</code>
        </p>
      )}
    </div>
  );
}

export function Copied({ label, text }: { label: string; text: string }) {
  const [said, setSaid] = useState("");
  useEffect(() => setSaid(""), [text]); // another text is not copied yet
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("Copied");
    } catch {
      setSaid("Select it and press Ctrl+C"); // a browser allows it only over HTTPS and on this machine
    }
  };
  return (
    <figure>
      <figcaption>
        {label}
        <span role="status">{said}</span>
        <button type="button" aria-label={`Copy ${label}`} onClick={copy}>
          Copy
        </button>
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard */}
      <section tabIndex={0} aria-label={label}>
        <pre>{text}</pre>
      </section>
    </figure>
  );
}
