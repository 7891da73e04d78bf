import type { Plan } from "../../op.ts";
export const forward = (): Plan => {
  throw new Error("hyperConnection: no plan yet");
};
export const backward = (): Plan => {
  throw new Error("hyperConnection.backward: no plan yet");
};
