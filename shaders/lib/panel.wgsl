// A panel of matrix rows passes through a workgroup of 256 threads four rows at a time; thread `lane` owns columns lane + 256·j.
// Sums and largest values over whole rows, for four rows at once. To be called by all threads.
var<workgroup> panel_parts: array<vec4f, 256>;
var<workgroup> panel_groups: array<vec4f, 16>;

fn panel_total(value: vec4f, lane: u32) -> vec4f {
  panel_parts[lane] = value;
  workgroupBarrier();
  if (lane < 16u) {
    var sum = vec4f();
    for (var k = 0u; k < 16u; k++) { sum += panel_parts[lane + 16u * k]; }
    panel_groups[lane] = sum;
  }
  workgroupBarrier();
  var sum = vec4f();
  for (var k = 0u; k < 16u; k++) { sum += panel_groups[k]; }
  return sum;
}

fn panel_largest(value: vec4f, lane: u32) -> vec4f {
  panel_parts[lane] = value;
  workgroupBarrier();
  if (lane < 16u) {
    var peak = panel_parts[lane];
    for (var k = 1u; k < 16u; k++) { peak = max(peak, panel_parts[lane + 16u * k]); }
    panel_groups[lane] = peak;
  }
  workgroupBarrier();
  var peak = panel_groups[0];
  for (var k = 1u; k < 16u; k++) { peak = max(peak, panel_groups[k]); }
  return peak;
}
