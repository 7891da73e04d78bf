// Up to four tensors in one dispatch: the workgroups of slot s begin at params.starts[s] and cover its params.counts[s]
// elements, 256 each. Starts of slots that are not used are 0xffffffff.
fn slot_of(work: u32) -> u32 {
  return u32(work >= params.starts.y) + u32(work >= params.starts.z) + u32(work >= params.starts.w);
}

// (slot, element); the element is past the end for threads with nothing to do.
fn place_of(work: u32, lane: u32) -> vec2u {
  let slot = slot_of(work);
  return vec2u(slot, (work - params.starts[slot]) * 256u + lane);
}
