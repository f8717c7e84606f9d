// How other programs call it: the address, lines to copy, and keys.
import { useCallback, useEffect, useState } from "preact/hooks";
import { type Model, useAction } from "../model";
import { Button, Choice, Code, ProblemBox, quiet, Stack, Text } from "../ui";

interface Snippets {
  curl: string;
  note: string;
  python: string;
}

export function Snippets({ model }: { model: Model }) {
  const action = useAction(model);
  const [found, setFound] = useState<Snippets | null>(null);
  const run = action.run;
  useEffect(() => {
    run("snippets").then((value) => value && setFound(value as Snippets));
  }, [run]);
  return (
    <div>
      <ProblemBox problem={action.problem} />
      {!found && !action.problem && <p role="status">Writing examples…</p>}
      {found && (
        <>
          <h3 class="my-small">From a terminal</h3>
          <Code label="A curl line" text={found.curl} />
          {found.note && <p class="my-dim">{found.note}</p>}
          <h3 class="my-small">From Python, with a key</h3>
          <Code label="A Python program" text={found.python} />
        </>
      )}
    </div>
  );
}

interface Key {
  id: string;
  name: string;
  created_by: string;
  created_at: string;
  expires_at: string | null;
  secret?: string;
}
const EXPIRY = [
  { value: "", label: "never" },
  { value: "1", label: "in a day" },
  { value: "30", label: "in 30 days" },
  { value: "365", label: "in a year" },
];
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export function Keys({ model, locked }: { model: Model; locked: string }) {
  const action = useAction(model);
  const [keys, setKeys] = useState<Key[] | null>(null);
  const [name, setName] = useState("");
  const [days, setDays] = useState("");
  const [made, setMade] = useState<Key | null>(null);
  const [leaving, setLeaving] = useState("");
  const run = action.run;
  const load = useCallback(() => run("keys").then((found) => found && setKeys(found as Key[])), [run]);
  useEffect(() => {
    if (!locked) load();
  }, [load, locked]);

  if (locked) return <p>Only those who may change the endpoint see its keys.</p>;
  const create = async () => {
    const key = await run("create_key", { name, ...(days ? { days: Number(days) } : {}) });
    if (!key) return;
    setMade(key as Key);
    setName("");
    load();
  };
  const remove = async (id: string) => {
    const answer = await run("remove_key", { id });
    setLeaving("");
    if (answer !== undefined) load();
  };
  const wrong = name !== "" && !LABEL.test(name);
  const rows = (keys ?? []).map((key) => ({
    key: key.id,
    cells: [
      key.name,
      `${key.created_by}, ${day(key.created_at)}`,
      key.expires_at ? day(key.expires_at) : "never",
      leaving === key.id ? (
        <span key="remove" class="my-row my-tight">
          Its callers are refused within seconds.
          <Button kind="danger" label={`Remove ${key.name}`} onClick={() => remove(key.id)} />
          <Button label="Keep" onClick={() => setLeaving("")} />
        </span>
      ) : (
        <Button key="remove" label="Remove…" hint={`Remove ${key.name}`} onClick={() => setLeaving(key.id)} />
      ),
    ],
  }));
  return (
    <div>
      <h3 class="my-small">Keys, for programs that call it</h3>
      {keys?.length === 0 && <p class="my-dim">There are none yet.</p>}
      {rows.length > 0 && <Stack label="Keys" head={["Name", "Made by", "Ends", "Remove"]} rows={rows} />}
      <form
        class="my-row"
        onSubmit={(event) => {
          event.preventDefault();
          if (name && !wrong) create();
        }}
      >
        <Text
          label="Name of a new key"
          value={name}
          onChange={setName}
          placeholder="billing"
          error={wrong ? "lower-case letters, digits and -" : undefined}
        />
        <Choice label="It ends" value={days} options={EXPIRY} onChange={setDays} />
        <button type="submit" class="my-button" disabled={!name || wrong || action.pending !== ""} {...quiet}>
          Create key
        </button>
      </form>
      <ProblemBox problem={action.problem} onDismiss={action.dismiss} />
      <div role="status">{made?.secret && <Secret key={made.id} made={made} onDone={() => setMade(null)} />}</div>
    </div>
  );
}

/** A key's secret, which is shown once. */
export function Secret({ made, onDone }: { made: { name: string; secret?: string }; onDone: () => void }) {
  return (
    <div class="my-draft">
      <p>
        <strong>The secret of {made.name}.</strong> It is shown this once and kept nowhere: copy it now. It works within
        seconds.
      </p>
      <Code label={`Secret of the key ${made.name}`} text={made.secret ?? ""} />
      <Button label="I have it" onClick={onDone} />
    </div>
  );
}

const day = (when: string) => when.slice(0, 10);
