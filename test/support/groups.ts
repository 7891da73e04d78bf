/** Generators of well-known groups. */
import { compose, generateGroup, identityPermutation, type Permutation } from "../../src/data/permutations.ts";

export const polygon = (n: number): Permutation[] => [
  Int32Array.from({ length: n }, (_, i) => (i + 1) % n),
  Int32Array.from({ length: n }, (_, i) => (n - i) % n),
];
export const shift = (n: number): Permutation[] => polygon(n).slice(0, 1);
export const symmetric = (n: number): Permutation[] => [...shift(n), Int32Array.from({ length: n }, (_, i) => (i < 2 ? 1 - i : i))];
export const alternating = (n: number): Permutation[] =>
  Array.from({ length: n - 2 }, (_, i) => Int32Array.from({ length: n }, (_, j) => (j === 0 ? 1 : j === 1 ? i + 2 : j === i + 2 ? 0 : j)));
/** Side by side on a + b points. */
export const times = (a: readonly Permutation[], b: readonly Permutation[]): Permutation[] => {
  const [m, n] = [a[0].length, b[0].length];
  return [
    ...a.map((p) => Int32Array.from({ length: m + n }, (_, i) => (i < m ? p[i] : i))),
    ...b.map((p) => Int32Array.from({ length: m + n }, (_, i) => (i < m ? i : m + p[i - m]))),
  ];
};
/** The group acting on itself. */
export const regular = (generators: readonly Permutation[]): Permutation[] => {
  const elements = generateGroup(generators);
  const position = new Map(elements.map((element, i) => [element.join(), i]));
  return generators.map((s) => Int32Array.from(elements, (element) => position.get(compose(element, s).join()) ?? -1));
};
/** r^i s^j of the dicyclic group of order 4m, multiplied by r and by s. */
export const dicyclic = (m: number): Permutation[] => {
  const n = 2 * m;
  const at = (i: number, j: number): number => j * n + (((i % n) + n) % n);
  return [
    Int32Array.from({ length: 2 * n }, (_, k) => (k < n ? at(k + 1, 0) : at(k - n - 1, 1))),
    Int32Array.from({ length: 2 * n }, (_, k) => (k < n ? at(k, 1) : at(k - n + m, 0))),
  ];
};
/** (i, j)·(i', j') = (i + k^j i', j + j') in C_n ⋊ C_m, multiplied by (1, 0) and by (0, 1). */
export const semidirect = (n: number, m: number, k: number): Permutation[] => [
  Int32Array.from({ length: n * m }, (_, at) => n * Math.floor(at / n) + (((at % n) + k ** Math.floor(at / n)) % n)),
  Int32Array.from({ length: n * m }, (_, at) => (at + n) % (n * m)),
];
/** Copies of the base side by side, and what the top does to the copies. */
export const wreath = (base: readonly Permutation[], top: readonly Permutation[]): Permutation[] => {
  const [n, m] = [base[0].length, top[0].length];
  return [
    ...base.map((p) => Int32Array.from({ length: n * m }, (_, at) => (at < n ? p[at] : at))),
    ...top.map((p) => Int32Array.from({ length: n * m }, (_, at) => n * p[Math.floor(at / n)] + (at % n))),
  ];
};
/** By cycles on so many points. */
export const cycles = (length: number, ...list: readonly (readonly number[])[]): Permutation => {
  const p = identityPermutation(length);
  for (const cycle of list) for (const [i, point] of cycle.entries()) p[point] = cycle[(i + 1) % cycle.length];
  return p;
};
/** Linear maps of the plane over three elements. */
export const plane = (move: (x: number, y: number) => readonly number[]): Permutation =>
  Int32Array.from({ length: 9 }, (_, at) => {
    const [x, y] = move(Math.floor(at / 3), at % 3);
    return 3 * (x % 3) + (y % 3);
  });
const voxels = (move: (z: number, y: number, x: number) => readonly number[]): Permutation =>
  Int32Array.from({ length: 27 }, (_, n) => {
    const [z, y, x] = move(Math.floor(n / 9), Math.floor(n / 3) % 3, n % 3);
    return 9 * z + 3 * y + x;
  });
/** Quarter turns of 3 × 3 × 3 voxels about two axes. */
export const cube = [voxels((z, y, x) => [z, x, 2 - y]), voxels((z, y, x) => [x, y, 2 - z])];
/** All voxels to the opposite side. */
export const cubeMirror = voxels((z, y, x) => [2 - z, 2 - y, 2 - x]);
