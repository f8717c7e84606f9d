// What a panel asks its kernel for again and again, while it is shown.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ask, type Model, type Problem } from "../model";

/** Milliseconds between an answer and the next question. */
export const EVERY = 2000;

/** The answer to an action, asked for again until it is `over`; `again` asks at once. An answer of null: as before. */
export function usePolled<T>(model: Model, action: string, given: object, over: (found: T) => boolean) {
  const [found, setFound] = useState<T>();
  const [problem, setProblem] = useState<Problem | null>(null);
  const [round, setRound] = useState(0);
  const known = useRef<T | undefined>(undefined);
  const key = JSON.stringify(given);
  // `round` is what asks anew; `given` is compared by its value, `over` says the same each time.
  useEffect(() => {
    let stopped = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async () => {
      if (document.visibilityState !== "hidden") {
        const digest = (known.current as { digest?: string } | undefined)?.digest;
        try {
          const value = (await ask(model, action, { ...given, ...(digest ? { known: digest } : {}) })) as T | null;
          if (stopped) return;
          setProblem(null);
          if (value !== null && value !== undefined) {
            known.current = value;
            setFound(value);
          }
        } catch (error) {
          if (stopped) return;
          setProblem(error as Problem);
        }
      }
      if (known.current === undefined || !over(known.current)) timer = setTimeout(() => void look(), EVERY);
    };
    void look();
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, [model, action, key, round]);
  const again = useCallback(() => setRound((n) => n + 1), []);
  return { found, problem, again };
}
