// Reports broken data without waiting. The including file declares `status` and a field `fault` in `Params`.
// The first report since the last read wins; `value` is what came, shown in the DataError.
fn report_fault(code: u32, value: u32) {
  if (atomicCompareExchangeWeak(&status[0], 0u, code).exchanged) {
    atomicStore(&status[1], value);
  }
}
