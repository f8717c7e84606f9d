// The page that an endpoint shows to a browser: a form made from its signature that makes real calls.
import { useEffect, useRef, useState } from "preact/hooks";
import { body, type Described, NotJson, type Problem, type Typed } from "./ask";
import { type Answered, ask, base, type Found, look, place, Refused } from "./calls";
import { Rows, Tensors } from "./form";
import { curl, python } from "./snippets";
import { Answer, Copied, Said } from "./views";

export function Page() {
  const [key, setKey] = useState("");
  const [wanted, setWanted] = useState(false);
  const [found, setFound] = useState<Found | null>(null);
  const [refused, setRefused] = useState<Refused | null>(null);
  const [looking, setLooking] = useState(true);

  const open = async (given: string) => {
    setLooking(true);
    setRefused(null);
    try {
      const seen = await look(given);
      setKey(given);
      setFound(seen);
    } catch (error) {
      const said = error instanceof Refused ? error : new Refused(0, strange(error));
      if (said.status === 401 || said.status === 403) setWanted(true);
      // That a key is needed is no error before one was given.
      if (given || said.status !== 401) setRefused(said);
    }
    setLooking(false);
  };
  useEffect(() => void open(""), []); // once, when the page opens
  const forget = () => {
    setKey("");
    setFound(null);
    setWanted(true);
  };
  const name = found?.about.name ?? decodeURIComponent(base().split("/").slice(3).pop() ?? "");
  return (
    <>
      <header>
        <h1>
          <span class="mark" aria-hidden="true">
            ▟
          </span>{" "}
          {name || "Endpoint"}
        </h1>
        {found && <span class="soft">version {found.about.version}</span>}
        {found && key && (
          <button type="button" class="plain" onClick={forget}>
            Forget the key
          </button>
        )}
      </header>
      <main>
        {!found && wanted && <Key busy={looking} onOpen={open} />}
        <Said problem={found ? null : (refused?.problem ?? null)} />
        {!found && looking && <p role="status">Reading what the endpoint takes…</p>}
        {!found && !looking && !wanted && (
          <button type="button" onClick={() => open("")}>
            Try again
          </button>
        )}
        {found && <TryIt key={found.about.name} about={found.about} first={found.typed} secret={key} />}
      </main>
    </>
  );
}

function Key({ busy, onOpen }: { busy: boolean; onOpen: (key: string) => void }) {
  const [typed, setTyped] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    onOpen(typed.trim());
  };
  return (
    <form class="card" onSubmit={submit}>
      <h2>This endpoint wants a key</h2>
      <label>
        Key
        <input
          type="password"
          autocomplete="off"
          spellcheck={false}
          aria-describedby="about-key"
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
      </label>
      <p id="about-key" class="soft">
        What you type stays in this page's memory and goes to this endpoint alone; a reload forgets it.
      </p>
      <button type="submit" class="primary" disabled={!typed.trim() || busy}>
        {busy ? "Looking…" : "Open"}
      </button>
      <NoKey />
    </form>
  );
}

/** Being signed in is not enough: this page has no part in that, for it comes from the model's own server. */
function NoKey() {
  const at = place();
  const name = `try-it-${new Date()
    .toISOString()
    .slice(5, 16)
    .replaceAll(/[^0-9]/g, "")}`; // a name is taken once
  const line = `import modelyard as yard\nprint(yard.endpoint("${at}").create_key("${name}", expires_in=86400).secret)`;
  return (
    <details>
      <summary>I have no key</summary>
      <p class="soft">
        Whoever owns the endpoint makes keys, alone or with their group. If that is not you, ask
        {at ? ` ${at.split("/")[0]}` : " them"} for one.
      </p>
      {at ? (
        <>
          <p class="soft">
            One for a day is made at the hub, by the button “Key for a day” of{" "}
            <a href={`/services/modelyard/#${at.replace("/", "--")}`}>this endpoint</a>, or in a notebook:
          </p>
          <Copied label="Lines for a notebook" text={line} />
        </>
      ) : (
        <p class="soft">It is done in a notebook, in the endpoint's panel under “Call it”.</p>
      )}
    </details>
  );
}

function TryIt({ about, first, secret }: { about: Described; first: Typed; secret: string }) {
  const [typed, setTyped] = useState(first);
  const [asking, setAsking] = useState(false);
  const [answer, setAnswer] = useState<Answered | null>(null);
  const [wrong, setWrong] = useState<Problem | null>(null);
  const form = useRef<HTMLFormElement>(null);
  const url = `${base()}/v2/models/${about.name}/infer`;
  let text = "";
  try {
    text = body(about, typed);
  } catch {}

  // What the server names is where the eyes and the keyboard go.
  useEffect(() => {
    if (wrong) form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  }, [wrong]);

  const change = (next: Typed) => {
    setTyped(next);
    setWrong(null);
  };
  const send = async (event: Event) => {
    event.preventDefault();
    setAsking(true);
    setWrong(null);
    setAnswer(null);
    try {
      setAnswer(await ask(about, secret, body(about, typed)));
    } catch (error) {
      setWrong(error instanceof Refused ? error.problem : strange(error));
    }
    setAsking(false);
  };
  const placed = wrong?.input !== undefined && about.inputs.some((input) => input.name === wrong.input);
  return (
    <>
      <form ref={form} class="card" onSubmit={send} noValidate>
        <h2>Ask</h2>
        {typed.layout === "table" ? (
          <Rows about={about} rows={typed.rows} wrong={wrong} onChange={(rows) => change({ layout: "table", rows })} />
        ) : (
          <Tensors
            about={about}
            texts={typed.texts}
            wrong={wrong}
            onChange={(texts) => change({ layout: "tensor", texts })}
          />
        )}
        {!placed && <Said problem={wrong} />}
        <div class="row">
          <button type="submit" class="primary" disabled={asking}>
            {asking ? "Asking…" : "Ask"}
          </button>
          <button type="button" onClick={() => change(first)}>
            The example again
          </button>
        </div>
      </form>
      <div role="status">{answer && <Answer answer={answer} about={about} />}</div>
      <section class="card">
        <h2>The same from a program</h2>
        {text ? (
          <>
            <Copied label="curl" text={curl(url, about.name, text, secret !== "")} />
            <Copied label="Python" text={python(url, about.name, text, secret !== "")} />
          </>
        ) : (
          <p class="soft">What is typed above is no JSON yet.</p>
        )}
        <OpenApi secret={secret} name={about.name} />
      </section>
    </>
  );
}

/** A link alone would come without the key. */
function OpenApi({ secret, name }: { secret: string; name: string }) {
  const at = `${base()}/openapi.json`;
  const save = async () => {
    const found = await fetch(at, { credentials: "omit", headers: { Authorization: `Bearer ${secret}` } });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await found.blob());
    link.download = `${name}.openapi.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return (
    <p class="soft">
      A client in any language can be generated from its OpenAPI document:{" "}
      {secret ? (
        <button type="button" class="plain" onClick={save}>
          save it
        </button>
      ) : (
        <a href={at}>openapi.json</a>
      )}
      <br />
      <code>{at}</code>
    </p>
  );
}

function strange(error: unknown): Problem {
  if (error instanceof NotJson) {
    return { title: "No JSON", detail: error.message, remedy: "Such as [[5.1, 3.5, 1.4, 0.2]].", input: error.input };
  }
  return { title: "This answer could not be read", detail: String(error), remedy: "" };
}
