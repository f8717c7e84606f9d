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
