// Effects run at once: Preact would wait for a frame or a timer, which may come after the test's page is gone.
import { options } from "preact";

options.requestAnimationFrame = queueMicrotask;
