// Sums over the threads of a row or a column of lib/square.wgsl, through workgroup memory: any SIDE, no optional feature.

// The thread's number within the workgroup, by which it takes its place.
fn lane_of(index: u32) -> u32 { return index; }

// What the SIDE threads of each owner have to add up, part by part; a quad of room between parts spreads them over the banks of memory.
var<workgroup> parts: array<vec4f, THREADS * TILE / 4u + THREADS / SIDE>;
// The results, where no thread adds up everything it wants.
var<workgroup> results: array<f32, THREADS / SIDE * TILE>;

fn part_stride() -> u32 { return SIDE * TILE / 4u + 1u; }

// Gives each thread's strip to the SIDE threads with the same owner; `part` numbers them. Returns where the parts of the matrix begin.
fn publish(values: Strip, place: Place, owner: u32, part: u32) -> u32 {
  let first = place.slot * SIDE * part_stride();
  parts[first + part * part_stride() + owner] = values[0];
  if (TILE > 4u) { parts[first + part * part_stride() + SIDE + owner] = values[1]; }
  workgroupBarrier();
  return first;
}

// Few parts are added up by all who want the sum; of many, each thread adds up those of one number.
fn results_of(place: Place, owner: u32) -> Strip {
  workgroupBarrier();
  let at = place.slot * SIDE * TILE + 4u * owner;
  let next = at + 4u * SIDE;
  return Strip(vec4f(results[at], results[at + 1u], results[at + 2u], results[at + 3u]), vec4f(results[next], results[next + 1u], results[next + 2u], results[next + 3u]));
}

// Two parts of a sum, in the order of lib/subgroup-exchange.wgsl.
fn pair(first: u32, owner: u32) -> Strip {
  var sum = Strip(parts[first + owner] + parts[first + part_stride() + owner], vec4f());
  if (TILE > 4u) { sum[1] = parts[first + SIDE + owner] + parts[first + part_stride() + SIDE + owner]; }
  return sum;
}

fn total(values: Strip, place: Place, owner: u32, part: u32) -> Strip {
  if (SIDE == 1u) { return values; }
  let first = publish(values, place, owner, part);
  if (SIDE <= 4u) {
    var sum = pair(first, owner);
    for (var k = 2u; k < place.side; k += 2u) {
      let next = pair(first + k * part_stride(), owner);
      sum = Strip(sum[0] + next[0], sum[1] + next[1]);
    }
    workgroupBarrier();
    return sum;
  }
  let number = place.r * SIDE + place.c;
  if (number < SIDE * TILE) {
    var sum = 0.0;
    for (var k = 0u; k < place.side; k += 4u) {
      let at = first + k * part_stride() + number / 4u;
      let component = number % 4u;
      sum += (parts[at][component] + parts[at + part_stride()][component]) + (parts[at + 2u * part_stride()][component] + parts[at + 3u * part_stride()][component]);
    }
    results[place.slot * SIDE * TILE + number] = sum;
  }
  return results_of(place, owner);
}

fn largest(values: Strip, place: Place, owner: u32, part: u32) -> Strip {
  if (SIDE == 1u) { return values; }
  let first = publish(values, place, owner, part);
  if (SIDE <= 4u) {
    var most = values;
    for (var k = 0u; k < place.side; k++) {
      most[0] = max(most[0], parts[first + k * part_stride() + owner]);
      if (TILE > 4u) { most[1] = max(most[1], parts[first + k * part_stride() + SIDE + owner]); }
    }
    workgroupBarrier();
    return most;
  }
  let number = place.r * SIDE + place.c;
  if (number < SIDE * TILE) {
    var most = parts[first + number / 4u][number % 4u];
    for (var k = 1u; k < place.side; k++) { most = max(most, parts[first + k * part_stride() + number / 4u][number % 4u]); }
    results[place.slot * SIDE * TILE + number] = most;
  }
  return results_of(place, owner);
}

// Sums over a row belong to all threads with that r, sums over a column to all threads with that c.
fn row_total(values: Strip, place: Place) -> Strip { return total(values, place, place.r, place.c); }
fn column_total(values: Strip, place: Place) -> Strip { return total(values, place, place.c, place.r); }
fn row_largest(values: Strip, place: Place) -> Strip { return largest(values, place, place.r, place.c); }
fn column_largest(values: Strip, place: Place) -> Strip { return largest(values, place, place.c, place.r); }
