import { elements, type Op, type Shape } from "../../op.ts";
import { type Case, defineCase, EXACT, type Fill, integers, minimalBytes, type Room, summed, values } from "../../testing/cases.ts";
import { concat, expand, gather, ops, permute, reshape, slice } from "./op.ts";
import { CONCAT_INPUTS, LINE_TERMS, LIST_COMPARISONS, TILE_LEAST } from "./plan.ts";
import { gatherShape } from "./reference.ts";

const join = (shape: Shape): string => shape.join("x") || "scalar";

const reshapeCases = (
  [
    [
      [2, 3, 4],
      [6, 4],
    ],
    [[], [1, 1]],
    [
      [0, 3],
      [5, 0],
    ],
  ] as const
).map(([from, to]) =>
  defineCase({ name: `reshape ${join(from)} to ${join(to)}`, op: reshape, inputs: [{ shape: from }], attrs: { shape: to }, forward: EXACT }),
);

const permutations: readonly (readonly [Shape, readonly number[]])[] = [
  [[], []],
  [[5], [0]],
  [
    [0, 3],
    [1, 0],
  ],
  [
    [1, 7],
    [1, 0],
  ],
  [
    [3, 5],
    [1, 0],
  ],
  [
    [TILE_LEAST - 1, 40],
    [1, 0],
  ],
  [
    [TILE_LEAST, TILE_LEAST],
    [1, 0],
  ],
  [
    [TILE_LEAST + 1, 33],
    [1, 0],
  ],
  [
    [40, TILE_LEAST - 1],
    [1, 0],
  ],
  [
    [20, 300],
    [1, 0],
  ],
  [
    [2, 20, 3, 270],
    [3, 2, 0, 1],
  ],
  [
    [31, 65],
    [1, 0],
  ],
  [
    [32, 32],
    [1, 0],
  ],
  [
    [3, 17, 19],
    [0, 2, 1],
  ],
  [
    [3, 17, 19],
    [2, 1, 0],
  ],
  [
    [17, 3, 19],
    [2, 1, 0],
  ],
  [
    [2, 9, 5, 11],
    [0, 2, 3, 1],
  ],
  [
    [2, 5, 11, 9],
    [0, 3, 1, 2],
  ],
  [
    [2, 3, 4, 16],
    [1, 0, 2, 3],
  ],
  [
    [2, 3, 2, 3, 2, 2, 2, 2],
    [7, 5, 3, 1, 0, 2, 4, 6],
  ],
  [
    [10, 2, 12, 3, 2],
    [2, 4, 1, 3, 0],
  ],
];

const permuteCases = permutations.map(([shape, axes]) =>
  defineCase({ name: `permute ${join(shape)} by ${axes.join() || "nothing"}`, op: permute, inputs: [{ shape }], attrs: { axes }, forward: EXACT }),
);

const expandCases = (
  [
    [[], [3, 2]],
    [
      [1, 4],
      [3, 4],
    ],
    [
      [3, 1],
      [3, 5],
    ],
    [
      [2, 1, 3, 1],
      [4, 2, 5, 3, 2],
    ],
    [
      [1, 3],
      [0, 3],
    ],
    [[5], [130, 5]],
  ] as const
).map(([from, to]) =>
  defineCase({
    name: `expand ${join(from)} to ${join(to)}`,
    op: expand,
    inputs: [{ shape: from }],
    attrs: { shape: to },
    forward: EXACT,
    backward: summed(elements(to)),
  }),
);

const concatCases = (
  [
    ["one", [[3, 2]], 0],
    [
      "rows",
      [
        [3, 2],
        [1, 2],
        [2, 2],
      ],
      0,
    ],
    [
      "columns",
      [
        [3, 2],
        [3, 1],
        [3, 4],
      ],
      1,
    ],
    [
      "an empty part",
      [
        [2, 3, 2],
        [2, 0, 2],
        [2, 1, 2],
      ],
      1,
    ],
    [
      "only empty parts before the last",
      [
        [0, 2],
        [0, 2],
        [3, 2],
      ],
      0,
    ],
    [
      "256 rows",
      [
        [256, 3],
        [256, 2],
      ],
      1,
    ],
    ...[CONCAT_INPUTS - 1, CONCAT_INPUTS, CONCAT_INPUTS + 1, 2 * CONCAT_INPUTS + 1].map(
      (count) => [`${count} inputs`, Array.from({ length: count }, (_, i) => [2, 1 + (i % 3), 3]), 1] as const,
    ),
  ] as readonly (readonly [string, readonly Shape[], number])[]
).map(([name, shapes, axis]) =>
  defineCase({ name: `concat: ${name}`, op: concat, inputs: shapes.map((shape) => ({ shape })), attrs: { axis }, forward: EXACT }),
);

