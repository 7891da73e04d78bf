/** Numbers between the host and GPU memory. */
import type { HostArray } from "../../backend.ts";
import { toHalfBits } from "../../half.ts";
import type { DType } from "../../op.ts";

export const ARRAYS = { float32: Float32Array, float16: Uint16Array, int32: Int32Array, uint32: Uint32Array } as const;

/** Values as shaders read them, in whole words. Dawn crashes on views of shared memory, so those are copied, as are other element types. */
export const stored = (dtype: DType, values: HostArray): Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> => {
  if (dtype === "float16") {
    const words = new Uint16Array(Math.ceil(values.length / 2) * 2);
    words.set(toHalfBits(values));
    return words;
  }
  const Elements = ARRAYS[dtype];
  const plain = values instanceof Elements && Object.prototype.toString.call(values.buffer) === "[object ArrayBuffer]";
  return (plain ? values : new Elements(values)) as Float32Array<ArrayBuffer>;
};
