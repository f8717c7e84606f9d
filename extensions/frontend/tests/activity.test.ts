import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Corner } from "../src/activity/activity";
import { type Activity, advice, clock, countdown, gauge, span, type Use, unused } from "../src/activity/words";
import { NoServer } from "../src/server";

const MiB = 2 ** 20;

const NONE: Use = {
  cpu_peak: 0,
  cpu_limit: null,
  memory: 0,
  memory_peak: 0,
  memory_limit: null,
  shm: 0,
  shm_peak: 0,
  shm_limit: null,
};

function seen(changed: Partial<Activity> = {}): Activity {
  const now = Date.now() / 1000;
  return {
    now,
    started: now - 4000,
    last: now,
    busy: [],
    keep_until: 0,
    ends_at: 0,
    keep: 7200,
    gpus: 0,
    gpu_last: now - 4000,
    use: NONE,
    ...changed,
  };
}

describe("words", () => {
  test.each([
    [59, "0:59"],
    [605, "10:05"],
    [3661, "1:01:01"],
    [-3, "0:00"],
  ])("%d seconds on a clock", (seconds, said) => expect(clock(seconds)).toBe(said));

  test.each([
    [7200, "2 h"],
    [5400, "1.5 h"],
    [1800, "30 min"],
    [5, "5 s"],
  ])("%d seconds", (seconds, said) => expect(span(seconds)).toBe(said));

  test("a countdown only where it is ended", () => {
    expect(countdown(seen(), 0)).toBe("");
    expect(countdown(seen({ ends_at: 1090 }), 1000)).toContain("stopped in 1:30");
  });

  test("a GPU that nobody uses, after half an hour", () => {
    const now = Date.now() / 1000;
    expect(unused(seen())).toBe("");
    expect(unused(seen({ gpus: 1 }))).toContain("The GPU has not been used for 1.1 h");
    expect(unused(seen({ gpus: 2, gpu_last: now - 1900 }))).toContain("The 2 GPUs have not been used for 32 min");
    expect(unused(seen({ gpus: 1, gpu_last: now - 60 }))).toBe("");
  });

  test.each([
    [{}, ""],
    [{ memory_limit: 8192 * MiB, memory_peak: 4000 * MiB }, ""],
    [{ memory_limit: 8192 * MiB, memory_peak: 8000 * MiB }, "Memory was nearly full: 7.8 of 8 GiB"],
    [{ memory_limit: 8192 * MiB, shm_peak: 500 * MiB }, "Shared memory was nearly full: 500 of 512 MiB"],
    [{ memory_limit: 8192 * MiB, memory_peak: 1024 * MiB, cpu_limit: 2, cpu_peak: 0.5 }, "At most 1 of 8 GiB"],
    [{ memory_limit: 8192 * MiB, memory_peak: 1024 * MiB, cpu_limit: 2, cpu_peak: 1.9 }, ""],
    [{ memory_limit: 8192 * MiB, memory_peak: 1024 * MiB, cpu_limit: 2, shm_limit: null }, ""],
  ])("of sizes %o", (use, said) => {
    const now = Date.now() / 1000;
    const told = advice(seen({ started: now - 8000, use: { ...NONE, shm_limit: 512 * MiB, ...use } }));
    if (said) expect(told).toContain(said);
    else expect(told).toBe("");
  });

  test("a smaller size is not suggested at once", () => {
    const use = { ...NONE, shm_limit: 512 * MiB, memory_limit: 8192 * MiB, cpu_limit: 2 };
    expect(advice(seen({ use }))).toBe("");
  });

  test("gauges", () => {
    expect(gauge("shm", 128 * MiB, 512 * MiB)).toEqual({ share: 0.25, words: "shm 128 / 512 MiB" });
    expect(gauge("memory", 1536 * MiB, 4096 * MiB)).toEqual({ share: 0.375, words: "memory 1.5 / 4 GiB" });
    expect(gauge("memory", 1, null)).toBeNull();
  });
});

