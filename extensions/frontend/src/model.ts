// What a panel knows of its kernel: traits that change, and actions that are asked for and answered.
import { useCallback, useEffect, useState } from "preact/hooks";

/** The part of anywidget's model that panels use; tests bring one of their own. */
export interface Model {
  get(name: string): unknown;
  on(event: string, callback: (...given: never[]) => void): void;
  off(event: string, callback?: ((...given: never[]) => void) | null): void;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
}

/** An error as the kernel tells it: what was wrong, and what would be right. */
export interface Problem {
  title: string;
  detail: string;
  remedy: string;
}

/** A trait's value, drawn again when it changes. */
export function useTrait<T>(model: Model, name: string): T {
  const [value, setValue] = useState<T>(() => model.get(name) as T);
  useEffect(() => {
    const changed = () => setValue(() => model.get(name) as T);
    changed();
    model.on(`change:${name}`, changed);
    return () => model.off(`change:${name}`, changed);
  }, [model, name]);
  return value;
}

/** Tell the kernel something that has no answer. */
export function tell(model: Model, what: string, given: object = {}): void {
  try {
    model.send({ told: what, given });
  } catch {
    // the kernel is gone, which the panel says
  }
}

/** Whether the kernel behind `model` is gone. JupyterLab says that something about its comm changed, and anywidget calls
 * with the view, whose model knows what; a panel inside another has no view, and takes it for the worse until it hears. */
export function useGone(model: Model): boolean {
  const [gone, setGone] = useState(false);
  useEffect(() => {
    function changed(this: { model?: { comm_live?: boolean } } | undefined) {
      setGone(!this?.model?.comm_live);
    }
    const closed = () => setGone(true);
    const heard = () => setGone(false);
    model.on("comm_live_update", changed);
    model.on("comm:close", closed);
    model.on("change:view", heard);
    return () => {
      model.off("comm_live_update", changed);
      model.off("comm:close", closed);
      model.off("change:view", heard);
    };
  }, [model]);
  return gone;
}

export interface Reply {
  reply: string;
  ok: boolean;
  value?: unknown;
  problem?: Problem;
}

/** Seconds after which a kernel that has not answered is said to be busy; the answer is still waited for. */
export const BUSY_AFTER = 3;

let asked = 0;

/** Ask the kernel for an action. Resolves with its value; rejects with a Problem. `onBusy` is called when it takes long. */
export function ask(model: Model, action: string, given: object = {}, onBusy?: () => void): Promise<unknown> {
  asked += 1;
  const id = `${Date.now().toString(36)}-${asked}`;
  return new Promise((resolve, reject) => {
    const busy = setTimeout(() => onBusy?.(), BUSY_AFTER * 1000);
    const heard = (content: Reply) => {
      if (content?.reply !== id) return;
      clearTimeout(busy);
      model.off("msg:custom", heard as never);
      if (content.ok) resolve(content.value);
      else reject(content.problem ?? { title: "Failed", detail: "The kernel gave no reason.", remedy: "" });
    };
    model.on("msg:custom", heard as never);
    try {
      model.send({ action, id, given });
    } catch {
      clearTimeout(busy);
      model.off("msg:custom", heard as never);
      reject({ title: "Kernel gone", detail: "The kernel was restarted or ended.", remedy: "Run the cell again." });
    }
  });
}

export interface Action {
  /** What is under way, or "". */
  pending: string;
  busy: boolean;
  problem: Problem | null;
  run: (action: string, given?: object) => Promise<unknown>;
  dismiss: () => void;
}

/** One action at a time, with its state: pending, the kernel busy, the problem that it ended in. */
export function useAction(model: Model): Action {
  const [pending, setPending] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const run = useCallback(
    async (action: string, given: object = {}) => {
      setPending(action);
      setProblem(null);
      try {
        return await ask(model, action, given, () => setBusy(true));
      } catch (error) {
        setProblem(error as Problem);
        return undefined;
      } finally {
        setPending("");
        setBusy(false);
      }
    },
    [model],
  );
  return { pending, busy, problem, run, dismiss: () => setProblem(null) };
}
