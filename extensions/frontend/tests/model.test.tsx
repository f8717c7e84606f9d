import { act, render, renderHook } from "@testing-library/preact";
import { expect, test, vi } from "vitest";
import { aligned, decode } from "../src/curves";
import { bytes, duration, number } from "../src/format";
import { ask, useAction, useTrait } from "../src/model";
import { Text } from "../src/ui";
import { FakeModel } from "./fake_model";

test("a trait's value follows the kernel", () => {
  const model = new FakeModel({ view: 1 });
  const { result } = renderHook(() => useTrait<number>(model, "view"));
  expect(result.current).toBe(1);
  act(() => model.set({ view: 2 }));
  expect(result.current).toBe(2);
});

test("an action resolves with the value of its own answer", async () => {
  const model = new FakeModel({});
  const asked = ask(model, "stop", { why: "slow" });
  expect(model.sent[0]).toMatchObject({ action: "stop", given: { why: "slow" } });
  model.answer({ reply: "somebody else's", ok: false });
  model.answer({ ok: true, value: 7 });
  expect(await asked).toBe(7);
});

test("a problem is shown, and a kernel that does not answer is said to be busy", async () => {
  vi.useFakeTimers();
  const model = new FakeModel({});
  const { result } = renderHook(() => useAction(model));
  act(() => void result.current.run("stop"));
  expect(result.current.pending).toBe("stop");
  act(() => void vi.advanceTimersByTime(3100));
  expect(result.current.busy).toBe(true);
  vi.useRealTimers();
  const problem = { title: "Not found", detail: "gone", remedy: "again" };
  await act(async () => model.answer({ ok: false, problem }));
  expect(result.current).toMatchObject({ pending: "", busy: false, problem });
});

test("curves are read from one binary trait and put on common steps", () => {
  const floats = new Float32Array([1, 2, 3, 0.5, 0.25, Number.NaN, 2, 9]);
  const curves = decode(["loss", "val"], [3, 1], new DataView(floats.buffer));
  expect(aligned(curves)).toEqual([
    [1, 2, 3],
    [0.5, 0.25, null],
    [null, 9, null],
  ]);
  expect(decode(["loss"], [3], null)).toEqual([]);
});

test("two panels of a page share no id, so that a label belongs to its own field", () => {
  const places = [document.createElement("div"), document.createElement("div")];
  for (const place of places) render(<Text label="Name" value="" onChange={() => {}} />, { container: place });
  const [first, second] = places.map((place) => place.querySelector("input")?.id);
  expect(first).toBeTruthy();
  expect(first).not.toBe(second);
});

test("numbers and times are written as a person reads them", () => {
  expect([4.23, 65, 7200].map(duration)).toEqual(["4.2 s", "1:05 min", "2:00:00 h"]);
  expect([0.123456, 12, 1e-7, null, Number.POSITIVE_INFINITY].map(number)).toEqual([
    "0.1235",
    "12",
    "1.00e-7",
    "–",
    "∞",
  ]);
  expect([12, 1500, 2.5e7, 1.25e9].map(bytes)).toEqual(["12 B", "1.5 kB", "25 MB", "1.3 GB"]);
});
