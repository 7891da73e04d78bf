// Undoes `grid()` of src/op.ts: workgroups beyond 65535 are laid out in rows.
// `id` is @builtin(workgroup_id) and `count` is @builtin(num_workgroups). The result may reach past the number of
// workgroups that was asked for, so callers compare it with their own count.
fn linear_workgroup(id: vec3u, count: vec3u) -> u32 {
  return id.x + count.x * (id.y + count.y * id.z);
}
