import { checkNames, checkRange } from "../../errors.ts";
import { checkTensor, type Tensor } from "../../tensor.ts";

export interface HyperConnectionOptions {
  /** Pairs of a row and a column normalisation, the first row one being the softmax; 1 to 10,000. Default 20. */
  readonly iterations?: number;
  /** Added to every entry after the softmax and to every sum before a division; 1e-12 to 1. Default 1e-6. */
  readonly eps?: number;
  /** Multiplies the logits: shape [], or one number per matrix. Default 1. */
  readonly scale?: Tensor;
  /** Added to the scaled logits: [n, m], or the shape of the logits. Default 0. */
  readonly bias?: Tensor;
  /** [..., m, d]: what P mixes. Default: none, and P is the result. */
  readonly streams?: Tensor;
  /** Divides scaled and shifted logits; 1e-30 to 1e30. Default 1. */
  readonly temperature?: number;
}

const SMALLEST_EPS = 1e-12;
const LARGEST_EPS = 1;
const COLDEST = 1e-30;
const HOTTEST = 1e30;

/** Defaults filled in, numbers checked; what depends on shapes is checked by the op. */
export const checkOptions = (where: string, options: HyperConnectionOptions) => {
  const {
    iterations = 20,
    eps = 1e-6,
    temperature = 1,
    scale,
    bias,
    streams,
  } = checkNames(where, options, ["iterations", "eps", "temperature", "scale", "bias", "streams"]);
  for (const [name, tensor] of Object.entries({ scale, bias, streams })) if (tensor !== undefined) checkTensor(where, name, tensor);
  checkRange(where, "eps", eps, SMALLEST_EPS, LARGEST_EPS);
  checkRange(where, "temperature", temperature, COLDEST, HOTTEST);
  return { iterations, eps, temperature, scale, bias, streams };
};
