// Whether anybody looks: the kernel asks its endpoint only then.
import type { RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type Model, tell } from "./model";

/** Seconds after which a view that is still looked at says so again. */
export const AGAIN = 30;

/** Tells the kernel whether the element is in sight, in a page that is; and says it here. */
export function useLooking(model: Model, place: RefObject<HTMLElement | null>): boolean {
  const [looking, setLooking] = useState(false);
  useEffect(() => {
    const viewer = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
    let inSight = !("IntersectionObserver" in window);
    let told = false;
    const say = (again = false) => {
      const now = inSight && document.visibilityState !== "hidden";
      if (now === told && !(again && now)) return;
      told = now;
      setLooking(now);
      tell(model, "look", { viewer, looking: now });
    };
    const observer = inSight
      ? null
      : new IntersectionObserver((entries) => {
          inSight = entries[entries.length - 1]?.isIntersecting ?? false;
          say();
        });
    if (place.current) observer?.observe(place.current);
    const shown = () => say();
    document.addEventListener("visibilitychange", shown);
    const beat = setInterval(() => say(true), AGAIN * 1000);
    say();
    return () => {
      clearInterval(beat);
      observer?.disconnect();
      document.removeEventListener("visibilitychange", shown);
      if (told) tell(model, "look", { viewer, looking: false });
    };
  }, [model, place]);
  return looking;
}

/** Seconds without a word from a kernel that looks every two, after which it is taken for gone. */
export const SILENCE = 30;

/** Whether the kernel has been silent for long while it should have spoken: JupyterLab does not notice every restart. */
export function useSilent(model: Model, expected: boolean): boolean {
  const [silent, setSilent] = useState(false);
  useEffect(() => {
    if (!expected) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const heard = () => {
      clearTimeout(timer);
      setSilent(false);
      timer = setTimeout(() => setSilent(true), SILENCE * 1000);
    };
    heard();
    for (const event of ["change:live", "change:view", "msg:custom"]) model.on(event, heard);
    return () => {
      clearTimeout(timer);
      for (const event of ["change:live", "change:view", "msg:custom"]) model.off(event, heard);
    };
  }, [model, expected]);
  return silent;
}
