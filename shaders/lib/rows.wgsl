// Rows of a tensor seen as [outer, groups, inner], laid over the 256 threads of a workgroup. Row v is part v / groups of
// group v % groups: the elements k in [part · part_terms, (part + 1) · part_terms) of the group's `terms`.
// The including file includes lib/grid.wgsl too and declares
//   override LANES: u32;        threads per row: a power of two up to 256
//   override INTERLEAVED: u32;  1: neighbouring threads belong to neighbouring rows; 0: to the same row
// and the fields outer, groups, inner, terms, parts, part_terms in `Params`.
struct Row {
  group: u32,
  index: u32, // v
  lane: u32,  // thread within the row
  begin: u32, // elements of this part; begin = end for rows past the last
  end: u32,
}

fn row_of(work: u32, thread: u32) -> Row {
  let rows = 256u / LANES;
  let slot = select(thread / LANES, thread % rows, INTERLEAVED == 1u);
  let lane = select(thread % LANES, thread / rows, INTERLEAVED == 1u);
  let index = work * rows + slot;
  let live = index < params.groups * params.parts;
  let group = select(0u, index % params.groups, live);
  let begin = select(0u, min(index / params.groups * params.part_terms, params.terms), live);
  let end = select(0u, min(begin + params.part_terms, params.terms), live);
  return Row(group, index, lane, begin, end);
}

fn row_is_live(row: Row) -> bool { return row.index < params.groups * params.parts; }

// Distance in threads between neighbours of one row.
fn row_step() -> u32 { return select(1u, 256u / LANES, INTERLEAVED == 1u); }

// Place of element k of a group in the tensor.
fn offset_of(group: u32, k: u32) -> u32 {
  if (params.outer == 1u) { return group * params.inner + k; }
  let a = k / params.inner;
  return (a * params.groups + group) * params.inner + (k - a * params.inner);
}
