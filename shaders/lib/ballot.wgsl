// Which threads of a workgroup of 256 say yes: bit t % 32 of word t / 32 stands for thread t.
var<workgroup> ballot: array<atomic<u32>, 8>;

// Where every thread is, in uniform control flow.
fn vote(lane: u32, yes: bool) {
  workgroupBarrier();
  if (lane < 8u) { atomicStore(&ballot[lane], 0u); }
  workgroupBarrier();
  if (yes) { atomicOr(&ballot[lane / 32u], 1u << (lane % 32u)); }
  workgroupBarrier();
}
