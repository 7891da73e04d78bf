import { describe, expect, test } from "vitest";
import { ArgumentError } from "../src/errors.ts";
import { reflect } from "../src/reflect.ts";

const MAIN = "@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)";

const reflectParams = (struct: string) =>
  reflect("t/p", `${struct}\n@group(0) @binding(0) var<uniform> params: Params;\n@compute @workgroup_size(1) fn main() { _ = params; }`);

describe("bindings", () => {
  const shader = reflect(
    "t/bindings",
    `
struct Params { n: u32 }
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> c: array<f32>;
@group(0) @binding(5) var<storage, read_write> status: array<atomic<u32>, 2>;
fn deep(i: u32) -> f32 { if (i < params.n) { atomicStore(&status[0], 1u); } return a[i]; }
fn through(i: u32) -> f32 { return deep(i); }
fn add(p: ptr<storage, array<f32>, read_write>, i: u32) { (*p)[i] += 1.0; }
${MAIN} { y[id.x] = through(id.x); }
@compute @workgroup_size(64) fn other(@builtin(global_invocation_id) id: vec3u) {
  for (var i = 0u; i < 3u; i++) { let c = 2.0; add(&y, u32(c)); }
  switch (id.x) { case 0u: { y[0] = b[1].x; } default: {} }
}
@compute @workgroup_size(64) fn late(@builtin(global_invocation_id) id: vec3u) {
  loop { if (c[0] > 1.0) { break; } continuing { y[id.x] += select(0.0, 1.0, b[2].y > 0.0); } }
}
`,
  );

  test("are those an entry point reaches through functions", () => {
    expect(shader.entries.main.bindings).toEqual([
      { name: "params", binding: 0, kind: "uniform", type: "Params", least: 4 },
      { name: "a", binding: 1, kind: "read", type: "array<f32>", least: 4 },
      { name: "y", binding: 4, kind: "read_write", type: "array<f32>", least: 4 },
      { name: "status", binding: 5, kind: "read_write", type: "array<atomic<u32>, 2>", least: 8 },
    ]);
  });

  test("follow pointers and every statement, and know a local name from a binding", () => {
    expect(shader.entries.other.bindings.map(({ name }) => name)).toEqual(["b", "y"]);
    expect(shader.entries.late.bindings.map(({ name }) => name)).toEqual(["b", "c", "y"]);
  });

  test.each([
    ["@group(1) @binding(0) var<storage, read> x: array<f32>;", "x[0]", "expected @group(0) for `x`, but received @group(1)"],
    ["struct Params { n: f32 } @group(0) @binding(0) var<uniform> x: Params;", "x.n", "expected the one uniform to be `params: Params` for `x`"],
    ["@group(0) @binding(0) var<uniform> params: vec4f;", "params.x", "expected the one uniform to be `params: Params` for `params`"],
    ["@group(0) @binding(0) var t: texture_2d<f32>;", "textureLoad(t, vec2u(), 0).x", "expected a storage or uniform buffer for `t`"],
    [
      "@group(0) @binding(0) var<storage, read> status: array<u32>;",
      "f32(status[0])",
      "expected var<storage, read_write> of type array<atomic<u32>, 2> for `status`",
    ],
    [
      "@group(0) @binding(0) var<storage, read> x: array<f32>; @group(0) @binding(0) var<storage, read> z: array<f32>;",
      "x[0] + z[0]",
      "expected a binding number of its own for `z`, but received that of x",
    ],
  ])("refuse %s", (declaration, expression, message) => {
    const attempt = () => reflect("t/bad", `${declaration}\n${MAIN} { let v = ${expression}; }`);
    expect(attempt).toThrow(ArgumentError);
    expect(attempt).toThrow(`t/bad (main): ${message}`);
  });
});

test("constants and overrides have their values", () => {
  const { consts, overrides } = reflect(
    "t/values",
    `
const A: u32 = 3u;
const B = 4;
const HASH: u32 = 0x9E3779B9u;
const MINUS: i32 = -2;
const SUM: u32 = A + 1u;
const RATIO: f32 = 1.5;
const BOTH = vec2u(1, 2);
override WIDTH: u32 = 64;
override SCALE: f32;
override FLAG: bool = true;
override TWICE: u32 = WIDTH * 2u;
var<workgroup> part: array<f32, WIDTH>;
@compute @workgroup_size(WIDTH) fn main() { part[0] = SCALE; }
`,
  );
  expect(consts).toEqual({ A: 3, B: 4, HASH: 0x9e3779b9, MINUS: -2, SUM: 4 });
  expect(overrides).toEqual({ WIDTH: 64, SCALE: undefined, FLAG: 1, TWICE: 128 });
  expect(Object.hasOwn(overrides, "SCALE")).toBe(true);
  expect(() => reflect("t/id", `@id(3) override W: u32 = 1;\n@compute @workgroup_size(1) fn main() {}`)).toThrow(
    "t/id: expected an override without @id",
  );
});

