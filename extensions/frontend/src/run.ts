// A training run as its panel knows it: from the kernel while that speaks, else from the notebook server.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Curve, decode } from "./curves";
import { ask, type Model, type Problem } from "./model";
import { askServer, NoServer } from "./server";

export type ActionName = "stop" | "pause" | "resume" | "kill";

/** As `training/snapshot.py` makes it. */
export interface View {
  id: string;
  name: string;
  model: string;
  state: "running" | "paused" | "succeeded" | "failed" | "stopped";
  stopping: boolean;
  fraction: number | null;
  kind: "callbacks" | "iterations" | "trials" | "elapsed" | null;
  source: string;
  step: string;
  unit: string;
  done: number;
  of: number | null;
  at: number;
  /** When the run's log last grew. */
  told: number;
  elapsed: number;
  remaining: number | null;
  metrics: Record<string, number | null>;
  actions: ActionName[];
  kept: boolean;
  curves: { names: string[]; lengths: number[]; of: number };
  usage?: Record<string, number | null>;
  best?: { step: number; name: string; value: number | null };
  checkpoint?: number;
  resumable?: boolean;
  folds?: [number, number];
  trials?: Record<string, number>;
  reports?: string[];
  warnings?: [number, string];
  error?: string;
  remedy?: string;
  traceback?: boolean;
  mlflow?: string;
}

export interface Run {
  view: View;
  curves: Curve[];
  /** When this was heard, by the browser's clock in seconds. */
  heard: number;
}

export interface Following extends Run {
  /** The kernel that the panel belongs to is gone. */
  gone: boolean;
  /** The kernel has not told what the server has: it is busy to the hilt, or gone unnoticed. */
  mute: boolean;
  /** Why neither the kernel nor the server tells what the run does. */
  lost: Problem | null;
  /** What was asked for and is not confirmed yet. */
  asked: ActionName | "";
  busy: boolean;
  problem: Problem | null;
  dismiss: () => void;
  control: (action: ActionName) => Promise<void>;
  part: (name: string) => Promise<unknown>;
}

/** Seconds without a word from the kernel after which the server is asked. */
const SILENCE = 4;
const POLL = 1000;

export const isOver = (view: View) => view.state !== "running" && view.state !== "paused";

interface FromServer {
  view: View;
  curves: string;
}

/** The run of the traits `view` and `curves`; null while there is none. */
export function useRun(model: Model, gone: boolean): Following | null {
  const [run, setRun] = useState<Run | null>(() => fromKernel(model));
  const [mute, setMute] = useState(false);
  const [lost, setLost] = useState<Problem | null>(null);
  const [asked, setAsked] = useState<ActionName | "">("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const spoke = useRef(Date.now());

  const take = useCallback((next: Run | null) => {
    setRun((now) => (now && next && now.view.id === next.view.id && next.view.at < now.view.at ? now : next));
  }, []);

  useEffect(() => {
    const told = () => {
      spoke.current = Date.now();
      setLost(null);
      setMute(false);
      take(fromKernel(model));
    };
    model.on("change:view", told);
    model.on("change:curves", told);
    return () => {
      model.off("change:view", told);
      model.off("change:curves", told);
    };
  }, [model, take]);

  const id = run?.view.id;
  const live = !!run && !isOver(run.view);
  useEffect(() => {
    if (!id || !live) return;
    let stopped = false;
    const look = async () => {
      if (!gone && Date.now() - spoke.current < SILENCE * 1000) return;
      try {
        const answer = (await askServer(id)) as FromServer;
        if (stopped) return;
        take(fromServer(answer));
        setLost(null);
        const known = (model.get("view") as View).told;
        setMute(!gone && answer.view.id === id && answer.view.told > known + SILENCE);
      } catch (error) {
        if (stopped) return;
        if (!(error instanceof NoServer)) setLost(error as Problem);
        else if (gone)
          setLost({
            title: "Kernel gone",
            detail: "Nothing here tells this panel what the run does; it goes on.",
            remedy: `Run yard.attach("${id}") in a cell.`,
          });
      }
    };
    if (gone) look();
    const timer = setInterval(look, POLL);
    return () => {
      stopped = true;
      clearInterval(timer);
    };
  }, [id, live, gone, model, take]);

  // At the end the curves are fetched once more, in all their points.
  const over = !!run && isOver(run.view);
  const part = useCallback(
    async (name: string) => {
      try {
        return await askServer(`${id}/${name}`);
      } catch (error) {
        if (gone && !(error instanceof NoServer)) throw error;
        return await ask(model, "part", { name });
      }
    },
    [id, gone, model],
  );
  const thin = over && run.view.curves.names.length > 0;
  useEffect(() => {
    if (!thin) return;
    let stopped = false;
    part("curves")
      .then((value) => {
        const full = value as { names: string[]; lengths: number[]; data: string };
        const curves = decode(full.names, full.lengths, binary(full.data));
        if (!stopped) setRun((now) => now && { ...now, curves });
      })
      .catch(() => {}); // the fewer points stay
    return () => {
      stopped = true;
    };
  }, [thin, part]);

  const control = useCallback(
    async (action: ActionName) => {
      setAsked(action);
      setProblem(null);
      try {
        try {
          // To start a process again is the kernel's business: the server only signals those that there are.
          if (over) throw new NoServer();
          take(fromServer((await askServer(`${id}/${action}`, "POST")) as FromServer));
        } catch (error) {
          if (gone && !(error instanceof NoServer)) throw error;
          await ask(model, action, {}, () => setBusy(true));
        }
      } catch (error) {
        setProblem(error as Problem);
      } finally {
        setAsked("");
        setBusy(false);
      }
    },
    [id, gone, over, model, take],
  );

  if (!run) return null;
  return { ...run, gone, mute, lost, asked, busy, problem, dismiss: () => setProblem(null), control, part };
}

function fromKernel(model: Model): Run | null {
  const view = model.get("view") as View | undefined;
  if (!view?.id) return null;
  const data = model.get("curves") as DataView | null;
  return { view, curves: decode(view.curves.names, view.curves.lengths, data), heard: Date.now() / 1000 };
}

function fromServer({ view, curves }: FromServer): Run {
  return { view, curves: decode(view.curves.names, view.curves.lengths, binary(curves)), heard: Date.now() / 1000 };
}

export function binary(base64: string): DataView {
  const text = atob(base64);
  return new DataView(Uint8Array.from(text, (character) => character.charCodeAt(0)).buffer);
}

/** Curves that belong into one chart: loss with val_loss. */
export function grouped(curves: readonly Curve[]): { title: string; curves: Curve[] }[] {
  const groups = new Map<string, Curve[]>();
  for (const curve of curves) {
    const stem = curve.name
      .replace(/^(train|training|val|valid|validation|test|held[-_ ]out)[-_ .:/]+/, "")
      .replace(/[-_ .:/]+(train|training|val|valid|validation|test|held[-_ ]out)$/, "")
      .replace(/ \((train|training|validation|held-out)\)$/, "");
    groups.set(stem, [...(groups.get(stem) ?? []), curve]);
  }
  return [...groups].map(([title, members]) => ({ title, curves: members }));
}
