import { beforeEach, describe, expect, test } from "vitest";
import { start } from "../src/spawn/spawn";
import { binary, claims, type Room, sentence } from "../src/spawn/sums";

const GiB = 2 ** 30;
const KIND = { share: 0.25, resource: "nvidia.com/gpu" };

describe("what a choice comes to", () => {
  test.each([
    [
      { cpu: 2, memory: 4 * GiB, shm: GiB / 2 },
      "2 CPUs (0.5 sure); 4 GiB of memory, of which 512 MiB can be shared memory.",
    ],
    [{ cpu: 1, memory: 1.5 * GiB }, "1 CPU (0.25 sure); 1.5 GiB of memory."],
    [{ memory: GiB, gpus: 1, volume: 20 * GiB }, "1 GiB of memory; 1 GPU; a home volume of 20 GiB."],
    [{ cpu: 1, memory: GiB, gpus: 0 }, "1 CPU (0.25 sure); 1 GiB of memory."],
    [{}, ""],
  ])("%o", (sizes, said) => {
    expect(sentence(sizes, KIND)).toBe(said);
  });

  test("all of the CPUs may be sure", () => {
    expect(sentence({ cpu: 2 }, { ...KIND, share: 1 })).toBe("2 CPUs.");
  });

  test.each([
    [512 * 2 ** 20, "512 MiB"],
    [1.5 * GiB, "1.5 GiB"],
    [0, "0 B"],
  ])("%d bytes", (count, said) => {
    expect(binary(count)).toBe(said);
  });
});

describe("what it takes", () => {
  const room = (changed: Partial<Room>): Room => ({
    need: "memory",
    free: GiB,
    total: 4 * GiB,
    of: "the quota a",
    resource: "",
    profile: "",
    ...changed,
  });

  test("of memory, and how much others have", () => {
    expect(claims("small", { memory: GiB }, KIND, [room({})])).toEqual([
      { text: "1 GiB of the 4 GiB of the quota a; 1 GiB free now", over: false, others: 75, takes: 25 },
    ]);
  });

  test("more than is free", () => {
    const [claim] = claims("small", { memory: 2 * GiB }, KIND, [room({})]);
    expect(claim?.over).toBe(true);
    expect(claim?.text).toContain("only 1 GiB free now");
  });

  test("of sure CPUs only the part that is sure", () => {
    const [claim] = claims("small", { cpu: 2 }, KIND, [room({ need: "cpu_sure", free: 0, total: 10 })]);
    expect(claim?.text).toBe("0.5 CPUs of the sure 10 CPUs of the quota a; none free now");
  });

  test("of GPUs those of the same kind", () => {
    const mig = room({ need: "gpus", free: 2, total: 4, resource: "nvidia.com/mig-1g.10gb" });
    const whole = { ...mig, resource: "nvidia.com/gpu" };
    expect(claims("small", { gpus: 1 }, KIND, [mig, whole]).map((claim) => claim.text)).toEqual([
      "1 GPU of the 4 GPUs of the quota a; 2 GPUs free now",
    ]);
  });

  test("of a node, where this profile may be placed", () => {
    const [small, gpu] = ["small", "gpu"].map((profile) => room({ profile, of: `the node of ${profile}` }));
    const text = claims("small", { memory: GiB }, KIND, [gpu as Room, small as Room]).map((claim) => claim.text);
    expect(text).toEqual(["1 GiB of the 4 GiB of the node of small; 1 GiB free now"]);
  });

  test("of one's own quota of servers", () => {
    const own = room({ need: "servers", free: 1, total: 2, of: "your quota" });
    expect(claims("small", {}, KIND, [own]).map((claim) => claim.text)).toEqual([
      "1 server of the 2 servers of your quota; 1 server free now",
    ]);
  });

  test("nothing of what it does not need", () => {
    expect(
      claims("small", { cpu: 1, gpus: 0 }, KIND, [room({}), room({ need: "gpus" }), room({ need: "pods" })]),
    ).toEqual([]);
  });
});

describe("the form", () => {
  const row = (field: string, factor: number, value: string, [min, max, step]: string[]) => `
    <div data-field="${field}" data-factor="${factor}" data-value="0" data-allowed="${min} to ${max}">
      <input type="range" min="${min}" max="${max}" step="${step}" value="${value}">
      <input type="number" required min="${min}" max="${max}" step="${step}" value="${value}">
      <input type="hidden" name="${field}" value="0"><p class="yard-error" hidden></p></div>`;

  beforeEach(() => {
    const data = JSON.stringify({ rooms: [], profiles: { a: KIND } });
    document.body.innerHTML = `<form><input type="radio" name="profile" value="a" checked>
      <fieldset class="yard-sizes" data-profile="a">
      ${row("memory", GiB, "4", ["1", "8", "1"])}${row("shm", 2 ** 20, "2048", ["256", "8192", "256"])}</fieldset>
      <p class="yard-fits">3 of 8 GiB
      <button type="button" data-profile="a" data-choice='{"shm": ${GiB / 2}, "memory": ${2 * GiB}}'>Choose it</button></p>
      <p id="yard-sentence"></p><ul id="yard-rooms"></ul>
      <script type="application/json" id="yard-data">${data}</script><button type="submit">Start</button></form>`;
    start(document.querySelector("form") as HTMLFormElement);
  });

  const number = (field: string) => document.querySelector(`[data-field=${field}] [type=number]`) as HTMLInputElement;
  const sent = (field: string) => (document.querySelector(`[name=${field}]`) as HTMLInputElement).value;
  const type = (field: string, value: string) => {
    number(field).value = value;
    number(field).dispatchEvent(new Event("input"));
  };

  test("shared memory gets less with the memory, and no more than it", () => {
    type("memory", "1");
    expect(number("shm").value).toBe("1024");
    expect(sent("shm")).toBe(String(GiB));
    expect(sent("memory")).toBe(String(GiB));
    type("shm", "1280");
    expect(document.querySelector("[data-field=shm] .yard-error")?.textContent).toBe(
      "Choose 256 MiB to 1 GiB (shared memory is part of the memory).",
    );
    type("memory", "8");
    expect(document.querySelector("[data-field=shm] .yard-error")?.textContent).toBe("");
    expect(document.querySelector("#yard-sentence")?.textContent).toContain("1.25 GiB can be shared memory");
  });

  test("what would fit is chosen with a click", () => {
    (document.querySelector(".yard-fits button") as HTMLButtonElement).click();
    expect([sent("memory"), sent("shm")]).toEqual([String(2 * GiB), String(GiB / 2)]);
    expect(number("shm").max).toBe("2048");
    expect(document.querySelector("#yard-sentence")?.textContent).toContain("2 GiB of memory");
  });

  test("what is wrong is not sent", () => {
    type("memory", "9");
    const event = new Event("submit", { cancelable: true });
    document.querySelector("form")?.dispatchEvent(event);
    expect(event.defaultPrevented).toBe(true);
    expect(document.activeElement).toBe(number("memory"));
    type("memory", "2");
    const again = new Event("submit", { cancelable: true });
    document.querySelector("form")?.dispatchEvent(again);
    expect(again.defaultPrevented).toBe(false);
  });
});
