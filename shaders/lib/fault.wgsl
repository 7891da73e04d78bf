// Reports broken data without waiting. The including file declares
//   @group(0) @binding(…) var<storage, read_write> status: array<atomic<u32>, 2>;
// and a field `fault: u32` in `Params`, which is the `code` to pass. The first report since the last read wins;
// `value` is what came, shown in the DataError. The top two bits of the code tell how to read the value.
fn report_fault(code: u32, value: u32) {
  if (atomicCompareExchangeWeak(&status[0], 0u, code).exchanged) {
    atomicStore(&status[1], value);
  }
}

fn report_fault_i32(code: u32, value: i32) {
  report_fault(code | (1u << 30u), bitcast<u32>(value));
}

fn report_fault_f32(code: u32, value: f32) {
  report_fault(code | (2u << 30u), bitcast<u32>(value));
}
