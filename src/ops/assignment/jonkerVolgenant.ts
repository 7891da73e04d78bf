/** The linear assignment problem by shortest augmenting paths (Jonker and Volgenant 1987, doi:10.1007/BF02278710), in float64. */

/** Column of each row in the cheapest assignment of all rows. Row-major costs, as many columns as rows or more. */
const cheapest = (costs: Float64Array, rows: number, columns: number): Int32Array => {
  // Dual prices: u[i] + v[j] ≤ cost[i, j] always, and equal where row i has column j. Columns that stay free keep v = 0.
  const u = new Float64Array(rows);
  const v = new Float64Array(columns);
  const columnOf = new Int32Array(rows).fill(-1);
  const rowOf = new Int32Array(columns).fill(-1);
  const open = Int32Array.from({ length: columns }, (_, j) => j);
  const distance = new Float64Array(columns);
  const before = new Int32Array(columns);

  // Where every column will be taken its price may start from its cheapest row.
  if (rows === columns) {
    v.fill(Number.POSITIVE_INFINITY);
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) v[j] = Math.min(v[j], costs[i * columns + j]);
  }
  // Rows take their cheapest column while it is free: most rows of a nearly hard matrix are done here.
  for (let i = 0; i < rows; i++) {
    const first = i * columns;
    let best = 0;
    for (let j = 1; j < columns; j++) if (costs[first + j] - v[j] < costs[first + best] - v[best]) best = j;
    u[i] = costs[first + best] - v[best];
    if (rowOf[best] >= 0) continue;
    rowOf[best] = i;
    columnOf[i] = best;
  }

  for (let start = 0; start < rows; start++) {
    if (columnOf[start] >= 0) continue;
    // Dijkstra over columns from `start` to the nearest free one; open[0 … count) are not yet reached for good.
    distance.fill(Number.POSITIVE_INFINITY);
    let count = columns;
    let length = 0;
    let row = start;
    let column = -1;
    while (row >= 0) {
      const offset = length - u[row];
      const first = row * columns;
      let place = 0;
      let nearest = Number.POSITIVE_INFINITY;
      for (let k = 0; k < count; k++) {
        const j = open[k];
        const through = offset + costs[first + j] - v[j];
        if (through < distance[j]) {
          distance[j] = through;
          before[j] = row;
        }
        // Among equals a free column ends the search.
        if (distance[j] < nearest || (distance[j] === nearest && rowOf[j] < 0)) {
          nearest = distance[j];
          place = k;
        }
      }
      length = nearest;
      column = open[place];
      open[place] = open[--count];
      open[count] = column;
      row = rowOf[column];
    }
    u[start] += length;
    for (let k = count; k < columns; k++) {
      const j = open[k];
      if (rowOf[j] >= 0) u[rowOf[j]] += length - distance[j];
      v[j] -= length - distance[j];
    }
    // Every row of the path gives its column up for the next one.
    for (let next = column; next >= 0; ) {
      const taker = before[next];
      rowOf[next] = taker;
      [columnOf[taker], next] = [next, columnOf[taker]];
    }
  }
  return columnOf;
};

/**
 * The one-to-one assignment with the largest total score: result[row] is the column given to `row`, −1 for a row that goes
 * without because there are more rows than columns.
 *
 * @param scores finite, row-major [rows, columns]
 */
export const largestAssignment = (scores: ArrayLike<number>, rows: number, columns: number): Int32Array => {
  if (rows <= columns)
    return cheapest(
      Float64Array.from(scores, (score) => -score),
      rows,
      columns,
    );
  const costs = Float64Array.from({ length: rows * columns }, (_, k) => -scores[(k % rows) * columns + Math.floor(k / rows)]);
  const result = new Int32Array(rows).fill(-1);
  for (const [column, row] of cheapest(costs, columns, rows).entries()) result[row] = column;
  return result;
};