const sliceCases = (
  [
    [[7], 0, 2, 5, 1],
    [[7], 0, 0, 7, 3],
    [[4, 6, 3], 1, 1, 6, 2],
    [[4, 6, 3], 2, 2, 3, 1],
    [[4, 6, 3], 0, 1, 3, 1],
    [[300, 2], 1, 0, 1, 1],
    [[40000], 0, 3, 40000, 1],
    [[40000], 0, 3, 40000, 2],
    [[4, 3], 1, 2, 2, 1],
    [[0, 3], 1, 0, 2, 1],
  ] as const
).map(([shape, axis, start, end, step]) =>
  defineCase({
    name: `slice ${join(shape)} axis ${axis} ${start}:${end}:${step}`,
    op: slice,
    inputs: [{ shape }],
    attrs: { axis, start, end, step },
    forward: EXACT,
  }),
);

const integerCases = (["int32", "uint32"] as const).flatMap((dtype) => {
  const x = { shape: [9, 10], dtype, fill: integers(1000) };
  const index = { shape: [9, 2], dtype, fill: integers(10) };
  return [
    defineCase({ name: `permute ${dtype}`, op: permute, inputs: [x], attrs: { axes: [1, 0] }, forward: EXACT }),
    defineCase({ name: `slice ${dtype}`, op: slice, inputs: [x], attrs: { axis: 1, start: 1, end: 9, step: 3 }, forward: EXACT }),
    defineCase({ name: `concat ${dtype}`, op: concat, inputs: [x, x], attrs: { axis: 1 }, forward: EXACT }),
    defineCase({ name: `expand ${dtype}`, op: expand, inputs: [x], attrs: { shape: [2, 9, 10] }, forward: EXACT }),
    defineCase({ name: `gather ${dtype} by ${dtype}`, op: gather, inputs: [x, index], attrs: { axis: 1, rows: false }, forward: EXACT }),
  ];
});

const gatherCase = (name: string, x: Shape, index: Shape, axis: number, rows: boolean, fill: Fill = integers(x[axis])): Case =>
  defineCase({
    name: `${rows ? "take" : "gather"} ${name}`,
    op: gather,
    inputs: [{ shape: x }, { shape: index, dtype: "int32", fill }],
    attrs: { axis, rows },
    forward: EXACT,
    backward: summed(rows ? elements(index) : index[axis]),
    // Every element of the result is one of x.
    invariants: ({ inputs, outputs }) => {
      const known = new Set(Array.from(inputs[0]));
      if (outputs[0].length !== elements(gatherShape(x, index, axis, rows))) throw new Error("wrong size");
      for (const value of Array.from(outputs[0])) if (!known.has(value)) throw new Error(`${value} is no element of x`);
    },
  });

/** One more term than lists of one line may have: the gradient is added up line by line. */
const LONGEST_LIST = Math.floor(Math.sqrt(LIST_COMPARISONS));

const gatherCases = [
  gatherCase("long rows", [7, 100], [300], 0, true),
  gatherCase("labels", [6, 10], [6, 1], 1, false),
  gatherCase("one axis", [5], [9], 0, false),
  gatherCase("first axis", [4, 3], [7, 3], 0, false),
  gatherCase("middle axis", [3, 4, 5], [3, 6, 5], 1, false),
  gatherCase("with an index smaller on the other axes", [4, 6, 5], [2, 3, 4], 1, false),
  gatherCase("with a long index smaller on the other axes", [4, 6, 5], [2, LINE_TERMS + 3, 4], 1, false),
  gatherCase("nothing", [3, 4], [3, 0], 1, false),
  ...[LINE_TERMS - 1, LINE_TERMS, LINE_TERMS + 1, 70].map((terms) => gatherCase(`${terms} terms a line`, [3, 5, 2], [3, terms, 2], 1, false)),
  gatherCase("rows", [6, 4], [5], 0, true),
  gatherCase("rows by a matrix", [7, 3], [2, 3], 0, true),
  gatherCase("by a scalar", [7, 3], [], 0, true),
  gatherCase("columns", [4, 6], [9], 1, true),
  gatherCase("in the middle", [3, 5, 4], [2, 2], 1, true),
  gatherCase("nothing", [3, 4], [0], 0, true),
  gatherCase("one row again and again", [5, 3], [100], 0, true, values([2])),
  ...[LINE_TERMS - 1, LINE_TERMS, LINE_TERMS + 1, 300].map((terms) => gatherCase(`${terms} rows`, [11, 3], [terms], 0, true)),
  ...[LONGEST_LIST, LONGEST_LIST + 1].map((terms) => gatherCase(`${terms} of 3 numbers`, [3], [terms], 0, true)),
];

export const cases: readonly Case[] = [
  ...reshapeCases,
  ...permuteCases,
  ...expandCases,
  ...concatCases,
  ...sliceCases,
  ...integerCases,
  ...gatherCases,
];

export const room: Room = {
  name: "shape",
  ops: ops as readonly Op[],
  cases,
  cost: (call) => ({ bytes: call.op.alias ? 0 : minimalBytes(call), operations: 0 }),
};
