import { restBetweenLooks } from "../../src/backends/webgpu/rest.ts";

// The GPU of the tests is a software one.
restBetweenLooks();
