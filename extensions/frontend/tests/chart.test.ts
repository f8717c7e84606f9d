// @vitest-environment node
// What a chart's axes and points are, by its numbers.
import { describe, expect, it } from "vitest";
import { alone, room, steps } from "../src/chart";

describe("a chart", () => {
  it("counts whole epochs, and parts where there are some", () => {
    expect(Math.min(...steps({ data: [[1, 2, 9]] }))).toBe(1);
    expect(Math.min(...steps({ data: [[0, 0.5, 1]] }))).toBeLessThan(0.1);
  });

  it("draws a value without neighbours as a dot", () => {
    expect(
      alone(
        {
          data: [
            [1, 2, 3],
            [null, 4, null],
          ],
        },
        1,
      ),
    ).toBe(true);
    expect(
      alone(
        {
          data: [
            [1, 2, 3],
            [3, 4, null],
          ],
        },
        1,
      ),
    ).toBe(false);
  });

  it("shows nothing but zeros on a small scale", () => {
    expect(room(null, 0, 0)).toEqual([0, 1]);
    expect(room(null, null, null)).toEqual([0, 1]);
    expect(room(null, 10, 20)[1]).toBeGreaterThanOrEqual(20);
  });
});