describe("the corner", () => {
  let answer: Activity | Error;
  let asked: [string, unknown][];
  let corner: Corner;

  async function open(): Promise<void> {
    corner = new Corner("/hub/home", async (path, body) => {
      asked.push([path, body]);
      if (answer instanceof Error) throw answer;
      return answer;
    });
    await vi.advanceTimersByTimeAsync(1);
  }

  beforeEach(() => {
    vi.useFakeTimers();
    asked = [];
    document.body.replaceChildren();
  });

  afterEach(() => {
    corner.close();
    vi.useRealTimers();
  });

  const card = () => document.querySelector(".yard-corner");
  const click = (words: string) =>
    [...document.querySelectorAll("button")].find((one) => one.textContent === words)?.click();

  test("nothing while something is at work", async () => {
    answer = seen({ busy: ["a.ipynb is computing"] });
    await open();
    expect(card()?.textContent).toBe("");
  });

  test("counts down, and keeps for two hours", async () => {
    answer = seen({ ends_at: Date.now() / 1000 + 65 });
    await open();
    expect(card()?.textContent).toContain("stopped in 1:05");
    await vi.advanceTimersByTimeAsync(3000);
    expect(card()?.textContent).toContain("stopped in 1:02");
    answer = seen({ keep_until: Date.now() / 1000 + 7200 });
    click("Keep for 2 h");
    await vi.advanceTimersByTimeAsync(1);
    expect(asked.at(-1)).toEqual(["/keep", { seconds: 7200 }]);
    expect(card()?.textContent).toBe("");
  });

  test("whoever moves towards the button finds it there", async () => {
    answer = seen({ ends_at: Date.now() / 1000 + 65 });
    await open();
    const pressed = document.querySelector(".yard-do");
    answer = seen();
    document.dispatchEvent(new Event("pointermove"));
    await vi.advanceTimersByTimeAsync(1);
    expect(asked.at(-1)?.[0]).toBe("/here");
    expect(card()?.textContent).toContain("this server goes on");
    expect(pressed?.isConnected, "a click that has begun on it is one").toBe(true);
    click("Keep for 2 h");
    await vi.advanceTimersByTimeAsync(1);
    expect(asked.at(-1)).toEqual(["/keep", { seconds: 7200 }]);
    expect(card()?.textContent).toBe("");
  });

  test("and it goes after a minute", async () => {
    answer = seen({ ends_at: Date.now() / 1000 + 65 });
    await open();
    answer = seen();
    document.dispatchEvent(new Event("pointermove"));
    await vi.advanceTimersByTimeAsync(62_000);
    expect(card()?.textContent).toBe("");
  });

  test("somebody who moves is told of once a minute", async () => {
    answer = seen();
    await open();
    for (let i = 0; i < 5; i++) document.dispatchEvent(new Event("pointermove"));
    expect(asked.filter(([path]) => path === "/here")).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(61_000);
    document.dispatchEvent(new Event("keydown"));
    expect(asked.filter(([path]) => path === "/here")).toHaveLength(2);
  });

  test("a GPU that lies idle: another size, or not now", async () => {
    answer = seen({ gpus: 1 });
    await open();
    const opened = vi.spyOn(window, "open").mockReturnValue(null);
    click("Choose another size");
    expect(opened).toHaveBeenCalledWith("/hub/home", "_blank");
    click("Not now");
    await vi.advanceTimersByTimeAsync(30_000);
    expect(card()?.textContent).toBe("");
  });

  test("gauges of a server with sizes", async () => {
    answer = seen({ use: { ...NONE, shm: 500 * MiB, shm_limit: 512 * MiB } });
    await open();
    const full = document.querySelector(".yard-gauge");
    expect(full?.textContent).toBe("shm 500 / 512 MiB");
    expect(full?.classList.contains("yard-full")).toBe(true);
  });

  test("goes away where the server does not know it, and stays where the server is away", async () => {
    answer = new Error("503");
    await open();
    expect(card()).not.toBeNull();
    answer = new NoServer();
    await vi.advanceTimersByTimeAsync(21_000);
    expect(card()).toBeNull();
  });
});