describe("Params", () => {
  test("have the uniform layout", () => {
    const { params } = reflectParams(
      "struct Params { n: u32, x: f32, shape: vec4<u32>, i: i32, sizes: array<vec4<u32>, 3>, tint: vec4f, last: vec4<i32>, fault: u32 }",
    );
    expect(params).toEqual({
      size: 144,
      fields: {
        n: { offset: 0, type: "u32", count: 1, stride: 4 },
        x: { offset: 4, type: "f32", count: 1, stride: 4 },
        shape: { offset: 16, type: "u32", count: 4, stride: 4 },
        i: { offset: 32, type: "i32", count: 1, stride: 4 },
        sizes: { offset: 48, type: "u32", count: 12, stride: 4 },
        tint: { offset: 96, type: "f32", count: 4, stride: 4 },
        last: { offset: 112, type: "i32", count: 4, stride: 4 },
        fault: { offset: 128, type: "u32", count: 1, stride: 4 },
      },
    });
    expect(reflectParams("struct Params { a: f32, b: u32, c: i32 }").params?.size).toBe(12);
  });

  test.each(["vec3<f32>", "vec2u", "mat2x2<f32>", "bool", "f16", "array<u32, 4>", "Inner"])("refuse a field of type %s", (type) => {
    const attempt = () => reflectParams(`struct Inner { a: u32 }\nstruct Params { n: u32, bad: ${type} }`);
    expect(attempt).toThrow(ArgumentError);
    expect(attempt).toThrow("t/p: expected f32, i32, u32, vec4 of these, or a sized array of such vec4 for `Params.bad`");
  });
});

describe("includes", () => {
  const libs = {
    "lib/a.wgsl": '//#include "lib/b.wgsl"\nfn a() -> f32 { return b() + K; }\nconst K: f32 = 2.0;\n',
    "lib/b.wgsl": "fn b() -> f32 { return x[0]; }\n",
  };
  const body = `@group(0) @binding(0) var<storage, read> x: array<f32>;\n@group(0) @binding(1) var<storage, read_write> y: array<f32>;\n`;

  test("are appended once each, after the text, and their functions are followed", () => {
    const shader = reflect(
      "t/inc",
      `// What it does.\n//#include "lib/a.wgsl"\n//#include "lib/b.wgsl"\n\n${body}${MAIN} { y[id.x] = a() + b(); }`,
      libs,
    );
    expect(shader.source.match(/fn b\(/g)).toHaveLength(1);
    expect(shader.source.startsWith("// What it does.\n//#include")).toBe(true);
    expect(shader.source.indexOf("fn a(")).toBeGreaterThan(shader.source.indexOf("fn main("));
    expect(shader.entries.main.bindings.map(({ name }) => name)).toEqual(["x", "y"]);
  });

  test("move what they enable to the front of the first line", () => {
    const { source } = reflect("t/sub", `//#include "lib/s.wgsl"\n${MAIN} { _ = s(); }`, {
      "lib/s.wgsl": "enable subgroups;\nfn s() -> u32 { return subgroupAdd(1u); }\n",
    });
    expect(source.startsWith('enable subgroups; //#include "lib/s.wgsl"\n')).toBe(true);
    expect(source.match(/enable/g)).toHaveLength(1);
  });

  test("that are unknown, late or misspelt are errors", () => {
    expect(() => reflect("t/inc", `//#include "lib/c.wgsl"\n${MAIN} {}`, libs)).toThrow(
      't/inc: expected one of lib/a.wgsl, lib/b.wgsl for `#include`, but received "lib/c.wgsl"',
    );
    expect(() => reflect("t/inc", `//#include "lib/c.wgsl"\n${MAIN} {}`)).toThrow("there are no pieces");
    expect(() => reflect("t/inc", `${MAIN} {}\n//#include "lib/a.wgsl"\n`, libs)).toThrow("expected includes before the first line of code");
    expect(() => reflect("t/inc", `//#include <lib/a.wgsl>\n${MAIN} {}`, libs)).toThrow('expected a line of the form //#include "lib/file.wgsl"');
  });
});

test("text without an entry point, or that does not parse, is refused with the file's name", () => {
  expect(() => reflect("t/none", "fn f() {}")).toThrow("t/none: expected at least one @compute entry point");
  expect(() => reflect("t/bad", "fn main( {")).toThrow(/^t\/bad: expected WGSL for `source`, but received text that does not parse: .*Line: 1/);
});
