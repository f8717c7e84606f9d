// Curves as the kernel sends them: one binary trait, read with the names and lengths that came with it.

export interface Curve {
  name: string;
  x: Float32Array;
  y: Float32Array;
}

/** `names` and `lengths` in order; `data` holds, for each, its steps and then its values, as little-endian float32. */
export function decode(names: readonly string[], lengths: readonly number[], data: DataView | null): Curve[] {
  if (!data) return [];
  const floats = new Float32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
  let at = 0;
  return names.map((name, i) => {
    const n = lengths[i] ?? 0;
    const x = floats.subarray(at, at + n);
    const y = floats.subarray(at + n, at + 2 * n);
    at += 2 * n;
    return { name, x, y };
  });
}

/** All curves over the union of their steps, as a chart wants them: null where a curve has no point. */
export function aligned(curves: readonly Curve[]): [number[], ...(number | null)[][]] {
  const steps = [...new Set(curves.flatMap((curve) => [...curve.x]))].sort((a, b) => a - b);
  const place = new Map(steps.map((step, i) => [step, i]));
  const rows = curves.map((curve) => {
    const row: (number | null)[] = new Array(steps.length).fill(null);
    curve.x.forEach((step, i) => {
      const value = curve.y[i];
      const at = place.get(step);
      if (at !== undefined) row[at] = value === undefined || Number.isNaN(value) ? null : value;
    });
    return row;
  });
  return [steps, ...rows];
}
